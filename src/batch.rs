//! Group commit: items from many callers, handled together by one task.
//!
//! Callers hold a [`Batcher`] and hand in items; a [`BatchLoop`] runs as a task of its own and gives its handler
//! whatever arrived while the previous batch ran, up to a bound. No timer: an item that finds the loop idle is
//! handled at once, alone; under load batches grow by themselves. Items are handled in the order they came.
//!
//! Guaranteed: an item that was taken in is handled, even when its caller goes away meanwhile (a client that resets
//! drops its future; a transaction must not be dropped with it) and when the loop is closing. A caller always gets
//! an answer: its result, or an error when the handler panicked. Not done on purpose: no retry, no splitting of a
//! batch that fails; the handler knows what its failures mean and answers each item by itself.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Why an item has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No room: the item was not taken in.
    #[error("the buffer is full")]
    Full,
    /// The loop is closing or gone: the item was not taken in.
    #[error("no more work is taken in")]
    Closed,
    /// The item was taken in, but the handler panicked or was cut off: whether it took effect is not known.
    #[error("the work was cut off, its outcome is not known")]
    Lost,
}

/// The bounds of a batcher.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Items that wait for the next batch.
    pub buffer: NonZeroUsize,
    /// Items in one batch.
    pub batch: NonZeroUsize,
    /// Batches handled at once. With more than one, items of different batches have no order.
    pub lanes: NonZeroUsize,
}

impl Bounds {
    /// One batch at a time of at most `batch` items, while at most `buffer` wait; zero counts as one.
    #[must_use]
    pub fn new(buffer: usize, batch: usize) -> Self {
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self { buffer: at_least_one(buffer), batch: at_least_one(batch), lanes: NonZeroUsize::MIN }
    }
}

/// One item and where its result goes.
struct Entry<T, R> {
    item: T,
    reply: oneshot::Sender<R>,
}

/// The callers' side: hands in items of type `T`, gets results of type `R`. Clones share one queue.
pub struct Batcher<T, R> {
    entries: mpsc::Sender<Entry<T, R>>,
}

/// A batcher and the loop that serves it. Nothing is handled until [`BatchLoop::run`] is polled.
#[must_use]
pub fn batcher<T, R>(bounds: Bounds) -> (Batcher<T, R>, BatchLoop<T, R>) {
    let (sender, receiver) = mpsc::channel(bounds.buffer.get());
    (Batcher { entries: sender }, BatchLoop { entries: receiver, bounds })
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<T, R> fmt::Debug for Batcher<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("waiting", &self.waiting()).finish()
    }
}

impl<T, R> Batcher<T, R> {
    /// Hands in an item if there is room now; the answer is awaited separately, or not at all.
    ///
    /// # Errors
    /// [`BatchError::Full`] or [`BatchError::Closed`]: the item was not taken in.
    pub fn try_submit(&self, item: T) -> Result<Answer<R>, BatchError> {
        let (reply, answer) = oneshot::channel();
        match self.entries.try_send(Entry { item, reply }) {
            Ok(()) => Ok(Answer(answer)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(BatchError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(BatchError::Closed),
        }
    }

    /// Hands in an item, waiting for room, and waits for its result.
    ///
    /// # Errors
    /// [`BatchError::Closed`] or [`BatchError::Lost`].
    pub async fn submit(&self, item: T) -> Result<R, BatchError> {
        let (reply, answer) = oneshot::channel();
        self.entries.send(Entry { item, reply }).await.map_err(|_| BatchError::Closed)?;
        Answer(answer).await
    }

    /// Items that wait for the next batch.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.entries.max_capacity().saturating_sub(self.entries.capacity())
    }
}

/// The result of an item that was taken in, to be awaited. Dropping it does not take the item back.
#[derive(Debug)]
#[must_use = "the item is handled either way, but only this tells what came of it"]
pub struct Answer<R>(oneshot::Receiver<R>);

impl<R> Future for Answer<R> {
    type Output = Result<R, BatchError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context).map_err(|_| BatchError::Lost)
    }
}

/// The serving side, to be run as a task of its own.
pub struct BatchLoop<T, R> {
    entries: mpsc::Receiver<Entry<T, R>>,
    bounds: Bounds,
}

impl<T, R> BatchLoop<T, R> {
    /// Handles batches until every [`Batcher`] is dropped, or `closing` is cancelled: then nothing more is taken in, and
    /// what was taken in is finished.
    ///
    /// `handle` gets the items of a batch in order and returns as many results in the same order. If it panics, or
    /// returns another number, the callers of that batch get [`BatchError::Lost`] and the loop goes on.
    pub async fn run<F, H>(mut self, closing: CancellationToken, handle: H)
    where
        F: Future<Output = Vec<R>>,
        H: Fn(Vec<T>) -> F,
    {
        let mut running = FuturesUnordered::new();
        let mut taken = Vec::new();
        let (mut open, mut ended) = (true, false);
        loop {
            let free = running.len() < self.bounds.lanes.get();
            tokio::select! {
                biased;
                () = closing.cancelled(), if open && !ended => {
                    open = false;
                    self.entries.close();
                }
                Some(()) = running.next() => {}
                count = self.entries.recv_many(&mut taken, self.bounds.batch.get()), if free && !ended => match count {
                    0 => ended = true,
                    _ => running.push(handle_batch(std::mem::take(&mut taken), &handle)),
                },
                else => return,
            }
        }
    }
}

/// Handles one batch and answers its callers.
async fn handle_batch<T, R, F, H>(batch: Vec<Entry<T, R>>, handle: &H)
where
    F: Future<Output = Vec<R>>,
    H: Fn(Vec<T>) -> F,
{
    let (items, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|entry| (entry.item, entry.reply)).unzip();
    // A panic may come from the call itself, before there is a future.
    let handled = AssertUnwindSafe(async { handle(items).await }).catch_unwind().await;
    match handled {
        Ok(results) if results.len() == replies.len() => {
            for (reply, result) in replies.into_iter().zip(results) {
                // A caller that went away does not want its result.
                drop(reply.send(result));
            }
        }
        Ok(results) => {
            tracing::error!(items = replies.len(), results = results.len(), "a batch was not answered item by item");
        }
        Err(_) => tracing::error!(items = replies.len(), "a batch panicked; its callers are told that it is lost"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use super::*;

    /// A loop whose batches wait for a permit each, and what they were.
    struct Bench {
        batcher: Batcher<u32, u32>,
        gate: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u32>>>>,
        closing: CancellationToken,
        task: JoinHandle<()>,
    }

    fn bench(bounds: Bounds) -> Bench {
        let (batcher, serve) = batcher(bounds);
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let closing = CancellationToken::new();
        let (held, seen) = (Arc::clone(&gate), Arc::clone(&batches));
        let handle = move |items: Vec<u32>| {
            let (held, seen) = (Arc::clone(&held), Arc::clone(&seen));
            seen.lock().unwrap().push(items.clone());
            async move {
                held.acquire().await.unwrap().forget();
                assert!(!items.contains(&13), "the handler's own failure");
                let short = items.contains(&99);
                items.into_iter().skip(usize::from(short)).map(|item| item * 10).collect()
            }
        };
        let task = tokio::spawn(serve.run(closing.clone(), handle));
        Bench { batcher, gate, batches, closing, task }
    }

    impl Bench {
        async fn begun(&self, batches: usize) {
            while self.batches.lock().unwrap().len() < batches {
                tokio::task::yield_now().await;
            }
        }

        fn submit(&self, items: impl IntoIterator<Item = u32>) -> Vec<Answer<u32>> {
            items.into_iter().map(|item| self.batcher.try_submit(item).unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn what_arrives_meanwhile_is_one_batch_in_order_and_bounded() {
        let bench = bench(Bounds::new(16, 4));
        let first = bench.submit([1]);
        bench.begun(1).await;
        let later = bench.submit(2..=7);
        bench.gate.add_permits(3);
        let mut results = Vec::new();
        for answer in first.into_iter().chain(later) {
            results.push(answer.await.unwrap());
        }
        assert_eq!(results, [10, 20, 30, 40, 50, 60, 70]);
        assert_eq!(*bench.batches.lock().unwrap(), [vec![1], vec![2, 3, 4, 5], vec![6, 7]]);
    }

    #[tokio::test]
    async fn a_full_buffer_refuses_at_once_and_submit_waits_for_room() {
        let bench = bench(Bounds::new(2, 1));
        let _first = bench.submit([1]);
        bench.begun(1).await;
        let _waiting = bench.submit([2, 3]);
        assert_eq!(bench.batcher.waiting(), 2);
        assert_eq!(bench.batcher.try_submit(4).unwrap_err(), BatchError::Full);
        let mut patient = Box::pin(bench.batcher.submit(5));
        assert!(futures_util::poll!(&mut patient).is_pending());
        bench.gate.add_permits(4);
        assert_eq!(patient.await, Ok(50));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_takes_nothing_with_it() {
        let bench = bench(Bounds::new(8, 8));
        drop(bench.submit([1]));
        bench.begun(1).await;
        let mut gone = Box::pin(bench.batcher.submit(2));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        let stays = bench.submit([3]).remove(0);
        bench.gate.add_permits(2);
        assert_eq!(stays.await, Ok(30));
        assert_eq!(*bench.batches.lock().unwrap(), [vec![1], vec![2, 3]]);
    }

    #[tokio::test]
    async fn closing_finishes_what_was_taken_in() {
        let bench = bench(Bounds::new(8, 2));
        let answers = bench.submit(1..=5);
        bench.begun(1).await;
        bench.closing.cancel();
        while !bench.batcher.entries.is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.batcher.try_submit(6).unwrap_err(), BatchError::Closed);
        assert_eq!(bench.batcher.submit(7).await, Err(BatchError::Closed));
        bench.gate.add_permits(3);
        for (answer, expected) in answers.into_iter().zip([10, 20, 30, 40, 50]) {
            assert_eq!(answer.await, Ok(expected));
        }
        bench.task.await.unwrap();
    }

    #[tokio::test]
    async fn the_loop_ends_when_nobody_can_call_any_more() {
        let bench = bench(Bounds::new(8, 2));
        bench.gate.add_permits(1);
        let last = bench.submit([1]).remove(0);
        drop(bench.batcher);
        assert_eq!(last.await, Ok(10));
        bench.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_or_a_missing_result_is_told_to_its_batch_and_the_loop_goes_on() {
        let bench = bench(Bounds::new(8, 1));
        bench.gate.add_permits(3);
        assert_eq!(bench.batcher.submit(13).await, Err(BatchError::Lost));
        assert_eq!(bench.batcher.submit(99).await, Err(BatchError::Lost));
        assert_eq!(bench.batcher.submit(4).await, Ok(40));
    }

    #[tokio::test]
    async fn a_loop_that_is_cut_off_answers_lost() {
        let bench = bench(Bounds::new(8, 1));
        let answers = bench.submit([1, 2]);
        bench.begun(1).await;
        bench.task.abort();
        for answer in answers {
            assert_eq!(answer.await, Err(BatchError::Lost));
        }
        assert_eq!(bench.batcher.submit(3).await, Err(BatchError::Closed));
    }

    #[tokio::test]
    async fn lanes_run_side_by_side() {
        let bench = bench(Bounds { lanes: NonZeroUsize::new(2).unwrap(), ..Bounds::new(8, 1) });
        let answers = bench.submit([1, 2, 3]);
        bench.begun(2).await;
        assert_eq!(bench.batcher.waiting(), 1, "the third waits for a lane");
        bench.gate.add_permits(3);
        for (answer, expected) in answers.into_iter().zip([10, 20, 30]) {
            assert_eq!(answer.await, Ok(expected));
        }
    }
}
