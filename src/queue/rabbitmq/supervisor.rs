//! Keeps a connection alive: whatever ends one life of it, the next begins after a back-off.
//!
//! Full jitter (a random wait up to a ceiling that doubles), so that many instances do not redial in step
//! when a broker comes back. The ceiling falls back to the minimum only after a life that was of use.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Fault;
use super::{Shared, consumer, publisher};

/// The two connections: an alarm at the broker freezes one that has published, acknowledgements included
/// (RELIABILITY section 1, trap 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publishing,
    Consuming,
}

/// How a connection's life ended.
pub(super) enum End {
    /// As it should.
    Stopped,
    /// By a fault; `was_useful` if it did something before.
    Broken { fault: Fault, was_useful: bool },
}

/// Runs one side until it is stopped.
pub(super) async fn supervise(shared: Arc<Shared>, side: Side) {
    let mut backoff = Backoff::new(shared.settings.backoff_min, shared.settings.backoff_max);
    let done = match side {
        Side::Publishing => shared.stop.clone(),
        Side::Consuming => shared.closing.clone(),
    };
    while !done.is_cancelled() {
        let end = match side {
            Side::Publishing => publisher::session(&shared).await,
            Side::Consuming => consumer::session(&shared).await,
        };
        let End::Broken { fault, was_useful } = end else { break };
        if was_useful {
            backoff.reset();
        }
        let pause = backoff.next(rand::random());
        tracing::warn!(?side, %fault, pause_ms = pause.as_millis(), "no connection to the broker");
        shared.in_trouble(side, fault.0);
        tokio::select! {
            () = done.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Exponential back-off with full jitter.
struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, ceiling: min.min(max) }
    }

    fn reset(&mut self) {
        self.ceiling = self.min.min(self.max);
    }

    /// The next wait: the fraction `random / 2^32` of the ceiling, which then doubles.
    fn next(&mut self, random: u32) -> Duration {
        let micros = self.ceiling.as_micros().saturating_mul(u128::from(random)) >> 32;
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_start_over() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        let longest: Vec<u128> = (0..9).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [249, 499, 999, 1_999, 3_999, 7_999, 15_999, 29_999, 29_999]);
        assert_eq!(backoff.next(0), Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.next(1 << 31), min / 2);
    }
}
