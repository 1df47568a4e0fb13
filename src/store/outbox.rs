//! What a transaction that tells subscribers something leaves to be hinted at.

use std::time::Duration;

use crate::domain::delivery::Hint;
use crate::domain::time::Timestamp;

/// What an outbox is written under.
#[derive(Clone, Copy, Debug)]
pub struct OutboxTerms {
    /// The time of the transaction.
    pub now: Timestamp,
    /// How long after its commit an unclaimed delivery is hinted at again.
    pub republish_after: Duration,
    /// For how many deliveries the queue's window has room; the rest are left to the relay.
    pub room: usize,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Told {
    /// Deliveries to be hinted at now.
    pub hints: Vec<Hint>,
    /// How many found no room and are due for the relay to pick up.
    pub deferred: usize,
}
