//! Consuming: one consumer on the work queue, manual acknowledgements, a bounded window.
//!
//! Guaranteed: a message stays with the broker until it was acknowledged here; whatever is dropped, or
//! was handed out on a connection that broke, comes again. A message that cannot be read goes to the
//! poison queue and is acknowledged only once it is there. Deliberately not done: nothing is ever
//! nacked into a rung, since retries are decided in the database.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use super::connection::{Fault, Link};
use super::supervisor::{End, Side};
use super::{Shared, message, publisher};
use crate::domain::delivery::Hint;
use crate::queue::{Acknowledge, PublishError, Received};

/// How long a message rests that was dropped unacknowledged, so that a worker which cannot do its job
/// does not spin. It takes a place in the window meanwhile.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// How long the work queue may know of no consumer while one is attached.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);

/// How long to wait before the poison queue is tried again.
const POISON_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Messages between the broker and the workers.
pub(super) struct Consumer {
    arrived: mpsc::Sender<Inbound>,
    inbox: Mutex<mpsc::Receiver<Inbound>>,
    link: ArcSwapOption<Link>,
    /// Since when the work queue has known of no consumer at all.
    unknown_since: std::sync::Mutex<Option<Instant>>,
}

/// A message that nobody has taken yet.
struct Inbound {
    hints: Vec<Hint>,
    loan: Loan,
}

impl Consumer {
    /// A consumer that is not attached yet; `window` messages fit between the broker and the workers.
    pub(super) fn new(window: u16) -> Self {
        let (arrived, inbox) = mpsc::channel(usize::from(window.max(1)));
        Self {
            arrived,
            inbox: Mutex::new(inbox),
            link: ArcSwapOption::empty(),
            unknown_since: std::sync::Mutex::default(),
        }
    }

    /// The connection, while there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.load_full()
    }

    /// Takes in whether the work queue knows of any consumer. One that is attached and that the queue does not know of would
    /// wait for ever: a queue that was deleted and declared again at once may not have told it (fault suite,
    /// `queue-deleted`).
    pub(super) fn is_known(&self, known: bool) {
        let mut since = self.unknown_since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = self.link().filter(|_| !known) else {
            *since = None;
            return;
        };
        let unknown_for = since.get_or_insert_with(Instant::now).elapsed().min(link.age());
        if unknown_for >= UNKNOWN_FOR {
            *since = None;
            link.fail(Fault("the work queue does not know of its consumer".to_owned()));
        }
    }
}

/// The next message; `None` once the queue is closing.
pub(super) async fn receive(shared: &Shared) -> Option<Received> {
    loop {
        let inbound = tokio::select! {
            biased;
            () = shared.closing.cancelled() => return None,
            inbound = async { shared.consumer.inbox.lock().await.recv().await } => inbound?,
        };
        if inbound.loan.is_live() {
            return Some(Received::new(inbound.hints, Box::new(inbound.loan)));
        }
    }
}

/// Gives back what no worker has taken.
pub(super) async fn give_back_unclaimed(shared: &Shared) {
    let mut inbox = shared.consumer.inbox.lock().await;
    while let Ok(inbound) = inbox.try_recv() {
        drop(inbound);
    }
}

/// One life of the consuming connection, from dialling to its end.
pub(super) async fn session(shared: &Arc<Shared>) -> End {
    let attached = tokio::select! {
        () = shared.closing.cancelled() => return End::Stopped,
        attached = attach(shared) => attached,
    };
    let (link, channel, deliveries) = match attached {
        Ok(attached) => attached,
        Err(fault) => return End::Broken { fault, was_useful: false },
    };
    shared.consumer.link.store(Some(Arc::clone(&link)));
    shared.recovered(Side::Consuming);
    let fault = tokio::select! {
        () = shared.stop.cancelled() => None,
        fault = link.watch() => Some(fault),
        fault = pump(shared, &link, &channel, deliveries) => Some(fault),
    };
    shared.consumer.link.store(None);
    let Some(fault) = fault else {
        link.close().await;
        return End::Stopped;
    };
    link.cut();
    End::Broken { fault, was_useful: link.was_useful(shared.settings.backoff_max) }
}

async fn attach(shared: &Shared) -> Result<(Arc<Link>, Channel, lapin::Consumer), Fault> {
    let settings = &shared.settings;
    let link = Link::open(&shared.address, "postback consumer", settings.call_timeout).await?;
    shared.topology.declare(&link).await?;
    let channel = link.channel().await?;
    link.call("setting the window", channel.basic_qos(settings.prefetch, BasicQosOptions::default())).await?;
    let queue = shared.topology.work();
    let consume = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let deliveries = link.call("consuming", consume).await?;
    Ok((Arc::new(link), channel, deliveries))
}

/// Passes deliveries on until the connection breaks. When the queue closes it cancels the consumer, gives
/// back what still arrives, and holds the connection for the acknowledgements under way.
async fn pump(shared: &Arc<Shared>, link: &Arc<Link>, channel: &Channel, mut deliveries: lapin::Consumer) -> Fault {
    let mut closing = false;
    loop {
        let next = tokio::select! {
            biased;
            () = shared.closing.cancelled(), if !closing => {
                closing = true;
                let cancel = channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default());
                if let Err(fault) = link.call("cancelling the consumer", cancel).await {
                    return fault;
                }
                continue;
            }
            next = deliveries.next() => next,
        };
        match next {
            Some(Ok(delivery)) => accept(shared, link, delivery).await,
            Some(Err(_)) => return Fault("the consumer's channel was closed".to_owned()),
            None if closing => return link.broken().await,
            None => return Fault("the broker cancelled the consumer: the work queue was deleted or moved".to_owned()),
        }
    }
}

/// Hands a delivery to the workers, or to poison. Dropping it on the way gives it back.
async fn accept(shared: &Arc<Shared>, link: &Arc<Link>, delivery: Delivery) {
    link.mark_useful();
    let Delivery { data, acker, .. } = delivery;
    let mut loan = Loan { acker, link: Arc::clone(link), shared: Arc::clone(shared), settled: false };
    match message::decode(&data) {
        Ok(hints) => {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => {}
                // The receiving half lives as long as `shared`, so sending cannot fail.
                _sent = shared.consumer.arrived.send(Inbound { hints, loan }) => {}
            }
        }
        Err(why) => {
            loan.settled = true;
            shared.poisoned.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%why, "a message in the work queue cannot be read and goes to the poison queue");
            shared.tracker.spawn(poison(Arc::clone(shared), loan, data));
        }
    }
}

/// Moves a message to the poison queue and acknowledges it once it is there; until then it stays with the
/// broker and takes a place in the window. Only a poison queue that is full loses it: its rows come up again.
async fn poison(shared: Arc<Shared>, loan: Loan, data: Vec<u8>) {
    loop {
        match publisher::publish(&shared, shared.topology.poison_target(), data.clone()).await {
            Ok(()) => break,
            Err(error @ PublishError::Refused(_)) => {
                tracing::error!(%error, "an unreadable message was dropped, the poison queue does not take it");
                break;
            }
            Err(PublishError::Unavailable(_)) => {}
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _fault = loan.link.broken() => return,
            () = tokio::time::sleep(POISON_RETRY_PAUSE) => {}
        }
    }
    Box::new(loan).acknowledge().await;
}

/// A message that is here but still the broker's.
struct Loan {
    acker: Acker,
    link: Arc<Link>,
    shared: Arc<Shared>,
    /// Acknowledged, or to be left to the end of the connection.
    settled: bool,
}

impl Loan {
    /// Whether the broker still counts on our answer; if not, it has given the message to somebody else.
    fn is_live(&self) -> bool {
        !self.link.is_broken() && self.acker.usable()
    }
}

#[async_trait]
impl Acknowledge for Loan {
    async fn acknowledge(mut self: Box<Self>) {
        self.settled = true;
        settle(&self.link, "acknowledging a message", self.acker.ack(BasicAckOptions::default())).await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.settled || !self.is_live() {
            return;
        }
        let (shared, link, acker) = (Arc::clone(&self.shared), Arc::clone(&self.link), self.acker.clone());
        let runtime: &Handle = &self.shared.runtime;
        self.shared.tracker.spawn_on(give_back(shared, link, acker), runtime);
    }
}

/// Returns a message to the front of its queue, after a rest.
async fn give_back(shared: Arc<Shared>, link: Arc<Link>, acker: Acker) {
    tokio::select! {
        () = tokio::time::sleep(GIVE_BACK_PAUSE) => {}
        () = shared.closing.cancelled() => {}
        _fault = link.broken() => return,
    }
    let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    settle(&link, "giving back a message", acker.nack(requeue)).await;
}

/// An answer about a message; when it does not get through, the connection cannot be trusted any more.
async fn settle(link: &Link, what: &str, answer: impl Future<Output = lapin::Result<bool>>) {
    match link.call(what, answer).await {
        Ok(true) => {}
        Ok(false) => link.fail(Fault(format!("{what}: the channel was closed"))),
        Err(fault) => link.fail(fault),
    }
}
