//! `postback bench`: how fast a service is, measured from outside as operators and subscribers see it.
//!
//! Acts: operators that fire distinct, signed postbacks ([`sender`]); subscribers that check and count every message
//! ([`receiver`]); a service, which is a process of its own ([`service`]); /proc, which knows what everybody used
//! ([`usage`]); and a judge ([`judge`]) that looks for what was lost, doubled or wrongly signed.
//!
//! Guaranteed: figures of a bench that lost or doubled something come with a failing exit code; everything ends in a time
//! that follows from the arguments. Not done on purpose: no figure is judged, since rates move with the machine's
//! neighbours; and a service is only driven through its interfaces, so that any version can be compared with any other.

mod audit;
mod judge;
mod measure;
mod receiver;
mod report;
mod runs;
mod sender;
mod service;
mod timeline;
mod usage;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use self::judge::{Evidence, Findings, InboxEvidence, judge};
use self::measure::{Bench, Measured, RECEIVER, SENDER};
use self::receiver::Mood;
use self::report::{Report, Settings};
use self::runs::Run;
use self::service::Service;
use self::usage::Watched;
use self::world::Entrance;
use super::outside::book::Book;
use super::outside::interrupted;
use super::outside::lane::Lane;
use super::outside::throwaway::{Folder, master_key};
use super::{Failure, print, runtime};
use crate::domain::encoding::to_hex;

/// Settings of a service that is started here.
const SETTINGS: [(&str, &str); 5] = [
    ("server.listen", "127.0.0.1:0"),
    ("server.drain", "10s"),
    ("outbound.allow_ranges", "127.0.0.0/8"),
    ("log.format", "json"),
    ("log.filter", "info"),
];

/// Measures how fast a service is, from outside
///
/// Without --url it starts a service as a process of its own: on SQLite in a temporary folder, or on --database-url and
/// --amqp-url. It makes its own operator, program, affiliates and endpoints, fires signed postbacks, receives and checks
/// the webhooks, and ends with a table, or with one line of JSON. It fails when anything was lost, doubled or wrongly
/// signed. Rates move with the machine's neighbours: trust CPU time and ratios within one run.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback bench ingest
  postback bench end-to-end --seconds 20 --connections 64
  postback bench end-to-end --rate 3000 --seconds 1800 (half an hour at a fixed rate)
  postback bench ingest --prefill 10000000 (with so many conversions in the tables)
  postback bench end-to-end --set server.threads=1
  postback bench fan-out --database-url postgres://postgres@127.0.0.1/bench --database-pid 71 (an empty database)
  postback bench ingest --data ./grown --source src_0190… --scattered (on what a database holds already)
  postback bench end-to-end --url http://127.0.0.1:8080 --admin-key-file key.txt --service-pid 70",
"0 nothing was lost, doubled or wrongly signed; 1 something was, or the bench failed; 2 the arguments are not right"))]
pub struct Args {
    /// What is measured
    run: Run,
    /// How long postbacks are fired
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many requests are fired, instead of --seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    count: Option<u64>,
    /// Connections that fire [default: 64; single: 1]
    #[arg(long, value_parser = connections)]
    connections: Option<usize>,
    /// Requests a second, whether the service keeps up or not [default: as fast as they are answered]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// How many of a hundred requests are repeats [default: 0; duplicates: 50]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=99))]
    duplicates: Option<u64>,
    /// Seconds of the same before anything is measured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warmup: u64,
    /// Postbacks that are booked before anything is measured
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    prefill: u64,
    /// Clicks that postbacks refer to in turn
    #[arg(long, default_value_t = 500, value_parser = clicks)]
    clicks: usize,
    /// A source that is there already, to fire through [default: that of a new operator]
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Let event ids begin with digits that look random, so that their keys lie anywhere in the index
    #[arg(long)]
    scattered: bool,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    json: bool,
    /// A service that runs already; it must be allowed to send to this machine (outbound.allow_ranges)
    #[arg(long, value_name = "http://HOST:PORT", requires = "admin_key_file")]
    url: Option<String>,
    /// Where an admin key of that service is written
    #[arg(long, value_name = "FILE", requires = "url")]
    admin_key_file: Option<PathBuf>,
    /// That service's process, to read its CPU time and memory
    #[arg(long, value_name = "PID", requires = "url")]
    service_pid: Option<u32>,
    /// The folder of a SQLite database that holds nothing but benches; it is kept [default: a temporary one]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "database_url"])]
    data: Option<PathBuf>,
    /// A PostgreSQL database that holds nothing but benches [default: SQLite]
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    database_url: Option<String>,
    /// A RabbitMQ broker; the bench's queues have a prefix of their own [default: the queue in the service]
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    amqp_url: Option<String>,
    /// Instances of the service, with --database-url and --amqp-url; connections go round them
    #[arg(long, default_value_t = 1, requires = "amqp_url", value_parser = instances)]
    instances: usize,
    /// PostgreSQL's first process (the first line of postmaster.pid)
    #[arg(long, value_name = "PID")]
    database_pid: Option<u32>,
    /// RabbitMQ's process
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// A setting of the service that is started; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", conflicts_with = "url", value_parser = setting)]
    settings: Vec<(String, String)>,
}

/// Runs the subcommand.
///
/// # Errors
/// When the bench cannot run to its end; what it judges as wrong is an exit code.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = args.data.as_deref().map_or_else(|| Folder::temporary("bench"), Folder::given);
    let folder = folder.map_err(|error| Failure::new(format!("the bench's folder cannot be made: {error}")))?;
    let done = runtime(1)?.block_on(async {
        tokio::select! {
            done = bench(args, &folder) => done,
            // A service that was started ends with us.
            () = interrupted() => Err(Failure::new("interrupted; there are no figures".to_owned())),
        }
    });
    let removed = folder.remove();
    let report = done?;
    removed.map_err(|error| Failure::new(format!("{} cannot be removed: {error}", folder.path().display())))?;
    Ok(if report.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn bench(args: &Args, folder: &Folder) -> Result<Report, Failure> {
    let tag: [u8; 4] = rand::random();
    let tag = to_hex(&tag);
    let service = service(args, folder, &tag).await?;
    let stack = service.ready().await?;
    let mut watched = Watched { service: service.pids(), database: args.database_pid, broker: args.broker_pid };
    watched.service.extend(args.service_pid);
    let no_thread = |error: std::io::Error| Failure::new(format!("no thread can be started: {error}"));
    let (sender, receivers) = (Lane::start(SENDER).map_err(no_thread)?, Lane::start(RECEIVER).map_err(no_thread)?);
    let size = args.run.size(args.clicks);
    let book = Arc::new(Book::new(format!("bench-{tag}-"), size.affiliates));
    let entrance = Entrance { source: args.source.as_deref(), scattered: args.scattered };
    let world = world::set_up(&service, (size, entrance), &tag, &book, &receivers).await?;
    let mut bench = Bench { run: args.run, service, world, book, watched, sender, next: 0 };
    let measured = bench.measure(args).await?;
    let findings = findings(&bench, &measured).await?;
    let settings = Settings {
        instances: args.instances,
        connections: args.run.connections(args),
        rate_per_second: rate(args),
        prefilled: args.prefill,
    };
    let report = Report::new(&bench, stack, settings, &measured, &findings);
    if args.json {
        let line = serde_json::to_string(&report);
        let line = line.map_err(|error| Failure::new(format!("the figures cannot be written: {error}")))?;
        print(&format!("{line}\n"))?;
    } else {
        print(&report.table(&findings, measured.part.fired.refusal.as_deref()))?;
    }
    // What hangs would keep the service from stopping.
    bench.inboxes().for_each(|inbox| inbox.turn(Mood::Good));
    bench.service.stop().await;
    Ok(report)
}

/// The service that runs, or a new one.
async fn service(args: &Args, folder: &Folder, tag: &str) -> Result<Service, Failure> {
    if let (Some(url), Some(file)) = (&args.url, &args.admin_key_file) {
        let key = std::fs::read_to_string(file);
        let key = key.map_err(|error| Failure::of_input(format!("{} cannot be read: {error}", file.display())))?;
        return Service::at(url, key.trim().to_owned());
    }
    let mut settings: Vec<(String, String)> =
        SETTINGS.iter().chain(args.run.settings()).map(|(name, value)| own(name, value)).collect();
    settings.push(own("data_dir", &folder.path().display().to_string()));
    settings.push(own("queue.prefix", &format!("postback-bench-{tag}")));
    settings.extend(args.amqp_url.iter().map(|url| own("queue.amqp_url", url)));
    if let Some(url) = &args.database_url {
        settings.extend([own("database.url", url), own("master_key", &master_key(url))]);
    }
    settings.extend(args.settings.iter().cloned());
    let variables: Vec<(String, String)> = settings.into_iter().map(|(name, value)| (variable(&name), value)).collect();
    Service::start(&variables, args.instances).await
}

fn own(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The environment variable of a setting.
fn variable(setting: &str) -> String {
    format!("POSTBACK_{}", setting.replace('.', "_").to_ascii_uppercase())
}

fn rate(args: &Args) -> Option<u64> {
    match args.run.pace(args) {
        sender::Pace::Open(rate) => Some(rate),
        sender::Pace::Closed | sender::Pace::Pausing(_) => None,
    }
}

async fn findings(bench: &Bench, measured: &Measured) -> Result<Findings, Failure> {
    let first = measured.before.as_ref().map_or(measured.part.first, |part| part.first);
    let booked = audit::booked(bench, first).await?;
    let inbox = |inbox: &receiver::Inbox| {
        let seen = inbox.seen();
        InboxEvidence {
            name: inbox.name.clone(),
            affiliate: inbox.affiliate,
            was_out: inbox.hangs(),
            has_ids: inbox.has_ids(),
            told: seen.told,
            wrongly_signed: seen.wrongly_signed,
            strange: seen.strange,
        }
    };
    Ok(judge(&Evidence {
        affiliates: bench.book.affiliates(),
        fired: (0..bench.next).map(|number| bench.book.entry(number)).collect(),
        inboxes: bench.inboxes().map(inbox).collect(),
        booked: Some(booked),
        failed_attempts: measured.failed_attempts,
    }))
}

fn instances(text: &str) -> Result<usize, String> {
    between(text, 1, 64)
}

fn connections(text: &str) -> Result<usize, String> {
    between(text, 1, 10_000)
}

fn clicks(text: &str) -> Result<usize, String> {
    between(text, 1, 1_000_000)
}

fn between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE, such as server.threads=1")?;
    Ok(own(name, value))
}
