//! A postback that comes before its click.

use postback::domain::delivery::DeliveryState;
use postback::domain::verdict::{ParkReason, Verdict};
use postback::store::reading::{Filter, Page};

use super::ONE_EACH;
use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    what_waits_for_its_click_is_booked_and_told_once_the_click_is_imported
    what_waits_too_long_is_rejected
}

async fn what_waits_for_its_click_is_booked_and_told_once_the_click_is_imported(stack: Stack) {
    let receiver = Receiver::start().await;
    // Only the import wakes it in time.
    let service = Site::new(stack).await.with("delivery.sweep_every", "10m").start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    let parked = service.state.recorder.record(shop.sale_on("late", "sale-1")).await.unwrap();
    assert_eq!(parked.verdict, Verdict::Parked(ParkReason::UnknownClick));
    assert_eq!(service.state.clicks.write(vec![shop.click("late")]).await, Ok(vec![true]));
    service.settled(DeliveryState::Delivered, 1).await;
    let receipt = service.state.store.receipt(parked.receipt_id).await.unwrap().unwrap();
    assert_eq!(receipt.verdict, "accepted");
    assert_eq!(receiver.posts().len(), 1);
    service.stop().await;
}

async fn what_waits_too_long_is_rejected(stack: Stack) {
    let service = Site::new(stack).await.with("intake.park_for", "1s").start().await;
    let shop = Shop::open(&*service.state.store).await;
    let parked = service.state.recorder.record(shop.sale_on("never", "sale-1")).await.unwrap();
    assert_eq!(parked.verdict, Verdict::Parked(ParkReason::UnknownClick));
    let store = &service.state.store;
    eventually("it is rejected", async || {
        store.receipt(parked.receipt_id).await.unwrap().unwrap().verdict == "rejected"
    })
    .await;
    let page = Page { before: None, limit: 10 };
    assert!(store.conversions(&Filter::default(), page).await.unwrap().is_empty());
    service.stop().await;
}
