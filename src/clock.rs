//! The one place that asks what time it is.
//!
//! Everything else takes a [`Timestamp`] or a [`Clock`]. Due times and leases are compared between
//! instances, so the clock carries the offset of the database's clock (DESIGN section 4), measured at
//! start and from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// A clock that can be shared, corrected and, in tests, stepped.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    offset_micros: Arc<AtomicI64>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Runtime { since: Instant, start: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's clock, uncorrected until [`Clock::set_offset`].
    #[must_use]
    pub fn system() -> Self {
        Self { source: Source::System, offset_micros: Arc::default() }
    }

    /// A clock that stands at `start` until it is advanced. For tests.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        let micros = Arc::new(AtomicI64::new(start.micros()));
        Self { source: Source::Manual(micros), offset_micros: Arc::default() }
    }

    /// A clock that shows `start` now and goes with the runtime's time, which a test can hold and let jump: for the
    /// simulation of delivery.
    #[must_use]
    pub fn of_runtime(start: Timestamp) -> Self {
        let start = Arc::new(AtomicI64::new(start.micros()));
        Self { source: Source::Runtime { since: Instant::now(), start }, offset_micros: Arc::default() }
    }

    /// Now, corrected.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let micros = match &self.source {
            Source::System => system_micros(),
            Source::Manual(micros) => micros.load(Ordering::SeqCst),
            Source::Runtime { since, start } => start.load(Ordering::SeqCst).saturating_add(micros_of(since.elapsed())),
        };
        Timestamp::from_micros(micros.saturating_add(self.offset_micros.load(Ordering::Relaxed)))
    }

    /// Corrects the clock: `micros` are added to what the machine says.
    pub fn set_offset(&self, micros: i64) {
        self.offset_micros.store(micros, Ordering::Relaxed);
    }

    /// The correction in force, in microseconds.
    #[must_use]
    pub fn offset_micros(&self) -> i64 {
        self.offset_micros.load(Ordering::Relaxed)
    }

    /// Steps a manual clock forward; a system clock is left alone.
    pub fn advance(&self, by: Duration) {
        self.step(micros_of(by));
    }

    /// Steps a test's clock by so many microseconds, forward or back; a system clock is left alone.
    pub fn step(&self, by_micros: i64) {
        match &self.source {
            Source::System => {}
            Source::Manual(micros) | Source::Runtime { start: micros, .. } => {
                micros.fetch_add(by_micros, Ordering::SeqCst);
            }
        }
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the Clock")]
fn system_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX).saturating_add(crate::fail::clock_step_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_the_runtime_goes_with_its_time_and_can_be_stepped() {
        let start = Timestamp::from_micros(1_700_000_000_000_000);
        let clock = Clock::of_runtime(start);
        assert_eq!(clock.now(), start);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), start.plus(Duration::from_secs(5)));
        clock.step(-600_000_000);
        clock.set_offset(600_000_000);
        assert_eq!(clock.now(), start.plus(Duration::from_secs(5)), "the database's clock corrects the step");
    }
}
