//! Deletes what has been kept long enough: requests as they came, and events with their deliveries and attempts.
//!
//! Runs on every instance; a lease says who does it, so that two do not walk the same rows. Steps are short transactions, and
//! between two of them it rests for longer than the last one took, so that intake does not feel it. Deliberately kept for ever:
//! whatever money follows from (conversions, commissions, payouts, the ledger), the keys that tell duplicates, and clicks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::domain::ids::LeaseId;
use crate::metrics::Metrics;
use crate::store::retention::{Kept, Prune};
use crate::store::{Store, StoreError, in_time};

/// The name of the lease.
const JOB: &str = "retention";
/// How long the lease holds from step to step: above what a step may take.
const LEASE: Duration = Duration::from_secs(60);
/// Rows that are looked at in one transaction.
const STEP: i64 = 500;
/// A rest is so many times as long as the step before it.
const REST: u32 = 3;

/// Looks for what is old enough, round after round.
#[expect(missing_docs, reason = "the rooms that it stands between")]
pub struct Retention {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// How long what is kept, and how often to look.
    pub settings: config::Retention,
}

impl Retention {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        let holder = LeaseId::new(self.clock.now());
        loop {
            if let Err(error) = self.round(holder, &stopping).await {
                tracing::warn!(%error, "what is old could not be deleted; the next round goes on");
            }
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(self.settings.look_every) => {}
            }
        }
    }

    async fn round(&self, holder: LeaseId, stopping: &CancellationToken) -> Result<(), StoreError> {
        let receipts = self.forget(Kept::Receipts, self.settings.receipts, holder, stopping).await;
        let events = self.forget(Kept::Events, self.settings.events, holder, stopping).await;
        in_time(self.store.release_job(JOB, holder)).await?;
        receipts.and(events)
    }

    async fn hold(&self, holder: LeaseId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        in_time(self.store.hold_job(JOB, holder, now, now.plus(LEASE))).await
    }

    /// Step after step, until nothing is left that was made longer than `keep` ago.
    async fn forget(
        &self,
        what: Kept,
        keep: Duration,
        holder: LeaseId,
        stopping: &CancellationToken,
    ) -> Result<(), StoreError> {
        if keep.is_zero() {
            return Ok(());
        }
        let (before, mut after, mut total) = (self.clock.now().minus(keep), None, 0);
        while !stopping.is_cancelled() && self.hold(holder).await? {
            let begun = Instant::now();
            let pruned = in_time(self.store.prune(what, Prune { after, before, limit: STEP })).await?;
            self.metrics.pruned(what.name(), pruned.deleted);
            total += pruned.deleted;
            if pruned.reached.is_none() {
                break;
            }
            after = pruned.reached;
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(begun.elapsed() * REST) => {}
            }
        }
        if total > 0 {
            tracing::info!(what = what.name(), deleted = total, "what had been kept long enough was deleted");
        }
        Ok(())
    }
}
