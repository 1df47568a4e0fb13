//! What a person decides about what failed: dead deliveries are let be with a note, and many deliveries or receipts are
//! replayed by a job.
//!
//! A job is a row. It walks over what it is about in the order of ids, step by step; what a step did and how far the
//! job has come are one transaction, so that a crash neither repeats nor forgets. Whoever works a job holds its lease, so
//! one instance works it at a time, and another goes on when the lease runs out.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::StoreError;
use super::reading::{DeliveryView, Page};
use super::recording::{RecordTerms, Recorded};
use crate::domain::booking::{Booked, Item, Outcome};
use crate::domain::catalog::Catalog;
use crate::domain::commission::CommissionStanding;
use crate::domain::delivery::{DeliveryState, Hint};
use crate::domain::ids::{DeliveryId, KeyId, LeaseId, ReceiptId, ReplayId, SourceId};
use crate::domain::replay::{DeliveryFilter, Note, Person, ReceiptFilter, ReplayState, Selection, Skip};
use crate::domain::time::Timestamp;

/// That a dead delivery is let be. Counts for one life of the delivery: a replay begins the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledgement {
    /// When it was decided.
    pub at: Timestamp,
    /// Who decided.
    pub by: Person,
    /// Why.
    pub note: String,
}

/// What a wish to let a delivery be was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It is let be; the first acknowledgement stands.
    Is(Acknowledgement),
    /// It is not dead.
    NotDead(DeliveryState),
}

/// A job that is to be made.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// Its id.
    pub id: ReplayId,
    /// What is replayed.
    pub selection: Selection,
    /// How many a second at most.
    pub rate: i32,
    /// When it is made: it is about what was settled, or received, by then.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Person,
}

/// A job as it stands.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of replays, see the migration")]
pub struct ReplayView {
    pub id: ReplayId,
    pub selection: Selection,
    pub rate: i32,
    pub state: ReplayState,
    pub created_at: Timestamp,
    pub created_by: Person,
    /// How many it was about when it was made.
    pub matched: i64,
    /// How many of them were sent or judged again.
    pub replayed: i64,
    /// How many were not, and why.
    pub skipped: BTreeMap<Skip, i64>,
    /// What became of receipts that were judged again.
    pub verdicts: BTreeMap<String, i64>,
    pub ended_at: Option<Timestamp>,
    pub canceled_by: Option<Person>,
}

/// What a wish to cancel a job was answered.
#[derive(Clone, Debug)]
pub enum Canceled {
    /// It is canceled, now or since earlier.
    Is(Box<ReplayView>),
    /// It had ended by itself.
    WasDone,
}

/// One step of a job under its lease.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The job.
    pub replay_id: ReplayId,
    /// The lease that is held.
    pub lease_id: LeaseId,
    /// The time of the step.
    pub now: Timestamp,
    /// Until when the lease is held after it.
    pub lease_until: Timestamp,
    /// How many are looked at, at most.
    pub limit: i64,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The lease is not held any more, or the job was canceled: nothing was done.
    Lost,
    /// Some were looked at, and there may be more.
    Some {
        /// How many were looked at.
        looked_at: i64,
        /// Deliveries to be hinted at now.
        hints: Vec<Hint>,
    },
    /// The job is done.
    Done {
        /// Deliveries to be hinted at now.
        hints: Vec<Hint>,
    },
}

/// The request of a receipt, as it is kept: secrets are taken out, every other byte is as it came.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of receipts, see the migration")]
pub struct StoredRequest {
    pub receipt_id: ReceiptId,
    pub source_id: SourceId,
    pub key_id: KeyId,
    pub received_at: Timestamp,
    pub method: String,
    pub content_type: Option<String>,
    pub query: String,
    pub body: Vec<u8>,
}

/// Receipts to be judged again.
#[derive(Clone, Debug)]
pub struct Rejudging {
    /// The receipts in the order of their ids, with what their requests say by today's mapping.
    pub items: Vec<Item>,
    /// Who asks for it, and so vouches for them.
    pub by: Person,
    /// Whether everything is taken back in the end: it is only to be said what would become of them.
    pub dry_run: bool,
    /// The step of a job that this is.
    pub step: Option<Step>,
}

/// What receipts that were judged again came to.
#[derive(Debug)]
pub enum ReceiptsReplayed {
    /// The lease of the job is not held any more, or the job was canceled: nothing was done.
    Lost,
    /// They were judged.
    Judged(Box<Judgements>),
}

/// See [`ReceiptsReplayed`].
#[derive(Debug)]
pub struct Judgements {
    /// The answers, in the order of the receipts.
    pub judged: Vec<Judged>,
    /// How many were left out, because they are booked or known already.
    pub booked_before: usize,
    /// What else the transaction came to.
    pub recorded: Recorded,
}

/// What became of one receipt, and how its conversion stands afterwards.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub outcome: Outcome,
    /// The conversion with its commission.
    pub booked: Option<Booked>,
    /// Where that commission stands, payouts included.
    pub standing: Option<CommissionStanding>,
}

/// What people who look after failures, and the jobs that they make, ask of storage.
#[async_trait]
pub trait Replays: Send + Sync {
    /// Lets a dead delivery be: it no longer waits for a person, and can still be replayed. Again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    async fn acknowledge(
        &self,
        delivery_id: DeliveryId,
        note: &Note,
        by: Person,
        now: Timestamp,
    ) -> Result<Acknowledged, StoreError>;

    /// How many dead deliveries wait for a person: neither replayed nor let be.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn dead_waiting(&self) -> Result<i64, StoreError>;

    /// How many deliveries a job made at `now` would be about, and the oldest of them, at most `sample`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn matching_deliveries(
        &self,
        filter: &DeliveryFilter,
        now: Timestamp,
        sample: i64,
    ) -> Result<(i64, Vec<DeliveryView>), StoreError>;

    /// Makes a job.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn create_replay(&self, new: &NewReplay) -> Result<ReplayView, StoreError>;

    /// One job.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn replay_job(&self, id: ReplayId) -> Result<Option<ReplayView>, StoreError>;

    /// Jobs, newest first; of one state, if one is given.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn replay_jobs(&self, state: Option<String>, page: Page) -> Result<Vec<ReplayView>, StoreError>;

    /// Ends a job that runs; what was replayed stays so. Again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    async fn cancel_replay(&self, id: ReplayId, by: Person, now: Timestamp) -> Result<Canceled, StoreError>;

    /// Takes the lease on a job that runs and that nobody works, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Collision`].
    async fn claim_replay(
        &self,
        lease_id: LeaseId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ReplayView>, StoreError>;

    /// Lets go of a job, so that another instance may go on with it at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release_replay(&self, id: ReplayId, lease_id: LeaseId) -> Result<(), StoreError>;

    /// Begins a new epoch of the next deliveries of a job, as [`super::deliveries::Deliveries::replay`] does of one. The
    /// first `room` are to be hinted at now, the others are due for the relay to find.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Collision`]: nothing was done.
    async fn replay_deliveries(
        &self,
        step: Step,
        republish_after: Duration,
        room: usize,
    ) -> Result<Stepped, StoreError>;

    /// How many receipts a job made at `now` would be about, and the requests of the oldest of them, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn matching_receipts(
        &self,
        filter: &ReceiptFilter,
        now: Timestamp,
        limit: i64,
    ) -> Result<(i64, Vec<StoredRequest>), StoreError>;

    /// The request of one receipt.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn stored_request(&self, id: ReceiptId) -> Result<Option<StoredRequest>, StoreError>;

    /// What the next step of a job over receipts is about; `None` where its lease is not held.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn next_receipts(&self, step: Step) -> Result<Option<Vec<StoredRequest>>, StoreError>;

    /// Judges receipts again, in one transaction with the job's progress, by the recorder's own steps. What is booked
    /// already is left out. The receipts stay as they are; each verdict is appended.
    ///
    /// # Errors
    /// As [`super::recording::Recording::record_batch`].
    async fn replay_receipts(
        &self,
        work: &Rejudging,
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<ReceiptsReplayed, StoreError>;

    /// Brings a job past a receipt that the database refuses to take.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn skip_receipt(&self, step: Step, receipt_id: ReceiptId) -> Result<(), StoreError>;
}
