//! The crash table of RELIABILITY section 3, row by row, on both stacks, judged from outside.
//!
//! The built program runs as a process of its own and is aborted at a failpoint, killed, or robbed of its database or its
//! queue; then it is started again. An operator fires postbacks over HTTP and tries again until it gets an answer. In the
//! end: one conversion and one commission for each event id, sound books, every delivery arrived under one `webhook-id`,
//! and exactly as many POSTs as the row allows. A row of the broker alone has no test on the embedded stack.

mod attempting;
mod publishing;
pub mod recording;
mod replaying;
mod stopping;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postback::domain::catalog::{Key, Role};
use postback::domain::delivery::DeliveryState;
use postback::domain::event::EventType;
use postback::domain::secret::ApiKey;
use postback::domain::time::Timestamp;
use postback::store::Store;
use postback::store::configuration::Entry;
use postback::store::reading::{DeliveryView, Filter, Page};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::process::{Process, request};
use crate::support::receiver::Receiver;
use crate::support::shop::{CLICK, Shop};
use crate::support::site::{Site, Stack, deliveries};
use crate::support::{eventually, soon, world};

/// What one test plays with.
struct Scene {
    site: Site,
    /// Past the service, to set up and to judge.
    store: Arc<dyn Store>,
    shop: Shop,
    receiver: Receiver,
    admin_key: ApiKey,
    /// Where the service listens now.
    address: Mutex<SocketAddr>,
}

/// The sale that ends each test: what was in the queue before it has come out before it.
const LAST: &str = "last";

/// A site for these tests: short waits, and leases that a busy machine does not outlast by accident.
async fn site(stack: Stack) -> Site {
    Site::new(stack).await.with("delivery.timeout", "1s").with("delivery.lease", "2s")
}

impl Scene {
    async fn new(site: Site) -> Self {
        let store = site.store().await;
        let shop = Shop::open(&*store).await;
        let receiver = Receiver::start().await;
        shop.tell(&*store, &receiver, &[EventType::ConversionRecorded]).await;
        let admin_key = ApiKey::generate();
        let now = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let row = Key { ip_allowlist: Vec::new(), ..world::api_key(now, &admin_key, Role::Admin) };
        store.put(&[Entry::Key(row)]).await.unwrap();
        let address = Mutex::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        Self { site, store, shop, receiver, admin_key, address }
    }

    /// A scene on the usual site.
    async fn on(stack: Stack) -> Self {
        Self::new(site(stack).await).await
    }

    /// Starts the service.
    async fn start(&self) -> Process {
        self.start_with(&self.site, None).await
    }

    /// Starts it with a failpoint.
    async fn start_doomed(&self, failpoint: &str) -> Process {
        self.start_with(&self.site, Some(failpoint)).await
    }

    /// Starts it with the settings of `site`.
    async fn start_with(&self, site: &Site, failpoint: Option<&str>) -> Process {
        let process = Process::start(site, failpoint).await;
        *self.address.lock().unwrap() = process.address;
        process
    }

    /// Fires a sale as an operator does: again and again until it is answered. The answer.
    async fn fire(&self, event_id: &str) -> Value {
        let path = format!("/v1/postbacks?click_id={CLICK}&event_id={event_id}&goal=sale&amount=20");
        let key = self.shop.api_key.to_text();
        let firing = async {
            loop {
                let address = *self.address.lock().unwrap();
                match request(address, "GET", &path, Some(key.expose_secret())).await {
                    Ok((200, answer)) => return answer,
                    Ok((503, _)) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Ok(other) => panic!("{event_id}: {other:?}"),
                }
            }
        };
        soon("an answer to a postback", firing).await
    }

    /// Fires a sale at a service that is aborted at `failpoint` and started again. The answer, and the new process.
    async fn crash_at(&self, failpoint: &str, event_id: &str) -> (Value, Process) {
        let doomed = self.start_doomed(failpoint).await;
        let again = async {
            doomed.aborted().await;
            self.start().await
        };
        tokio::join!(self.fire(event_id), again)
    }

    /// Replays a delivery as an admin does; `None` when no answer came.
    async fn replay(&self, delivery: &DeliveryView) -> Option<u16> {
        let address = *self.address.lock().unwrap();
        let path = format!("/v1/admin/deliveries/{}/replay", delivery.id);
        let key = self.admin_key.to_text();
        request(address, "POST", &path, Some(key.expose_secret())).await.ok().map(|(status, _)| status)
    }

    /// The only delivery so far.
    async fn only_delivery(&self) -> DeliveryView {
        let [delivery] = deliveries(&*self.store).await.try_into().unwrap();
        delivery
    }

    /// Waits until so many POSTs have come.
    async fn posts(&self, count: usize) {
        eventually(&format!("{count} POSTs"), async || self.receiver.posts().len() >= count).await;
    }

    /// Waits until everything is delivered, after one last sale; stops the service; and judges. `sales` names every sale
    /// that was fired and how often its message may have come. Answers the deliveries by their sales.
    async fn judge(self, service: Process, sales: &[(&str, usize)]) -> BTreeMap<String, DeliveryView> {
        self.fire(LAST).await;
        let expected: BTreeMap<String, usize> =
            sales.iter().chain(&[(LAST, 1)]).map(|(sale, posts)| ((*sale).to_owned(), *posts)).collect();
        let count = i64::try_from(expected.len()).unwrap();
        eventually("everything is delivered", async || {
            self.store.count_in_state(DeliveryState::Delivered).await.is_ok_and(|delivered| delivered == count)
        })
        .await;
        let ended = service.terminate().await;
        assert_eq!(ended.code(), Some(0), "a clean stop");

        self.judge_books(&expected).await;
        let found = deliveries(&*self.store).await;
        let found: BTreeMap<String, DeliveryView> =
            found.into_iter().map(|delivery| (sale_of(delivery.body.as_deref().unwrap()), delivery)).collect();
        assert!(found.keys().eq(expected.keys()), "one delivery for each sale: {found:#?}");
        let mut came: BTreeMap<String, usize> = BTreeMap::new();
        for post in self.receiver.posts() {
            let sale = sale_of(&post.body);
            assert_eq!(post.id, found[&sale].event_id.to_string(), "one webhook-id for each event");
            *came.entry(sale).or_default() += 1;
        }
        assert_eq!(came, expected, "POSTs for each sale: {found:#?}");
        self.store.close().await;
        found
    }

    /// One conversion and one commission for each sale, and books that agree.
    async fn judge_books(&self, sales: &BTreeMap<String, usize>) {
        let page = Page { before: None, limit: 1_000 };
        let conversions = self.store.conversions(&Filter::default(), page).await.unwrap();
        let mut event_ids: Vec<&str> = conversions.iter().map(|one| one.event_id.as_deref().unwrap()).collect();
        event_ids.sort_unstable();
        assert!(event_ids.iter().eq(sales.keys()), "one conversion for each sale: {event_ids:?}");
        let commissions = self.store.commissions(&Filter::default(), page).await.unwrap();
        let mut earned: Vec<_> = commissions.iter().map(|one| (one.conversion_id, one.amount.to_string())).collect();
        let mut due: Vec<_> = conversions.iter().map(|one| (one.id, "5".to_owned())).collect();
        earned.sort();
        due.sort();
        assert_eq!(earned, due, "one commission for each conversion");
        assert_eq!(self.store.verify_ledger().await.unwrap(), []);
        let expense = self.store.balances("operator:").await.unwrap();
        let total = rust_decimal::Decimal::from(5 * sales.len());
        assert_eq!(expense.iter().map(|balance| balance.amount).collect::<Vec<_>>(), [total]);
    }
}

/// The sender's event id in a message.
fn sale_of(body: &str) -> String {
    let message: Value = serde_json::from_str(body).unwrap();
    message["data"]["event_id"].as_str().unwrap().to_owned()
}

/// How each attempt of a delivery ended, oldest first.
fn outcomes(delivery: &DeliveryView) -> Vec<&str> {
    delivery.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect()
}

/// Waits until the service has said this.
async fn says(service: &Process, message: &str, field: (&str, &str)) {
    eventually(&format!("the service says: {message}"), async || {
        let said = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with(message));
        service.log().iter().any(|line| said(line) && line[field.0] == field.1)
    })
    .await;
}
