//! The admins' side: two people who pay each affiliate what the first postbacks earned it, through the admin interface.
//!
//! One makes the payout, the other approves, sends and completes it. A step that was answered before a crash is not asked
//! for again: each payout goes on from where it stands. How many postbacks were fired by then is written down before the
//! first payout is made, so that a demo that goes on with more knows what was paid.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::plan::{CURRENCY, Payout};
use super::world::World;
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::{SetUpError, create, create_once, text};

/// Where the people ask.
pub struct Payer {
    /// The demo's name, which is part of every idempotency key.
    pub demo: String,
    /// The service.
    pub service: SocketAddr,
    /// The key of whoever makes payouts.
    pub maker_key: String,
}

impl Payer {
    /// Brings every payout to its end.
    pub async fn pay(&self, world: &World, payouts: &[Payout]) -> Result<(), SetUpError> {
        let mut maker = Client::new(self.service, Some(self.maker_key.clone()));
        let mut approver = Client::new(self.service, Some(world.approver_key.clone()));
        for payout in payouts {
            let affiliate = world.affiliates.get(payout.affiliate).ok_or(SetUpError::Form("affiliate"))?;
            let wish = json!({ "affiliate_id": affiliate.id, "currency": CURRENCY });
            let name = format!("{}-{}", self.demo, payout.affiliate);
            let mut stands = create_once(&mut maker, "/v1/admin/payouts", &name, wish).await?;
            while let Some((step, body)) = next(&stands, &name)? {
                let path = format!("/v1/admin/payouts/{}/{step}", text(&stands, "/id")?);
                stands = create(&mut approver, &path, body).await?;
            }
        }
        Ok(())
    }
}

/// What is asked next of a payout; nothing of one that is completed.
fn next(payout: &Value, reference: &str) -> Result<Option<(&'static str, Value)>, SetUpError> {
    match text(payout, "/state")?.as_str() {
        "pending_approval" => Ok(Some(("approve", json!({})))),
        "approved" => Ok(Some(("send", json!({ "reference": reference })))),
        "sent" => Ok(Some(("complete", json!({})))),
        "completed" => Ok(None),
        _ => Err(SetUpError::Form("payout state")),
    }
}
