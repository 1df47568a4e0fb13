//! Faults of the service's own processes and of its clock.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::json;

use crate::cli::Failure;
use crate::cli::faults::audit;
use crate::cli::faults::instance::Start;
use crate::cli::faults::place::Place;
use crate::cli::faults::scene::Scene;
use crate::cli::faults::servers::until;

/// How long the service runs before it is killed, at the most.
const LIFE: Duration = Duration::from_millis(1_500);
/// How long an instance is away: longer than a lease and a round of the sweeper.
const AWAY: Duration = Duration::from_secs(6);
/// The signal that a failpoint ends a process with.
const SIGABRT: i32 = 6;
/// The crash points that load passes by itself.
const PASSED: &[&str] = &[
    "record.before_commit",
    "record.after_commit",
    "relay.before_publish",
    "relay.after_publish",
    "worker.after_claim",
    "worker.before_send",
    "worker.after_send",
    "finish.before_commit",
    "finish.after_commit",
];
/// The crash points that a replay passes.
const REPLAYED: &[&str] = &["replay.before_commit", "replay.after_commit"];
/// How many times a crash point is passed before the process ends there, at the most.
const PASSINGS: u16 = 30;
/// How long a stepped clock stays where it is.
const STEPPED: Duration = Duration::from_secs(5);
/// How far the clock is stepped, in turn, in seconds.
const STEPS: [i64; 3] = [600, -600, 0];
/// How long deliveries may take that are not ahead of their time: longer than a lease and a sweep.
const SETTLED: Duration = Duration::from_secs(8);
/// How far the time of a message may be off while the clock is stepped.
const TOLERANCE_SECONDS: u64 = 3_600;

/// Kills the service at a random moment and starts it again.
pub async fn kill(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        let life = LIFE * u32::from(rand::random::<u8>()) / u32::from(u8::MAX);
        scene.last(life).await;
        scene.begin();
        scene.kill(0).await?;
        scene.restart(0, &Start::default(), true).await?;
        scene.recover().await?;
    }
    Ok(())
}

/// Kills one of several instances, and starts it again when the others have taken over.
pub async fn kill_one(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for time in 0..times {
        let number = victim(scene, time);
        scene.begin();
        scene.kill(number).await?;
        scene.last(AWAY).await;
        scene.recover().await?;
        scene.restart(number, &Start::default(), true).await?;
    }
    Ok(())
}

/// Lets one of several instances stand still, and go on.
pub async fn freeze_one(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for time in 0..times {
        let number = victim(scene, time);
        scene.begin();
        scene.instance(number)?.signal("-STOP").await?;
        scene.last(AWAY).await;
        scene.instance(number)?.signal("-CONT").await?;
        scene.recover().await?;
    }
    Ok(())
}

/// Each instance in turn. The first one is asked what it has to say, so it comes last.
fn victim(scene: &Scene, time: u32) -> usize {
    let instances = scene.instances.len().max(1);
    (instances - 1).wrapping_add(usize::try_from(time).unwrap_or_default()) % instances
}

/// Lets the service abort at each crash point and starts it again.
pub async fn crash(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        for point in PASSED.iter().chain(REPLAYED) {
            crash_at(scene, point).await?;
        }
    }
    scene.note(format!("{} crash points", PASSED.len() + REPLAYED.len()));
    Ok(())
}

async fn crash_at(scene: &mut Scene, point: &'static str) -> Result<(), Failure> {
    let is_replay = REPLAYED.contains(&point);
    let passing = if is_replay { 1 } else { 1 + rand::random::<u16>() % PASSINGS };
    scene.begin();
    scene.kill(0).await?;
    let doomed = Start { failpoint: Some(format!("{point}=abort@{passing}")), ..Start::default() };
    // One that passes the point by the load alone may abort before it is ready.
    scene.respawn(0, &doomed)?;
    if is_replay {
        scene.instance(0)?.ready(false).await?;
        replay_some(scene).await?;
    }
    let ended = scene.instance(0)?.ended().await?;
    scene.demand(ended.signal() == Some(SIGABRT), format!("{point}: the service ended with {ended}"));
    scene.restart(0, &Start::default(), true).await?;
    if is_replay {
        replays_done(scene).await?;
    }
    scene.recover().await
}

/// Asks for a replay of the latest messages that have arrived. An answer may come: the service aborts in a step of it.
async fn replay_some(scene: &Scene) -> Result<(), Failure> {
    let mut admin = scene.admin();
    let path = "/v1/admin/deliveries?state=delivered&limit=1";
    let page = admin.get(path).await.map_err(|error| Failure::new(format!("{path}: {error}")))?.json();
    let since = page.pointer("/items/0").map(|item| audit::text(item, "created_at"));
    let since = since.ok_or_else(|| Failure::new("nothing is delivered yet".to_owned()))?;
    let replay = json!({ "kind": "deliveries", "filter": { "state": "delivered", "from": since }, "rate": 1_000 });
    match admin.post("/v1/admin/replays", &[], replay.to_string()).await {
        Ok(answer) if !(200..300).contains(&answer.status) => {
            Err(Failure::new(format!("a replay was answered {} {}", answer.status, answer.text())))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Waits until every replay has come to its end.
async fn replays_done(scene: &Scene) -> Result<(), Failure> {
    until("the replays are done", async || {
        let jobs = audit::all(&mut scene.admin(), "/v1/admin/replays").await;
        jobs.is_ok_and(|jobs| !jobs.is_empty() && jobs.iter().all(|job| audit::text(job, "state") == "done"))
    })
    .await
}

/// Stops the instances one after the other, as for a new version, and starts each again.
pub async fn rolling(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    for _ in 0..times {
        for number in 0..scene.instances.len() {
            scene.begin();
            let ended = scene.instance(number)?.terminate().await?;
            scene.demand(ended.code() == Some(0), format!("instance {number} ended with {ended}"));
            scene.restart(number, &Start::default(), true).await?;
            scene.recover().await?;
            let errors = scene.answers.with_status(400..=502);
            scene.demand(errors == 0, format!("{errors} answers were errors: {:?}", scene.answers.strange));
        }
    }
    Ok(())
}

/// The service with a clock that a file steps.
pub fn with_clock(place: &Place) -> Start {
    Start { clock_step: Some(place.file("clock-step")), ..Start::default() }
}

/// Steps the service's clock forward, back, and to where it was.
pub async fn clock(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let file = scene.place.file("clock-step");
    scene.world.inboxes.iter().for_each(|inbox| inbox.tolerate(TOLERANCE_SECONDS));
    for _ in 0..times {
        for seconds in STEPS {
            scene.begin();
            std::fs::write(&file, format!("{seconds}\n"))
                .map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))?;
            scene.recover().await?;
            scene.last(STEPPED).await;
        }
    }
    let left = let_time_pass(scene).await?;
    scene.begin();
    scene.note(format!("{left} deliveries waited for a time that the steps had put up to 20 min ahead"));
    scene.recover().await
}

/// What was born, leased or put on a rung while the clock was ahead comes up when that time is there. Nobody waits for it
/// here: the rows of such deliveries are made as old as they will be then. How many they are.
async fn let_time_pass(scene: &Scene) -> Result<String, Failure> {
    let rate = scene.load.pace(0);
    scene.last(SETTLED).await;
    let left = scene.sql("SELECT count(*) FROM deliveries WHERE state = 'pending'").await?;
    let change = |by: &str| {
        format!(
            "UPDATE deliveries SET next_attempt_at = next_attempt_at - {by}, republish_at = republish_at - {by}, \
             lease_until = lease_until - {by} WHERE state = 'pending'"
        )
    };
    let by = if scene.servers.is_some() { "interval '30 minutes'" } else { "1800000000" };
    scene.sql(&change(by)).await?;
    scene.load.pace(rate);
    Ok(left.trim().to_owned())
}
