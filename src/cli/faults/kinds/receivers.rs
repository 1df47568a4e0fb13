//! Faults of the receivers. The first one misbehaves; the others must not notice, and it must have everything in the end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::cli::Failure;
use crate::cli::faults::audit;
use crate::cli::faults::evil::{bomb, until_misbehaved};
use crate::cli::faults::inbox::{Mood, Told};
use crate::cli::faults::scene::Scene;
use crate::cli::faults::servers::until;
use crate::cli::outside::figures::{millis, quantile};
use crate::cli::outside::setup::create;

/// How many POSTs a receiver misbehaves at.
const MISBEHAVED: u64 = 40;
/// How many, if it does not answer in time: as many as come in any case before an endpoint is left alone.
const UNANSWERED: u64 = 5;
/// The ladder of the receiver that always fails, and its attempts.
pub const LADDER: &str = "500ms, 1s, 2s";
const RUNGS_MILLIS: [u64; 3] = [500, 1_000, 2_000];
/// How much longer than its rung an attempt may wait on a busy machine.
const SLACK_MILLIS: u64 = 3_000;
/// How much earlier it may arrive: the clock of the rows has milliseconds.
const EARLY_MILLIS: u64 = 5;
/// How long a receiver fails for good.
const FAILING: Duration = Duration::from_secs(4);
/// How many messages wait for the endpoint that hangs.
const WAITING: usize = 1_000;
/// How long the others are measured.
const MEASURED: Duration = Duration::from_secs(8);
/// What the others may have at the 99th percentile while one hangs, in microseconds.
const P99_MICROS: u64 = 2_000_000;

/// The first receiver misbehaves for a while.
async fn misbehave(scene: &mut Scene, mood: Mood, times: u32) -> Result<(), Failure> {
    let mut meanwhile = Vec::new();
    for _ in 0..times {
        let inbox = Arc::clone(scene.inbox(0)?);
        let enough = if matches!(mood, Mood::Dripping | Mood::Hanging) { UNANSWERED } else { MISBEHAVED };
        let enough = inbox.misbehaved() + enough;
        let others = others_arrived(scene);
        scene.begin();
        inbox.turn(mood.clone());
        until_misbehaved(&inbox, enough).await?;
        inbox.turn(Mood::Good);
        let others = others_arrived(scene).saturating_sub(others);
        meanwhile.push(others.to_string());
        scene.demand(others > 0, "the others noticed");
        scene.recover().await?;
        let errors = scene.answers.with_status(300..=599) + scene.answers.broken;
        scene.demand(errors == 0, format!("{errors} requests were not answered 2xx: {:?}", scene.answers));
    }
    scene.note(format!("meanwhile {} messages arrived at the others", meanwhile.join(", ")));
    Ok(())
}

fn others_arrived(scene: &Scene) -> usize {
    scene.world.inboxes.iter().skip(1).map(|inbox| inbox.look().told.len()).sum()
}

/// It answers a byte a second.
pub async fn drip(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    misbehave(scene, Mood::Dripping, times).await
}

/// It never answers.
pub async fn hang(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    misbehave(scene, Mood::Hanging, times).await
}

/// It sends on for ever.
pub async fn redirect(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    misbehave(scene, Mood::Redirecting, times).await
}

/// It answers 1 GiB.
pub async fn huge(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    with_flat_memory(scene, Mood::Huge, times).await
}

/// It answers a gzip bomb.
pub async fn gzip_bomb(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let bomb = Arc::new(bomb().await?);
    with_flat_memory(scene, Mood::Bomb(bomb), times).await
}

async fn with_flat_memory(scene: &mut Scene, mood: Mood, times: u32) -> Result<(), Failure> {
    let before = scene.peak_memory_kib()?;
    misbehave(scene, mood, times).await?;
    scene.demand_flat_memory(before)
}

/// It always answers 500: the exact ladder, then dead, one alert, and a replay delivers.
pub async fn always_500(scene: &mut Scene, _times: u32) -> Result<(), Failure> {
    let (inbox, mut admin) = (Arc::clone(scene.inbox(0)?), scene.admin());
    // What is under way arrives first, so that what is judged met with nothing but 500.
    scene.begin();
    let began = scene.book.micros();
    inbox.turn(Mood::Broken);
    scene.last(FAILING).await;
    let rate = scene.load.pace(0);
    let dead = async || audit::in_state(&mut scene.admin(), "pending").await.is_ok_and(|pending| pending == 0);
    until("what fails is dead", dead).await?;
    until("an alert is open", async || {
        audit::alerts(&mut scene.admin()).await.is_ok_and(|alerts| alerts.contains_key("dead_letters"))
    })
    .await?;
    let failed: Vec<(u64, Told)> = {
        let seen = inbox.look();
        let failed =
            seen.told.iter().filter(|(number, told)| told.good == 0 && scene.book.entry(**number).fired_micros > began);
        failed.map(|(number, told)| (*number, told.clone())).collect()
    };
    for (number, told) in &failed {
        if let Err(sentence) = on_the_ladder(told) {
            scene.demand(false, format!("postback {number}: {sentence}"));
        }
    }
    scene.note(format!("{} deliveries climbed the ladder of {LADDER} and died", failed.len()));
    scene.demand(!failed.is_empty(), "nothing failed");
    inbox.turn(Mood::Good);
    let replay = json!({ "kind": "deliveries", "filter": { "state": "dead" }, "rate": 1_000 });
    let replayed = create(&mut admin, "/v1/admin/replays", replay).await;
    replayed.map_err(|error| Failure::new(format!("nothing can be replayed: {error}")))?;
    scene.load.pace(rate);
    scene.recover().await?;
    until("the alert is closed", async || {
        let open = audit::all(&mut scene.admin(), "/v1/admin/alerts?state=open").await;
        open.is_ok_and(|open| !open.iter().any(|alert| audit::text(alert, "name") == "dead_letters"))
    })
    .await?;
    let alerts = audit::alerts(&mut admin).await;
    let opened = alerts.ok().and_then(|alerts| alerts.get("dead_letters").copied()).unwrap_or_default();
    scene.demand(opened == 1, format!("the alert opened {opened} times"));
    Ok(())
}

/// Whether the POSTs came one rung after the other, and ended with the last.
fn on_the_ladder(told: &Told) -> Result<(), String> {
    let waits: Vec<u64> = told
        .posts
        .windows(2)
        .map(|pair| match pair {
            [one, next] => next.saturating_sub(*one) / 1_000,
            _ => 0,
        })
        .collect();
    let fits = |(wait, rung): (&u64, &u64)| (rung - EARLY_MILLIS..=rung + SLACK_MILLIS).contains(wait);
    if waits.len() == RUNGS_MILLIS.len() && waits.iter().zip(&RUNGS_MILLIS).all(fits) {
        return Ok(());
    }
    Err(format!("its attempts came {waits:?} ms one after the other"))
}

/// One endpoint hangs with many messages waiting; the others keep their pace.
pub async fn neighbours(scene: &mut Scene, _times: u32) -> Result<(), Failure> {
    let (before, p99_before) = measure(scene).await;
    scene.begin();
    let inbox = Arc::clone(scene.inbox(0)?);
    let first = scene.load.next();
    inbox.turn(Mood::Hanging);
    until("so many messages wait", async || {
        let numbers = (first..scene.load.next()).filter(|number| scene.book.affiliate_of(*number) == 0);
        numbers.filter(|number| scene.book.entry(*number).acknowledged).count() >= WAITING
    })
    .await?;
    let (meanwhile, p99) = measure(scene).await;
    inbox.turn(Mood::Good);
    scene.note(format!(
        "the others got {before} messages in {} s with a p99 of {}, and {meanwhile} with {} while one hung",
        MEASURED.as_secs(),
        millis(p99_before),
        millis(p99),
    ));
    scene.demand(p99 <= P99_MICROS, format!("the others' p99 was {}", millis(p99)));
    scene.demand(meanwhile * 100 >= before * 80, format!("the others got {meanwhile} messages instead of {before}"));
    scene.recover().await
}

/// How many messages arrive at the others in a while, and how long they take at the 99th percentile.
async fn measure(scene: &Scene) -> (usize, u64) {
    let began = scene.book.micros();
    scene.last(MEASURED).await;
    let ended = scene.book.micros();
    let mut took: Vec<u64> = Vec::new();
    for inbox in scene.world.inboxes.iter().skip(1) {
        let seen = inbox.look();
        let firsts = seen.told.iter().filter_map(|(number, told)| Some((*number, *told.posts.first()?)));
        let meanwhile = firsts.filter(|(_, at)| (began..ended).contains(at));
        took.extend(meanwhile.map(|(number, at)| at.saturating_sub(scene.book.entry(number).fired_micros)));
    }
    took.sort_unstable();
    (took.len(), quantile(&took, 990))
}
