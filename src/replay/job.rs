//! Works jobs: every instance takes what nobody works, a few at a time, each step by step at its own rate.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Replayer;
use crate::clock::Clock;
use crate::domain::ids::LeaseId;
use crate::domain::replay::Selection;
use crate::store::replays::{ReceiptsReplayed, Rejudging, ReplayView, Step, Stepped, StoredRequest};
use crate::store::{Store, StoreError, in_time};

/// Jobs that one instance works at a time.
const JOBS_AT_ONCE: usize = 4;
/// How often is looked for jobs that were made elsewhere, or left behind.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long is waited after a step that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The most that one step looks at.
const MOST_IN_A_STEP: i64 = 200;
/// Steps a second, where the rate leaves enough for each.
const STEPS_A_SECOND: i64 = 4;

/// The task that works jobs.
pub struct Jobs {
    replayer: Replayer,
    store: Arc<dyn Store>,
    clock: Clock,
    wake: Arc<Notify>,
    /// How long a job is held from step to step; a step that takes longer does nothing.
    lease: Duration,
}

impl Jobs {
    /// Works what `replayer`, or another instance, or the command line, has made. Each job is held for `lease`.
    #[must_use]
    pub fn new(replayer: Replayer, lease: Duration) -> Self {
        let (store, clock, wake) = (Arc::clone(&replayer.store), replayer.clock.clone(), Arc::clone(&replayer.wake));
        Self { replayer, store, clock, wake, lease }
    }

    /// Works until told to stop; then every job is let go after its step, for another instance to go on with.
    pub async fn run(self, stopping: CancellationToken) {
        let mut worked = FuturesUnordered::new();
        loop {
            while worked.len() < JOBS_AT_ONCE && !stopping.is_cancelled() {
                let lease = LeaseId::new(self.clock.now());
                match self.claim(lease).await {
                    Ok(Some(job)) => worked.push(self.work(job, lease, &stopping)),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "replays could not be looked for; they are next time");
                        break;
                    }
                }
            }
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(()) = worked.next() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        while worked.next().await.is_some() {}
    }

    async fn claim(&self, lease: LeaseId) -> Result<Option<ReplayView>, StoreError> {
        let now = self.clock.now();
        in_time(self.store.claim_replay(lease, now, now.plus(self.lease))).await
    }

    /// Works a job until it ends, or is lost to another instance.
    async fn work(&self, job: ReplayView, lease_id: LeaseId, stopping: &CancellationToken) {
        tracing::info!(replay = %job.id, kind = job.selection.kind(), matched = job.matched, "a replay is worked");
        let rate = i64::from(job.rate).max(1);
        let mut limit = rate.div_euclid(STEPS_A_SECOND).clamp(1, MOST_IN_A_STEP);
        let usual = limit;
        while !stopping.is_cancelled() {
            let begun = Instant::now();
            let now = self.clock.now();
            let step = Step { replay_id: job.id, lease_id, now, lease_until: now.plus(self.lease), limit };
            let pause = match self.step(&job, step).await {
                Ok(Stepped::Lost) => return,
                Ok(Stepped::Done { hints }) => {
                    self.replayer.announce(hints);
                    tracing::info!(replay = %job.id, "a replay is done");
                    return;
                }
                Ok(Stepped::Some { looked_at, hints }) => {
                    self.replayer.announce(hints);
                    limit = usual;
                    pace(looked_at, rate).saturating_sub(begun.elapsed())
                }
                // Only what depends on the rows is worth taking one by one.
                Err(error) if error.is_about_the_rows() && limit > 1 => {
                    limit = 1;
                    Duration::ZERO
                }
                Err(error) => {
                    tracing::warn!(replay = %job.id, %error, "a step of a replay failed; it is tried again");
                    AGAIN_AFTER
                }
            };
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(error) = in_time(self.store.release_replay(job.id, lease_id)).await {
            tracing::warn!(replay = %job.id, %error, "a replay is held until its lease runs out");
        }
    }

    async fn step(&self, job: &ReplayView, step: Step) -> Result<Stepped, StoreError> {
        let replayer = &self.replayer;
        match &job.selection {
            Selection::Deliveries(_) => {
                let (republish_after, room) = (replayer.judge.republish_after, replayer.relay.room());
                let step = in_time(self.store.replay_deliveries(step, republish_after, room)).await?;
                replayer.relay.wake();
                Ok(step)
            }
            Selection::Receipts(_) => self.judge(job, step).await,
        }
    }

    async fn judge(&self, job: &ReplayView, step: Step) -> Result<Stepped, StoreError> {
        let Some(requests) = in_time(self.store.next_receipts(step)).await? else { return Ok(Stepped::Lost) };
        let looked_at = i64::try_from(requests.len()).unwrap_or(i64::MAX);
        let work = Rejudging { items: Vec::new(), by: job.created_by, dry_run: false, step: Some(step) };
        let judged = self.replayer.judge.judge(&requests, work, self.replayer.relay.room()).await;
        let hints = match (judged, requests.as_slice()) {
            (Ok(ReceiptsReplayed::Lost), _) => return Ok(Stepped::Lost),
            (Ok(ReceiptsReplayed::Judged(mut judgements)), _) => {
                let hints = std::mem::take(&mut judgements.recorded.hints);
                self.replayer.committed(judgements.recorded);
                hints
            }
            (Err(error), [one]) if error.is_about_the_rows() => {
                self.pass_over(step, one, &error).await?;
                return Ok(Stepped::Some { looked_at, hints: Vec::new() });
            }
            (Err(error), _) => return Err(error),
        };
        Ok(if looked_at < step.limit { Stepped::Done { hints } } else { Stepped::Some { looked_at, hints } })
    }

    /// A receipt that the database refuses to take stays as it is, and the job goes on behind it.
    async fn pass_over(&self, step: Step, request: &StoredRequest, error: &StoreError) -> Result<(), StoreError> {
        tracing::error!(replay = %step.replay_id, receipt = %request.receipt_id, %error,
            cause = ?std::error::Error::source(error), "a receipt could not be replayed; it is skipped");
        in_time(self.store.skip_receipt(step, request.receipt_id)).await
    }
}

/// How long it takes to look at so many at this rate.
fn pace(looked_at: i64, rate: i64) -> Duration {
    let micros = looked_at.saturating_mul(1_000_000).div_euclid(rate);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_the_steps() {
        assert_eq!(pace(12, 50), Duration::from_millis(240));
        assert_eq!(pace(1, 1), Duration::from_secs(1));
        assert_eq!(pace(0, 50), Duration::ZERO);
    }
}
