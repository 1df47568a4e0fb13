//! Whom a fault is about: one operator with a program, three affiliates with clicks, and a webhook of each at a receiver of
//! ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::json;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::inbox::Inbox;
use crate::cli::outside::book::Book;
use crate::cli::outside::client::Client;
use crate::cli::outside::lane::Lane;
use crate::cli::outside::postback::Recipe;
use crate::cli::outside::setup::{self, SetUpError, create, hook, text};
use crate::domain::signature::SigningSecret;

/// The affiliates; postbacks go round them.
pub const AFFILIATES: usize = 3;
/// The clicks of each.
const CLICKS: usize = 20;
/// The currency of everything.
const CURRENCY: &str = "EUR";
/// What each conversion earns, in cents.
pub const EARNED_CENTS: i64 = 1_250;
/// The only goal.
const GOAL: setup::Goal = ("sale", "many", EARNED_CENTS);
/// The one event of each postback that receivers are told of.
const EVENT_TYPE: &str = "commission.approved";

/// Everything that was made.
pub struct World {
    /// What the load needs.
    pub recipe: Arc<Recipe>,
    /// The receivers, by their affiliates.
    pub inboxes: Vec<Arc<Inbox>>,
    /// The operator's id.
    pub operator_id: String,
}

/// Makes a world through the admin interface, and starts its receivers.
pub async fn set_up(
    service: SocketAddr,
    admin: &mut Client,
    tag: &str,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<World, SetUpError> {
    let operator = setup::operator(admin, &format!("Operator {tag}")).await?;
    let program_id = setup::program(admin, &operator.id, &format!("Program {tag}"), CURRENCY, &[GOAL]).await?;
    let (mut clicks, mut inboxes) = (Vec::new(), Vec::new());
    for number in 0..AFFILIATES {
        let (affiliate_id, link) = setup::affiliate(admin, &format!("Affiliate {tag}-{number}"), &program_id).await?;
        clicks.push(setup::visits(service, &link, CLICKS).await?);
        inboxes.push(endpoint(admin, &affiliate_id, number, book, receivers).await?);
    }
    let recipe = Recipe {
        event_prefix: book.event_prefix().to_owned(),
        scattered: false,
        service,
        key: operator.key,
        secret: SigningSecret::parse(&operator.secret).map_err(|_| SetUpError::Form("source's secret"))?,
        clicks,
    };
    Ok(World { recipe: Arc::new(recipe), inboxes, operator_id: operator.id })
}

/// Makes a webhook of an affiliate that lies at a receiver of its own.
async fn endpoint(
    admin: &mut Client,
    affiliate_id: &str,
    affiliate: usize,
    book: &Arc<Book>,
    receivers: &Lane,
) -> Result<Arc<Inbox>, SetUpError> {
    let name = format!("receiver-{affiliate}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(TcpListener::into_std);
    let listener = listener.map_err(|error| SetUpError::NoAnswer(error.into()))?;
    let port = listener.local_addr().map_err(|error| SetUpError::NoAnswer(error.into()))?.port();
    let new = json!({ "affiliate_id": affiliate_id, "url": hook(port, &name), "event_types": [EVENT_TYPE] });
    let made = create(admin, "/v1/admin/endpoints", new).await?;
    let webhook = Webhook::new(&text(&made, "/secret")?).map_err(|_| SetUpError::Form("endpoint's secret"))?;
    let inbox = Arc::new(Inbox::new(name, affiliate, webhook, Arc::clone(book)));
    let serving = Arc::clone(&inbox);
    receivers.spawn(async move {
        // It was a listener a moment ago.
        if let Ok(listener) = TcpListener::from_std(listener) {
            serving.serve(listener).await;
        }
    });
    Ok(inbox)
}
