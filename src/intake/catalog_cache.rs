//! The configuration in memory, never older than the recorder's transaction allows.
//!
//! Readers take the current snapshot without waiting. It is refreshed by whoever learns that it is stale: the
//! recorder inside its transaction, an admin's write, and a poll, so that a revoked key stops working within
//! five seconds on every instance (DESIGN section 2).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::catalog::Catalog;
use crate::store::configuration::Configuration;
use crate::store::{StoreError, in_time_of};

/// How often every instance asks whether the configuration has moved.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// How long a look at the configuration may take: one that a silent database holds up must not hold up the next, or a revoked
/// key would go on working.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// The current configuration and the way to a newer one.
pub struct CatalogCache {
    store: Arc<dyn Configuration>,
    current: ArcSwap<Catalog>,
    refreshing: Mutex<()>,
}

impl CatalogCache {
    /// A cache that holds the whole configuration.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read.
    pub async fn load(store: Arc<dyn Configuration>) -> Result<Arc<Self>, StoreError> {
        let cache = Self { store, current: ArcSwap::default(), refreshing: Mutex::default() };
        cache.refresh().await?;
        Ok(Arc::new(cache))
    }

    /// The snapshot in memory.
    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Loads what is newer than the snapshot; answers the snapshot in force afterwards. Callers at the same time
    /// wait for one loading.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read; the old snapshot stays.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, StoreError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let known = self.current.load_full();
        let delta = in_time_of(LOOK_WITHIN, self.store.load(known.version())).await?;
        if delta.version == known.version() {
            return Ok(known);
        }
        let next = Arc::new(known.with(delta));
        self.current.store(Arc::clone(&next));
        Ok(next)
    }

    /// Polls until told to stop.
    pub async fn poll(self: Arc<Self>, stopping: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
            let moved = match in_time_of(LOOK_WITHIN, self.store.configuration_version()).await {
                Ok(version) => version != self.current.load().version(),
                Err(_) => continue, // The database is away: /readyz and the alerts say so.
            };
            if moved && let Err(error) = self.refresh().await {
                tracing::error!(%error, "the configuration could not be reloaded; the old one stays in force");
            }
        }
    }
}
