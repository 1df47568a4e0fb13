//! The queue of many instances, in RabbitMQ 3.10 or later.
//!
//! Relays publish on one connection, workers are fed from another; a supervisor owns each and builds it
//! anew after any error, timeout or doubt. Guaranteed: `publish` answers within the timeouts, whatever the
//! broker does, and `Ok` means routed, persisted and confirmed. Starting needs no broker: until there is
//! one, publishing answers `Unavailable` and [`Queue::health`] says why. Deliberately not done: lapin's own
//! recovery, which hides failures (RELIABILITY section 1, trap 13), and any buffering of what could not
//! be published: the rows come up again.
//!
//! [`Queue::close`] stops consuming and keeps the connections, so that what was handed out can be
//! acknowledged; the token given to [`RabbitMq::start`] then ends everything.

mod connection;
mod consumer;
mod message;
mod publisher;
mod supervisor;
mod topology;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{Address, Link};
use self::consumer::Consumer;
use self::publisher::Publisher;
use self::supervisor::{Side, supervise};
use self::topology::Topology;
use super::{Depth, PublishError, Queue, QueueHealth, Received, Route};
use crate::domain::delivery::Hint;
use crate::domain::retry::Ladder;

/// What the broker is asked for, and how patiently.
#[derive(Clone, Debug)]
pub struct RabbitMqSettings {
    /// `amqp://` or `amqps://`, with credentials and the virtual host.
    pub url: SecretString,
    /// What the names of exchanges and queues begin with: letters, digits, dots, dashes, underscores.
    pub prefix: String,
    /// Channels to publish on, which is how many messages may be unconfirmed at once.
    pub publish_channels: u16,
    /// Messages that this instance may hold unacknowledged.
    pub prefetch: u16,
    /// Messages that each queue takes, about; beyond it a publish is refused. A changed length needs
    /// another prefix, or the queues deleted.
    pub max_length: u32,
    /// How long a confirm may take.
    pub confirm_timeout: Duration,
    /// How long any other call may take, connecting included.
    pub call_timeout: Duration,
    /// The longest pause before the first redial.
    pub backoff_min: Duration,
    /// The longest pause before any redial. What a returned message shows to be missing is declared
    /// again after pauses between these two.
    pub backoff_max: Duration,
}

impl RabbitMqSettings {
    /// The defaults for the broker at `url`.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            prefix: "postback".to_owned(),
            publish_channels: 8,
            prefetch: 64,
            max_length: 100_000,
            confirm_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// Settings that no broker could satisfy: a sentence, without the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableSettings(&'static str);

/// The queue in RabbitMQ.
pub struct RabbitMq {
    shared: Arc<Shared>,
}

/// What the supervisors, the publishers and the messages handed out share.
struct Shared {
    settings: RabbitMqSettings,
    address: Address,
    topology: Topology,
    publisher: Publisher,
    consumer: Consumer,
    poisoned: AtomicU64,
    troubles: Mutex<Troubles>,
    tracker: TaskTracker,
    runtime: Handle,
    /// Ends everything.
    stop: CancellationToken,
    /// Ends consuming; a child of `stop`.
    closing: CancellationToken,
}

/// Why a side is not connected.
#[derive(Default)]
struct Troubles {
    publishing: Option<String>,
    consuming: Option<String>,
}

impl RabbitMq {
    /// Starts connecting and returns at once, whether there is a broker or not. The tasks are tracked by
    /// `tracker` and end within the timeouts once `stop` is cancelled. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the URL, the prefix or a rung can never work.
    pub fn start(
        settings: RabbitMqSettings,
        ladder: &Ladder,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, UnusableSettings> {
        if settings.publish_channels == 0 || settings.prefetch == 0 {
            return Err(UnusableSettings("publishing and consuming each need at least one message in flight"));
        }
        let connecting = || Some("connecting".to_owned());
        let shared = Arc::new(Shared {
            address: Address::parse(&settings.url).map_err(UnusableSettings)?,
            topology: Topology::new(&settings.prefix, ladder, settings.max_length).map_err(UnusableSettings)?,
            publisher: Publisher::default(),
            consumer: Consumer::new(settings.prefetch),
            poisoned: AtomicU64::new(0),
            troubles: Mutex::new(Troubles { publishing: connecting(), consuming: connecting() }),
            runtime: Handle::current(),
            closing: stop.child_token(),
            settings,
            tracker,
            stop,
        });
        for side in [Side::Publishing, Side::Consuming] {
            shared.tracker.spawn(supervise(Arc::clone(&shared), side));
        }
        Ok(Arc::new(Self { shared }))
    }

    /// How many messages this instance could not read since it started.
    #[must_use]
    pub fn poisoned(&self) -> u64 {
        self.shared.poisoned.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble_of(&self, side: Side, trouble: Option<String>) {
        let mut troubles = self.troubles();
        match side {
            Side::Publishing => troubles.publishing = trouble,
            Side::Consuming => troubles.consuming = trouble,
        }
    }

    fn in_trouble(&self, side: Side, why: String) {
        self.trouble_of(side, Some(why));
    }

    fn recovered(&self, side: Side) {
        tracing::info!(?side, "connected to the broker");
        self.trouble_of(side, None);
    }

    /// A connection to ask questions on: rather the consumer's, which an alarm does not freeze.
    fn link(&self) -> Option<Arc<Link>> {
        self.consumer.link().or_else(|| self.publisher.link())
    }
}

#[async_trait]
impl Queue for RabbitMq {
    async fn publish(&self, route: Route, hints: &[Hint]) -> Result<(), PublishError> {
        let target = self.shared.topology.target(route)?;
        if hints.is_empty() {
            return Ok(());
        }
        if hints.len() > message::MAX_ITEMS {
            return Err(PublishError::Refused(format!("a message carries at most {} hints", message::MAX_ITEMS)));
        }
        let body = message::encode(hints).map_err(|error| PublishError::Refused(error.to_string()))?;
        publisher::publish(&self.shared, target, body).await
    }

    async fn receive(&self) -> Option<Received> {
        consumer::receive(&self.shared).await
    }

    async fn depths(&self) -> Result<Vec<Depth>, PublishError> {
        let Some(link) = self.shared.link() else {
            return Err(PublishError::Unavailable("there is no connection to the broker".to_owned()));
        };
        let (depths, consumers) = self.shared.topology.depths(&link).await.map_err(|fault| {
            // A queue that is gone is declared by the next connection.
            link.fail(fault.clone());
            PublishError::Unavailable(fault.to_string())
        })?;
        if !self.shared.closing.is_cancelled() {
            self.shared.consumer.is_known(consumers > 0);
        }
        Ok(depths)
    }

    fn health(&self) -> QueueHealth {
        let publishing = self.shared.publisher.link().is_some();
        let consuming = self.shared.consumer.link().is_some() && !self.shared.closing.is_cancelled();
        QueueHealth { kind: "rabbitmq", publishing, consuming, detail: self.shared.troubles().sentence() }
    }

    async fn close(&self) {
        self.shared.closing.cancel();
        consumer::give_back_unclaimed(&self.shared).await;
    }
}

impl Troubles {
    /// Both sides' reasons in one sentence, said once when they are the same.
    fn sentence(&self) -> Option<String> {
        match (&self.publishing, &self.consuming) {
            (Some(publishing), Some(consuming)) if publishing == consuming => Some(publishing.clone()),
            (Some(publishing), Some(consuming)) => Some(format!("publishing: {publishing}; consuming: {consuming}")),
            (Some(publishing), None) => Some(format!("publishing: {publishing}")),
            (None, Some(consuming)) => Some(format!("consuming: {consuming}")),
            (None, None) => None,
        }
    }
}
