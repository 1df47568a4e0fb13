//! Writes clicks in groups: those of the redirect without waiting, imported ones before they are acknowledged.
//!
//! A redirect never waits for the database. Its click id describes itself, so a row that could not be written
//! costs the sub-ids, not the attribution (DOMAIN 2.6).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::batch::{BatchLoop, Batcher, Bounds, batcher};
use crate::config::Clicks;
use crate::intake::recorder::{ANSWER_WITHIN, COME_AGAIN, MOST_TRIES, Unavailable};
use crate::store::recording::NewClick;
use crate::store::{Store, StoreError, in_time};

/// Whether a click was new; `Err` where it could not be stored.
type Written = Result<bool, Unavailable>;

/// Where clicks are handed in.
#[derive(Clone)]
pub struct ClickWriter {
    clicks: Batcher<NewClick, Written>,
    wake_parking: Arc<tokio::sync::Notify>,
}

/// The serving side, run as one task.
pub struct ClickWriterLoop {
    clicks: BatchLoop<NewClick, Written>,
    store: Arc<dyn Store>,
}

impl ClickWriter {
    /// A writer and the loop that serves it. `wake_parking` is told when an import brought something new.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settings: &Clicks,
        wake_parking: Arc<tokio::sync::Notify>,
    ) -> (Self, ClickWriterLoop) {
        let (clicks, serving) = batcher(Bounds::new(settings.buffer, settings.batch));
        (Self { clicks, wake_parking }, ClickWriterLoop { clicks: serving, store })
    }

    /// Hands in a click of the redirect; `false` when there is no room and it will not be stored.
    #[must_use]
    pub fn try_write(&self, click: NewClick) -> bool {
        // The answer is dropped on purpose: the visitor is on the way already.
        self.clicks.try_submit(click).map(drop).is_ok()
    }

    /// Stores clicks and answers for each, in order, whether it was new, once that is durable.
    ///
    /// # Errors
    /// [`Unavailable`] when any could not be stored in time; those that were are known at the next try.
    pub async fn write(&self, clicks: Vec<NewClick>) -> Result<Vec<bool>, Unavailable> {
        let all = clicks.into_iter().map(|click| self.clicks.submit(click));
        let written = tokio::time::timeout(ANSWER_WITHIN, futures_util::future::join_all(all)).await;
        let written = written.map_err(|_| COME_AGAIN)?;
        let new = written
            .into_iter()
            .map(|answer| answer.map_err(|_| COME_AGAIN).and_then(|written| written))
            .collect::<Result<Vec<bool>, Unavailable>>()?;
        if new.contains(&true) {
            self.wake_parking.notify_one();
        }
        Ok(new)
    }
}

impl ClickWriterLoop {
    /// Writes batch after batch until told to stop; what was taken in is finished.
    pub async fn run(self, drained: CancellationToken) {
        let store = self.store;
        let handle = move |clicks: Vec<NewClick>| {
            let store = Arc::clone(&store);
            async move {
                match written(&*store, &clicks).await {
                    Ok(new) => new.into_iter().map(Ok).collect(),
                    Err(error) => {
                        tracing::error!(clicks = clicks.len(), %error, "clicks could not be stored");
                        vec![Err(COME_AGAIN); clicks.len()]
                    }
                }
            }
        };
        self.clicks.run(drained, handle).await;
    }
}

/// Stores clicks; what collided with another instance is tried again.
async fn written(store: &dyn Store, clicks: &[NewClick]) -> Result<Vec<bool>, StoreError> {
    let mut tries = 1;
    loop {
        match in_time(store.record_clicks(clicks)).await {
            Err(StoreError::Collision(_)) if tries < MOST_TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(rand::random_range(1..=10))).await;
            }
            other => return other,
        }
    }
}
