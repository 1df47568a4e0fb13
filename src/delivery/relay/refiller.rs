//! What is due and nobody hinted at goes to the queue as its window allows, in turns over the endpoints; past the queue to this
//! instance's workers while it has been out of order for long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::clock::Clock;
use crate::delivery::breaker::Breakers;
use crate::delivery::permits::Permits;
use crate::domain::delivery::Hint;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::deliveries::Deliveries;
use crate::store::{StoreError, in_time};

/// Hints taken from the backlog in one transaction.
const TAKEN_AT_ONCE: i64 = 512;
/// Of these, at most so many of one endpoint, so that all get their turn.
const TAKEN_PER_ENDPOINT: i64 = 64;
/// Hints handed to the workers at a time while the queue is out of order.
const SERVED_AT_ONCE: i64 = 64;
/// How often the length of the queue is asked for while there is a backlog.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The same while there is none: only for metrics and `room`.
const LOOK_IDLE: Duration = Duration::from_secs(1);
/// How often one due delivery goes by the queue all the same while the others go past it: whether it is taken tells when to
/// return.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Refills the queue from the backlog.
pub(super) struct Refiller {
    pub(super) relay: Relay,
    pub(super) store: Arc<dyn Deliveries>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) permits: Permits,
    pub(super) breakers: Breakers,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) republish_after: Duration,
    pub(super) direct_after: Duration,
}

impl Refiller {
    /// Round after round until told to stop.
    pub(super) async fn run(self, stopping: CancellationToken) {
        let mut more = true;
        let (mut worked_at, mut past_the_queue, mut probed_at) = (Instant::now(), false, Instant::now());
        loop {
            let pause = if more { LOOK_AGAIN } else { LOOK_IDLE };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = self.relay.shared.backlog.notified() => more = true,
                () = tokio::time::sleep(pause) => {}
            }
            self.measure().await;
            if self.queue_works() {
                worked_at = Instant::now();
            }
            if past_the_queue != (worked_at.elapsed() >= self.direct_after) {
                past_the_queue = !past_the_queue;
                self.relay.shared.past_the_queue.store(past_the_queue, Ordering::Relaxed);
                self.metrics.past_the_queue.set(i64::from(past_the_queue));
                tracing::warn!(past_the_queue, "whether due deliveries go to the workers without the queue");
            }
            if more {
                let probes = past_the_queue && self.queue.health().publishing && probed_at.elapsed() >= PROBE_EVERY;
                if probes {
                    probed_at = Instant::now();
                }
                let looked = match past_the_queue {
                    true => self.serve(probes, &stopping).await,
                    false => self.refill(&stopping).await,
                };
                more = looked.unwrap_or_else(|error| {
                    tracing::warn!(%error, "the backlog could not be read; it is read again");
                    true
                });
            }
        }
    }

    /// Asks how much lies in the queue. A message holds up to [`HINTS_PER_MESSAGE`] hints, so this is a lower bound in
    /// hints; the window is about memory in the broker, where messages count.
    async fn measure(&self) {
        let health = self.relay.health();
        self.metrics.queue_connected(health.publishing, health.consuming);
        let Ok(depths) = self.queue.depths().await else { return };
        for depth in &depths {
            self.metrics.queue_messages(&depth.queue, depth.messages);
        }
        let work = depths.first().map_or(0, |depth| usize::try_from(depth.messages).unwrap_or(usize::MAX));
        self.relay.shared.in_queue.store(work, Ordering::Relaxed);
    }

    fn queue_works(&self) -> bool {
        let health = self.queue.health();
        health.publishing && health.consuming && self.relay.shared.not_taken().is_none()
    }

    /// Hands some of the backlog to this instance's workers, and one of it to the queue if it `probes`; answers whether
    /// there may be more. Waits while they are busy.
    async fn serve(&self, probes: bool, stopping: &CancellationToken) -> Result<bool, StoreError> {
        let mut due = self.take_due(SERVED_AT_ONCE).await?;
        if due.is_empty() {
            return Ok(false);
        }
        if probes {
            self.relay.announce(due.pop().into_iter().collect());
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            // The receiving half lives as long as the relay.
            _sent = self.relay.shared.direct.send(due) => {}
        }
        Ok(true)
    }

    /// Takes what is due, fairly over endpoints, less those that have no free slot or are left alone.
    async fn take_due(&self, limit: i64) -> Result<Vec<Hint>, StoreError> {
        let now = self.clock.now();
        let skipped = [self.permits.full(), self.breakers.open(now)].concat();
        let due = self.store.take_due(now, &skipped, TAKEN_PER_ENDPOINT, limit, self.republish_after);
        let due = in_time(due).await?;
        self.metrics.sweeper_republished.inc_by(u64::try_from(due.len()).unwrap_or(u64::MAX));
        Ok(due)
    }

    /// Takes from the backlog what the window has room for; answers whether there may be more.
    async fn refill(&self, stopping: &CancellationToken) -> Result<bool, StoreError> {
        while !stopping.is_cancelled() {
            let room = i64::try_from(self.relay.room()).unwrap_or(i64::MAX).min(TAKEN_AT_ONCE);
            if room == 0 || !self.queue.health().publishing {
                return Ok(true);
            }
            let due = self.take_due(room).await?;
            if due.is_empty() {
                return Ok(false);
            }
            self.relay.announce(due);
        }
        Ok(false)
    }
}
