//! Brings up again what was forgotten: leases that ran out, hints that were lost.
//!
//! Runs on every instance; the database decides who gets a row. Whatever the queue does, a delivery that is due is
//! hinted at again within `republish_after` plus one round.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::delivery::relay::Relay;
use crate::domain::retry::RetryPolicy;
use crate::domain::time::Timestamp;
use crate::store::deliveries::Deliveries;
use crate::store::{StoreError, in_time};

/// Leases ended in one transaction.
const LEASES_AT_ONCE: i64 = 500;

/// Looks for what is overdue, round after round.
#[expect(missing_docs, reason = "the rooms that it stands between")]
pub struct Sweeper {
    pub store: Arc<dyn Deliveries>,
    pub relay: Relay,
    pub policy: RetryPolicy,
    pub clock: Clock,
    pub every: Duration,
}

impl Sweeper {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "a round of the sweeper failed; the next one goes on");
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let mut ended = 0;
        while let Some(now) = self.store_time().await? {
            let some = in_time(self.store.expire_leases(now, &self.policy, LEASES_AT_ONCE)).await?;
            ended += some;
            if some == 0 {
                break;
            }
        }
        if ended > 0 {
            tracing::warn!(deliveries = ended, "leases ran out; how these attempts ended is not known");
        }
        self.relay.wake();
        Ok(())
    }

    /// Now, after measuring anew how far the database's clock is ahead; `None` where it answered too late to tell. No lease is
    /// ended by an older measure: the machine's clock may have been stepped since, and leases that others hold would seem
    /// to be over.
    async fn store_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let offset = in_time(self.store.clock_offset_micros()).await?;
        Ok(offset.map(|offset| {
            self.clock.set_offset(offset);
            self.clock.now()
        }))
    }
}
