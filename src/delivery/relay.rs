//! Hints at deliveries: those of the last commit at once, the backlog as the window allows.
//!
//! The broker holds a bounded window, the database the backlog. A hint that no queue took changes nothing: its
//! row comes up again by itself. The relay never waits for a caller and no caller waits for it. While the queue is out
//! of order for long, what is due goes to this instance's workers directly; the claim keeps that safe.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{BatchLoop, Batcher, Bounds, batcher};
use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::breaker::Breakers;
use crate::delivery::permits::Permits;
use crate::domain::delivery::Hint;
use crate::metrics::Metrics;
use crate::queue::{PublishError, Queue, QueueHealth, Route};
use crate::store::deliveries::Deliveries;
use crate::store::{StoreError, in_time};

/// Hints in one message. A message is acknowledged as a whole, so a long one is held up by its slowest claim.
const HINTS_PER_MESSAGE: usize = 64;
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
/// How long a message that was not taken speaks against the queue while no other is published.
const NOT_TAKEN_COUNTS_FOR: Duration = Duration::from_secs(30);

/// A hint and the way it goes.
type Outgoing = (Route, Hint);

/// Where hints are handed in. Clones share one relay.
#[derive(Clone)]
pub struct Relay {
    outgoing: Batcher<Outgoing, ()>,
    shared: Arc<Shared>,
}

struct Shared {
    window: usize,
    /// Messages' hints in the work queue, as last seen, and what was published since.
    in_queue: AtomicUsize,
    /// Since when no message was taken that was published: why, and when that was tried last.
    not_taken: Lock<Option<(String, Instant)>>,
    /// Whether due deliveries go to the workers without the queue.
    past_the_queue: AtomicBool,
    queue: Arc<dyn Queue>,
    backlog: Notify,
    direct: mpsc::Sender<Vec<Hint>>,
    directly: Mutex<mpsc::Receiver<Vec<Hint>>>,
}

/// The serving side: two tasks.
pub struct RelayLoops {
    outgoing: BatchLoop<Outgoing, ()>,
    relay: Relay,
    store: Arc<dyn Deliveries>,
    queue: Arc<dyn Queue>,
    permits: Permits,
    breakers: Breakers,
    clock: Clock,
    metrics: Arc<Metrics>,
    republish_after: Duration,
    hand_back_after: Duration,
    direct_after: Duration,
}

impl Relay {
    /// A relay and the loops that serve it.
    #[must_use]
    pub fn new(
        store: Arc<dyn Deliveries>,
        queue: Arc<dyn Queue>,
        (permits, breakers): (Permits, Breakers),
        clock: Clock,
        metrics: Arc<Metrics>,
        settings: &Settings,
    ) -> (Self, RelayLoops) {
        let mut bounds = Bounds::new(settings.delivery.window, HINTS_PER_MESSAGE);
        bounds.lanes = settings.queue.publish_channels.try_into().unwrap_or(bounds.lanes);
        let (outgoing, serving) = batcher(bounds);
        let (direct, directly) = mpsc::channel(1);
        let shared = Shared {
            window: settings.delivery.window,
            in_queue: AtomicUsize::new(0),
            not_taken: Lock::default(),
            past_the_queue: AtomicBool::new(false),
            queue: Arc::clone(&queue),
            backlog: Notify::new(),
            direct,
            directly: Mutex::new(directly),
        };
        let relay = Self { outgoing, shared: Arc::new(shared) };
        let of_delivery = &settings.delivery;
        let (republish_after, hand_back_after) = (of_delivery.republish_after, of_delivery.hand_back_after);
        let loops = RelayLoops {
            outgoing: serving,
            relay: relay.clone(),
            store,
            queue,
            permits,
            breakers,
            clock,
            metrics,
            republish_after,
            hand_back_after,
            direct_after: of_delivery.direct_after,
        };
        (relay, loops)
    }

    /// For how many hints the window has room now.
    #[must_use]
    pub fn room(&self) -> usize {
        let used = self.outgoing.waiting().saturating_add(self.shared.in_queue.load(Ordering::Relaxed));
        self.shared.window.saturating_sub(used)
    }

    /// Hints at deliveries that are due. What finds no room comes up again by itself.
    pub fn announce(&self, hints: Vec<Hint>) {
        for hint in hints {
            if self.outgoing.try_submit((Route::Work, hint)).is_err() {
                self.wake();
                return;
            }
        }
    }

    /// Puts a delivery on a rung of the ladder, to be hinted at when the rung's time is over.
    pub fn wait_on_rung(&self, rung: usize, hint: Hint) {
        // Without room the row comes up by itself, a while after it is due.
        self.outgoing.try_submit((Route::Rung(rung), hint)).map_or_else(|_| self.wake(), drop);
    }

    /// The next hints that come past the queue, which is out of order; waits for some.
    pub async fn receive_directly(&self) -> Vec<Hint> {
        match self.shared.directly.lock().await.recv().await {
            Some(hints) => hints,
            // The sending half lives as long as the relay.
            None => std::future::pending().await,
        }
    }

    /// How the queue is: as it says itself, but one that did not take the last message does not publish.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        let health = self.shared.queue.health();
        match &*self.shared.not_taken() {
            Some((why, at)) if health.publishing && at.elapsed() < NOT_TAKEN_COUNTS_FOR => {
                QueueHealth { publishing: false, detail: Some(format!("publishing: {why}")), ..health }
            }
            _ => health,
        }
    }

    /// Whether due deliveries go to this instance's workers without the queue, since it has been out of order for long.
    #[must_use]
    pub fn is_past_the_queue(&self) -> bool {
        self.shared.past_the_queue.load(Ordering::Relaxed)
    }

    /// Says that deliveries are due which nobody hinted at.
    pub fn wake(&self) {
        self.shared.backlog.notify_one();
    }
}

impl Shared {
    fn not_taken(&self) -> MutexGuard<'_, Option<(String, Instant)>> {
        self.not_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RelayLoops {
    /// The two tasks: publishing what is handed in, and refilling from the backlog.
    pub fn into_tasks(
        self,
        stopping: CancellationToken,
        drained: CancellationToken,
    ) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
        let publisher = Publisher {
            store: Arc::clone(&self.store),
            queue: Arc::clone(&self.queue),
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            pause: self.hand_back_after,
            shared: Arc::clone(&self.relay.shared),
        };
        let publish = self.outgoing.run(drained, move |outgoing: Vec<Outgoing>| {
            let publisher = publisher.clone();
            async move {
                let count = outgoing.len();
                publisher.publish(outgoing).await;
                vec![(); count]
            }
        });
        let refiller = Refiller {
            relay: self.relay,
            store: self.store,
            queue: self.queue,
            permits: self.permits,
            breakers: self.breakers,
            clock: self.clock,
            metrics: self.metrics,
            republish_after: self.republish_after,
            direct_after: self.direct_after,
        };
        (publish, refiller.run(stopping))
    }
}

#[derive(Clone)]
struct Publisher {
    store: Arc<dyn Deliveries>,
    queue: Arc<dyn Queue>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// How long a delivery waits whose hint was not taken.
    pause: Duration,
    shared: Arc<Shared>,
}

impl Publisher {
    /// One message for each route among these hints.
    async fn publish(&self, mut outgoing: Vec<Outgoing>) {
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

struct Refiller {
    relay: Relay,
    store: Arc<dyn Deliveries>,
    queue: Arc<dyn Queue>,
    permits: Permits,
    breakers: Breakers,
    clock: Clock,
    metrics: Arc<Metrics>,
    republish_after: Duration,
    direct_after: Duration,
}

impl Refiller {
    async fn run(self, stopping: CancellationToken) {
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
