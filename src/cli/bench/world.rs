//! Whom the bench is about: one operator with a program, its affiliates with clicks, and endpoints at our receivers.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::json;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::receiver::{Inbox, Proof};
use super::service::Service;
use crate::cli::Failure;
use crate::cli::outside::book::Book;
use crate::cli::outside::client::Client;
use crate::cli::outside::lane::Lane;
use crate::cli::outside::postback::Recipe;
use crate::cli::outside::setup::{self, SetUpError, change, create, hook, text};
use crate::domain::signature::SigningSecret;

/// The currency of everything.
const CURRENCY: &str = "EUR";
/// The only goal: each conversion of it earns the same.
const GOAL: setup::Goal = ("sale", "many", 1_250);
/// The one event of each postback that endpoints are told of.
const EVENT_TYPE: &str = "commission.approved";

/// How many of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Affiliates; each has the same endpoints.
    pub affiliates: usize,
    /// Signed webhooks of each affiliate.
    pub webhooks: usize,
    /// Clicks over all affiliates.
    pub clicks: usize,
}

/// Everything that was made.
pub struct World {
    /// What the sender needs.
    pub recipe: Arc<Recipe>,
    /// The endpoints: id and what it receives.
    pub endpoints: Vec<(String, Arc<Inbox>)>,
    /// The operator's id.
    pub operator_id: String,
}

/// Makes a world through the admin interface, and starts its receivers.
pub async fn set_up(
    service: &Service,
    size: Size,
    tag: &str,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<World, Failure> {
    let made = make(service, size, tag, book, receivers).await;
    made.map_err(|error| Failure::new(format!("the set-up failed: {error}")))
}

async fn make(
    service: &Service,
    size: Size,
    tag: &str,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<World, SetUpError> {
    let mut admin = service.admin();
    let operator = setup::operator(&mut admin, &format!("Bench operator {tag}")).await?;
    let program = format!("Bench program {tag}");
    let program_id = setup::program(&mut admin, &operator.id, &program, CURRENCY, &[GOAL]).await?;
    let (mut clicks, mut endpoints) = (Vec::new(), Vec::new());
    for number in 0..size.affiliates {
        let name = format!("Bench affiliate {tag}-{number}");
        let (affiliate_id, link) = setup::affiliate(&mut admin, &name, &program_id).await?;
        clicks.push(setup::visits(service.address, &link, size.clicks.div_ceil(size.affiliates)).await?);
        for hook in 0..size.webhooks {
            let name = format!("webhook-{number}-{hook}");
            endpoints.push(endpoint(&mut admin, &affiliate_id, (number, name), book, receivers).await?);
        }
    }
    let recipe = Recipe {
        event_prefix: book.event_prefix().to_owned(),
        service: service.address,
        key: operator.key,
        secret: SigningSecret::parse(&operator.secret).map_err(|_| SetUpError::Form("source's secret"))?,
        clicks,
    };
    Ok(World { recipe: Arc::new(recipe), endpoints, operator_id: operator.id })
}

/// Makes a webhook of an affiliate, by its number and the webhook's name, that lies at a receiver of its own.
async fn endpoint(
    admin: &mut Client,
    affiliate_id: &str,
    (affiliate, name): (usize, String),
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<(String, Arc<Inbox>), SetUpError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(|listener| listener.into_std());
    let listener = listener.map_err(|error| SetUpError::NoAnswer(error.into()))?;
    let port = listener.local_addr().map_err(|error| SetUpError::NoAnswer(error.into()))?.port();
    let new = json!({ "affiliate_id": affiliate_id, "url": hook(port, &name), "event_types": [EVENT_TYPE] });
    let made = create(admin, "/v1/admin/endpoints", new).await?;
    let webhook = Webhook::new(&text(&made, "/secret")?).map_err(|_| SetUpError::Form("endpoint's secret"))?;
    let inbox = Arc::new(Inbox::new(name, affiliate, Proof::Signature(webhook), Arc::clone(book)));
    let serving = Arc::clone(&inbox);
    receivers.spawn(async move {
        // It was a listener a moment ago.
        if let Ok(listener) = TcpListener::from_std(listener) {
            serving.serve(listener).await;
        }
    });
    Ok((text(&made, "/id")?, inbox))
}

/// Switches an endpoint off or on.
pub async fn switch(service: &Service, endpoint_id: &str, status: &str) -> Result<(), Failure> {
    let path = format!("/v1/admin/endpoints/{endpoint_id}");
    let switched = change(&mut service.admin(), &path, json!({ "status": status })).await;
    switched.map(drop).map_err(|error| Failure::new(format!("an endpoint cannot be switched {status}: {error}")))
}
