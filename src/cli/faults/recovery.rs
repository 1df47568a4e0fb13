//! How long the service takes to be itself again after a fault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use crate::cli::Failure;
use crate::cli::outside::book::Book;

/// How long is waited for it.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The end of a fault, and what stood open then.
pub struct End {
    at: Instant,
    at_micros: u64,
    next: u64,
    waiting: BTreeSet<u64>,
}

/// What a recovery took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Until a postback that was first sent after the end was acknowledged and had arrived.
    pub first: Duration,
    /// Until everything that was fired before the end had arrived.
    pub drained: Option<Duration>,
}

impl End {
    /// The fault is over now; the postbacks up to `next` were fired before.
    pub fn now(book: &Book, inboxes: &[Arc<Inbox>], next: u64) -> Self {
        let waiting = (0..next).filter(|number| !has(inboxes, book, *number)).collect();
        Self { at: Instant::now(), at_micros: book.micros(), next, waiting }
    }

    /// Waits until a postback made after the end is acknowledged and has arrived.
    pub async fn first(
        &self,
        book: &Book,
        inboxes: &[Arc<Inbox>],
        next: impl Fn() -> u64,
    ) -> Result<Duration, Failure> {
        let recovered = || {
            (self.next..next()).any(|number| {
                let entry = book.entry(number);
                entry.fired_micros > self.at_micros && entry.acknowledged && has(inboxes, book, number)
            })
        };
        self.wait("a postback made after the fault is acknowledged and has arrived", recovered).await
    }

    /// Waits until everything that was fired before the end has arrived.
    pub async fn drained(&mut self, book: &Book, inboxes: &[Arc<Inbox>]) -> Result<Duration, Failure> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.wait("everything fired before the end of the fault has arrived", || {
            waiting.retain(|number| !has(inboxes, book, *number));
            waiting.is_empty()
        })
        .await
    }

    async fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<Duration, Failure> {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!("waited {} s in vain: {what}", PATIENCE.as_secs())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(self.at.elapsed())
    }
}

/// Whether the receiver of a postback has it.
fn has(inboxes: &[Arc<Inbox>], book: &Book, number: u64) -> bool {
    inboxes.get(book.affiliate_of(number)).is_some_and(|inbox| inbox.has(number))
}
