//! Many deliveries, little room: slow endpoints, a tiny window, a queue that refuses.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postback::domain::delivery::DeliveryState;

use super::{NEVER, ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::receiver::{BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    a_slow_endpoint_hurts_only_itself
    a_tiny_window_lets_everything_through
    a_queue_that_refuses_loses_nothing
}

async fn a_slow_endpoint_hurts_only_itself(stack: Stack) {
    const SALES: usize = 30;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.follows(|_, _| (Duration::from_millis(50), OK));
    // What finds no slot comes up again by a slot that frees, and by nothing else in time.
    let site = Site::new(stack)
        .await
        .with("delivery.endpoint_in_flight", "2")
        .with("delivery.timeout", "5s")
        .with("delivery.lease", "10s")
        .with("delivery.hand_back_after", NEVER)
        .with("delivery.republish_after", NEVER);
    let service = site.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    shop.tell(store, &slow, ONE_EACH).await;
    shop.tell(store, &fast, ONE_EACH).await;
    sell(&service, &shop, ids(SALES)).await;
    eventually("the fast endpoint has everything", async || fast.posts().len() == SALES).await;
    assert!(slow.posts().len() < SALES, "the fast one did not wait for the slow one");
    service.settled(DeliveryState::Delivered, 2 * i64::try_from(SALES).unwrap()).await;
    assert_eq!(slow.most_at_once(), 2);
    assert_eq!(slow.posts().len(), SALES);
    for delivery in service.deliveries().await {
        assert_eq!(delivery.attempts.len(), 1, "to be handed back is no attempt");
    }
    service.stop().await;
}

async fn a_tiny_window_lets_everything_through(stack: Stack) {
    const SALES: usize = 200;
    let receiver = Receiver::start().await;
    let site = Site::new(stack).await.with("delivery.window", "4").with("delivery.lease", "10s");
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    sell(&service, &shop, ids(SALES)).await;
    service.settled(DeliveryState::Delivered, i64::try_from(SALES).unwrap()).await;
    assert_eq!(receiver.posts().len(), SALES, "each once");
    service.stop().await;
}

async fn a_queue_that_refuses_loses_nothing(stack: Stack) {
    const SALES: usize = 100;
    let receiver = Receiver::start().await;
    let site = Site::new(stack)
        .await
        .with("queue.embedded_capacity", "1")
        .with("queue.max_length", "1")
        .with("delivery.endpoint_in_flight", "4")
        .with("delivery.lease", "10s");
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    // One message for each sale, many at a time.
    sell(&service, &shop, ids(SALES)).await;
    service.settled(DeliveryState::Delivered, i64::try_from(SALES).unwrap()).await;
    assert_eq!(receiver.posts().len(), SALES, "each once");
    service.stop().await;
}

#[tokio::test]
async fn while_the_broker_is_away_this_instance_serves_itself() {
    let receiver = Receiver::start().await;
    receiver.follows(|number, _| (Duration::ZERO, if number == 0 { BROKEN } else { OK }));
    let site = Site::new(Stack::Brokered).await;
    let url = site.get("queue.amqp_url").to_owned();
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (broker, host) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(broker.to_owned()).await;
    let site = site
        .with("queue.amqp_url", &format!("{before}@127.0.0.1:{}/{host}", proxy.port()))
        .with("queue.confirm_timeout", "300ms")
        .with("queue.call_timeout", "1s")
        .with("delivery.direct_after", "500ms");
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    proxy.black_hole(true);
    proxy.cut();
    sell(&service, &shop, ids(20)).await;
    service.settled(DeliveryState::Delivered, 20).await;
    assert_eq!(receiver.posts().len(), 21, "each once, and the one that failed once more");

    // And with the broker again, as soon as it takes something.
    let relay = &service.state.relay;
    assert!(relay.is_past_the_queue() && !relay.health().publishing);
    proxy.black_hole(false);
    let later = AtomicI64::new(0);
    eventually("deliveries go by the queue again", async || {
        let number = later.fetch_add(1, Ordering::Relaxed);
        sell(&service, &shop, [format!("later-{number}")]).await;
        !relay.is_past_the_queue()
    })
    .await;
    let later = later.into_inner();
    service.settled(DeliveryState::Delivered, 20 + later).await;
    assert_eq!(receiver.times().len(), usize::try_from(20 + later).unwrap());
    service.stop().await;
}
