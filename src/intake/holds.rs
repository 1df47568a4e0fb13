//! Approves conversions whose hold is over (DOMAIN 2.4: `hold → approved` by itself after the goal's hold days).
//!
//! Runs on every instance; the database decides who gets a row. Each step is one bounded transaction, so a stop in the
//! middle loses nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::intake::recorder::Booker;
use crate::store::StoreError;

/// Conversions that are approved in one transaction.
const CONVERSIONS_AT_ONCE: i64 = 200;

/// Looks for conversions whose hold is over, round after round.
pub struct Holds {
    /// What books them.
    pub booker: Booker,
    /// How often to look.
    pub every: Duration,
}

impl Holds {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.round(&stopping).await {
                tracing::warn!(%error, "conversions whose hold is over could not be approved; they are next time");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    async fn round(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        while !stopping.is_cancelled() && self.booker.approve_held(CONVERSIONS_AT_ONCE).await?.changed > 0 {}
        Ok(())
    }
}
