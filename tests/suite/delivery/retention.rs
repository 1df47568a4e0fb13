//! The running service deletes what is old enough, on one of its instances at a time.

use std::time::Duration;

use postback::clock::Clock;
use postback::domain::delivery::DeliveryState;

use super::{ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks!(what_was_kept_long_enough_goes);

async fn what_was_kept_long_enough_goes(stack: Stack) {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let site = Site::new(stack)
        .await
        .with("retention.receipts", "2d")
        .with("retention.events", "0s")
        .with("retention.look_every", "50ms");
    let clock = Clock::manual(Clock::system().now());
    let service = site.try_start_at(clock.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    let receiver = Receiver::start().await;
    shop.tell(store, &receiver, ONE_EACH).await;
    sell(&service, &shop, ids(3)).await;
    service.settled(DeliveryState::Delivered, 3).await;
    clock.advance(DAY * 2 + Duration::from_millis(1));
    let pruned = "postback_pruned_total{what=\"receipts\"} 3";
    eventually("the receipts are gone", async || {
        service.state.metrics.render().unwrap().lines().any(|line| line == pruned)
    })
    .await;
    assert_eq!(service.deliveries().await.len(), 3, "events are kept for ever here");
    service.stop().await;
}
