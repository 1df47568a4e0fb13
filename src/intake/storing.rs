//! Whether what arrives can be stored, as the recorder's own transactions tell.
//!
//! `/readyz` and the alert watch ask here beside probing the database: a probe may succeed where recording fails, since a full
//! disk can have room for one page of an old table and none for new rows. Deliberately forgotten after a while: an instance
//! that nobody sends to any more, because it said that it is not ready, could never show that it is well again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a refusal keeps an instance from being ready while nothing else is recorded.
pub const UNREADY_FOR: Duration = Duration::from_secs(20);
/// How long it keeps an alert open, so that one who is not sent to any more does not close it and open it again.
pub const ALERTS_FOR: Duration = Duration::from_secs(300);

/// What became of the latest transaction that recorded something.
#[derive(Debug, Default)]
pub struct Storing(Mutex<Option<Instant>>);

impl Storing {
    /// Something was stored.
    pub fn stored(&self) {
        *self.refused_at() = None;
    }

    /// Nothing could be stored, for a reason that lies with the database and not with the rows.
    pub fn refused(&self) {
        *self.refused_at() = Some(Instant::now());
    }

    /// Whether the latest transaction stored nothing, and that was not longer ago.
    #[must_use]
    pub fn refused_within(&self, time: Duration) -> bool {
        self.refused_at().is_some_and(|at| at.elapsed() < time)
    }

    fn refused_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
