//! Somebody else at the broker, who interferes with queues and bindings.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::cli::Failure;

/// Messages that a flood brings at a time, and how often.
const WAVE: usize = 20;
const WAVE_EVERY: Duration = Duration::from_millis(10);

/// A connection past the service.
pub struct Hands {
    channel: Channel,
    _connection: Connection,
}

impl Hands {
    /// Connects.
    pub async fn new(url: &str) -> Result<Self, Failure> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.map_err(failed)?;
        Ok(Self { channel: connection.create_channel().await.map_err(failed)?, _connection: connection })
    }

    /// Deletes a queue with what is in it; answers how many messages that were.
    pub async fn delete(&self, queue: &str) -> Result<u32, Failure> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map_err(failed)
    }

    /// Puts a body into a queue for a while, faster than anybody takes it out.
    pub async fn flood(&self, queue: &str, body: &[u8], time: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < time {
            for _ in 0..WAVE {
                let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
                let put = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
                // Whether the queue took it is not asked: it is to be full.
                drop(put.await.map_err(failed)?);
            }
            tokio::time::sleep(WAVE_EVERY).await;
        }
        Ok(())
    }

    /// Takes a binding away.
    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), Failure> {
        let unbound = self.channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default());
        unbound.await.map_err(failed)
    }

    /// Makes a binding.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), Failure> {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await.map_err(failed)
    }
}

fn failed(error: lapin::Error) -> Failure {
    Failure::new(format!("the broker refuses: {error}"))
}
