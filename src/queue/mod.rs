//! Hints about deliveries, in this process or in RabbitMQ.
//!
//! The relay publishes, workers receive. Guaranteed: `publish` returns `Ok` only when the queue has
//! taken the message (for RabbitMQ: routed, persisted and confirmed). Not guaranteed, on purpose: that a
//! message taken ever comes out, or comes out once; the delivery row is the truth (RELIABILITY section 3).

pub mod embedded;
pub mod rabbitmq;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::delivery::Hint;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// To the workers, now.
    Work,
    /// To the workers once the rung's time has passed; the index counts from the shortest rung.
    Rung(usize),
}

/// Why a message was not taken. The rows it speaks of come up again by themselves.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The queue is not reachable, or did not confirm in time.
    #[error("the queue did not take the message: {0}")]
    Unavailable(String),
    /// The queue refused: unroutable, full, or the rung does not exist.
    #[error("the queue refused the message: {0}")]
    Refused(String),
}

impl PublishError {
    /// The ladder has no rung with this index.
    fn no_rung(index: usize) -> Self {
        Self::Refused(format!("the ladder has no rung {index}"))
    }
}

/// How the queue is, for `/readyz`, metrics and alerts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct QueueHealth {
    /// `embedded` or `rabbitmq`.
    pub kind: &'static str,
    /// Whether publishing works as far as is known.
    pub publishing: bool,
    /// Whether a consumer is attached.
    pub consuming: bool,
    /// Why not, if not; no addresses, no credentials.
    pub detail: Option<String>,
}

/// How many messages lie in one queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// The queue's name, as the broker shows it.
    pub queue: String,
    /// Messages ready in it.
    pub messages: u64,
}

impl Depth {
    /// Whether this is where messages lie that could not be read.
    #[must_use]
    pub fn is_poison(&self) -> bool {
        self.queue.ends_with(POISON)
    }

    /// The depth of a queue that lies in memory.
    fn new(queue: String, messages: usize) -> Self {
        Self { queue, messages: u64::try_from(messages).unwrap_or(u64::MAX) }
    }
}

/// How the name of the queue ends that keeps what could not be read.
const POISON: &str = ".poison.v1";

/// A rung's name in queue names and routing keys, by its length: `30s`, `1500ms`.
fn rung_label(wait: Duration) -> String {
    if wait.subsec_nanos() == 0 { format!("{}s", wait.as_secs()) } else { format!("{}ms", wait.as_millis()) }
}

/// One queue, two implementations.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Puts hints in as one message. `Ok` means taken.
    ///
    /// # Errors
    /// See [`PublishError`]; the caller marks the rows so that they come up again.
    async fn publish(&self, route: Route, hints: &[Hint]) -> Result<(), PublishError>;

    /// The next message for this instance's workers; waits for one. `None` once the queue is closed.
    async fn receive(&self) -> Option<Received>;

    /// Messages in each queue.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] when the queue cannot be asked.
    async fn depths(&self) -> Result<Vec<Depth>, PublishError>;

    /// How the queue is.
    fn health(&self) -> QueueHealth;

    /// Stops handing out messages; `receive` then answers `None`. What was handed out can still be acknowledged.
    async fn close(&self);
}

/// A message handed to this instance. Dropping it without [`Received::ack`] gives it back.
pub struct Received {
    /// What it hints at.
    pub hints: Vec<Hint>,
    acknowledge: Box<dyn Acknowledge>,
}

/// How a message is acknowledged; each queue has its own.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// Tells the queue that the message is done with.
    async fn acknowledge(self: Box<Self>);
}

impl Received {
    /// A message with these hints.
    #[must_use]
    pub fn new(hints: Vec<Hint>, acknowledge: Box<dyn Acknowledge>) -> Self {
        Self { hints, acknowledge }
    }

    /// Hints that came from the database without a message.
    #[must_use]
    pub fn past_the_queue(hints: Vec<Hint>) -> Self {
        Self::new(hints, Box::new(NoMessage))
    }

    /// Done with: to be called once every hint is claimed, handed back or known to be stale (all committed).
    pub async fn ack(self) {
        self.acknowledge.acknowledge().await;
    }
}

/// There is nothing to acknowledge; the rows come up again by themselves.
struct NoMessage;

#[async_trait]
impl Acknowledge for NoMessage {
    async fn acknowledge(self: Box<Self>) {}
}
