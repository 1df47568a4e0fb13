//! Crashes and faults between the claim and the end of an attempt.

use std::time::Duration;

use super::recording::behind_a_proxy;
use super::{Scene, outcomes, says, site};
use crate::support::eventually;
use crate::support::receiver::{Answer, BROKEN, OK};
use crate::support::site::{Stack, on_both_stacks};
use postback::domain::delivery::DeliveryState;
use sqlx::{Connection, Executor};

on_both_stacks! {
    after_the_claim_before_the_ack
    after_the_ack_before_http
    during_http
    after_the_receivers_200_before_the_finish
    after_the_receivers_200_before_the_commit
    after_the_commit
    a_worker_paused_past_its_lease_that_failed
    a_worker_paused_past_its_lease_that_delivered
    the_database_is_down_at_finish
}

/// The message comes again and claims nothing: its row is leased, and one attempt further.
async fn after_the_claim_before_the_ack(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("worker.after_claim=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 1)]).await;
    assert_eq!(outcomes(&found["sale"]), ["unknown", "delivered"]);
}

async fn after_the_ack_before_http(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("worker.before_send=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 1)]).await;
    assert_eq!(outcomes(&found["sale"]), ["unknown", "delivered"]);
}

async fn during_http(stack: Stack) {
    let scene = Scene::on(stack).await;
    scene.receiver.answers(Answer::Hang);
    let doomed = scene.start().await;
    scene.fire("sale").await;
    scene.posts(1).await;
    doomed.kill().await;
    scene.receiver.answers(OK);
    let service = scene.start().await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["unknown", "delivered"]);
}

async fn after_the_receivers_200_before_the_finish(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("worker.after_send=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["unknown", "delivered"]);
}

async fn after_the_receivers_200_before_the_commit(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("finish.before_commit=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["unknown", "delivered"]);
}

async fn after_the_commit(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (_, service) = scene.crash_at("finish.after_commit=abort", "sale").await;
    let found = scene.judge(service, &[("sale", 1)]).await;
    assert_eq!(outcomes(&found["sale"]), ["delivered"]);
}

/// The first attempt got a 500 and is paused; the second delivers; the first ends and changes nothing.
async fn a_worker_paused_past_its_lease_that_failed(stack: Stack) {
    let scene = Scene::on(stack).await;
    scene.receiver.follows(|number, _| (Duration::ZERO, if number == 0 { BROKEN } else { OK }));
    let service = scene.start_doomed("worker.after_send=stall:4000").await;
    scene.fire("sale").await;
    eventually("the second attempt has delivered", async || {
        scene.only_delivery().await.state == DeliveryState::Delivered
    })
    .await;
    assert_eq!(outcomes(&scene.only_delivery().await), ["unknown", "delivered"]);
    eventually("the first attempt has ended", async || scene.only_delivery().await.attempts[0].outcome == "failed")
        .await;
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["failed", "delivered"]);
}

/// The first attempt got a 200 and is paused; the second fails; the first ends and settles the delivery.
async fn a_worker_paused_past_its_lease_that_delivered(stack: Stack) {
    let scene = Scene::new(site(stack).await.with("delivery.ladder", "1h")).await;
    scene.receiver.follows(|number, _| (Duration::ZERO, if number == 1 { BROKEN } else { OK }));
    let service = scene.start_doomed("worker.after_send=stall:4000").await;
    scene.fire("sale").await;
    eventually("the second attempt has failed", async || scene.only_delivery().await.failures == 1).await;
    assert_eq!(scene.only_delivery().await.state, DeliveryState::Pending);
    let found = scene.judge(service, &[("sale", 2)]).await;
    assert_eq!(outcomes(&found["sale"]), ["delivered", "failed"]);
}

/// The outcome is tried again until it is written, while the lease holds.
async fn the_database_is_down_at_finish(stack: Stack) {
    let site = site(stack)
        .await
        .with("delivery.lease", "20s")
        .with("database.acquire_timeout", "300ms")
        .with("database.lock_timeout", "300ms");
    let scene = Scene::new(site).await;
    let failpoint = Some("worker.after_send=stall:300");
    let down = ("the database did not take it", ("what", "finish"));
    let service = match stack {
        Stack::Embedded => {
            let service = scene.start_with(&scene.site, failpoint).await;
            scene.fire("sale").await;
            scene.posts(1).await;
            let file = format!("sqlite://{}/postback.sqlite", scene.site.get("data_dir"));
            let mut foreign = sqlx::SqliteConnection::connect(&file).await.unwrap();
            foreign.execute("BEGIN IMMEDIATE").await.unwrap();
            says(&service, down.0, down.1).await;
            foreign.execute("ROLLBACK").await.unwrap();
            service
        }
        Stack::Brokered => {
            let (proxy, behind) = behind_a_proxy(&scene.site).await;
            let service = scene.start_with(&behind, failpoint).await;
            scene.fire("sale").await;
            scene.posts(1).await;
            proxy.black_hole(true);
            proxy.cut();
            says(&service, down.0, down.1).await;
            proxy.black_hole(false);
            eventually("the outcome is written", async || {
                scene.only_delivery().await.state == DeliveryState::Delivered
            })
            .await;
            service
        }
    };
    let found = scene.judge(service, &[("sale", 1)]).await;
    assert_eq!(outcomes(&found["sale"]), ["delivered"]);
}
