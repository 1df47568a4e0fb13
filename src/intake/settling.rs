//! What time and exchange rates do to commissions: a lock period that is over makes them payable, a rate that arrives
//! books those that waited for it.
//!
//! Runs on every instance; rows and their states decide, so that each commission is released and booked once. Works in
//! bounded steps and goes by the shared clock. Tells nobody of a release; a booking is told as every approval is.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::intake::recorder::Booker;
use crate::store::{Store, StoreError, in_time};

/// Commissions that are released in one transaction.
const RELEASED_AT_ONCE: i64 = 500;

/// Looks for commissions whose time has come, round after round.
pub struct Settling {
    /// Where they lie.
    pub store: Arc<dyn Store>,
    /// What books them.
    pub booker: Booker,
    /// What time it is.
    pub clock: Clock,
    /// How often to look.
    pub every: Duration,
}

impl Settling {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.release(&stopping).await {
                tracing::warn!(%error, "held commissions could not be released; they are next time");
            }
            if let Err(error) = self.book_awaiting(&stopping).await {
                tracing::warn!(%error, "commissions that waited for a rate could not be booked; they are next time");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn release(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let mut full = true;
        while full && !stopping.is_cancelled() {
            let released = in_time(self.store.release_held(self.clock.now(), RELEASED_AT_ONCE)).await?;
            full = i64::try_from(released).is_ok_and(|released| released == RELEASED_AT_ONCE);
        }
        Ok(())
    }

    async fn book_awaiting(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        // What does not fit an amount goes on waiting: the round ends where nothing was booked.
        while !stopping.is_cancelled() && self.booker.book_awaiting().await?.settled > 0 {}
        Ok(())
    }
}
