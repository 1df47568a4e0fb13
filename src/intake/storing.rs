//! Whether what arrives can be stored, as the recorder's own transactions tell.
//!
//! `/readyz` and the alert watch ask here beside probing the database: a probe may succeed where recording fails, since a full
//! disk can have room for one page of an old table and none for new rows. Deliberately forgotten after a while: an instance
//! that nobody sends to any more, because it said that it is not ready, could never show that it is well again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a refusal counts while nothing else is recorded: longer than the alert watch takes from round to round.
const COUNTS_FOR: Duration = Duration::from_secs(20);

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

    /// Whether the latest transaction stored nothing, a moment ago.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused_at().is_some_and(|at| at.elapsed() < COUNTS_FOR)
    }

    fn refused_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
