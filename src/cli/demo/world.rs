//! Whom the demo is about: one operator with a program, three affiliates, and an endpoint for each of them.
//!
//! All of it is made through the admin interface, as a person would. It is kept only when it is complete: a set-up
//! that was killed half-way is begun anew, and what it left behind stays unused.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{AFFILIATES, CURRENCY, GOALS};
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::{self, SetUpError, change, create, hook, text};
use crate::domain::ids::{AffiliateId, EndpointId, OperatorId};

/// The name of the operator's endpoint.
pub const OPERATOR_ENDPOINT: &str = "operator";

/// Everything that was made, with its secrets.
#[derive(Serialize, Deserialize)]
pub struct World {
    /// The operator.
    pub operator_id: OperatorId,
    /// The key that its server sends with.
    pub operator_key: String,
    /// What its server signs with, as the scheme `body` has it.
    pub source_secret: String,
    /// The key of the admin who approves what another one made.
    pub approver_key: String,
    /// The affiliates, in the order of [`super::plan::Story::affiliate`].
    pub affiliates: Vec<Affiliate>,
    /// The endpoints: one for each affiliate, and the operator's.
    pub endpoints: Vec<Endpoint>,
}

/// An affiliate.
#[derive(Serialize, Deserialize)]
pub struct Affiliate {
    /// Its id.
    pub id: AffiliateId,
    /// Its key.
    pub key: String,
    /// The code of its tracking link.
    pub link: String,
}

/// An endpoint.
#[derive(Serialize, Deserialize)]
pub struct Endpoint {
    /// The last part of its address.
    pub name: String,
    /// Its id.
    pub id: EndpointId,
    /// What its messages are signed with.
    pub secret: String,
}

/// The name of an affiliate's endpoint.
pub fn affiliate_endpoint(number: usize) -> String {
    format!("affiliate-{number}")
}

/// Makes a world whose endpoints lie at the receiver.
pub async fn set_up(admin: &mut Client, demo: &str, receiver_port: u16) -> Result<World, SetUpError> {
    let operator = setup::operator(admin, &format!("Demo operator {demo}")).await?;
    let program_id = setup::program(admin, &operator.id, "Demo program", CURRENCY, &GOALS).await?;

    let approver = json!({ "name": format!("Demo approver {demo}"), "role": "admin" });
    let approver_key = text(&create(admin, "/v1/admin/keys", approver).await?, "/key")?;
    let mut affiliates = Vec::new();
    let mut endpoints = Vec::new();
    for number in 0..AFFILIATES {
        let affiliate = affiliate(admin, &format!("Demo affiliate {demo}-{number}"), &program_id).await?;
        let name = affiliate_endpoint(number);
        let endpoint = json!({ "affiliate_id": affiliate.id, "url": hook(receiver_port, &name) });
        endpoints.push(endpoint_of(create(admin, "/v1/admin/endpoints", endpoint).await?, name)?);
        affiliates.push(affiliate);
    }
    let name = OPERATOR_ENDPOINT.to_owned();
    let endpoint = json!({ "operator_id": operator.id, "url": hook(receiver_port, &name) });
    endpoints.push(endpoint_of(create(admin, "/v1/admin/endpoints", endpoint).await?, name)?);
    Ok(World {
        operator_id: operator.id.parse().map_err(|_| SetUpError::Form("operator id"))?,
        operator_key: operator.key,
        source_secret: operator.secret,
        approver_key,
        affiliates,
        endpoints,
    })
}

/// Tells the service that the receiver has another port now.
pub async fn move_endpoints(admin: &mut Client, world: &World, receiver_port: u16) -> Result<(), SetUpError> {
    for endpoint in &world.endpoints {
        let path = format!("/v1/admin/endpoints/{}", endpoint.id);
        change(admin, &path, json!({ "url": hook(receiver_port, &endpoint.name) })).await?;
    }
    Ok(())
}

async fn affiliate(admin: &mut Client, name: &str, program_id: &str) -> Result<Affiliate, SetUpError> {
    let (id, link) = setup::affiliate(admin, name, program_id).await?;
    let key = json!({ "name": name, "role": "affiliate", "affiliate_id": id });
    let key = text(&create(admin, "/v1/admin/keys", key).await?, "/key")?;
    Ok(Affiliate { id: id.parse().map_err(|_| SetUpError::Form("affiliate id"))?, key, link })
}

fn endpoint_of(made: Value, name: String) -> Result<Endpoint, SetUpError> {
    let id = text(&made, "/id")?.parse().map_err(|_| SetUpError::Form("endpoint id"))?;
    Ok(Endpoint { name, id, secret: text(&made, "/secret")? })
}
