//! The one place that asks what time it is.
//!
//! Everything else takes a [`Timestamp`] or a [`Clock`]. Due times and leases are compared between
//! instances, so the clock carries the offset of the database's clock (DESIGN section 4), measured at
//! start and from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// Now, corrected.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let micros = match &self.source {
            Source::System => system_micros(),
            Source::Manual(micros) => micros.load(Ordering::SeqCst),
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
        if let Source::Manual(micros) = &self.source {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the Clock")]
fn system_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX).saturating_add(crate::fail::clock_step_micros())
}
