//! The queue of one process, for the embedded default.
//!
//! Relays publish, workers receive; both live in this process, and so do the messages. Guaranteed: what
//! was taken comes out while the process lives, a rung's messages not before their time, and memory is
//! bounded: beyond the limits a message is refused and its rows come up again. Deliberately not
//! done: nothing is written to disk. After a restart the delivery rows are the truth, and the sweeper
//! brings up what is due (RELIABILITY section 3).
//!
//! There is no timer task. Whoever waits in `receive` also waits for the next rung's time; one waits at
//! a time and the others queue behind it, so that a message wakes one worker and not all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Acknowledge, Depth, PublishError, Queue, QueueHealth, Received, Route, rung_label};
use crate::domain::delivery::Hint;
use crate::domain::retry::Ladder;

/// The limits of the embedded queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// Messages that may wait for a worker; beyond it a publish is refused.
    pub capacity: usize,
    /// Messages that may wait on all rungs together; beyond it a publish is refused.
    pub rung_capacity: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { capacity: 10_000, rung_capacity: 100_000 }
    }
}

/// The queue of one process.
pub struct Embedded {
    shared: Arc<Shared>,
    /// Held by the one receiver that waits; the others queue here, in order.
    turn: tokio::sync::Mutex<()>,
}

struct Shared {
    settings: EmbeddedSettings,
    state: Mutex<State>,
    /// Something may have become receivable.
    changed: Notify,
    closed: CancellationToken,
}

struct State {
    ready: VecDeque<Vec<Hint>>,
    rungs: Vec<Rung>,
}

/// Everything on a rung waits equally long, so arrival order is due order.
struct Rung {
    wait: Duration,
    waiting: VecDeque<(Instant, Vec<Hint>)>,
}

/// What a receiver finds when it looks.
enum Next {
    Message(Vec<Hint>),
    /// Nothing yet; the next rung is due then.
    Wait(Option<Instant>),
}

impl Embedded {
    /// An empty queue with these rungs.
    #[must_use]
    pub fn new(settings: EmbeddedSettings, ladder: &Ladder) -> Self {
        let rungs = ladder.rungs().iter().map(|&wait| Rung { wait, waiting: VecDeque::new() }).collect();
        let state = Mutex::new(State { ready: VecDeque::new(), rungs });
        let shared = Shared { settings, state, changed: Notify::new(), closed: CancellationToken::new() };
        Self { shared: Arc::new(shared), turn: tokio::sync::Mutex::new(()) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a message; never ends when none comes.
    async fn next(&self) -> Vec<Hint> {
        loop {
            let next = self.state().next(Instant::now(), self.settings.capacity);
            match next {
                Next::Message(hints) => return hints,
                Next::Wait(None) => self.changed.notified().await,
                Next::Wait(Some(due)) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    fn give_back(&self, hints: Vec<Hint>) {
        self.state().ready.push_front(hints);
        self.changed.notify_one();
    }
}

impl State {
    /// Moves what is due on the rungs to the workers, as far as there is room, and takes the next message.
    fn next(&mut self, now: Instant, capacity: usize) -> Next {
        for rung in &mut self.rungs {
            while self.ready.len() < capacity && rung.waiting.front().is_some_and(|(due, _)| *due <= now) {
                self.ready.extend(rung.waiting.pop_front().map(|(_, hints)| hints));
            }
        }
        match self.ready.pop_front() {
            Some(hints) => Next::Message(hints),
            None => Next::Wait(self.rungs.iter().filter_map(|rung| rung.waiting.front()).map(|(due, _)| *due).min()),
        }
    }

    fn publish_work(&mut self, hints: &[Hint], capacity: usize) -> Result<(), PublishError> {
        if self.ready.len() >= capacity {
            return Err(PublishError::Refused(format!("{capacity} messages wait for a worker already")));
        }
        self.ready.push_back(hints.to_vec());
        Ok(())
    }

    fn publish_rung(&mut self, index: usize, hints: &[Hint], capacity: usize) -> Result<(), PublishError> {
        let waiting: usize = self.rungs.iter().map(|rung| rung.waiting.len()).sum();
        if waiting >= capacity {
            return Err(PublishError::Refused(format!("{capacity} messages wait on the rungs already")));
        }
        let rung = self.rungs.get_mut(index).ok_or_else(|| PublishError::no_rung(index))?;
        rung.waiting.push_back((Instant::now() + rung.wait, hints.to_vec()));
        Ok(())
    }
}

#[async_trait]
impl Queue for Embedded {
    async fn publish(&self, route: Route, hints: &[Hint]) -> Result<(), PublishError> {
        if self.shared.closed.is_cancelled() {
            return Err(PublishError::Unavailable("the queue is closed".to_owned()));
        }
        if hints.is_empty() {
            return Ok(());
        }
        {
            let mut state = self.shared.state();
            match route {
                Route::Work => state.publish_work(hints, self.shared.settings.capacity)?,
                Route::Rung(index) => state.publish_rung(index, hints, self.shared.settings.rung_capacity)?,
            }
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    async fn receive(&self) -> Option<Received> {
        let take = async {
            let _turn = self.turn.lock().await;
            self.shared.next().await
        };
        let hints = tokio::select! {
            biased;
            () = self.shared.closed.cancelled() => return None,
            hints = take => hints,
        };
        let loan = Loan { shared: Arc::clone(&self.shared), hints: Some(hints.clone()) };
        Some(Received::new(hints, Box::new(loan)))
    }

    async fn depths(&self) -> Result<Vec<Depth>, PublishError> {
        let state = self.shared.state();
        let work = Depth::new("work".to_owned(), state.ready.len());
        let rungs =
            state.rungs.iter().map(|rung| Depth::new(format!("retry.{}", rung_label(rung.wait)), rung.waiting.len()));
        Ok(std::iter::once(work).chain(rungs).collect())
    }

    fn health(&self) -> QueueHealth {
        let open = !self.shared.closed.is_cancelled();
        let detail = (!open).then(|| "the queue is closed".to_owned());
        QueueHealth { kind: "embedded", publishing: open, consuming: open, detail }
    }

    async fn close(&self) {
        self.shared.closed.cancel();
    }
}

/// A message that was handed out; given back to the front when dropped unacknowledged.
struct Loan {
    shared: Arc<Shared>,
    hints: Option<Vec<Hint>>,
}

#[async_trait]
impl Acknowledge for Loan {
    async fn acknowledge(mut self: Box<Self>) {
        self.hints = None;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(hints) = self.hints.take() {
            self.shared.give_back(hints);
        }
    }
}
