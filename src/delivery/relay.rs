//! Hints at deliveries: those of the last commit at once, the backlog as the window allows.
//!
//! The broker holds a bounded window, the database the backlog. A hint that no queue took changes nothing: its
//! row comes up again by itself. The relay never waits for a caller and no caller waits for it. While the queue is out
//! of order for long, what is due goes to this instance's workers directly; the claim keeps that safe.

mod publisher;
mod refiller;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::publisher::Publisher;
use self::refiller::Refiller;
use crate::batch::{BatchLoop, Batcher, Bounds, batcher};
use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::breaker::Breakers;
use crate::delivery::permits::Permits;
use crate::domain::delivery::Hint;
use crate::metrics::Metrics;
use crate::queue::{Queue, QueueHealth, Route};
use crate::store::deliveries::Deliveries;

/// Hints in one message. A message is acknowledged as a whole, so a long one is held up by its slowest claim.
const HINTS_PER_MESSAGE: usize = 64;
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
