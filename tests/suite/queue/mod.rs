//! The queue: behaviours that both implementations share, and faults that only a broker can have.

pub mod broker;
mod conformance;
mod faults;

use std::time::Duration;

use postback::domain::delivery::Hint;
use postback::domain::ids::{DeliveryId, EndpointId};
use postback::domain::retry::Ladder;
use postback::domain::time::Timestamp;
use postback::queue::{PublishError, Queue, Received};

use crate::support::soon;

/// A hint about a new delivery.
fn hint() -> Hint {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    Hint { delivery_id: DeliveryId::new(now), endpoint_id: EndpointId::new(now), epoch: 1, attempt: 0 }
}

/// A ladder of these rungs, in milliseconds.
fn ladder(rungs_ms: &[u64]) -> Ladder {
    Ladder::new(rungs_ms.iter().copied().map(Duration::from_millis).collect()).unwrap()
}

/// The next message, which is expected soon.
async fn next(queue: &dyn Queue) -> Received {
    soon("a message", queue.receive()).await.expect("the queue is open")
}

fn is_refused(outcome: &Result<(), PublishError>) -> bool {
    matches!(outcome, Err(PublishError::Refused(_)))
}

fn is_unavailable(outcome: &Result<(), PublishError>) -> bool {
    matches!(outcome, Err(PublishError::Unavailable(_)))
}
