//! One event to one endpoint: its state, the hints about it and what an attempt can come to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{DeliveryId, EndpointId};

/// Where a delivery stands. The row is the truth; messages in a queue are only hints about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its next attempt, or being attempted under a lease.
    Pending,
    /// The receiver answered with success.
    Delivered,
    /// Waiting until its endpoint is active again.
    Held,
    /// Exhausted: a person replays it or lets it be.
    Dead,
}

/// A hint that a delivery may be due. Lost, doubled and late hints are harmless: the claim states
/// what it expects, and the sweeper hints again at what was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// The delivery hinted at.
    pub delivery_id: DeliveryId,
    /// Its endpoint, so that a worker can take the endpoint's permit before it asks the database.
    pub endpoint_id: EndpointId,
    /// Which life of the delivery: a replay starts the next one, hints of older ones do nothing.
    pub epoch: i32,
    /// How many attempts had begun in this epoch when the hint was made.
    pub attempt: i32,
}

/// What one HTTP try came to, as the sender judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    /// The outcome that the retry policy acts on.
    pub outcome: AttemptOutcome,
    /// The status that the receiver answered with, if it answered.
    pub status: Option<u16>,
    /// The first kilobyte of the receiver's body, lossily as text.
    pub body_start: Option<String>,
    /// What went wrong, in words for the affiliate: no secrets, no internal addresses.
    pub error: Option<String>,
    /// From the start of the try to its end.
    pub duration: Duration,
}

/// The outcome of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// 2xx: delivered.
    Delivered,
    /// Anything else that is known; `retry_after` is the receiver's own wish (429 and 503).
    Failed {
        /// The least time that the receiver asked us to wait.
        retry_after: Option<Duration>,
    },
}
