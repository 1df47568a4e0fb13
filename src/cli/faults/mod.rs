//! `postback faults`: the fault suite of RELIABILITY section 4, judged from outside.
//!
//! Acts: an operator that fires signed postbacks at a fixed rate and repeats whatever was not acknowledged ([`load`]); three
//! receivers that write down every POST and can misbehave ([`inbox`]); a service of one or more processes of this very
//! program ([`instance`]), on servers that may be stopped, killed, cut off and emptied ([`servers`], [`proxy`],
//! [`broker`]); one fault after the other ([`catalogue`], [`kinds`]); and a judge ([`judge`]) that compares what was
//! acknowledged with what is booked and what arrived ([`audit`]).
//!
//! Guaranteed: each fault has a database, queues and processes of its own; a failing exit code when anything acknowledged
//! was lost, booked twice or with a wrong amount, when a POST is not explained by an attempt, when the books do not agree,
//! or when a fault's own demand was not met. Not done on purpose: rates and times are told and not judged, except where
//! RELIABILITY names a bound; and none of this is compiled into the product, only with the feature `failpoints`.

mod audit;
mod broker;
mod catalogue;
mod evil;
mod inbox;
mod instance;
mod judge;
mod kinds;
mod load;
mod place;
mod proxy;
mod recovery;
mod report;
mod scene;
mod servers;
mod watch;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::catalogue::{FAULTS, Fault};
use self::place::Stack;
use self::report::Row;
use self::scene::Scene;
use self::servers::Servers;
use super::outside::interrupted;
use super::{Context, Failure, print, runtime, tell};

/// How long one fault may take on one stack in the short form, and in the long one, before the run is given up.
const PATIENCE: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(7_200)];

/// Hurts a service in every way that it must survive, and judges it from outside
///
/// Starts the service as processes of its own, fires signed postbacks at it, lets one fault after the other happen and
/// compares what was acknowledged with what was booked and told. Needs the servers of scripts/servers for the larger stack:
/// use scripts/faults. Only in builds with the feature `failpoints`.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback faults --list
  postback faults --stack sqlite --only kill-9,client-reset
  postback faults --long --document docs/reliability.md",
"0 nothing was lost or doubled and every demand was met; 1 something was not, or the run failed; 2 the arguments are not right"))]
pub struct Args {
    /// The full counts instead of every fault at least once
    #[arg(long)]
    long: bool,
    /// Says which faults there are, and does nothing
    #[arg(long)]
    list: bool,
    /// Only these faults
    #[arg(long, value_name = "FAULT", value_delimiter = ',', value_parser = fault)]
    only: Vec<&'static str>,
    /// Only on this stack
    #[arg(long)]
    stack: Option<Stack>,
    /// Postbacks a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// How often each fault happens, instead of its own count
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    times: Option<u32>,
    /// Writes the table as a document, too
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Adds what each fault came to as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// Only shows the lines of such a file as a table, and with --document as a document
    #[arg(long, value_name = "FILE", conflicts_with_all = ["long", "only", "stack", "times", "lines", "keep"])]
    table: Option<PathBuf>,
    /// What the document says of when and where it was measured
    #[arg(long, value_name = "SENTENCE", default_value = "")]
    measured: String,
    /// Keeps the data and the logs of the service here
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// When the suite cannot run to its end; what it judges as wrong is an exit code.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    if args.list {
        print(&report::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = match &args.table {
        Some(file) => Row::kept(file)?,
        None => play(args, context)?,
    };
    print(&report::table(&rows))?;
    if let Some(file) = &args.document {
        std::fs::write(file, report::document(&rows, &args.measured, args.rate))
            .map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))?;
    }
    Ok(if rows.iter().all(Row::is_green) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts from nothing and lets happen what was asked for.
fn play(args: &Args, context: &Context) -> Result<Vec<Row>, Failure> {
    let servers = Servers::of(&context.variables).map(Arc::new);
    if servers.is_none() && args.stack != Some(Stack::Sqlite) {
        let sentence = "the larger stack needs the servers of scripts/servers: use scripts/faults, or --stack sqlite";
        return Err(Failure::of_input(sentence.to_owned()));
    }
    runtime(2)?.block_on(async {
        tokio::select! {
            rows = all(args, servers.as_ref()) => rows,
            // What was started ends with us.
            () = interrupted() => Err(Failure::new("interrupted; there is no table".to_owned())),
        }
    })
}

/// Every fault that was asked for, on every stack that it is for, one after the other.
async fn all(args: &Args, servers: Option<&Arc<Servers>>) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for fault in FAULTS.iter().filter(|fault| args.only.is_empty() || args.only.contains(&fault.name)) {
        for stack in fault.stacks.iter().copied().filter(|stack| args.stack.is_none_or(|only| only == *stack)) {
            let row = one(args, fault, stack, servers).await;
            tell(&row.line());
            if let Some(file) = &args.lines {
                row.keep(file)?;
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// One fault on one stack. A run that could not be carried through is a row too, and no other fault suffers from it.
async fn one(args: &Args, fault: &Fault, stack: Stack, servers: Option<&Arc<Servers>>) -> Row {
    let times = args.times.unwrap_or(if args.long { fault.long } else { fault.short });
    let [short, long] = PATIENCE;
    let played = async {
        let mut scene = Scene::open(fault, stack, servers, args.rate, args.keep.as_deref()).await?;
        let struck = (fault.strike)(&mut scene, times).await;
        if let Err(failure) = struck {
            return Err(scene.explain(&failure));
        }
        scene.close(times).await
    };
    let played = tokio::time::timeout(if args.long { long } else { short }, played).await;
    let row = match played {
        Ok(Ok(row)) => row,
        Ok(Err(failure)) => Row::failed(fault.name, stack, times, failure.sentence),
        Err(_) => Row::failed(fault.name, stack, times, "it did not come to an end in time".to_owned()),
    };
    if let Some(servers) = servers.filter(|_| stack == Stack::Postgres)
        && let Err(failure) = servers.restore().await
    {
        return Row::failed(fault.name, stack, times, format!("the servers did not come back: {}", failure.sentence));
    }
    row
}

fn fault(text: &str) -> Result<&'static str, String> {
    let found = FAULTS.iter().find(|fault| fault.name == text);
    found.map(|fault| fault.name).ok_or_else(|| "there is no such fault; --list tells all".to_owned())
}
