//! Payouts that nobody asks for: by the terms of each affiliate, when they fall due.
//!
//! Runs on every instance. Whoever moves an affiliate's terms on makes its payout in the same transaction, so each
//! falls due once. One transaction for one payout: a round is as long as it takes, and stops between two.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Payouts;
use crate::store::{StoreError, in_time};

/// Terms that are read at once.
const TERMS_AT_ONCE: i64 = 100;

/// Looks for what fell due, round after round.
pub struct Schedule {
    /// What makes the payouts.
    pub payouts: Payouts,
    /// How often to look.
    pub every: Duration,
}

impl Schedule {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.round(&stopping).await {
                tracing::warn!(%error, "payouts that are due could not be looked for; they are next time");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    /// Makes what is due. What cannot be made now does not hold up the others.
    async fn round(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        loop {
            let due = self.payouts.store.due_payout_terms(self.payouts.clock.now(), TERMS_AT_ONCE);
            let due = in_time(due).await?;
            let mut moved_on = false;
            for terms in due {
                if stopping.is_cancelled() {
                    return Ok(());
                }
                let (affiliate, currency) = (terms.affiliate_id, terms.currency);
                match self.payouts.create_due(terms).await {
                    Ok(outcome) => {
                        moved_on = true;
                        tracing::info!(%affiliate, %currency, ?outcome, "a payout fell due");
                    }
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%affiliate, %currency, %error, cause, "a payout that is due could not be made");
                    }
                }
            }
            if !moved_on {
                return Ok(());
            }
        }
    }
}
