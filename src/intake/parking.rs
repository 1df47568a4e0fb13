//! Postbacks that wait for their click or their original event.
//!
//! A periodic join of what is parked with what has arrived is the truth; an import of clicks only wakes it
//! early (DOMAIN 2.6). What waited too long is rejected, with its receipt kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::verdict::Verdict;
use crate::intake::recorder::Booker;
use crate::store::{Store, StoreError, in_time};

/// Wait keys that are woken in one transaction.
const KEYS_AT_ONCE: i64 = 200;

/// Judges parked postbacks again when their time has come.
pub struct Parking {
    /// Where they lie.
    pub store: Arc<dyn Store>,
    /// What judges them.
    pub booker: Booker,
    /// What time it is.
    pub clock: Clock,
    /// How often to look without being woken.
    pub every: Duration,
    /// Told when something arrived that may be waited for.
    pub wake: Arc<Notify>,
}

impl Parking {
    /// Looks whenever it is woken, and from time to time.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.look(&stopping).await {
                tracing::warn!(%error, "parked postbacks could not be looked at; they are next time");
            }
            if let Err(error) = self.expire().await {
                tracing::warn!(%error, "parked postbacks whose time is over could not be rejected; they are next time");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn look(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        loop {
            let ready = in_time(self.store.parked_ready(KEYS_AT_ONCE)).await?;
            if ready.is_empty() || stopping.is_cancelled() {
                break;
            }
            let judged = self.booker.apply_parked(&ready).await?;
            let settled = judged.unparked.iter().any(|outcome| !matches!(outcome.verdict, Verdict::Parked(_)));
            if !settled {
                break; // What is left waits for something else; looking again at once would not end.
            }
        }
        Ok(())
    }

    async fn expire(&self) -> Result<(), StoreError> {
        while in_time(self.store.expire_parked(self.clock.now(), KEYS_AT_ONCE)).await? > 0 {}
        Ok(())
    }
}
