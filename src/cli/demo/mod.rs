//! `postback demo`: the whole service at work, judged at the end by code that knows none of its rules.
//!
//! Acts: the real service in this process, with HTTP on a port of its own; an operator that fires signed postbacks
//! ([`sender`]); admins who pay the affiliates ([`payer`]); subscribers that verify and fail on purpose ([`receiver`]);
//! and a judge ([`judge`]) that compares what was planned ([`plan`]) with what was answered, delivered and booked. What
//! must outlive a crash lies in the folder ([`kept`], [`journal`]): killed at any moment, the same command goes on where
//! it stopped.
//!
//! Guaranteed: everything ends, well or badly, within a time that follows from the number of postbacks. Not done on
//! purpose: no setting of the real service is read, so that a demo never meets a real database by accident.

mod books;
mod journal;
mod judge;
mod kept;
mod payer;
mod plan;
mod receiver;
mod report;
mod sender;
mod settings;
mod stage;
mod world;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use self::judge::{Evidence, judge};
use self::kept::Kept;
use self::stage::Stage;
use super::outside::throwaway::Folder;
use super::serve::serve_http;
use super::{Failure, print, runtime};
use crate::app::{self, App};
use crate::clock::Clock;
use crate::config::Settings;
use crate::lifecycle::Lifecycle;
use crate::telemetry;

/// Postbacks when nobody says how many.
const DEFAULT_EVENTS: usize = 200;
/// Time for everything, beside that for each postback.
const BASE_TIME: Duration = Duration::from_secs(90);
/// Time for each postback, with its deliveries.
const TIME_EACH: Duration = Duration::from_millis(50);

/// Shows the whole service at work, and judges it
///
/// Starts the service in a folder of its own, creates an operator, a program, affiliates and endpoints, fires signed
/// postbacks over HTTP, pays the affiliates, receives and verifies the webhooks (and fails on purpose for a while), and
/// ends with a table.
/// Killed at any moment, the same command with --data goes on where it stopped. It reads neither postback.toml nor
/// the environment.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback demo
  postback demo --events 2000 --exit
  postback demo --events 2000 --data ./demo --exit
  postback demo --exit --database-url postgres://postgres@127.0.0.1/demo --amqp-url amqp://guest:guest@127.0.0.1:5672",
  "0 nothing was lost, booked twice or wrongly signed; 1 something was, or the work failed; 2 the arguments are not right"))]
pub struct Args {
    /// How many postbacks are fired [default: 200, or as many as before]
    #[arg(long)]
    events: Option<usize>,
    /// The folder to keep everything in and to go on from [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// End with a status: 1 when anything was lost, booked twice or wrongly signed. Without it the service goes on
    /// until Ctrl-C
    #[arg(long)]
    exit: bool,
    /// A PostgreSQL database that holds nothing but demos [default: SQLite in the folder]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A RabbitMQ broker; the demo's queues have a prefix of their own [default: the queue in this process]
    #[arg(long, value_name = "URL")]
    amqp_url: Option<String>,
    /// Where the service listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Which log lines are shown, as the setting log.filter has it [default: warn]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// When the demo cannot run to its end; what it judges as wrong is an exit code.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = match &args.data {
        Some(path) => Folder::given(path),
        None => Folder::temporary("demo"),
    };
    let folder = folder.map_err(|error| Failure::new(format!("the demo's folder cannot be made: {error}")))?;
    let mut kept = Kept::load(&folder).map_err(|error| in_folder(&folder, &error))?;
    let events = args.events.unwrap_or(if kept.events > 0 { kept.events } else { DEFAULT_EVENTS });
    if events < kept.events {
        let sentence =
            format!("this folder holds a demo of {} events; it can go on with more, not with less", kept.events);
        return Err(Failure::of_input(sentence));
    }
    kept.events = events;
    kept.runs = kept.runs.saturating_add(1);
    let settings = settings::settings(args, &folder, &kept)?;
    telemetry::init(&settings.log).map_err(|error| Failure::new(error.to_string()))?;
    let done = runtime(settings.server.threads)?.block_on(live(args.exit, &folder, kept, settings));
    match done {
        Ok(code) if code == ExitCode::SUCCESS => folder.remove().map_err(|error| in_folder(&folder, &error))?,
        _ => print(&format!("What happened is kept in {}\n", folder.path().display()))?,
    }
    done
}

fn in_folder(folder: &Folder, error: &io::Error) -> Failure {
    Failure::new(format!("the demo's folder {} cannot be used: {error}", folder.path().display()))
}

/// Starts, runs and stops everything.
async fn live(exit: bool, folder: &Folder, kept: Kept, settings: Settings) -> Result<ExitCode, Failure> {
    let lifecycle = Lifecycle::new(settings.server.drain);
    let stopped = tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move { lifecycle.run_until_stopped().await }
    });
    let shown = tokio::select! {
        shown = show(exit, folder, kept, settings, &lifecycle) => shown,
        () = lifecycle.stopping().cancelled_owned() => {
            Err(Failure::new("stopped before it was done; with --data the same command goes on".to_owned()))
        }
    };
    if shown.is_ok() && !exit {
        print("The service goes on until Ctrl-C.\n")?;
        lifecycle.stopping().cancelled().await;
    }
    lifecycle.stop();
    let stopped = match stopped.await {
        Ok(Ok(stopped)) => ExitCode::from(stopped),
        Ok(Err(error)) => return Err(Failure::new(format!("signals cannot be listened to: {error}"))),
        Err(error) => return Err(Failure::new(format!("stopping failed: {error}"))),
    };
    match shown? {
        true => Ok(stopped),
        false => Ok(ExitCode::FAILURE),
    }
}

/// The demo from its set-up to its judgement; answers whether nothing was wrong.
async fn show(
    exit: bool,
    folder: &Folder,
    mut kept: Kept,
    settings: Settings,
    lifecycle: &Lifecycle,
) -> Result<bool, Failure> {
    let each = TIME_EACH.saturating_mul(u32::try_from(kept.events).unwrap_or(u32::MAX));
    let time = BASE_TIME.saturating_add(each);
    let App { state } = app::start(settings, Clock::system(), lifecycle).await?;
    let service = serve_http(&state, lifecycle)?;
    let stage = Stage::set(folder, &mut kept, &state, service, lifecycle).await?;
    print(&stage.opening(&state, &kept, service, folder))?;
    match tokio::time::timeout(time, stage.play(state.store.as_ref())).await {
        Ok(played) => played?,
        Err(_) => print("The time is over; what is missing by now counts as lost.\n")?,
    }
    let books = books::read(state.store.as_ref(), &stage.world).await?;
    let evidence = Evidence {
        demo: kept.name.clone(),
        stories: stage.stories(),
        payouts: stage.payouts(),
        acks: stage.sender.acks(),
        arrivals: stage.receiver.arrivals(),
        books,
        runs: kept.runs,
    };
    let findings = judge(&evidence);
    print(&report::report(&evidence, &findings))?;
    if !exit {
        print(&stage.addresses(kept.admin_key.as_deref().unwrap_or_default(), service))?;
    }
    Ok(findings.is_green())
}
