//! What is watched, on both stacks: each alert opens when its cause is there, is told by every channel, and closes by itself
//! when the cause is gone. The queue's depth has its test beside the deliveries.

mod broker;
mod database;
mod payouts;
mod sources;

use postback::alerts::catalogue::Alert;
use postback::domain::event::EventType;
use postback::domain::ids::DeliveryId;
use postback::domain::replay::Person;
use postback::store::deliveries::Replay;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::eventually;
use crate::support::receiver::{BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    what_is_dead_waits_for_a_person
    what_is_overdue_for_long_is_told
}

/// Two receivers of alerts: a signed webhook, and a chat system.
struct Operations {
    webhook: Receiver,
    chat: Receiver,
}

impl Operations {
    async fn start() -> Self {
        Self { webhook: Receiver::start().await, chat: Receiver::start().await }
    }

    /// The site, with its alerts told here.
    fn of(&self, site: Site) -> Site {
        site.with("alerts.webhook_url", &self.webhook.url())
            .with("alerts.webhook_secret", self.webhook.secret().text().expose_secret())
            .with("alerts.chat_url", &self.chat.url())
    }

    /// What the webhook was told of an alert: `open` or `closed`, with the subject.
    fn told(&self, alert: Alert) -> Vec<(String, String)> {
        let messages = self.webhook.posts().into_iter().map(|post| serde_json::from_str::<Value>(&post.body).unwrap());
        let about = messages.filter(|message| message["data"]["alert"] == alert.as_str());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        about.map(|message| (text(&message["type"]).replace("alert.", ""), text(&message["data"]["subject"]))).collect()
    }

    /// Waits until both channels were told that it opened, and that it closed as often as asked.
    async fn told_both(&self, alert: Alert, subject: &str, steps: &[&str]) {
        let expected: Vec<(String, String)> =
            steps.iter().map(|step| ((*step).to_owned(), subject.to_owned())).collect();
        eventually(&format!("the webhook was told {steps:?} of {}", alert.as_str()), async || {
            self.told(alert) == expected
        })
        .await;
        eventually("the chat was told too", async || {
            let texts = self.chat.bodies().into_iter().filter(|body| body.contains(alert.as_str()));
            let told: Vec<Value> = texts.map(|body| serde_json::from_str(&body).unwrap()).collect();
            assert!(told.iter().all(|message| message.as_object().unwrap().len() == 1), "text alone: {told:?}");
            told.len() == steps.len()
        })
        .await;
    }
}

/// The names and subjects of what is open.
async fn open(service: &Service) -> Vec<(String, String)> {
    let open = service.state.store.open_alerts().await.unwrap();
    open.into_iter().map(|(view, _)| (view.name, view.subject)).collect()
}

async fn is_open(service: &Service, alert: Alert) -> bool {
    open(service).await.iter().any(|(name, _)| name == alert.as_str())
}

/// One delivery for each sale.
const ONE_EACH: &[EventType] = &[EventType::ConversionRecorded];

async fn sell(service: &Service, shop: &Shop, event_id: &str) {
    service.state.recorder.record(shop.sale(event_id)).await.unwrap();
}

async fn replay(service: &Service, id: DeliveryId) {
    let state = &service.state;
    let replay = state.store.replay(id, state.clock.now(), state.settings.delivery.republish_after);
    let Replay::Begun(hint) = replay.await.unwrap() else { panic!("nothing runs") };
    state.relay.announce(vec![hint]);
}

async fn what_is_dead_waits_for_a_person(stack: Stack) {
    let (operations, receiver) = (Operations::start().await, Receiver::start().await);
    receiver.answers(BROKEN);
    let service = operations.of(Site::new(stack).await.with("delivery.max_attempts", "1")).start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    assert_eq!(open(&service).await, []);
    sell(&service, &shop, "one").await;
    operations.told_both(Alert::DeadLetters, "", &["open"]).await;
    sell(&service, &shop, "two").await;
    eventually("two are dead", async || {
        let open = service.state.store.open_alerts().await.unwrap();
        open.iter().any(|(view, _)| view.name == "dead_letters" && view.value == 2)
    })
    .await;

    receiver.answers(OK);
    let dead = service.deliveries().await;
    replay(&service, dead[0].id).await;
    let store = &service.state.store;
    let note = "not to be told any more".parse().unwrap();
    store.acknowledge(dead[1].id, &note, Person::CommandLine, service.state.clock.now()).await.unwrap();
    operations.told_both(Alert::DeadLetters, "", &["open", "closed"]).await;
    assert_eq!(open(&service).await, []);
    service.stop().await;
}

async fn what_is_overdue_for_long_is_told(stack: Stack) {
    let (operations, receiver) = (Operations::start().await, Receiver::start().await);
    receiver.answers(BROKEN);
    let site = Site::new(stack).await.with("delivery.ladder", "300ms").with("delivery.max_attempts", "1000");
    let service = operations.of(site.with("alerts.oldest_due_above", "1s")).start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    sell(&service, &shop, "one").await;
    operations.told_both(Alert::OldestDue, "", &["open"]).await;
    receiver.answers(OK);
    operations.told_both(Alert::OldestDue, "", &["open", "closed"]).await;
    service.stop().await;
}
