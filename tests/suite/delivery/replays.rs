//! Replays of many through the running service: what is dead arrives, under the ids that it had.

use postback::domain::delivery::DeliveryState;
use postback::domain::replay::{DeliveryFilter, Person, ReplayState, Selection};

use super::{ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::{BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    what_is_dead_is_replayed_by_a_job_and_arrives
    of_two_instances_one_works_a_job
}

async fn what_is_dead_is_replayed_by_a_job_and_arrives(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.answers(BROKEN);
    let service = Site::new(stack).await.with("delivery.max_attempts", "1").start().await;
    let shop = Shop::open(&*service.state.store).await;
    let endpoint = shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    sell(&service, &shop, ids(30)).await;
    service.settled(DeliveryState::Dead, 30).await;
    receiver.answers(OK);
    let filter = DeliveryFilter { endpoint_id: Some(endpoint), ..DeliveryFilter::default() };
    let job = service.state.replays.start(Selection::Deliveries(filter), 1_000, Person::CommandLine).await.unwrap();
    assert_eq!(job.matched, 30);
    service.settled(DeliveryState::Delivered, 30).await;
    eventually("the job is done", async || {
        service.state.store.replay_job(job.id).await.unwrap().unwrap().state == ReplayState::Done
    })
    .await;
    let times = receiver.times();
    assert!(times.len() == 30 && times.values().all(|times| *times == 2), "each again under its id: {times:?}");
    service.stop().await;
}

async fn of_two_instances_one_works_a_job(stack: Stack) {
    if stack == Stack::Embedded {
        return; // One process there is.
    }
    let receiver = Receiver::start().await;
    receiver.answers(BROKEN);
    let site = Site::new(stack).await.with("delivery.max_attempts", "1");
    let (one, other) = (site.start().await, site.start().await);
    let shop = Shop::open(&*one.state.store).await;
    shop.tell(&*one.state.store, &receiver, ONE_EACH).await;
    sell(&one, &shop, ids(12)).await;
    one.settled(DeliveryState::Dead, 12).await;
    receiver.answers(OK);
    let filter = || Selection::Deliveries(DeliveryFilter::default());
    // Twelve at four a second: both instances have time to look for it.
    let job = one.state.replays.start(filter(), 4, Person::CommandLine).await.unwrap();
    let stands = async || one.state.store.replay_job(job.id).await.unwrap().unwrap();
    eventually("it has begun", async || stands().await.replayed > 0).await;
    other.stop().await;
    eventually("the job is done", async || stands().await.state == ReplayState::Done).await;
    assert_eq!(stands().await.replayed, 12);
    one.settled(DeliveryState::Delivered, 12).await;
    assert!(receiver.times().values().all(|times| *times == 2), "{:?}", receiver.times());
    one.stop().await;
}
