//! Faults of the database and of the way to it: 503 in time, never another error, never a hang.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cli::Failure;
use crate::cli::faults::instance::Start;
use crate::cli::faults::place::{Place, Stack};
use crate::cli::faults::scene::Scene;
use crate::cli::faults::servers::{until, until_within};
use crate::cli::faults::watch::NOT_READY;

/// How long a sender waits for its 503.
const WITHIN_MICROS: u64 = 5_000_000;
/// How long PostgreSQL is gone.
const GONE: Duration = Duration::from_secs(10);
/// How long it can be connected to and says nothing: as long as RELIABILITY has it, and longer than any answer may take.
const SILENCES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(10)];
/// How long the service may take to find out that its connections lead nowhere: what one use case may take, and the time for
/// new connections.
const FOUND_OUT: Duration = Duration::from_secs(30);
/// How long answers that are on their way may take to arrive.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);
/// How long somebody else writes to SQLite.
const WRITING: Duration = Duration::from_secs(8);
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(4);
/// How large the files of SQLite may grow: some 4 MiB go to its log before they are moved to the database.
const FILE_BYTES: u64 = 5 * 1024 * 1024;
/// Refusals that tell that the disk is full.
const REFUSALS: u64 = 20;

/// What RELIABILITY asks of every answer while nothing can be stored.
fn demand_refusals(scene: &mut Scene) {
    let answers = scene.answers.clone();
    let others = answers.with_status(300..=502) + answers.with_status(504..=599);
    scene.demand(others == 0, format!("{others} answers were neither 2xx nor 503: {:?}", answers.strange));
    scene.demand(answers.late == 0, format!("{} requests were never answered", answers.late));
    let slowest = answers.slowest_refusal_micros;
    scene.demand(slowest <= WITHIN_MICROS, format!("a refusal took {} ms", slowest / 1_000));
}

/// That senders and `/readyz` were told of it.
fn demand_notice(scene: &mut Scene) {
    let (refused, not_ready) = (scene.answers.with_status(503..=503), scene.watch.count(NOT_READY));
    scene.demand(refused > 0, "no postback was answered 503");
    scene.demand(not_ready > 0, "/readyz said nothing of it");
}

/// PostgreSQL crashes, is gone for a while and comes back.
pub async fn stop(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let memory = scene.peak_memory_kib()?;
    for _ in 0..times {
        scene.begin();
        let servers = scene.servers()?;
        servers.stop_database().await?;
        scene.last(GONE).await;
        servers.start_database().await?;
        scene.recover().await?;
        demand_refusals(scene);
        demand_notice(scene);
    }
    scene.demand_flat_memory(memory)
}

/// Connections are cut when the answer to a COMMIT passes: it was carried out, and nobody knows.
pub async fn lose_commits(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    scene.begin();
    for _ in 0..times {
        let proxy = scene.proxy()?;
        proxy.lose_commits(1);
        until("a COMMIT's answer is lost", async || proxy.commits_to_lose() == 0).await?;
    }
    scene.recover().await?;
    demand_refusals(scene);
    scene.note(format!("{} were booked although the answer was 503", scene.answers.duplicates));
    Ok(())
}

/// Connections to PostgreSQL stay open and nothing comes through.
pub async fn black_hole(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let memory = scene.peak_memory_kib()?;
    for _ in 0..times {
        for silence in SILENCES {
            scene.begin();
            scene.proxy()?.black_hole(true);
            scene.last(silence).await;
            scene.proxy()?.black_hole(false);
            scene.recover().await?;
            demand_refusals(scene);
        }
        demand_notice(scene);
    }
    scene.demand_flat_memory(memory)
}

/// What is behind the connections to PostgreSQL vanishes without a word, as behind a firewall that forgot them; new ones get
/// through. No byte and no error ever comes out of the old ones.
pub async fn vanish(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let memory = scene.peak_memory_kib()?;
    for _ in 0..times {
        scene.proxy()?.vanish();
        let began = Instant::now();
        scene.last(ON_THEIR_WAY).await;
        scene.begin();
        let taken_in = async || scene.load.answers().with_status(200..=299) > 0;
        until_within(FOUND_OUT, "postbacks are taken in again", taken_in).await?;
        let took = began.elapsed().as_secs();
        scene.recover().await?;
        scene.note(format!("postbacks were taken in again after {took} s"));
        demand_refusals(scene);
    }
    scene.demand_flat_memory(memory)
}

/// The service with a disk that will be full.
pub fn with_small_disk(place: &Place) -> Start {
    Start { file_bytes: (place.stack == Stack::Sqlite).then_some(FILE_BYTES), ..Start::default() }
}

/// The disk is full for a while.
pub async fn disk_full(scene: &mut Scene, _times: u32) -> Result<(), Failure> {
    let memory = scene.peak_memory_kib()?;
    scene.begin();
    let database = scene.place.database().map(str::to_owned);
    if let Some(database) = &database {
        let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'No space left \
                    on device' USING ERRCODE = 'disk_full'; END $$; \
                    CREATE TRIGGER full_disk BEFORE INSERT ON receipts EXECUTE FUNCTION full_disk(); \
                    CREATE TRIGGER full_disk BEFORE INSERT ON attempts EXECUTE FUNCTION full_disk()";
        scene.servers()?.psql(Some(database), full).await?;
    }
    until("the disk is full", async || scene.load.answers().with_status(503..=503) >= REFUSALS).await?;
    scene.last(FULL).await;
    match &database {
        Some(database) => {
            let room = "DROP FUNCTION full_disk() CASCADE";
            scene.servers()?.psql(Some(database), room).await?;
        }
        None => scene.instance(0)?.lift_file_limit().await?,
    }
    scene.recover().await?;
    demand_refusals(scene);
    demand_notice(scene);
    scene.demand_flat_memory(memory)
}

/// Somebody else's transaction holds SQLite's only lock.
pub async fn foreign_writer(scene: &mut Scene, times: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("sqlite3 cannot be used: {error}"));
    let memory = scene.peak_memory_kib()?;
    for _ in 0..times {
        let mut command = Command::new("sqlite3");
        command.arg("-bail").arg(scene.place.file("postback.sqlite")).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut writer = command.stderr(Stdio::null()).kill_on_drop(true).spawn().map_err(failed)?;
        let mut commands = writer.stdin.take().ok_or_else(|| Failure::new("sqlite3 listens to nobody".to_owned()))?;
        scene.begin();
        commands.write_all(b".timeout 20000\nBEGIN IMMEDIATE;\n").await.map_err(failed)?;
        scene.last(WRITING).await;
        commands.write_all(b"ROLLBACK;\n.quit\n").await.map_err(failed)?;
        let ended = writer.wait().await.map_err(failed)?;
        scene.demand(ended.success(), format!("the foreign writer ended with {ended}"));
        scene.recover().await?;
        demand_refusals(scene);
        demand_notice(scene);
    }
    scene.demand_flat_memory(memory)
}
