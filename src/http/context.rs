//! What handlers work with, and the one way from a handler to the database.
//!
//! actix drops a handler when its client goes away. A transaction must not be dropped with it (RELIABILITY
//! section 1, finding 7), so whatever asks the store runs as a task of its own on the service's runtime, and the
//! handler only waits for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::problem::Problem;
use super::state::HttpState;
use crate::domain::catalog::Catalog;
use crate::domain::verdict::Code;
use crate::intake::rate::Rates;
use crate::intake::service::Intake;
use crate::store::configuration::Entry;
use crate::store::{Store, StoreError};

/// How long a caller is kept waiting for the store before it is told to come again (RELIABILITY section 4: 503 within
/// 5 s, never a hang).
const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);

/// What every handler is given. Clones share it.
#[derive(Clone)]
pub struct Context(Arc<Shared>);

struct Shared {
    state: Arc<HttpState>,
    intake: Intake,
    rates: Rates,
    runtime: Handle,
}

impl Context {
    /// The context over this state. To be called on the runtime that the database's connections live on.
    #[must_use]
    pub fn new(state: Arc<HttpState>) -> Self {
        let intake = Intake::new(
            Arc::clone(&state.catalog),
            state.recorder.clone(),
            state.clock.clone(),
            &state.settings.intake,
        );
        Self(Arc::new(Shared { state, intake, rates: Rates::new(), runtime: Handle::current() }))
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &HttpState {
        &self.0.state
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
        self.0.state.catalog.current()
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
        Ok(self.apart(question(Arc::clone(&self.0.state.store))).await??)
    }

    /// Writes configuration and loads it, so that the next request to this instance goes by it.
    ///
    /// # Errors
    /// `conflict` where a name is taken, `validation` where a row refers to one that does not exist, `unavailable`.
    pub async fn put(&self, entries: Vec<Entry>) -> Result<Arc<Catalog>, Problem> {
        let (store, cache) = (Arc::clone(&self.0.state.store), Arc::clone(&self.0.state.catalog));
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

    /// Runs to its end, whatever becomes of the caller, who waits for so long at most.
    ///
    /// # Errors
    /// `unavailable` when it panicked, the service is stopping, or the end is not known in time.
    pub async fn apart<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
        let ended = tokio::time::timeout(ANSWER_WITHIN, self.0.runtime.spawn(work)).await;
        let unavailable = || Problem::of(Code::Unavailable);
        ended.map_err(|_| unavailable())?.map_err(|error| {
            tracing::error!(%error, "a request's work did not end");
            unavailable()
        })
    }
}
