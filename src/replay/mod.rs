//! What failed is sent or judged again: one delivery or receipt at a person's word, many by a job.
//!
//! Guaranteed: there is one path for a first try, a retry and a replay. A replayed delivery is a new epoch under the same
//! `webhook-id`; a replayed receipt goes through the recorder's own transaction, so it books what its first arrival would
//! have, once, whoever asks and however often. A job is a row: whoever makes it may go, any instance works it, and a
//! crash neither repeats nor forgets (see `store::replays`).
//!
//! Not done on purpose: nothing is replayed by itself. Whoever has a receipt judged again vouches for it; its signature
//! was verified, or found wanting, when it came.

mod job;
mod judge;

use std::sync::Arc;

use tokio::sync::Notify;

pub use self::job::Jobs;
pub use self::judge::{DryRun, JUDGED_AT_ONCE, Judge};
use crate::clock::Clock;
use crate::delivery::relay::Relay;
use crate::domain::delivery::Hint;
use crate::domain::ids::{DeliveryId, ReceiptId, ReplayId};
use crate::domain::replay::{Person, Selection};
use crate::metrics::Metrics;
use crate::store::deliveries::Replay;
use crate::store::recording::Recorded;
use crate::store::replays::{Judged, NewReplay, ReceiptsReplayed, Rejudging, ReplayView};
use crate::store::{Store, StoreError};

/// What became of one receipt that was to be judged again.
#[derive(Clone, Debug)]
pub enum ReceiptReplay {
    /// It was judged.
    Judged(Box<Judged>),
    /// It is booked, or known, already.
    BookedBefore,
}

/// The use cases of whoever looks after failures. Clones share it.
#[derive(Clone)]
pub struct Replayer {
    judge: Judge,
    store: Arc<dyn Store>,
    relay: Relay,
    clock: Clock,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
}

impl Replayer {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(judge: Judge, relay: Relay, metrics: Arc<Metrics>) -> Self {
        let (store, clock) = (Arc::clone(&judge.store), judge.clock.clone());
        Self { judge, store, relay, clock, metrics, wake: Arc::default() }
    }

    /// Sends one delivery again, whatever became of it.
    ///
    /// # Errors
    /// [`StoreError`] as the store met it.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Replay, StoreError> {
        let begun = self.store.replay(id, self.clock.now(), self.judge.republish_after).await?;
        if let Replay::Begun(hint) = begun {
            self.relay.announce(vec![hint]);
        }
        Ok(begun)
    }

    /// Judges one receipt again, or says what would become of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or as the store met it.
    pub async fn receipt(&self, id: ReceiptId, by: Person, dry_run: bool) -> Result<ReceiptReplay, StoreError> {
        let request = self.store.stored_request(id).await?.ok_or(StoreError::NotFound("receipt"))?;
        let work = Rejudging { items: Vec::new(), by, dry_run, step: None };
        let ReceiptsReplayed::Judged(mut judgements) = self.judge.judge(&[request], work, self.relay.room()).await?
        else {
            return Err(StoreError::Corrupt("a receipt was replayed as a step of a job".to_owned()));
        };
        if !dry_run {
            self.committed(judgements.recorded);
        }
        let judged = judgements.judged.pop();
        Ok(judged.map_or(ReceiptReplay::BookedBefore, |judged| ReceiptReplay::Judged(Box::new(judged))))
    }

    /// Makes a job; an instance begins with it soon.
    ///
    /// # Errors
    /// [`StoreError`] as the store met it.
    pub async fn start(&self, selection: Selection, rate: i32, by: Person) -> Result<ReplayView, StoreError> {
        let now = self.clock.now();
        let new = NewReplay { id: ReplayId::new(now), selection, rate, created_at: now, created_by: by };
        let made = self.store.create_replay(&new).await?;
        self.wake.notify_one();
        Ok(made)
    }

    /// What a job over receipts would create.
    ///
    /// # Errors
    /// [`StoreError`] as the store met it.
    pub async fn dry_run(
        &self,
        filter: &crate::domain::replay::ReceiptFilter,
        by: Person,
    ) -> Result<DryRun, StoreError> {
        self.judge.dry_run(filter, by).await
    }

    /// What follows the commit of receipts that were judged again.
    fn committed(&self, recorded: Recorded) {
        for outcome in &recorded.unparked {
            self.metrics.receipt(outcome.verdict.as_str());
        }
        self.announce(recorded.hints);
        if recorded.deferred > 0 {
            self.relay.wake();
        }
    }

    fn announce(&self, hints: Vec<Hint>) {
        self.relay.announce(hints);
    }
}
