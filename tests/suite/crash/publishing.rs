//! Crashes between the commit and the claim, and what a broker can do to a message.

use std::time::Duration;

use super::{Scene, outcomes, site};
use crate::queue::broker::Hands;
use crate::support::eventually;
use crate::support::receiver::{BROKEN, OK};
use crate::support::site::{Stack, on_both_stacks};

on_both_stacks! {
    after_the_commit_before_publishing
    published_and_not_marked
    the_queue_loses_a_confirmed_message
    the_queue_loses_what_waited_on_a_rung
    the_queue_refuses
}

async fn after_the_commit_before_publishing(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("relay.before_publish=abort", "sale").await;
    scene.judge(service, &[("sale", 1)]).await;
}

/// The message is in the queue and its row comes up all the same: one of the two claims nothing.
async fn published_and_not_marked(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("relay.after_publish=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 1)]).await;
    assert_eq!(outcomes(&found["sale"]).last(), Some(&"delivered"));
}

async fn the_queue_loses_a_confirmed_message(stack: Stack) {
    let scene = Scene::on(stack).await;
    let doomed = scene.start_doomed("relay.after_publish=abort").await;
    let crash = async {
        // The memory of the embedded queue is gone with its process.
        doomed.aborted().await;
        if stack == Stack::Brokered {
            let (hands, queue) = (Hands::new().await, queue(&scene, "work"));
            eventually("the message is lost", async || hands.purge(&queue).await == 1).await;
        }
        scene.start().await
    };
    let (_, service) = tokio::join!(scene.fire("sale"), crash);
    scene.judge(service, &[("sale", 1)]).await;
}

async fn the_queue_loses_what_waited_on_a_rung(stack: Stack) {
    let scene = Scene::new(site(stack).await.with("delivery.ladder", "1500ms")).await;
    scene.receiver.answers(BROKEN);
    let mut service = scene.start().await;
    scene.fire("sale").await;
    scene.posts(1).await;
    match stack {
        Stack::Embedded => {
            eventually("the failure is known", async || scene.only_delivery().await.failures == 1).await;
            service.kill().await;
            service = scene.start().await;
        }
        // Both queues at once, with what is in them, under the service's hands.
        Stack::Brokered => {
            let hands = Hands::new().await;
            let rung = queue(&scene, "retry.1500ms");
            eventually("the message is on its rung", async || hands.depth(&rung).await == 1).await;
            assert_eq!(hands.delete(&rung).await, 1);
            hands.delete(&queue(&scene, "work")).await;
        }
    }
    scene.receiver.answers(OK);
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["failed", "delivered"]);
}

/// Unroutable on the broker; full in memory.
async fn the_queue_refuses(stack: Stack) {
    let site = site(stack).await.with("queue.embedded_capacity", "1").with("delivery.endpoint_in_flight", "1");
    let scene = Scene::new(site).await;
    scene.receiver.follows(|_, _| (Duration::from_millis(20), OK));
    let service = scene.start().await;
    if stack == Stack::Brokered {
        let prefix = scene.site.get("queue.prefix");
        Hands::new().await.unbind(&queue(&scene, "work"), &format!("{prefix}.deliver.v1"), "work").await;
    }
    let sales: Vec<String> = (0..10).map(|number| format!("sale-{number}")).collect();
    futures_util::future::join_all(sales.iter().map(|sale| scene.fire(sale))).await;
    let expected: Vec<(&str, usize)> = sales.iter().map(|sale| (sale.as_str(), 1)).collect();
    scene.judge(service, &expected).await;
}

/// The full name of a queue of the scene's service.
pub fn queue(scene: &Scene, name: &str) -> String {
    format!("{}.{name}.v1", scene.site.get("queue.prefix"))
}
