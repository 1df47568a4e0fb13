//! A delivery's row and an attempt's, as the tables have them.

use std::time::Duration;

use postback::domain::delivery::{DeliveryState, Hint};
use postback::domain::ids::{DeliveryId, EndpointId, EventId, LeaseId};
use postback::domain::outbox::NewDelivery;
use postback::domain::retry::{DeadReason, History, Next};
use postback::domain::time::Timestamp;

/// A row of `deliveries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: DeliveryId,
    pub event_id: EventId,
    pub endpoint_id: EndpointId,
    pub state: DeliveryState,
    pub epoch: i32,
    pub attempt: i32,
    pub failures: i32,
    pub unknowns: i32,
    pub first_due_at: Timestamp,
    pub first_attempt_at: Option<Timestamp>,
    pub next_attempt_at: Timestamp,
    pub republish_at: Timestamp,
    pub republished: i32,
    /// The lease and its end.
    pub lease: Option<(LeaseId, Timestamp)>,
    pub settled_at: Option<Timestamp>,
    pub held_at: Option<Timestamp>,
    pub dead_reason: Option<DeadReason>,
}

/// A row of `attempts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub outcome: Ended,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub duration: Option<Duration>,
}

/// How an attempt ended, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    Unknown,
    Failed,
    Delivered,
}

impl Ended {
    /// As the table spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
        }
    }
}

impl Row {
    /// A row just made at `now`, which comes up again after `wait`.
    pub fn born(new: &NewDelivery, now: Timestamp, wait: Duration) -> Self {
        Self {
            id: new.id,
            event_id: new.event_id,
            endpoint_id: new.endpoint_id,
            state: if new.held { DeliveryState::Held } else { DeliveryState::Pending },
            epoch: 1,
            attempt: 0,
            failures: 0,
            unknowns: 0,
            first_due_at: now,
            first_attempt_at: None,
            next_attempt_at: now,
            republish_at: now.plus(wait),
            republished: 0,
            lease: None,
            settled_at: None,
            held_at: new.held.then_some(now),
            dead_reason: None,
        }
    }

    pub fn hint(&self) -> Hint {
        Hint { delivery_id: self.id, endpoint_id: self.endpoint_id, epoch: self.epoch, attempt: self.attempt }
    }

    /// What the epoch has been through, as asked at `now`.
    pub fn history(&self, now: Timestamp) -> History {
        History {
            failures: self.failures,
            unknowns: self.unknowns,
            first_attempt_at: self.first_attempt_at.unwrap_or(now),
        }
    }

    /// Whether it still stands as it was hinted at.
    pub fn stands_as(&self, hint: &Hint) -> bool {
        self.state == DeliveryState::Pending && self.epoch == hint.epoch && self.attempt == hint.attempt
    }

    /// Whether the lease on it, if there is one, is over at `now`.
    pub fn lease_is_over(&self, now: Timestamp) -> bool {
        self.lease.is_some_and(|(_, until)| until <= now)
    }

    /// Ends the lease with what follows an attempt that ended at `at`; it comes up again at `again`.
    pub fn settle(&mut self, next: Option<Next>, failures_before: i32, at: Timestamp, again: Timestamp) {
        (self.lease, self.republished, self.republish_at) = (None, 0, again);
        (self.settled_at, self.dead_reason, self.unknowns) = (Some(at), None, 0);
        match next {
            None => (self.state, self.failures) = (DeliveryState::Delivered, failures_before),
            Some(Next::Dead { failures, reason }) => {
                (self.state, self.failures, self.dead_reason) = (DeliveryState::Dead, failures, Some(reason));
            }
            Some(Next::Retry { failures, unknowns, at: due, .. }) => {
                (self.failures, self.unknowns, self.next_attempt_at) = (failures, unknowns, due);
                self.settled_at = None;
            }
        }
    }
}
