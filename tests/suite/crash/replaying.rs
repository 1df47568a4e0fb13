//! Crashes in the middle of a replay of many: no delivery is sent again twice by it, none is forgotten.

use postback::domain::delivery::DeliveryState;
use postback::domain::ids::ReplayId;
use postback::domain::replay::{DeliveryFilter, Person, ReplayState, Selection, SettledState, Window};
use postback::domain::time::Timestamp;
use postback::store::replays::NewReplay;

use super::Scene;
use crate::support::eventually;
use crate::support::site::{Stack, on_both_stacks};

on_both_stacks! {
    before_the_commit_of_a_step
    after_the_commit_of_a_step
}

async fn before_the_commit_of_a_step(stack: Stack) {
    crash_at(stack, "replay.before_commit=abort@2").await;
}

/// Its hints are lost; the rows come up by themselves.
async fn after_the_commit_of_a_step(stack: Stack) {
    crash_at(stack, "replay.after_commit=abort@2").await;
}

/// Four sales are delivered and sent again, one in each step, by a service that crashes on the way.
async fn crash_at(stack: Stack, failpoint: &str) {
    let scene = Scene::on(stack).await;
    let service = scene.start().await;
    let sales = ["one", "two", "three", "four"];
    for sale in sales {
        scene.fire(sale).await;
    }
    eventually("all are delivered", async || scene.store.count_in_state(DeliveryState::Delivered).await.unwrap() == 4)
        .await;
    assert_eq!(service.terminate().await.code(), Some(0));

    // It begins with the job only after it is up, and so can be seen to crash.
    let doomed = scene.start_doomed(failpoint).await;
    let now = postback::clock::Clock::system().now();
    let window = Window { from: Some(Timestamp::from_micros(0)), to: None };
    let filter = DeliveryFilter { state: SettledState::Delivered, window, ..DeliveryFilter::default() };
    let new = NewReplay {
        id: ReplayId::new(now),
        selection: Selection::Deliveries(filter),
        rate: 4,
        created_at: now,
        created_by: Person::CommandLine,
    };
    assert_eq!(scene.store.create_replay(&new).await.unwrap().matched, 4);
    doomed.aborted().await;
    let service = scene.start().await;
    let job = async || scene.store.replay_job(new.id).await.unwrap().unwrap();
    eventually("the replay is done", async || job().await.state == ReplayState::Done).await;
    let done = job().await;
    assert_eq!((done.replayed, done.skipped.len()), (4, 0), "{done:?}");
    let twice: Vec<(&str, usize)> = sales.iter().map(|sale| (*sale, 2)).collect();
    let found = scene.judge(service, &twice).await;
    assert!(sales.iter().all(|sale| found[*sale].epoch == 2));
}
