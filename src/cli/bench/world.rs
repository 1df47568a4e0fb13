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
    /// Postbacks with macros of each affiliate.
    pub postbacks: usize,
    /// Clicks over all affiliates.
    pub clicks: usize,
}

/// Through what postbacks come in, and under which event ids.
#[derive(Clone, Copy, Debug)]
pub struct Entrance<'a> {
    /// A source that is there already; a new operator's otherwise.
    pub source: Option<&'a str>,
    /// Whether event ids lie anywhere among all others.
    pub scattered: bool,
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
    (size, entrance): (Size, Entrance<'_>),
    tag: &str,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<World, Failure> {
    let made = make(service, (size, entrance), tag, book, receivers).await;
    made.map_err(|error| Failure::new(format!("the set-up failed: {error}")))
}

async fn make(
    service: &Service,
    (size, entrance): (Size, Entrance<'_>),
    tag: &str,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<World, SetUpError> {
    let mut admin = service.admin();
    let name = format!("Bench operator {tag}");
    let operator = match entrance.source {
        Some(source) => setup::sender(&mut admin, source, &name).await?,
        None => setup::operator(&mut admin, &name).await?,
    };
    let program = format!("Bench program {tag}");
    let program_id = setup::program(&mut admin, &operator.id, &program, CURRENCY, &[GOAL]).await?;
    let (mut clicks, mut endpoints) = (Vec::new(), Vec::new());
    for number in 0..size.affiliates {
        let name = format!("Bench affiliate {tag}-{number}");
        let (affiliate_id, link) = setup::affiliate(&mut admin, &name, &program_id).await?;
        clicks.push(setup::visits(service.address, &link, size.clicks.div_ceil(size.affiliates)).await?);
        let mut make = Endpoints { admin: &mut admin, affiliate_id: &affiliate_id, affiliate: number, book, receivers };
        for hook in 0..size.webhooks {
            endpoints.push(make.webhook(format!("webhook-{number}-{hook}")).await?);
        }
        for postback in 0..size.postbacks {
            endpoints.push(make.postback(format!("postback-{number}-{postback}")).await?);
        }
    }
    let recipe = Recipe {
        event_prefix: book.event_prefix().to_owned(),
        scattered: entrance.scattered,
        service: service.address,
        key: operator.key,
        secret: SigningSecret::parse(&operator.secret).map_err(|_| SetUpError::Form("source's secret"))?,
        clicks,
    };
    Ok(World { recipe: Arc::new(recipe), endpoints, operator_id: operator.id })
}

/// Makes endpoints of an affiliate; each lies at a receiver of its own.
struct Endpoints<'a> {
    admin: &'a mut Client,
    affiliate_id: &'a str,
    /// The affiliate's number.
    affiliate: usize,
    book: &'a Arc<Book>,
    receivers: &'a Lane,
}

impl Endpoints<'_> {
    /// A signed webhook.
    async fn webhook(&mut self, name: String) -> Result<(String, Arc<Inbox>), SetUpError> {
        let (port, listener) = listener().await?;
        let new = json!({ "affiliate_id": self.affiliate_id, "url": hook(port, &name), "event_types": [EVENT_TYPE] });
        let made = create(self.admin, "/v1/admin/endpoints", new).await?;
        let webhook = Webhook::new(&text(&made, "/secret")?).map_err(|_| SetUpError::Form("endpoint's secret"))?;
        Ok((text(&made, "/id")?, self.receive(name, Proof::Signature(webhook), listener)))
    }

    /// A postback with macros, as a tracker takes it in.
    async fn postback(&mut self, name: String) -> Result<(String, Arc<Inbox>), SetUpError> {
        let (port, listener) = listener().await?;
        let url = format!("{}?cid={{click_id}}&txid={{event_id}}&payout={{payout}}&st={{status}}", hook(port, &name));
        let new = json!({
            "affiliate_id": self.affiliate_id, "kind": "postback", "url": url, "event_types": [EVENT_TYPE]
        });
        let made = create(self.admin, "/v1/admin/endpoints", new).await?;
        Ok((text(&made, "/id")?, self.receive(name, Proof::None, listener)))
    }

    fn receive(&self, name: String, proof: Proof, listener: std::net::TcpListener) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::new(name, self.affiliate, proof, Arc::clone(self.book)));
        let serving = Arc::clone(&inbox);
        self.receivers.spawn(async move {
            // It was a listener a moment ago.
            if let Ok(listener) = TcpListener::from_std(listener) {
                serving.serve(listener).await;
            }
        });
        inbox
    }
}

/// A free port and who listens there.
async fn listener() -> Result<(u16, std::net::TcpListener), SetUpError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(TcpListener::into_std);
    let listener = bound.map_err(|error| SetUpError::NoAnswer(error.into()))?;
    let port = listener.local_addr().map_err(|error| SetUpError::NoAnswer(error.into()))?.port();
    Ok((port, listener))
}

/// Switches an endpoint off or on.
pub async fn switch(service: &Service, endpoint_id: &str, status: &str) -> Result<(), Failure> {
    let path = format!("/v1/admin/endpoints/{endpoint_id}");
    let switched = change(&mut service.admin(), &path, json!({ "status": status })).await;
    switched.map(drop).map_err(|error| Failure::new(format!("an endpoint cannot be switched {status}: {error}")))
}
