//! A queue on the test broker under a prefix of its own, and a second pair of hands at the broker.

use std::sync::Arc;
use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use postback::domain::retry::Ladder;
use postback::queue::Queue;
use postback::queue::rabbitmq::{RabbitMq, RabbitMqSettings};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{eventually, soon};

/// The test broker's URL.
#[expect(clippy::disallowed_methods, reason = "tests are told their servers by the environment")]
pub fn url() -> AMQPUri {
    let url = std::env::var("POSTBACK_TEST_AMQP_URL")
        .expect("POSTBACK_TEST_AMQP_URL names the RabbitMQ to test with; ./scripts/test starts one and sets it");
    url.parse().expect("POSTBACK_TEST_AMQP_URL is an AMQP URL")
}

/// Settings for the test broker: a random prefix, short timeouts.
pub fn settings() -> RabbitMqSettings {
    RabbitMqSettings {
        prefix: format!("test-{:016x}", rand::random::<u64>()),
        confirm_timeout: Duration::from_secs(5),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        ..RabbitMqSettings::new(SecretString::from(url().to_string()))
    }
}

/// A running queue and what is needed to end it.
pub struct Running {
    pub queue: Arc<RabbitMq>,
    pub prefix: String,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    pub fn start(settings: RabbitMqSettings, ladder: &Ladder) -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let prefix = settings.prefix.clone();
        let queue = RabbitMq::start(settings, ladder, tracker.clone(), stop.clone()).unwrap();
        Self { queue, prefix, tracker, stop }
    }

    /// Waits until both connections work.
    pub async fn connected(self) -> Self {
        self.wait_connected().await;
        self
    }

    pub async fn wait_connected(&self) {
        eventually("both connections work", async || {
            let health = self.queue.health();
            health.publishing && health.consuming
        })
        .await;
    }

    /// The full name of `postback.<name>.v1` under this prefix.
    pub fn name(&self, name: &str) -> String {
        format!("{}.{name}.v1", self.prefix)
    }

    /// Messages ready in the queue `<name>`, as the queue itself reports.
    pub async fn depth(&self, name: &str) -> u64 {
        let depths = soon("depths", self.queue.depths()).await.unwrap();
        depths.into_iter().find(|depth| depth.queue == self.name(name)).expect("the queue is reported").messages
    }

    /// Ends the queue's tasks; they must all end.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        soon("the queue's tasks end", self.tracker.wait()).await;
    }

    /// Ends the queue and removes what it declared.
    pub async fn remove(self, ladder: &Ladder) {
        self.stop().await;
        let hands = Hands::new().await;
        hands.delete(&self.name("work")).await;
        hands.delete(&self.name("poison")).await;
        for rung in ladder.rungs() {
            let seconds = if rung.subsec_nanos() == 0 { Some(rung.as_secs()) } else { None };
            let label = seconds.map_or_else(|| format!("{}ms", rung.as_millis()), |seconds| format!("{seconds}s"));
            hands.delete(&self.name(&format!("retry.{label}"))).await;
        }
        for exchange in ["deliver", "poison"] {
            hands.channel.exchange_delete(self.name(exchange).into(), Default::default()).await.unwrap();
        }
    }
}

/// Somebody else at the broker, who looks and interferes.
pub struct Hands {
    pub channel: Channel,
    _connection: Connection,
}

impl Hands {
    pub async fn new() -> Self {
        let connection = Connection::connect_uri(url(), ConnectionProperties::default()).await.unwrap();
        Self { channel: connection.create_channel().await.unwrap(), _connection: connection }
    }

    /// Deletes a queue; answers how many messages were lost.
    pub async fn delete(&self, queue: &str) -> u32 {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap()
    }

    /// Empties a queue of what is ready; answers how many messages were lost.
    pub async fn purge(&self, queue: &str) -> u32 {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap()
    }

    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        self.channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await.unwrap();
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await.unwrap();
    }

    /// Puts a body straight into a queue.
    pub async fn put(&self, queue: &str, body: &[u8]) {
        let publish = self.channel.basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            body,
            BasicProperties::default(),
        );
        publish.await.unwrap().await.unwrap();
    }

    /// How many messages are ready in a queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
    }

    /// Takes the next message out of a queue, if there is one.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()
    }

    /// Declares a durable queue with these arguments.
    pub async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) -> lapin::Result<lapin::Queue> {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, table).await
    }
}
