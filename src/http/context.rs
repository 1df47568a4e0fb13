//! What handlers work with, and the one way from a handler to the database.
//!
//! actix drops a handler when its client goes away. A transaction must not be dropped with it (RELIABILITY
//! section 1, finding 7), so whatever asks the store runs as a task of its own on the service's runtime, and the
//! handler only waits for it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::problem::Problem;
use super::state::HttpState;
use crate::domain::catalog::Catalog;
use crate::domain::verdict::Code;
use crate::intake::rate::Rates;
use crate::intake::service::Intake;
use crate::intake::storing::UNREADY_FOR;
use crate::store::configuration::Entry;
use crate::store::{Store, StoreError};

/// How long a caller is kept waiting for the store before it is told to come again (RELIABILITY section 4: 503 within
/// 5 s, never a hang).
const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);
/// How long work may go on for which nobody waits any more: above what the engines grant a statement.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How long what a probe of the database found holds, so that those who ask cost it little, however many they are.
const PROBE_HOLDS: Duration = Duration::from_secs(1);

/// What every handler is given. Clones share it.
#[derive(Clone)]
pub struct Context(Arc<Shared>);

struct Shared {
    state: Arc<HttpState>,
    intake: Intake,
    rates: Rates,
    runtime: Handle,
    probed: Mutex<Option<(Instant, bool)>>,
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
        let (rates, runtime, probed) = (Rates::new(), Handle::current(), Mutex::default());
        Self(Arc::new(Shared { state, intake, rates, runtime, probed }))
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

    /// Whether the database takes writes: a probe of it, made lately, succeeded, and the latest postbacks could be stored.
    pub async fn takes_writes(&self) -> bool {
        let mut probed = self.0.probed.lock().await;
        let lately = probed.filter(|(at, _)| at.elapsed() < PROBE_HOLDS);
        let answers = match lately {
            Some((_, answers)) => answers,
            None => {
                let answers = self.ask(|store| async move { store.ping().await }).await.is_ok();
                *probed = Some((Instant::now(), answers));
                answers
            }
        };
        answers && !self.0.state.recorder.storing().refused_within(UNREADY_FOR)
    }

    /// Runs to its end, whatever becomes of the caller, who waits for so long at most.
    ///
    /// # Errors
    /// `unavailable` when it panicked, the service is stopping, or the end is not known in time.
    pub async fn apart<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
        let work = self.0.runtime.spawn(tokio::time::timeout(END_WITHIN, work));
        let ended = tokio::time::timeout(ANSWER_WITHIN, work).await;
        let unavailable = |_| Problem::of(Code::Unavailable);
        let ended = ended.map_err(unavailable)?.map_err(|error| {
            tracing::error!(%error, "a request's work did not end");
            Problem::of(Code::Unavailable)
        })?;
        ended.map_err(unavailable)
    }
}
