//! The runs of BENCHMARK: what each one sets up and how it fires.

use std::time::Duration;

use super::Args;
use super::sender::{End, Pace};
use super::world::Size;

/// Connections when nobody says how many: those of the marks.
const CONNECTIONS: usize = 64;
/// Postbacks a second to noisy neighbours when nobody says how many: well below what a small machine can deliver.
const NEIGHBOURS_RATE: u64 = 1_000;
/// The affiliates of noisy neighbours, each with one endpoint.
const NEIGHBOURS: usize = 10;
/// Deliveries of a backlog when nobody says how many.
const BACKLOG: u64 = 100_000;
/// How long a lone postback's sender waits before the next one.
const LONELY_PAUSE: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Run {
    /// No endpoint subscribed: durable, deduplicated, commission booked
    Ingest,
    /// One webhook: every acknowledged postback delivered and its attempt stored
    EndToEnd,
    /// One webhook and two postbacks with macros for each postback
    FanOut,
    /// As end-to-end, and half of the requests are repeats
    Duplicates,
    /// Ten endpoints; measured while all are well, and again while one of them hangs
    NoisyNeighbour,
    /// Many deliveries due at once (100000, or --count), drained
    Backlog,
    /// One postback at a time on an idle service
    Single,
}

impl Run {
    /// Its name on the command line and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::EndToEnd => "end-to-end",
            Self::FanOut => "fan-out",
            Self::Duplicates => "duplicates",
            Self::NoisyNeighbour => "noisy-neighbour",
            Self::Backlog => "backlog",
            Self::Single => "single",
        }
    }

    /// What is to be made for it.
    pub const fn size(self, clicks: usize) -> Size {
        let size = Size { affiliates: 1, webhooks: 1, postbacks: 0, clicks };
        match self {
            Self::Ingest => Size { webhooks: 0, ..size },
            Self::FanOut => Size { postbacks: 2, ..size },
            Self::NoisyNeighbour => Size { affiliates: NEIGHBOURS, ..size },
            _ => size,
        }
    }

    /// How many connections fire.
    pub fn connections(self, args: &Args) -> usize {
        args.connections.unwrap_or(if self == Self::Single { 1 } else { CONNECTIONS })
    }

    /// How fast.
    pub fn pace(self, args: &Args) -> Pace {
        match (args.rate, self) {
            (Some(rate), _) => Pace::Open(rate),
            (None, Self::Single) => Pace::Pausing(LONELY_PAUSE),
            (None, Self::NoisyNeighbour) => Pace::Open(NEIGHBOURS_RATE),
            (None, _) => Pace::Closed,
        }
    }

    /// How long.
    pub fn end(self, args: &Args) -> End {
        match (args.count, self) {
            (Some(count), _) => End::Count(count),
            (None, Self::Backlog) => End::Count(BACKLOG),
            (None, _) => End::After(Duration::from_secs(args.seconds)),
        }
    }

    /// How many of a hundred requests are repeats.
    pub fn duplicates(self, args: &Args) -> u64 {
        args.duplicates.unwrap_or(if self == Self::Duplicates { 50 } else { 0 })
    }

    /// Settings of a service that is started for it, beside those of every bench.
    pub const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // All that was held while the endpoint was paused is due at once.
            Self::Backlog => &[("delivery.release_per_second", "100000")],
            _ => &[],
        }
    }
}
