//! Publishing: several channels on one connection, one message in flight on each.
//!
//! Taken means exactly: the broker acknowledged it and returned nothing (RELIABILITY section 1, traps 1 and
//! 2). With more than one message in flight on a channel lapin may pin a return on the wrong one, and
//! an unroutable message is acknowledged too. A confirm that does not come in time breaks the connection,
//! since nobody can tell what became of the message. Not done here: retrying; the rows come up again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Shared;
use super::connection::{Fault, Link, call};
use super::supervisor::{End, Side};
use super::topology::Target;
use crate::queue::PublishError;

/// AMQP's delivery mode for messages that are written to disk.
const PERSISTENT: u8 = 2;

/// The way to the broker, while there is one.
#[derive(Default)]
pub(super) struct Publisher {
    session: ArcSwapOption<Session>,
}

/// One connection with its channels.
struct Session {
    link: Arc<Link>,
    /// Channels on which nothing is in flight; a permit of `free` for each.
    idle: Mutex<Vec<Channel>>,
    free: Arc<Semaphore>,
    /// A message came back: something that we declared is gone.
    unrouted: Notify,
}

impl Publisher {
    /// The connection, while there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.session.load().as_ref().map(|session| Arc::clone(&session.link))
    }
}

/// Publishes one message; `Ok` once the broker has it. Never waits longer than the call and the confirm
/// timeout together.
pub(super) async fn publish(shared: &Shared, target: Target, body: Vec<u8>) -> Result<(), PublishError> {
    let Some(session) = shared.publisher.session.load_full() else {
        return Err(PublishError::Unavailable("there is no connection to the broker".to_owned()));
    };
    let permit = tokio::time::timeout(shared.settings.call_timeout, Arc::clone(&session.free).acquire_owned());
    let permit = match permit.await {
        Ok(Ok(permit)) => permit,
        Ok(Err(_closed)) => return Err(PublishError::Unavailable("the connection to the broker broke".to_owned())),
        Err(_late) => return Err(PublishError::Unavailable("every publishing channel is busy".to_owned())),
    };
    // A task of its own: a caller that gives up must not leave a message in flight on an idle channel.
    let confirm_timeout = shared.settings.confirm_timeout;
    let round_trip = async move { session.round_trip(permit, confirm_timeout, target, body).await };
    let outcome = shared.tracker.spawn(round_trip).await;
    outcome.unwrap_or_else(|error| Err(PublishError::Unavailable(format!("publishing was abandoned: {error}"))))
}

/// One life of the publishing connection, from dialling to its end.
pub(super) async fn session(shared: &Arc<Shared>) -> End {
    let connected = tokio::select! {
        () = shared.stop.cancelled() => return End::Stopped,
        connected = Session::connect(shared) => connected,
    };
    let session = match connected {
        Ok(session) => Arc::new(session),
        Err(fault) => return End::Broken { fault, was_useful: false },
    };
    shared.publisher.session.store(Some(Arc::clone(&session)));
    shared.recovered(Side::Publishing);
    let fault = tokio::select! {
        () = shared.stop.cancelled() => None,
        fault = session.link.watch() => Some(fault),
        fault = session.stay_declared(shared) => Some(fault),
    };
    shared.publisher.session.store(None);
    session.free.close();
    let Some(fault) = fault else {
        session.link.close().await;
        return End::Stopped;
    };
    session.link.cut();
    End::Broken { fault, was_useful: session.link.was_useful(shared.settings.backoff_max) }
}

impl Session {
    async fn connect(shared: &Shared) -> Result<Self, Fault> {
        let settings = &shared.settings;
        let link = Link::open(&shared.address, "postback publisher", settings.call_timeout).await?;
        shared.topology.declare(&link).await?;
        let mut idle = Vec::new();
        for _ in 0..settings.publish_channels {
            let channel = link.channel().await?;
            link.call("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
            idle.push(channel);
        }
        let free = Arc::new(Semaphore::new(idle.len()));
        Ok(Self { link: Arc::new(link), idle: Mutex::new(idle), free, unrouted: Notify::new() })
    }

    /// Declares again when a message came back, after pauses that grow from `backoff_min` to `backoff_max` while messages
    /// keep coming back; ends when that fails.
    async fn stay_declared(&self, shared: &Shared) -> Fault {
        let (shortest, longest) = (shared.settings.backoff_min, shared.settings.backoff_max);
        let mut pause = shortest;
        loop {
            let quiet = tokio::time::timeout(longest, self.unrouted.notified()).await.is_err();
            if quiet {
                pause = shortest;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
            tracing::warn!("a message had no queue to go to: declaring exchanges, queues and bindings again");
            if let Err(fault) = shared.topology.declare(&self.link).await {
                return fault;
            }
        }
    }

    async fn round_trip(
        &self,
        permit: OwnedSemaphorePermit,
        confirm_timeout: Duration,
        target: Target,
        body: Vec<u8>,
    ) -> Result<(), PublishError> {
        let Some(channel) = self.take() else {
            return Err(self.broken(Fault("a publishing channel was lost".to_owned())));
        };
        let publish = async { publish_on(&channel, &target, &body).await?.await };
        let confirmation = tokio::select! {
            confirmation = call("publishing", confirm_timeout, publish) => confirmation,
            fault = self.link.broken() => Err(fault),
        };
        let outcome = match confirmation {
            Ok(Confirmation::Ack(None)) => {
                self.link.mark_useful();
                Ok(())
            }
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                self.unrouted.notify_one();
                Err(PublishError::Refused(format!("no queue is bound to {} for key {}", target.exchange, target.key)))
            }
            Ok(Confirmation::Nack(None)) => {
                Err(PublishError::Refused(format!("the broker has no room for key {}", target.key)))
            }
            Ok(Confirmation::NotRequested) => {
                return Err(self.broken(Fault("the broker does not confirm messages".to_owned())));
            }
            Err(fault) => return Err(self.broken(fault)),
        };
        self.put_back(channel);
        drop(permit);
        outcome
    }

    fn broken(&self, fault: Fault) -> PublishError {
        self.link.fail(fault.clone());
        PublishError::Unavailable(fault.0)
    }

    fn take(&self) -> Option<Channel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, channel: Channel) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
    }
}

async fn publish_on(channel: &Channel, target: &Target, body: &[u8]) -> lapin::Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_content_type("application/json".into());
    channel.basic_publish(target.exchange.as_str().into(), target.key.as_str().into(), options, body, properties).await
}
