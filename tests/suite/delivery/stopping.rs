//! Stopping in the middle of the work, properly and not.

use std::time::Duration;

use postback::domain::delivery::DeliveryState;
use postback::lifecycle::Stopped;

use super::{ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::{Answer, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, deliveries, on_both_stacks};

on_both_stacks! {
    a_stop_finishes_what_runs_and_takes_nothing_new
    what_a_lost_process_was_doing_is_done_again
}

async fn a_stop_finishes_what_runs_and_takes_nothing_new(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.follows(|_, _| (Duration::from_millis(700), OK));
    let site = Site::new(stack)
        .await
        .with("delivery.endpoint_in_flight", "2")
        .with("delivery.timeout", "5s")
        .with("delivery.lease", "10s");
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    sell(&service, &shop, ids(10)).await;
    eventually("two attempts run", async || receiver.posts().len() == 2).await;
    assert_eq!(service.stop().await, Stopped::Clean);
    assert_eq!(receiver.posts().len(), 2);

    let store = site.store().await;
    let left = deliveries(&*store).await;
    let done: Vec<_> = left.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).collect();
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|delivery| delivery.attempts[0].outcome == "delivered"));
    let waiting = left.iter().filter(|delivery| delivery.state == DeliveryState::Pending);
    assert!(waiting.map(|delivery| delivery.attempt).eq([0; 8]), "nothing else was begun");
    store.close().await;

    receiver.answers(OK);
    let next = site.start().await;
    next.settled(DeliveryState::Delivered, 10).await;
    assert_eq!(receiver.posts().len(), 10);
    next.stop().await;
}

async fn what_a_lost_process_was_doing_is_done_again(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.answers(Answer::Hang);
    let site = Site::new(stack).await.with("delivery.timeout", "5s").with("delivery.lease", "8s");
    // A runtime of its own, whose end drops every task where it stands.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let begin = || {
        doomed.block_on(async {
            let service = site.start().await;
            let shop = Shop::open(&*service.state.store).await;
            shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
            sell(&service, &shop, ids(1)).await;
            service
        })
    };
    let lost = std::thread::scope(|scope| scope.spawn(begin).join()).unwrap();
    eventually("the attempt runs", async || receiver.posts().len() == 1).await;
    doomed.shutdown_background();
    drop(lost);
    receiver.answers(OK);

    let mut site = site;
    // On the larger stack another instance waits for the lease to run out; short ones are for the next process only.
    site.set("delivery.timeout", "400ms");
    let mut next = None;
    eventually("the database is free", async || {
        next = site.try_start().await.ok();
        next.is_some()
    })
    .await;
    let next = next.unwrap();
    next.settled(DeliveryState::Delivered, 1).await;
    let [delivery] = next.deliveries().await.try_into().unwrap();
    let outcomes: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["unknown", "delivered"]);
    assert_eq!(receiver.times().into_values().collect::<Vec<_>>(), [2], "the same id twice");
    next.stop().await;
}
