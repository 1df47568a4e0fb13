//! Group commit: whatever arrived while the last transaction ran is recorded as the next one.
//!
//! Guaranteed: an [`Outcome`] is answered only after its commit. When nothing could be stored the caller gets
//! [`Unavailable`] and answers 503, so that the sender retries; after a commit of unknown end the retry is a
//! duplicate with the same ids. A batch that the database refuses is halved until the bad row fails alone. A full
//! buffer sheds load at once instead of letting senders wait.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::alerts::heard::Heard;
use crate::batch::{BatchLoop, Batcher, Bounds, batcher};
use crate::clock::Clock;
use crate::config::Intake;
use crate::delivery::relay::Relay;
use crate::domain::booking::{Outcome, OwnChange};
use crate::domain::ids::ConversionId;
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::storing::Storing;
use crate::metrics::Metrics;
use crate::store::recording::{Arrival, RecordTerms, Recorded};
use crate::store::{Store, StoreError, in_time};

/// How long a sender is kept waiting before it is told to come again (RELIABILITY section 4: 503 within 5 s).
pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);
/// How often a batch that collided, or found the configuration moved, is tried before it is given up.
pub(super) const MOST_TRIES: u32 = 8;
/// Commissions that waited for a rate and are booked in one transaction.
const BOOKED_AT_ONCE: i64 = 200;

/// Nothing could be stored, or nobody knows; the sender should try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing could be stored now")]
pub struct Unavailable {
    /// When to come again.
    pub retry_after: Duration,
}

/// What a sender is told whose request could not be stored.
pub(super) const COME_AGAIN: Unavailable = Unavailable { retry_after: Duration::from_secs(1) };

/// Where arrivals are handed in.
#[derive(Clone)]
pub struct Recorder {
    arrivals: Batcher<Arrival, Result<Outcome, Unavailable>>,
    metrics: Arc<Metrics>,
    storing: Arc<Storing>,
}

/// The serving side, run as one task.
pub struct RecorderLoop {
    arrivals: BatchLoop<Arrival, Result<Outcome, Unavailable>>,
    booker: Booker,
}

/// What recording needs; also used for what was parked.
#[derive(Clone)]
pub struct Booker {
    store: Arc<dyn Store>,
    catalog: Arc<CatalogCache>,
    relay: Relay,
    clock: Clock,
    metrics: Arc<Metrics>,
    heard: Arc<Heard>,
    park_for: Duration,
    republish_after: Duration,
    wake_parking: Arc<Notify>,
    storing: Arc<Storing>,
}

/// How often something was tried by the configuration in force, and whether another try makes sense.
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// To be called after a failure: makes ready for another try, where that can help.
    ///
    /// # Errors
    /// The failure itself, where it cannot, or has not for too long.
    pub async fn again(&mut self, catalog: &CatalogCache, failure: StoreError) -> Result<(), StoreError> {
        self.0 += 1;
        match failure {
            StoreError::StaleConfiguration if self.0 < MOST_TRIES => {
                catalog.refresh().await?;
            }
            StoreError::Collision(_) if self.0 < MOST_TRIES => {
                tokio::time::sleep(Duration::from_millis(rand::random_range(1..=10))).await;
            }
            other => return Err(other),
        }
        Ok(())
    }
}

/// What one transaction is to do.
#[derive(Clone, Copy)]
enum Work<'a> {
    Arrivals(&'a [Arrival]),
    Parked(&'a [String]),
    Change(ConversionId, &'a OwnChange),
    Held(i64),
    Awaiting,
}

impl Booker {
    /// What recording needs.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<CatalogCache>,
        relay: Relay,
        clock: Clock,
        metrics: Arc<Metrics>,
        heard: Arc<Heard>,
        settings: &crate::config::Settings,
    ) -> Self {
        let (park_for, republish_after) = (settings.intake.park_for, settings.delivery.republish_after);
        let (wake_parking, storing) = Default::default();
        Self { store, catalog, relay, clock, metrics, heard, park_for, republish_after, wake_parking, storing }
    }

    /// The same; `wake_parking` is told when customers were bound that something may wait for.
    #[must_use]
    pub fn waking(self, wake_parking: Arc<Notify>) -> Self {
        Self { wake_parking, ..self }
    }

    /// Judges again what is parked under these keys.
    ///
    /// # Errors
    /// [`StoreError`] as the transaction met it, after the tries that make sense.
    pub async fn apply_parked(&self, wait_keys: &[String]) -> Result<Recorded, StoreError> {
        self.tried(Work::Parked(wait_keys)).await
    }

    /// Changes a conversion without a postback; a refusal is in what is answered.
    ///
    /// # Errors
    /// As [`Booker::apply_parked`].
    pub async fn change_conversion(&self, id: ConversionId, change: &OwnChange) -> Result<Recorded, StoreError> {
        self.tried(Work::Change(id, change)).await
    }

    /// Approves conversions whose hold is over, at most `limit`.
    ///
    /// # Errors
    /// As [`Booker::apply_parked`].
    pub async fn approve_held(&self, limit: i64) -> Result<Recorded, StoreError> {
        self.tried(Work::Held(limit)).await
    }

    /// Books commissions that waited for an exchange rate which is there now; one bounded step.
    ///
    /// # Errors
    /// As [`Booker::apply_parked`].
    pub async fn book_awaiting(&self) -> Result<Recorded, StoreError> {
        self.tried(Work::Awaiting).await
    }

    /// One transaction, tried again where trying again can help. Deliveries that it made are hinted at.
    async fn tried(&self, work: Work<'_>) -> Result<Recorded, StoreError> {
        let mut tries = Tries::default();
        let mut recorded = loop {
            match self.once(work).await {
                Ok(recorded) => break recorded,
                Err(failure) => tries.again(&self.catalog, failure).await?,
            }
        };
        self.relay.announce(std::mem::take(&mut recorded.hints));
        if recorded.deferred > 0 {
            self.relay.wake();
        }
        if recorded.bound > 0 {
            self.wake_parking.notify_one();
        }
        self.count(&recorded);
        if let Work::Arrivals(arrivals) = work {
            self.heard.note(arrivals.iter().map(|arrival| arrival.item.source_id), self.clock.now());
        }
        Ok(recorded)
    }

    async fn once(&self, work: Work<'_>) -> Result<Recorded, StoreError> {
        let catalog = self.catalog.current();
        let terms = RecordTerms {
            now: self.clock.now(),
            park_for: self.park_for,
            republish_after: self.republish_after,
            room: self.relay.room(),
        };
        match work {
            Work::Arrivals(arrivals) => in_time(self.store.record_batch(arrivals, &catalog, terms)).await,
            Work::Parked(wait_keys) => in_time(self.store.apply_parked(wait_keys, &catalog, terms)).await,
            Work::Change(id, change) => in_time(self.store.change_conversion(id, change, &catalog, terms)).await,
            Work::Held(limit) => in_time(self.store.approve_held(limit, &catalog, terms)).await,
            Work::Awaiting => in_time(self.store.book_awaiting(&catalog, BOOKED_AT_ONCE, terms)).await,
        }
    }

    fn count(&self, recorded: &Recorded) {
        for outcome in recorded.outcomes.iter().chain(&recorded.unparked) {
            self.metrics.receipt(outcome.verdict.as_str());
        }
    }

    /// Records a batch; an answer to each, in order.
    async fn record(&self, arrivals: Vec<Arrival>) -> Vec<Result<Outcome, Unavailable>> {
        self.metrics.recorder_batch_size.observe(f64::from(u32::try_from(arrivals.len()).unwrap_or(u32::MAX)));
        let timer = self.metrics.recorder_seconds.start_timer();
        let answers = self.record_or_halve(&arrivals).await;
        timer.observe_duration();
        answers
    }

    /// Boxed, because it calls itself.
    fn record_or_halve<'a>(&'a self, arrivals: &'a [Arrival]) -> BoxFuture<'a, Vec<Result<Outcome, Unavailable>>> {
        Box::pin(async move {
            match self.tried(Work::Arrivals(arrivals)).await {
                Ok(recorded) => {
                    self.storing.stored();
                    recorded.outcomes.into_iter().map(Ok).collect()
                }
                // Only what depends on the rows is worth halving.
                Err(error) if error.is_about_the_rows() && arrivals.len() > 1 => {
                    let (first, second) = arrivals.split_at(arrivals.len() / 2);
                    let mut answers = self.record_or_halve(first).await;
                    answers.extend(self.record_or_halve(second).await);
                    answers
                }
                Err(error) => {
                    if matches!(error, StoreError::Unavailable(_)) {
                        self.storing.refused();
                    }
                    tracing::error!(arrivals = arrivals.len(), %error, cause = ?std::error::Error::source(&error),
                        "postbacks could not be recorded; their senders are told to come again");
                    vec![Err(COME_AGAIN); arrivals.len()]
                }
            }
        })
    }
}

impl Recorder {
    /// A recorder and the loop that serves it.
    #[must_use]
    pub fn new(booker: Booker, settings: &Intake) -> (Self, RecorderLoop) {
        let mut bounds = Bounds::new(settings.buffer, settings.batch);
        // Two copies that come to different transactions are kept apart by the keys, as they are on two instances.
        bounds.lanes = NonZeroUsize::new(settings.lanes.min(booker.store.writers())).unwrap_or(bounds.lanes);
        let (sender, serving) = batcher(bounds);
        let (metrics, storing) = (Arc::clone(&booker.metrics), Arc::clone(&booker.storing));
        let recorder = Self { arrivals: sender, metrics, storing };
        (recorder, RecorderLoop { arrivals: serving, booker })
    }

    /// Whether what arrives can be stored, as far as the latest transactions tell.
    #[must_use]
    pub fn storing(&self) -> Arc<Storing> {
        Arc::clone(&self.storing)
    }

    /// Records an arrival and answers what became of it, once that is durable.
    ///
    /// # Errors
    /// [`Unavailable`] when the buffer is full, the database is away or the answer is not known in time.
    pub async fn record(&self, arrival: Arrival) -> Result<Outcome, Unavailable> {
        let answer = self.arrivals.try_submit(arrival).map_err(|_| {
            self.metrics.shed.inc();
            COME_AGAIN
        })?;
        // Giving up waiting does not take the arrival back: a retry is then a duplicate.
        let answered = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        answered.map_err(|_| COME_AGAIN)?.map_err(|_| COME_AGAIN)?
    }
}

impl RecorderLoop {
    /// Records batch after batch until told to stop; what was taken in is finished.
    pub async fn run(self, drained: tokio_util::sync::CancellationToken) {
        let booker = self.booker;
        let handle = move |arrivals| {
            let booker = booker.clone();
            async move { booker.record(arrivals).await }
        };
        self.arrivals.run(drained, handle).await;
    }
}
