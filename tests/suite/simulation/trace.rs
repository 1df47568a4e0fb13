//! What happened in a run, in order: to be compared with another run of the same seed, and to be read when one fails.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use postback::domain::delivery::{DeliveryState, Hint};
use postback::domain::ids::DeliveryId;
use postback::queue::Route;
use tokio::time::Instant;

use super::model::{Change, Row};
use super::plan::Action;
use super::receivers::Answer;

/// The number of a delivery in its run, which is in its id.
pub fn number_of(id: DeliveryId) -> u32 {
    u32::try_from(id.uuid().as_u128() & 0xFFFF_FFFF).unwrap()
}

/// A delivery, its epoch, and an attempt of it.
pub type Place = (u32, i32, i32);

pub fn place_of(hint: &Hint) -> Place {
    (number_of(hint.delivery_id), hint.epoch, hint.attempt)
}

/// How a row stands: state, epoch, attempt, failures, whether it is under a lease.
pub type Standing = (&'static str, i32, i32, i32, bool);

pub fn standing_of(row: &Row) -> Standing {
    let state = match row.state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Held => "held",
        DeliveryState::Dead => "dead",
    };
    (state, row.epoch, row.attempt, row.failures, row.lease.is_some())
}

/// Something that happened. Instances are numbered in the order in which they started.
#[derive(Clone, Debug, Hash)]
pub enum Event {
    Did(Action),
    Started {
        instance: usize,
        slot: usize,
    },
    StartFailed {
        slot: usize,
    },
    Stopped {
        instance: usize,
        how: &'static str,
    },
    Posted {
        key: u32,
        instance: usize,
    },
    Acknowledged {
        key: u32,
    },
    /// A call took effect in the store.
    Store {
        instance: usize,
        call: &'static str,
        count: usize,
    },
    StoreFailed {
        instance: usize,
        call: &'static str,
        took_effect: bool,
    },
    Row {
        delivery: u32,
        from: Option<Standing>,
        to: Standing,
        due: i64,
        comes_up: i64,
    },
    Published {
        instance: usize,
        route: Route,
        hints: Vec<Place>,
        fate: &'static str,
    },
    Received {
        instance: usize,
        hints: Vec<Place>,
    },
    MessageDone {
        instance: usize,
        counted: bool,
    },
    Sent {
        instance: usize,
        place: Place,
        answer: Answer,
    },
    Calm,
    Violated(String),
}

impl Event {
    pub fn row(change: &Change, start: i64) -> Self {
        let after = &change.after;
        Self::Row {
            delivery: number_of(after.id),
            from: change.before.as_ref().map(standing_of),
            to: standing_of(after),
            due: (after.next_attempt_at.micros() - start) / 1_000,
            comes_up: (after.republish_at.micros() - start) / 1_000,
        }
    }
}

/// Everything that happened, each with its time since the start.
pub struct Trace {
    since: Instant,
    events: Vec<(Duration, Event)>,
}

impl Trace {
    pub fn new() -> Self {
        Self { since: Instant::now(), events: Vec::new() }
    }

    pub fn note(&mut self, event: Event) {
        self.events.push((self.since.elapsed(), event));
    }

    /// The same for two runs in which the same happened at the same times.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.events.hash(&mut hasher);
        hasher.finish()
    }

    pub fn lines(&self) -> Vec<String> {
        self.events.iter().map(|(at, event)| format!("{:>10.3}s {event:?}", at.as_secs_f64())).collect()
    }
}
