//! The running service deletes what is old enough.

use postback::domain::delivery::DeliveryState;

use super::{ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks!(what_was_kept_long_enough_goes);

async fn what_was_kept_long_enough_goes(stack: Stack) {
    let site = Site::new(stack)
        .await
        .with("retention.receipts", "300ms")
        .with("retention.events", "0s")
        .with("retention.look_every", "50ms");
    let service = site.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    let receiver = Receiver::start().await;
    shop.tell(store, &receiver, ONE_EACH).await;
    sell(&service, &shop, ids(3)).await;
    service.settled(DeliveryState::Delivered, 3).await;
    let pruned = "postback_pruned_total{what=\"receipts\"} 3";
    eventually("the receipts are gone", async || {
        service.state.metrics.render().unwrap().lines().any(|line| line == pruned)
    })
    .await;
    assert_eq!(service.deliveries().await.len(), 3, "events are kept for ever here");
    service.stop().await;
}
