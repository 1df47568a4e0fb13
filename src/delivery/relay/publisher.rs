//! What is handed in goes to the queue, in one message for each way that hints take. What the queue does not take is marked in
//! its rows, so that it comes up when it is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outgoing, Shared};
use crate::clock::Clock;
use crate::domain::delivery::Hint;
use crate::metrics::Metrics;
use crate::queue::{PublishError, Queue, Route};
use crate::store::deliveries::Deliveries;
use crate::store::in_time;

/// Publishes what is handed in.
#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) store: Arc<dyn Deliveries>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// How long a delivery waits whose hint was not taken.
    pub(super) pause: Duration,
    pub(super) shared: Arc<Shared>,
}

impl Publisher {
    /// One message for each route among these hints.
    pub(super) async fn publish(&self, mut outgoing: Vec<Outgoing>) {
        crate::fail::point("relay.before_publish").await;
        outgoing.sort_by_key(|(route, _)| *route);
        for same_route in outgoing.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(route, _)) = same_route.first() else { continue };
            let hints: Vec<Hint> = same_route.iter().map(|(_, hint)| *hint).collect();
            match self.queue.publish(route, &hints).await {
                Ok(()) => {
                    crate::fail::point("relay.after_publish").await;
                    self.metrics.published("taken");
                    *self.shared.not_taken() = None;
                    if route == Route::Work {
                        self.shared.in_queue.fetch_add(hints.len(), Ordering::Relaxed);
                    }
                }
                Err(error) => self.not_taken(route, &hints, &error).await,
            }
        }
    }

    /// What should have waited on a rung comes up when it is due, everything else after a pause.
    async fn not_taken(&self, route: Route, hints: &[Hint], error: &PublishError) {
        let result = if matches!(error, PublishError::Refused(_)) { "refused" } else { "unavailable" };
        self.metrics.published(result);
        *self.shared.not_taken() = Some((error.to_string(), Instant::now()));
        tracing::warn!(hints = hints.len(), ?route, %error, "hints were not taken; their deliveries come up again");
        let not_before = self.clock.now().plus(self.pause);
        if let Err(error) = in_time(self.store.unpublished(hints, not_before)).await {
            tracing::warn!(hints = hints.len(), %error, "deliveries come up a while after they are due");
        }
    }
}
