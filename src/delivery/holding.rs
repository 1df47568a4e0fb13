//! Holds what waits for endpoints that are not active, and releases it at a bounded rate when they are active again.
//!
//! Runs on every instance; the row decides. New deliveries of such an endpoint are born held. Those that waited already are
//! held here, round after round, and whatever another instance held by an older configuration is released here, so the two
//! need no agreement. Nothing is dropped, and no attempt is spent.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::delivery::relay::Relay;
use crate::domain::endpoint::EndpointStatus;
use crate::intake::catalog_cache::CatalogCache;
use crate::store::endpoints::Endpoints;
use crate::store::{StoreError, in_time};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(1);
/// Deliveries held in one transaction.
const HELD_AT_ONCE: i64 = 1_000;

/// Looks round after round.
#[expect(missing_docs, reason = "the rooms that it stands between")]
pub struct Holding {
    pub store: Arc<dyn Endpoints>,
    pub catalog: Arc<CatalogCache>,
    pub relay: Relay,
    pub clock: Clock,
    /// How many of one endpoint's are released in a second.
    pub release_per_second: u32,
}

impl Holding {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.round(&stopping).await {
                tracing::warn!(%error, "what is held could not be looked through; the next round goes on");
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn round(&self, stopping: &CancellationToken) -> Result<(), StoreError> {
        let catalog = self.catalog.current();
        let mut more = catalog.endpoints().any(|endpoint| endpoint.status != EndpointStatus::Active);
        while more && !stopping.is_cancelled() {
            more = in_time(self.store.hold(self.clock.now(), HELD_AT_ONCE)).await?.more;
        }
        let released = self.store.release(self.clock.now(), i64::from(self.release_per_second));
        let released = in_time(released).await?;
        if released.deliveries > 0 {
            self.relay.wake();
        }
        Ok(())
    }
}
