//! The alert on the length of the waiting line, and who is told of it.

use postback::alerts::catalogue::Alert;
use postback::domain::delivery::DeliveryState;
use postback::store::deliveries::Replay;
use secrecy::ExposeSecret;

use super::{NEVER, ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::{BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    more_than_a_hundred_overdue_open_one_alert_and_fewer_than_eighty_close_it
}

async fn more_than_a_hundred_overdue_open_one_alert_and_fewer_than_eighty_close_it(stack: Stack) {
    let (receiver, operations) = (Receiver::start().await, Receiver::start().await);
    receiver.answers(BROKEN);
    let site = Site::new(stack)
        .await
        .with("delivery.ladder", NEVER)
        // A busy machine must not make a second attempt out of the first one.
        .with("delivery.timeout", "5s")
        .with("delivery.lease", "10s")
        .with("delivery.republish_after", "10s")
        .with("alerts.queue_depth_grace", "0s")
        .with("alerts.webhook_url", &operations.url())
        .with("alerts.webhook_secret", operations.secret().text().expose_secret());
    let mut services = vec![site.start().await];
    if stack == Stack::Brokered {
        services.push(site.start().await);
    }
    let service = &services[0];
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;

    sell(service, &shop, ids(100)).await;
    eventually("all are seen to wait", async || services.iter().all(|service| gauge(service, DUE) == 100)).await;
    assert_eq!(open(service).await, Vec::<String>::new(), "a hundred are allowed");
    sell(service, &shop, ["one-more".to_owned()]).await;
    eventually("the alert is open", async || services.iter().all(|service| gauge(service, OPEN) == 1)).await;
    assert_eq!(open(service).await, [QUEUE_DEPTH]);
    eventually("it is told", async || !operations.posts().is_empty()).await;

    // Down to 80 it stays open.
    eventually("all have failed once", async || receiver.posts().len() == 101).await;
    receiver.answers(OK);
    let waiting = service.deliveries().await;
    let (first, last) = waiting.split_at(21);
    replay_all(service, first.iter().map(|delivery| delivery.id)).await;
    eventually("80 wait", async || services.iter().all(|service| gauge(service, DUE) == 80)).await;
    assert_eq!(open(service).await, [QUEUE_DEPTH]);
    replay_all(service, last.iter().map(|delivery| delivery.id)).await;
    service.settled(DeliveryState::Delivered, 101).await;
    eventually("it is closed", async || services.iter().all(|service| gauge(service, OPEN) == 0)).await;
    eventually("its end is told", async || operations.posts().len() >= 2).await;

    let told: Vec<serde_json::Value> =
        operations.posts().iter().map(|post| serde_json::from_str(&post.body).unwrap()).collect();
    let types: Vec<&str> = told.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["alert.open", "alert.closed"]);
    assert_eq!(told[0]["data"]["value"], 101);
    assert!(told[0]["text"].as_str().unwrap().contains(QUEUE_DEPTH));
    assert!(operations.times().into_values().all(|times| times == 1));
    for service in services {
        service.stop().await;
    }
}

const QUEUE_DEPTH: &str = Alert::QueueDepth.as_str();
const DUE: &str = "postback_deliveries_due";
const OPEN: &str = "postback_alert_open{alert=\"queue_depth\"}";

/// The names of what is open.
async fn open(service: &Service) -> Vec<String> {
    let open = service.state.store.open_alerts().await.unwrap();
    open.into_iter().map(|(view, _)| view.name).collect()
}

/// A metric's value; 0 while it is not there.
fn gauge(service: &Service, name: &str) -> i64 {
    let text = service.state.metrics.render().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn replay_all(service: &Service, ids: impl Iterator<Item = postback::domain::ids::DeliveryId>) {
    let state = &service.state;
    for id in ids {
        let replay = state.store.replay(id, state.clock.now(), state.settings.delivery.republish_after);
        let Replay::Begun(hint) = replay.await.unwrap() else { panic!("nothing runs") };
        state.relay.announce(vec![hint]);
    }
}
