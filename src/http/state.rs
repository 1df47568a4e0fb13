<<<<<<< HEAD
//! What handlers work with, and the one way from a handler to the database.
//!
//! actix drops a handler when its client goes away. A transaction must not be dropped with it (RELIABILITY
//! section 1, finding 7), so whatever asks the store runs as a task of its own on the service's runtime, and the
//! handler only waits for it.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::problem::Problem;
use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::egress::EgressPolicy;
use crate::domain::catalog::Catalog;
use crate::domain::delivery::Hint;
use crate::domain::verdict::Code;
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::click_writer::ClickWriter;
use crate::intake::rate::Rates;
use crate::intake::recorder::Recorder;
use crate::intake::service::Intake;
use crate::metrics::Metrics;
use crate::queue::QueueHealth;
use crate::store::configuration::Entry;
use crate::store::{Store, StoreError};

/// The parts of the service that HTTP needs, as the composition root has them.
pub struct HttpParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The configuration in memory.
    pub catalog: Arc<CatalogCache>,
    /// Where postbacks are handed in.
    pub recorder: Recorder,
    /// Where clicks are handed in.
    pub clicks: ClickWriter,
=======
//! What handlers work with: the use cases of the other rooms, and nothing else.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::relay::Relay;
use crate::delivery::sender::Sender;
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::click_writer::ClickWriter;
use crate::intake::recorder::Recorder;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::Store;

/// Shared by all handlers; made by the composition root.
pub struct HttpState {
    /// Reads, and writes of configuration.
    pub store: Arc<dyn Store>,
    /// The configuration in memory; refreshed after every write of it.
    pub catalog: Arc<CatalogCache>,
    /// Where postbacks go.
    pub recorder: Recorder,
    /// Where clicks go.
    pub clicks: ClickWriter,
    /// Where replays are hinted at.
    pub relay: Relay,
    /// Only to say how it is.
    pub queue: Arc<dyn Queue>,
    /// Judges addresses of endpoints when they are registered.
    pub sender: Sender,
>>>>>>> main
    /// The settings.
    pub settings: Arc<Settings>,
    /// What time it is.
    pub clock: Clock,
<<<<<<< HEAD
    /// What operations see.
    pub metrics: Arc<Metrics>,
    /// Where endpoints may lie.
    pub egress: EgressPolicy,
    /// Hints at deliveries that a replay has begun.
    pub announce: Arc<dyn Fn(Vec<Hint>) + Send + Sync>,
    /// How the queue is, for `/readyz`.
    pub queue_health: Arc<dyn Fn() -> QueueHealth + Send + Sync>,
}

/// The state of the HTTP room. Clones share it.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

struct Shared {
    parts: HttpParts,
    intake: Intake,
    rates: Rates,
    runtime: Handle,
}

impl HttpState {
    /// The state over these parts. To be called on the runtime that the database's connections live on.
    #[must_use]
    pub fn new(parts: HttpParts) -> Self {
        let intake = Intake::new(
            Arc::clone(&parts.catalog),
            parts.recorder.clone(),
            parts.clock.clone(),
            &parts.settings.intake,
        );
        Self(Arc::new(Shared { parts, intake, rates: Rates::new(), runtime: Handle::current() }))
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &HttpParts {
        &self.0.parts
    }

    /// The use case behind `/v1/postbacks`.
    #[must_use]
    pub fn intake(&self) -> &Intake {
        &self.0.intake
    }

    /// How often keys have been used in this minute.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// The configuration in force.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.parts.catalog.current()
    }

    /// Asks the store something, in a task of its own.
    ///
    /// # Errors
    /// What the store's error means to a caller; see [`Problem`].
    pub async fn ask<T, F, Q>(&self, question: Q) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        Q: FnOnce(Arc<dyn Store>) -> F,
    {
        Ok(self.apart(question(Arc::clone(&self.0.parts.store))).await??)
    }

    /// Writes configuration and loads it, so that the next request to this instance goes by it.
    ///
    /// # Errors
    /// `conflict` where a name is taken, `validation` where a row refers to one that does not exist, `unavailable`.
    pub async fn put(&self, entries: Vec<Entry>) -> Result<Arc<Catalog>, Problem> {
        let (store, cache) = (Arc::clone(&self.0.parts.store), Arc::clone(&self.0.parts.catalog));
        let written = self.apart(async move {
            store.put(&entries).await?;
            cache.refresh().await
        });
        written.await?.map_err(|error| match error {
            StoreError::NotFound(_) => {
                Problem::of(Code::Validation).saying("An id in this request names nothing that exists.")
            }
            other => other.into(),
        })
    }

    /// Runs to its end, whatever becomes of the caller.
    ///
    /// # Errors
    /// `unavailable` when it panicked or the service is stopping.
    pub async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.0.runtime.spawn(work).await.map_err(|error| {
            tracing::error!(%error, "a request's work did not end");
            Problem::of(Code::Unavailable)
        })
    }
=======
    /// What is counted.
    pub metrics: Arc<Metrics>,
>>>>>>> main
}
