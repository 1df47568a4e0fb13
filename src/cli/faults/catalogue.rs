//! The faults, in the order of RELIABILITY section 4.

use std::pin::Pin;

use super::instance::Start;
use super::kinds::{broker, client, database, process, receivers};
use super::place::{Place, Stack};
use super::scene::Scene;
use crate::cli::Failure;

/// What a fault does to a scene, so many times.
type Strike = for<'a> fn(&'a mut Scene, u32) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// Which server is reached through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// None.
    Nothing,
    /// The database.
    Database,
    /// The broker.
    Broker,
}

/// One fault.
pub struct Fault {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What happens, and what is demanded beside that nothing is lost or doubled.
    pub what: &'static str,
    /// On which stacks.
    pub stacks: &'static [Stack],
    /// How often in the short form.
    pub short: u32,
    /// How often in the long form.
    pub long: u32,
    /// Which server is reached through a proxy.
    pub through: Through,
    /// How many instances there are.
    pub instances: usize,
    /// Settings of its own.
    pub settings: &'static [(&'static str, &'static str)],
    /// How the instances are started at first.
    pub start: fn(&Place) -> Start,
    /// Lets it happen.
    pub strike: Strike,
}

const SMALL: &[Stack] = &[Stack::Sqlite];
const LARGE: &[Stack] = &[Stack::Postgres];
const BOTH: &[Stack] = &[Stack::Sqlite, Stack::Postgres];

/// What most faults have in common.
const USUAL: Fault = Fault {
    name: "",
    what: "",
    stacks: BOTH,
    short: 1,
    long: 1,
    through: Through::Nothing,
    instances: 1,
    settings: &[],
    start: |_| Start::default(),
    strike: |_, _| Box::pin(async { Ok(()) }),
};

/// Every fault.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "kill-9",
        what: "the service is killed at a random moment and started again",
        short: 10,
        long: 200,
        strike: |scene, times| Box::pin(process::kill(scene, times)),
        ..USUAL
    },
    Fault {
        name: "crash-points",
        what: "the service aborts at each crash point of RELIABILITY section 3 in turn",
        long: 10,
        strike: |scene, times| Box::pin(process::crash(scene, times)),
        ..USUAL
    },
    Fault {
        name: "client-reset",
        what: "operators reset their connections in the middle of a request, and send it again",
        short: 200,
        long: 2_000,
        strike: |scene, times| Box::pin(client::reset(scene, times)),
        ..USUAL
    },
    Fault {
        name: "database-stopped",
        what: "PostgreSQL crashes and is gone for 10 s: 503 in time, never another error",
        stacks: LARGE,
        long: 10,
        strike: |scene, times| Box::pin(database::stop(scene, times)),
        ..USUAL
    },
    Fault {
        name: "commit-unknown",
        what: "the connection is cut between a COMMIT and its answer",
        stacks: LARGE,
        short: 20,
        long: 200,
        through: Through::Database,
        strike: |scene, times| Box::pin(database::lose_commits(scene, times)),
        ..USUAL
    },
    Fault {
        name: "database-silent",
        what: "connections to PostgreSQL stay open for 3 s and for 10 s, and nothing comes through: 503 within 5 s",
        stacks: LARGE,
        long: 10,
        through: Through::Database,
        strike: |scene, times| Box::pin(database::black_hole(scene, times)),
        ..USUAL
    },
    Fault {
        name: "database-vanished",
        what: "what is behind the connections to PostgreSQL vanishes without a word, and new ones get through: found out in 30 s",
        stacks: LARGE,
        long: 10,
        through: Through::Database,
        strike: |scene, times| Box::pin(database::vanish(scene, times)),
        ..USUAL
    },
    Fault {
        name: "disk-full",
        what: "nothing more can be written for a while (on PostgreSQL it says so itself): 503 in time",
        start: database::with_small_disk,
        strike: |scene, times| Box::pin(database::disk_full(scene, times)),
        ..USUAL
    },
    Fault {
        name: "foreign-writer",
        what: "somebody else holds SQLite's only lock for 8 s: 503 in time",
        stacks: SMALL,
        long: 10,
        strike: |scene, times| Box::pin(database::foreign_writer(scene, times)),
        ..USUAL
    },
    Fault {
        name: "broker-stopped",
        what: "RabbitMQ is stopped for 70 s each time: everything is taken in, and after a minute delivered without it",
        stacks: LARGE,
        long: 4,
        settings: &[("delivery.direct_after", "60s")],
        strike: |scene, times| Box::pin(broker::stop(scene, times)),
        ..USUAL
    },
    Fault {
        name: "broker-killed",
        what: "RabbitMQ is killed where it stands and started again",
        stacks: LARGE,
        short: 2,
        long: 50,
        strike: |scene, times| Box::pin(broker::kill(scene, times)),
        ..USUAL
    },
    Fault {
        name: "queue-leaderless",
        what: "the work queue has no leader: it neither confirms nor refuses",
        stacks: LARGE,
        long: 10,
        strike: |scene, times| Box::pin(broker::leaderless(scene, times)),
        ..USUAL
    },
    Fault {
        name: "queue-deleted",
        what: "the work queue is deleted under its consumer",
        stacks: LARGE,
        short: 3,
        long: 50,
        strike: |scene, times| Box::pin(broker::delete_queue(scene, times)),
        ..USUAL
    },
    Fault {
        name: "binding-removed",
        what: "the work queue's binding is gone for a fifth of the time, while so many postbacks are fired",
        stacks: LARGE,
        short: 1_000,
        long: 10_000,
        strike: |scene, times| Box::pin(broker::unbind(scene, times)),
        ..USUAL
    },
    Fault {
        name: "memory-alarm",
        what: "RabbitMQ takes nothing for want of memory",
        stacks: LARGE,
        long: 10,
        strike: |scene, times| Box::pin(broker::memory_alarm(scene, times)),
        ..USUAL
    },
    Fault {
        name: "queue-full",
        what: "the work queue is at its maximum, full of what somebody else put in",
        stacks: LARGE,
        long: 10,
        settings: &[("queue.prefetch", "1"), ("queue.max_length", "50")],
        strike: |scene, times| Box::pin(broker::full_queue(scene, times)),
        ..USUAL
    },
    Fault {
        name: "broker-silent",
        what: "connections to RabbitMQ stay open and nothing comes through",
        stacks: LARGE,
        long: 10,
        through: Through::Broker,
        strike: |scene, times| Box::pin(broker::black_hole(scene, times)),
        ..USUAL
    },
    Fault {
        name: "broker-flapping",
        what: "RabbitMQ comes and goes every 2 s",
        stacks: LARGE,
        short: 5,
        long: 60,
        through: Through::Broker,
        strike: |scene, times| Box::pin(broker::flap(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-dripping",
        what: "a receiver answers a byte a second",
        long: 5,
        strike: |scene, times| Box::pin(receivers::drip(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-silent",
        what: "a receiver never answers",
        long: 5,
        strike: |scene, times| Box::pin(receivers::hang(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-huge",
        what: "a receiver answers 1 GiB: memory stays flat",
        long: 5,
        strike: |scene, times| Box::pin(receivers::huge(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-bomb",
        what: "a receiver answers a gzip bomb: memory stays flat",
        long: 5,
        strike: |scene, times| Box::pin(receivers::gzip_bomb(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-redirects",
        what: "a receiver redirects without end: nobody follows",
        long: 5,
        strike: |scene, times| Box::pin(receivers::redirect(scene, times)),
        ..USUAL
    },
    Fault {
        name: "receiver-500",
        what: "a receiver always answers 500: the exact ladder, then dead, one alert, and a replay delivers",
        settings: &[("delivery.max_attempts", "4")],
        strike: |scene, times| Box::pin(receivers::always_500(scene, times)),
        ..USUAL
    },
    Fault {
        name: "endpoint-hanging",
        what: "an endpoint hangs with 1 000 messages waiting: the others keep their p99 within 2 s and 80 % of their throughput",
        strike: |scene, times| Box::pin(receivers::neighbours(scene, times)),
        ..USUAL
    },
    Fault {
        name: "clock-steps",
        what: "the service's clock steps 10 min forward, 10 min back and to where it was",
        long: 5,
        settings: &[("intake.signature_tolerance", "1h")],
        start: process::with_clock,
        strike: |scene, times| Box::pin(process::clock(scene, times)),
        ..USUAL
    },
    Fault {
        name: "instance-killed",
        what: "one of two instances is killed and stays away for longer than its leases; the other goes on",
        stacks: LARGE,
        short: 3,
        long: 50,
        instances: 2,
        strike: |scene, times| Box::pin(process::kill_one(scene, times)),
        ..USUAL
    },
    Fault {
        name: "instance-frozen",
        what: "one of two instances stands still for longer than its leases, and goes on as if nothing had been",
        stacks: LARGE,
        short: 3,
        long: 50,
        instances: 2,
        strike: |scene, times| Box::pin(process::freeze_one(scene, times)),
        ..USUAL
    },
    Fault {
        name: "rolling-restart",
        what: "two instances are stopped and started one after the other",
        stacks: LARGE,
        long: 20,
        instances: 2,
        strike: |scene, times| Box::pin(process::rolling(scene, times)),
        ..USUAL
    },
];
