//! The life of a delivery's row: claimed under a lease, finished, brought up again, replayed.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::delivery::{AttemptResult, DeliveryState, Hint};
use crate::domain::event::EventType;
use crate::domain::ids::{DeliveryId, EndpointId, EventId, LeaseId};
use crate::domain::retry::{DeadReason, History, Next, RetryPolicy};
use crate::domain::time::Timestamp;

/// A wish to attempt a delivery: what is expected of its row, and the lease to be held.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What was hinted; the claim succeeds only if the row still stands there.
    pub hint: Hint,
    /// The lease to be held.
    pub lease_id: LeaseId,
}

/// A delivery under our lease, with what is needed to attempt it.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// The lease that we hold.
    pub lease_id: LeaseId,
    /// When the lease began.
    pub claimed_at: Timestamp,
    /// Which life of the delivery.
    pub epoch: i32,
    /// The number of this attempt in its epoch, from 1.
    pub number: i32,
    /// What the epoch has been through.
    pub history: History,
    /// The event; its text is the `webhook-id`.
    pub event_id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// The message, verbatim.
    pub body: String,
}

/// What a group of claims came to. What is in neither list is stale: done, leased or of another epoch.
#[derive(Debug, Default)]
pub struct Claims {
    /// Ours now.
    pub claimed: Vec<Claimed>,
    /// How many came before their time; their rows come up again when they are due.
    pub early: u64,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was attempted.
    pub claimed: Claimed,
    /// What the attempt came to.
    pub result: AttemptResult,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What follows, if it did not deliver.
    pub next: Option<Next>,
}

/// Whether a finish changed the delivery's state; the attempt itself is written in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The lease was still ours, or a late success settled it.
    Changed,
    /// The lease was lost; somebody else decides.
    LeaseLost,
}

/// What a replay was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A new epoch has begun; hint at it.
    Begun(Hint),
    /// An attempt is running now; ask again when it has ended.
    Leased,
}

/// How long the waiting line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries neither delivered nor dead nor held whose first due time is before the asked one.
    pub waiting: i64,
    /// The first due time of the oldest of all that are neither delivered nor dead nor held.
    pub oldest_first_due_at: Option<Timestamp>,
}

/// What workers, relay and sweeper ask of storage.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Claims, in one transaction, what still stands as hinted, is due by `due_by` and is under no lease. Until it
    /// ends, the row says that an attempt is running. What comes before its time is marked to come up when it is due.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Collision`]: nothing was claimed.
    async fn claim(
        &self,
        claims: &[Claim],
        now: Timestamp,
        due_by: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Claims, StoreError>;

    /// Claims up to `limit` of an endpoint's due deliveries, oldest first.
    ///
    /// # Errors
    /// As [`Deliveries::claim`].
    async fn claim_next(
        &self,
        endpoint_id: EndpointId,
        limit: usize,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Gives hints back to their rows: they come up again at `republish_at`. No attempt is counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn hand_back(&self, hints: &[Hint], republish_at: Timestamp) -> Result<(), StoreError>;

    /// Writes the ends of attempts, in one transaction: always the attempt, the delivery's state only under the
    /// same lease, except that a late success settles what is not settled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Collision`]: nothing was written.
    async fn finish(&self, finished: &[Finished], republish_after: Duration) -> Result<Vec<Settled>, StoreError>;

    /// Takes deliveries that are due, past their `republish_at` and under no lease: at most `per_endpoint` of each
    /// active endpoint, none of those in `skip`, `limit` in all, in turns. Each comes up again after `republish_after`, and after
    /// twice that the next time, up to 8 times.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn take_due(
        &self,
        now: Timestamp,
        skip: &[EndpointId],
        per_endpoint: i64,
        limit: i64,
        republish_after: Duration,
    ) -> Result<Vec<Hint>, StoreError>;

    /// Ends leases that ran out: the attempts are written as `unknown`, the deliveries go on by `policy`. At most `limit`;
    /// answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn expire_leases(&self, now: Timestamp, policy: &RetryPolicy, limit: i64) -> Result<u64, StoreError>;

    /// Takes over from a process that is gone: lets every lease run out at `now`, those on replay jobs too, and brings up every other delivery
    /// when it is due, since the hints in that process's memory are lost. Only for the one process of an embedded
    /// queue, at its start. Answers how many leases there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn take_over(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Marks deliveries whose hint no queue took: they come up when they are due, and not before `not_before`. Their
    /// waits do not grow from it, since no hint was lost.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn unpublished(&self, hints: &[Hint], not_before: Timestamp) -> Result<(), StoreError>;

    /// Begins a new epoch of a delivery, whatever its state.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    async fn replay(
        &self,
        delivery_id: DeliveryId,
        now: Timestamp,
        republish_after: Duration,
    ) -> Result<Replay, StoreError>;

    /// How long the waiting line is, counting what was first due before `first_due_before` (RELIABILITY section 9).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn backlog(&self, first_due_before: Timestamp) -> Result<Backlog, StoreError>;

    /// How many deliveries are in this state.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn count_in_state(&self, state: DeliveryState) -> Result<i64, StoreError>;

    /// How far the database's clock, which due times and leases go by, is ahead of the machine's, in microseconds; zero for
    /// an embedded engine, `None` where the answer took so long that it tells nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn clock_offset_micros(&self) -> Result<Option<i64>, StoreError>;
}

/// The stored form of what follows an attempt.
pub(super) struct After {
    pub state: &'static str,
    pub failures: i32,
    pub unknowns: i32,
    pub next_attempt_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    pub dead_reason: Option<&'static str>,
}

impl After {
    /// What a row says after an attempt that ended at `at`; `next` is `None` after a success.
    pub fn of(next: Option<Next>, history: History, at: Timestamp) -> Self {
        let settled = |state, failures, dead_reason: Option<DeadReason>| Self {
            state,
            failures,
            unknowns: 0,
            next_attempt_at: None,
            settled_at: Some(at),
            dead_reason: dead_reason.map(DeadReason::as_str),
        };
        match next {
            None => settled("delivered", history.failures, None),
            Some(Next::Dead { failures, reason }) => settled("dead", failures, Some(reason)),
            Some(Next::Retry { failures, unknowns, at: due, .. }) => Self {
                state: "pending",
                failures,
                unknowns,
                next_attempt_at: Some(due),
                settled_at: None,
                dead_reason: None,
            },
        }
    }
}
