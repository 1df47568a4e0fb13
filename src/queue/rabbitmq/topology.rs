//! The exchanges and queues, declared at each connect (RELIABILITY section 2).
//!
//! ```text
//! exchange <prefix>.deliver.v1   queue <prefix>.work.v1            key work
//!                                queue <prefix>.retry.<rung>.v1    key r<rung>   expires into deliver/work
//! exchange <prefix>.poison.v1    queue <prefix>.poison.v1          key poison
//! ```
//!
//! A rung's length is in its queue's name, so a changed ladder makes new queues; the old ones run
//! empty by themselves. A declaration asserts the arguments: the broker refuses it when the queue has
//! others. Deliberately absent: a time to live per message (one long wait would block those behind
//! it), `x-expires`, plug-ins.

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

use super::connection::{Fault, Link, protocol_error};
use crate::domain::retry::Ladder;
use crate::queue::{Depth, PublishError, Route, rung_label};

/// Deliveries of one message before the broker gives it up: practically never. Ten were tried, and eleven
/// dropped connections moved every prefetched message to poison. Zero and -1 do not mean "no limit"
/// on 3.10, and leaving it out means 20 on 4.x.
const DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The longest time to live that RabbitMQ takes, in milliseconds: 2^32 - 1.
const MAX_TTL_MS: u128 = 4_294_967_295;

/// The longest prefix, in bytes, so that every name stays far below AMQP's 255.
const MAX_PREFIX_BYTES: usize = 100;

const WORK_KEY: &str = "work";
const POISON_KEY: &str = "poison";

/// AMQP reply codes that a declaration may meet.
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// Where a message is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) exchange: String,
    pub(super) key: String,
}

/// The names and arguments of everything that we declare.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    deliver: String,
    poison_exchange: String,
    work: String,
    poison: String,
    rungs: Vec<Rung>,
    max_length: u32,
}

#[derive(Clone, Debug)]
struct Rung {
    queue: String,
    key: String,
    ttl_ms: i64,
}

impl Topology {
    /// The topology of this prefix and ladder; each queue takes `max_length` messages, about.
    pub(super) fn new(prefix: &str, ladder: &Ladder, max_length: u32) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(plain) {
            return Err("the queue prefix takes 1 to 100 letters, digits, dots, dashes and underscores");
        }
        if max_length == 0 {
            return Err("a queue takes at least one message");
        }
        let mut rungs = Vec::new();
        for wait in ladder.rungs() {
            let ttl_ms = Some(wait.as_millis()).filter(|ms| (1..=MAX_TTL_MS).contains(ms));
            let ttl_ms = ttl_ms.and_then(|ms| i64::try_from(ms).ok());
            let label = rung_label(*wait);
            rungs.push(Rung {
                queue: format!("{prefix}.retry.{label}.v1"),
                key: format!("r{label}"),
                ttl_ms: ttl_ms.ok_or("a rung on RabbitMQ is between 1 ms and 49 days long")?,
            });
        }
        Ok(Self {
            deliver: format!("{prefix}.deliver.v1"),
            poison_exchange: format!("{prefix}.poison.v1"),
            work: format!("{prefix}.work.v1"),
            poison: format!("{prefix}.poison.v1"),
            rungs,
            max_length,
        })
    }

    /// The queue that workers consume.
    pub(super) fn work(&self) -> &str {
        &self.work
    }

    /// Where messages of this route go; refused when the ladder has no such rung.
    pub(super) fn target(&self, route: Route) -> Result<Target, PublishError> {
        let key = match route {
            Route::Work => WORK_KEY.to_owned(),
            Route::Rung(index) => self.rungs.get(index).ok_or_else(|| PublishError::no_rung(index))?.key.clone(),
        };
        Ok(Target { exchange: self.deliver.clone(), key })
    }

    /// Where messages go that cannot be read.
    pub(super) fn poison_target(&self) -> Target {
        Target { exchange: self.poison_exchange.clone(), key: POISON_KEY.to_owned() }
    }

    /// Declares everything; a no-op where it exists as it should.
    pub(super) async fn declare(&self, link: &Link) -> Result<(), Fault> {
        let channel = link.channel().await?;
        for exchange in [&self.deliver, &self.poison_exchange] {
            declare_exchange(link, &channel, exchange).await?;
        }
        let (deliver, poison) = (self.deliver.as_str(), self.poison_exchange.as_str());
        declare_queue(link, &channel, &self.work, self.consumed_arguments()).await?;
        bind(link, &channel, &self.work, deliver, WORK_KEY).await?;
        for rung in &self.rungs {
            declare_queue(link, &channel, &rung.queue, self.rung_arguments(rung)).await?;
            bind(link, &channel, &rung.queue, deliver, &rung.key).await?;
        }
        declare_queue(link, &channel, &self.poison, self.consumed_arguments()).await?;
        bind(link, &channel, &self.poison, poison, POISON_KEY).await?;
        link.call("closing a channel", channel.close(200, "OK".into())).await
    }

    /// Ready messages in each queue, and how many consumers the work queue knows of; asked without creating any.
    pub(super) async fn depths(&self, link: &Link) -> Result<(Vec<Depth>, u32), Fault> {
        let channel = link.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let (mut depths, mut consumers) = (Vec::new(), 0);
        let mut seen = BTreeSet::new();
        for name in self.queues().filter(|name| seen.insert(*name)) {
            let question = channel.queue_declare(name.into(), options, FieldTable::default());
            let what = format!("asking for the depth of queue {name}");
            let queue = link.call(&what, question).await?;
            if name == self.work {
                consumers = queue.consumer_count();
            }
            depths.push(Depth { queue: name.to_owned(), messages: u64::from(queue.message_count()) });
        }
        link.call("closing a channel", channel.close(200, "OK".into())).await?;
        Ok((depths, consumers))
    }

    fn queues(&self) -> impl Iterator<Item = &str> {
        let rungs = self.rungs.iter().map(|rung| rung.queue.as_str());
        std::iter::once(self.work.as_str()).chain(rungs).chain(std::iter::once(self.poison.as_str()))
    }

    /// Arguments that every queue has. `reject-publish` is what makes a full queue answer with a nack,
    /// and what at-least-once dead-lettering silently needs (RELIABILITY section 1, trap 5).
    fn common_arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(self.max_length)));
        arguments
    }

    fn consumed_arguments(&self) -> FieldTable {
        let mut arguments = self.common_arguments();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments
    }

    fn rung_arguments(&self, rung: &Rung) -> FieldTable {
        let mut arguments = self.common_arguments();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(rung.ttl_ms));
        arguments.insert("x-dead-letter-exchange".into(), text(&self.deliver));
        arguments.insert("x-dead-letter-routing-key".into(), text(WORK_KEY));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

async fn declare_exchange(link: &Link, channel: &Channel, name: &str) -> Result<(), Fault> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declare = channel.exchange_declare(name.into(), ExchangeKind::Direct, options, FieldTable::default());
    declared(link, "exchange", name, declare).await
}

async fn declare_queue(link: &Link, channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Fault> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declared(link, "queue", name, channel.queue_declare(name.into(), options, arguments)).await.map(|_| ())
}

async fn bind(link: &Link, channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Fault> {
    let key = ShortString::from(key);
    let bind =
        channel.queue_bind(queue.into(), exchange.into(), key, QueueBindOptions::default(), FieldTable::default());
    link.call(&format!("binding queue {queue}"), bind).await
}

/// A declaration; when the broker has something else under that name, says what to do about it.
async fn declared<T>(
    link: &Link,
    kind: &str,
    name: &str,
    declare: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    let explained = async {
        match declare.await {
            Ok(value) => Ok(Ok(value)),
            Err(error) => match explain(kind, name, &error) {
                Some(fault) => Ok(Err(fault)),
                None => Err(error),
            },
        }
    };
    link.call(&format!("declaring {kind} {name}"), explained).await?
}

/// What an operator has to know about a declaration that the broker refused.
fn explain(kind: &str, name: &str, error: &lapin::Error) -> Option<Fault> {
    let error = protocol_error(error)?;
    let text = error.get_message();
    match error.get_id() {
        PRECONDITION_FAILED => Some(Fault(format!(
            "{kind} {name} exists on the broker with other properties than the settings ask for ({text}): delete it once \
             it is empty, or choose another queue prefix"
        ))),
        NOT_FOUND => Some(Fault(format!("{kind} {name} cannot be reached: its node or its leader is down"))),
        _ => None,
    }
}
