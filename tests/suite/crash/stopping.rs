//! Replays, stops, and messages that are not ours.

use std::time::Duration;

use postback::domain::delivery::DeliveryState;
use serde_json::json;

use super::publishing::queue;
use super::{Scene, outcomes, site};
use crate::queue::broker::Hands;
use crate::support::eventually;
use crate::support::receiver::{BROKEN, OK};
use crate::support::site::{Stack, deliveries, on_both_stacks};

on_both_stacks! {
    a_replay_is_one_transaction
    sigterm_finishes_what_runs
}

/// The new epoch is committed and the process dies before anybody hears of it. A message of the old epoch does nothing.
async fn a_replay_is_one_transaction(stack: Stack) {
    let scene = Scene::new(site(stack).await.with("delivery.max_attempts", "1")).await;
    scene.receiver.answers(BROKEN);
    let service = scene.start().await;
    scene.fire("sale").await;
    eventually("it is dead", async || {
        deliveries(&*scene.store).await.first().is_some_and(|delivery| delivery.state == DeliveryState::Dead)
    })
    .await;
    service.kill().await;
    let dead = scene.only_delivery().await;
    scene.receiver.answers(OK);
    let doomed = scene.start_doomed("relay.before_publish=abort").await;
    // Answered or not, it has begun.
    let answered = scene.replay(&dead).await;
    assert!(matches!(answered, None | Some(202)), "{answered:?}");
    doomed.aborted().await;
    if stack == Stack::Brokered {
        let hint = json!({
            "delivery_id": dead.id, "endpoint_id": dead.endpoint_id, "epoch": 1, "attempt": dead.attempt,
        });
        let old = json!({ "v": 1, "items": [hint] }).to_string();
        Hands::new().await.put(&queue(&scene, "work"), old.as_bytes()).await;
    }
    let service = scene.start().await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    let kept: Vec<_> = found["sale"].attempts.iter().map(|one| (one.epoch, one.outcome.as_str())).collect();
    assert_eq!(kept, [(1, "failed"), (2, "delivered")]);
}

async fn sigterm_finishes_what_runs(stack: Stack) {
    let site = site(stack)
        .await
        .with("delivery.endpoint_in_flight", "2")
        .with("delivery.timeout", "5s")
        .with("delivery.lease", "10s");
    let scene = Scene::new(site).await;
    scene.receiver.follows(|_, _| (Duration::from_millis(700), OK));
    let service = scene.start().await;
    let sales = ["a", "b", "c", "d", "e", "f"];
    futures_util::future::join_all(sales.map(|sale| scene.fire(sale))).await;
    scene.posts(2).await;
    assert_eq!(service.terminate().await.code(), Some(0));
    let begun = scene.receiver.posts().len();
    assert!(begun < sales.len(), "stopped in the middle");
    let left = deliveries(&*scene.store).await;
    let done = left.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count();
    assert_eq!(done, begun, "what ran was finished and written");
    let attempts: usize = left.iter().map(|delivery| delivery.attempts.len()).sum();
    assert_eq!(attempts, begun, "nothing else was begun");

    scene.receiver.answers(OK);
    let service = scene.start().await;
    scene.judge(service, &sales.map(|sale| (sale, 1))).await;
}

/// What cannot be read is kept aside. That it took the place of a real message costs that one nothing but time.
#[tokio::test]
async fn a_message_that_cannot_be_parsed_on_postgres_and_rabbitmq() {
    let scene = Scene::new(site(Stack::Brokered).await.with("delivery.ladder", "1500ms")).await;
    scene.receiver.follows(|number, _| (Duration::ZERO, if number == 0 { BROKEN } else { OK }));
    let service = scene.start().await;
    scene.fire("sale").await;
    let (hands, rung) = (Hands::new().await, queue(&scene, "retry.1500ms"));
    eventually("the message is on its rung", async || hands.depth(&rung).await == 1).await;
    assert!(hands.take(&rung).await.is_some());
    hands.put(&queue(&scene, "work"), b"{\"v\":1,\"items\":[{\"deliv").await;
    let poison = queue(&scene, "poison");
    eventually("it is in poison", async || hands.depth(&poison).await == 1).await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["failed", "delivered"]);
    assert_eq!(hands.take(&poison).await.unwrap().data, b"{\"v\":1,\"items\":[{\"deliv");
}
