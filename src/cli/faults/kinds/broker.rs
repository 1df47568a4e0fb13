//! Faults of the broker and of the way to it: postbacks are taken in all the same, and nothing is forgotten.

use std::time::Duration;

use serde_json::json;

use crate::cli::Failure;
use crate::cli::faults::broker::Hands;
use crate::cli::faults::scene::Scene;
use crate::cli::faults::watch::{NOT_READY, QUEUE_OUT};
use crate::clock::Clock;
use crate::domain::delivery::Hint;
use crate::domain::ids::{DeliveryId, EndpointId};

/// How long the broker is stopped: longer than deliveries wait for it.
const STOPPED: Duration = Duration::from_secs(70);
/// The last part of it, in which deliveries go on without it.
const LAST_PART: Duration = Duration::from_secs(5);
/// How long a queue has no leader, an alarm lasts, a queue is full; the first two longer by [`SILENT`].
const HURT: Duration = Duration::from_secs(8);
/// How long the broker says nothing: longer than a confirm may take.
const SILENT: Duration = Duration::from_secs(15);
/// How long the broker is there, and not there, when it flaps.
const FLAP: Duration = Duration::from_secs(2);
/// How long the binding is there, and not there: of a hundred messages some twenty are unroutable.
const BOUND: Duration = Duration::from_millis(800);
const UNBOUND: Duration = Duration::from_millis(200);

/// Ingestion does not need the broker: every answer is 2xx, and `/readyz` stays ready.
fn demand_ingestion(scene: &mut Scene) {
    let answers = scene.answers.clone();
    let others = answers.with_status(300..=599) + answers.broken + answers.late;
    scene.demand(others == 0, format!("{others} requests were not answered 2xx: {answers:?}"));
    let not_ready = scene.watch.count(NOT_READY);
    scene.demand(not_ready == 0, format!("/readyz was not ready {not_ready} times"));
}

/// `/readyz` told that the queue was out of order.
fn demand_notice(scene: &mut Scene) {
    let told = scene.watch.count(QUEUE_OUT) > 0;
    scene.demand(told, "/readyz said nothing of it");
}

/// The broker is stopped for longer than deliveries wait for it.
pub async fn stop(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let memory = scene.peak_memory_kib()?;
    scene.begin();
    let servers = scene.servers()?;
    servers.stop_broker("-TERM").await?;
    scene.last(STOPPED * times - LAST_PART).await;
    let before = scene.arrived();
    scene.last(LAST_PART).await;
    let directly = scene.arrived().saturating_sub(before);
    scene.demand(directly > 0, "nothing was delivered past the broker");
    scene.note(format!(
        "{} s; in the last {} s of them {directly} deliveries without it",
        STOPPED.as_secs() * u64::from(times),
        LAST_PART.as_secs()
    ));
    servers.start_broker().await?;
    scene.recover().await?;
    demand_ingestion(scene);
    demand_notice(scene);
    scene.demand_flat_memory(memory)
}

/// The broker is killed where it stands, and started again.
pub async fn kill(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        scene.begin();
        let servers = scene.servers()?;
        servers.stop_broker("-KILL").await?;
        servers.start_broker().await?;
        scene.recover().await?;
        demand_ingestion(scene);
    }
    Ok(())
}

/// The work queue has no leader: what is published to it is neither confirmed nor refused.
pub async fn leaderless(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let name = format!("'%2F_{}'", scene.place.queue("work"));
    for _ in 0..times {
        scene.begin();
        let servers = scene.servers()?;
        servers.broker_ctl(&["eval", &format!("ra:stop_server(quorum_queues, {{{name}, node()}}).")]).await?;
        scene.last(HURT + SILENT).await;
        servers.broker_ctl(&["eval", &format!("ra:restart_server(quorum_queues, {{{name}, node()}}).")]).await?;
        scene.recover().await?;
        demand_ingestion(scene);
        demand_notice(scene);
    }
    Ok(())
}

/// The work queue is deleted under its consumer, with what is in it.
pub async fn delete_queue(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let servers = scene.servers()?;
    let hands = Hands::new(&servers.amqp_url).await?;
    for _ in 0..times {
        scene.begin();
        hands.delete(&scene.place.queue("work")).await?;
        scene.recover().await?;
        demand_ingestion(scene);
    }
    Ok(())
}

/// The work queue's binding is gone for a fifth of the time, until so many postbacks were fired.
pub async fn unbind(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let servers = scene.servers()?;
    let hands = Hands::new(&servers.amqp_url).await?;
    let (queue, exchange) = (scene.place.queue("work"), scene.place.queue("deliver"));
    let enough = scene.load.next() + u64::from(times);
    let before = refused(scene).await?;
    scene.begin();
    while scene.load.next() < enough {
        hands.unbind(&queue, &exchange, "work").await?;
        scene.last(UNBOUND).await;
        hands.bind(&queue, &exchange, "work").await?;
        scene.last(BOUND).await;
    }
    scene.recover().await?;
    let refused = refused(scene).await?.saturating_sub(before);
    scene.note(format!("{refused} messages were unroutable"));
    scene.demand(refused > 0, "no message was unroutable");
    demand_ingestion(scene);
    Ok(())
}

/// The broker takes nothing for want of memory.
pub async fn memory_alarm(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let servers = scene.servers()?;
    for _ in 0..times {
        scene.begin();
        servers.broker_ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await?;
        scene.last(HURT + SILENT).await;
        servers.broker_ctl(&["set_vm_memory_high_watermark", "0.4"]).await?;
        scene.recover().await?;
        demand_ingestion(scene);
        demand_notice(scene);
    }
    Ok(())
}

/// Somebody else keeps the work queue at its maximum, with hints at a delivery that does not exist.
pub async fn full_queue(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let servers = scene.servers()?;
    let hands = Hands::new(&servers.amqp_url).await?;
    let now = Clock::system().now();
    let hint = Hint { delivery_id: DeliveryId::new(now), endpoint_id: EndpointId::new(now), epoch: 1, attempt: 0 };
    let body = json!({ "v": 1, "items": [hint] }).to_string();
    let before = refused(scene).await?;
    for _ in 0..times {
        scene.begin();
        hands.flood(&scene.place.queue("work"), body.as_bytes(), HURT).await?;
        scene.recover().await?;
        demand_ingestion(scene);
        demand_notice(scene);
    }
    let refused = refused(scene).await?.saturating_sub(before);
    scene.note(format!("{refused} messages were refused"));
    scene.demand(refused > 0, "no message was refused");
    Ok(())
}

/// Connections to the broker stay open and nothing comes through.
pub async fn black_hole(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        scene.begin();
        scene.proxy()?.black_hole(true);
        scene.last(SILENT).await;
        scene.proxy()?.black_hole(false);
        scene.recover().await?;
        demand_ingestion(scene);
        demand_notice(scene);
    }
    Ok(())
}

/// The broker comes and goes every two seconds.
pub async fn flap(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    scene.begin();
    for _ in 0..times {
        scene.proxy()?.black_hole(true);
        scene.proxy()?.cut();
        scene.last(FLAP).await;
        scene.proxy()?.black_hole(false);
        scene.last(FLAP).await;
    }
    scene.recover().await?;
    demand_ingestion(scene);
    demand_notice(scene);
    Ok(())
}

/// How many messages the queue has refused, as the service counts them.
async fn refused(scene: &Scene) -> Result<u64, Failure> {
    let answer = scene.admin().get("/metrics").await;
    let text = answer.map_err(|error| Failure::new(format!("/metrics cannot be read: {error}")))?.text();
    let value = text.lines().find_map(|line| line.strip_prefix("postback_publish_total{result=\"refused\"} "));
    let value = value.and_then(|value| value.split('.').next()?.parse().ok());
    value.ok_or_else(|| Failure::new("there is no metric of refused messages".to_owned()))
}
