//! Forgetting what is old, step by step.

use async_trait::async_trait;

use uuid::Uuid;

use super::StoreError;
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

/// What is kept for a while only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Receipts with their later verdicts. What is parked stays until it was judged.
    Receipts,
    /// Events with their deliveries and attempts. An event stays while one of its deliveries waits, is held, is dead and
    /// nobody has acknowledged it, or came to its end after [`Prune::before`].
    Events,
}

impl Kept {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receipts => "receipts",
            Self::Events => "events",
        }
    }
}

/// One bounded step through what was made before a time, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// Where the step before ended; the beginning where there was none.
    pub after: Option<Uuid>,
    /// Only what was made, and has come to its end, before.
    pub before: Timestamp,
    /// How many rows are looked at.
    pub limit: i64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many were deleted, not counting what hung on them.
    pub deleted: u64,
    /// Where the next step begins; `None` where nothing is left that old.
    pub reached: Option<Uuid>,
}

/// What the retention job asks of storage.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Takes or renews the lease of a job that one instance at a time does; `false` while another holds it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn hold_job(
        &self,
        job: &str,
        holder: LeaseId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Lets go of a job's lease, if it is still the holder's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release_job(&self, job: &str, holder: LeaseId) -> Result<(), StoreError>;

    /// Deletes in one transaction what is old enough.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn prune(&self, what: Kept, step: Prune) -> Result<Pruned, StoreError>;
}
