//! Starting and stopping: every task has a name, is waited for, and is missed when it ends by itself.
//!
//! Stopping goes in stages, all within one drain time:
//! 1. `stopping` is cancelled (a signal, or a task that failed): workers take nothing new and finish what runs;
//! 2. once every worker has ended, `drained` is cancelled: writers (group commits) finish what was handed to
//!    them and end. They outlive the workers, because a worker's last act is to hand them its outcome;
//! 3. when the drain time is over, or at a second signal, whatever still runs is dropped where it stands. The
//!    database survives that as it survives a crash.
//!
//! Guaranteed: a task that ends or panics before it was asked to stop stops the whole service with a failing
//! exit code, so that a supervisor starts it again. A half-running service is never left standing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long dropped tasks are waited for at the very end; one that does not yield cannot be dropped.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The life of the service. Clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Life>);

#[derive(Debug)]
struct Life {
    stopping: CancellationToken,
    drained: CancellationToken,
    cut_off: CancellationToken,
    workers: TaskTracker,
    writers: TaskTracker,
    running: Mutex<BTreeMap<u64, &'static str>>,
    next: AtomicU64,
    failed: AtomicBool,
    drain: Duration,
}

/// How the service stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Asked to, and everything was finished.
    Clean,
    /// A task failed, and the rest was finished.
    TaskFailed,
    /// Something was cut off: the drain time was over, or a second signal came.
    CutOff,
}

impl From<Stopped> for ExitCode {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Clean => Self::SUCCESS,
            Stopped::TaskFailed | Stopped::CutOff => Self::FAILURE,
        }
    }
}

impl Lifecycle {
    /// A life whose stop takes at most `drain`, and a second more for what does not yield.
    #[must_use]
    pub fn new(drain: Duration) -> Self {
        Self(Arc::new(Life {
            stopping: CancellationToken::new(),
            drained: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            workers: TaskTracker::new(),
            writers: TaskTracker::new(),
            running: Mutex::default(),
            next: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            drain,
        }))
    }

    /// Cancelled when nothing new is to be taken.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Cancelled when every worker has ended: what writers get to close on.
    #[must_use]
    pub fn drained(&self) -> CancellationToken {
        self.0.drained.clone()
    }

    /// Runs a task that works until [`Lifecycle::stopping`] is cancelled and then finishes what it has begun.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.track(&self.0.workers, &self.0.stopping, name, task);
    }

    /// Runs a task that workers hand their outcomes to: it works until [`Lifecycle::drained`] is cancelled.
    pub fn spawn_writer(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.track(&self.0.writers, &self.0.drained, name, task);
    }

    fn track(
        &self,
        tracker: &TaskTracker,
        asked: &CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (life, asked) = (self.clone(), asked.clone());
        let listed = Listed::new(self, name);
        tracker.spawn(async move {
            // Unlisted when this future is dropped too.
            let _listed = listed;
            tokio::select! {
                biased;
                () = life.0.cut_off.cancelled() => {}
                ended = AssertUnwindSafe(task).catch_unwind() => match ended {
                    Err(_) => life.fail(name, &"it panicked"),
                    Ok(()) if !asked.is_cancelled() => life.fail(name, &"it ended by itself"),
                    Ok(()) => {}
                },
            }
        });
    }

    /// Stops the service with a failing exit code: `what` cannot go on, and `why`. Only the first failure before the
    /// stop is logged as its cause; a later one is logged as such.
    pub fn fail(&self, what: &str, why: &dyn fmt::Display) {
        if self.0.failed.swap(true, Ordering::SeqCst) || self.0.stopping.is_cancelled() {
            tracing::error!(task = what, %why, "a task failed while the service was stopping");
        } else {
            tracing::error!(task = what, %why, "a task failed; the service stops");
        }
        self.stop();
    }

    /// Asks everything to stop; to be asked again does no harm.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Waits for a stop (SIGTERM, SIGINT, a failed task, [`Lifecycle::stop`]) and for all tasks to end.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub async fn run_until_stopped(&self) -> io::Result<Stopped> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let life = self.clone();
        let listener = tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                life.signalled(name);
            }
        });
        let stopped = self.ended().await;
        listener.abort();
        Ok(stopped)
    }

    /// The first signal asks to stop, another one cuts off.
    fn signalled(&self, name: &str) {
        if self.0.stopping.is_cancelled() {
            tracing::warn!(signal = name, "told again to stop: what still runs is cut off");
            self.0.cut_off.cancel();
        } else {
            let drain_s = self.0.drain.as_secs();
            tracing::info!(signal = name, drain_s, "told to stop: nothing new is taken, what runs is finished");
            self.stop();
        }
    }

    /// Waits for the stop, by whatever asks for it but a signal, and goes through its stages.
    pub async fn ended(&self) -> Stopped {
        let life = &self.0;
        life.stopping.cancelled().await;
        tokio::select! {
            biased;
            () = self.finished() => {
                return if life.failed.load(Ordering::SeqCst) { Stopped::TaskFailed } else { Stopped::Clean };
            }
            () = life.cut_off.cancelled() => {}
            () = tokio::time::sleep(life.drain) => {}
        }
        tracing::error!(tasks = ?self.running(), "cut off while still running");
        life.cut_off.cancel();
        if tokio::time::timeout(LAST_WAIT, self.finished()).await.is_err() {
            tracing::error!(tasks = ?self.running(), "does not yield and is left behind");
        }
        Stopped::CutOff
    }

    /// Waits for the workers, lets the writers close, waits for them.
    async fn finished(&self) {
        self.0.workers.close();
        self.0.workers.wait().await;
        self.0.drained.cancel();
        self.0.writers.close();
        self.0.writers.wait().await;
    }

    /// The names of the tasks that run, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }
}

/// The name of a running task, listed until this is dropped.
struct Listed {
    life: Lifecycle,
    number: u64,
}

impl Listed {
    fn new(life: &Lifecycle, name: &'static str) -> Self {
        let number = life.0.next.fetch_add(1, Ordering::Relaxed);
        life.0.running.lock().unwrap_or_else(PoisonError::into_inner).insert(number, name);
        Self { life: life.clone(), number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.life.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::batch::{Bounds, batcher};

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_stop_that_was_asked_for_is_clean() {
        let life = Lifecycle::new(LONG);
        life.spawn("worker", life.stopping().cancelled_owned());
        life.spawn_writer("writer", life.drained().cancelled_owned());
        assert_eq!(life.running(), ["worker", "writer"]);
        life.signalled("SIGTERM");
        assert_eq!(life.ended().await, Stopped::Clean);
        assert!(life.running().is_empty());
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_or_panics_stops_everything_with_a_failure() {
        for panics in [false, true] {
            let life = Lifecycle::new(LONG);
            life.spawn("steady", life.stopping().cancelled_owned());
            life.spawn("flaky", async move { assert!(!panics, "the task's own failure") });
            assert_eq!(life.ended().await, Stopped::TaskFailed);
        }
    }

    #[tokio::test]
    async fn a_writer_that_ends_while_workers_still_run_is_a_failure() {
        let life = Lifecycle::new(LONG);
        let (release, held) = oneshot::channel::<()>();
        life.spawn("worker", async move { drop(held.await) });
        life.spawn_writer("writer", life.stopping().cancelled_owned());
        life.stop();
        while !life.0.failed.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        drop(release);
        assert_eq!(life.ended().await, Stopped::TaskFailed);
    }

    #[tokio::test]
    async fn what_a_worker_hands_in_last_is_still_written() {
        let life = Lifecycle::new(LONG);
        let (outcomes, serve) = batcher(Bounds::new(8, 8));
        life.spawn_writer("outcomes", serve.run(life.drained(), |items: Vec<u32>| async { items }));
        let kept = outcomes.clone();
        let (written, result) = oneshot::channel();
        let stopping = life.stopping();
        life.spawn("worker", async move {
            stopping.cancelled().await;
            written.send(outcomes.submit(7).await).unwrap();
        });
        life.stop();
        assert_eq!(life.ended().await, Stopped::Clean, "although {kept:?} is still held");
        assert_eq!(result.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn what_outlasts_the_drain_is_cut_off() {
        let drain = Duration::from_millis(30);
        let life = Lifecycle::new(drain);
        life.spawn("hanging", std::future::pending());
        life.stop();
        let begun = tokio::time::Instant::now();
        assert_eq!(life.ended().await, Stopped::CutOff);
        assert!(begun.elapsed() >= drain, "it was given its time");
        assert!(life.running().is_empty(), "it was dropped");
    }

    #[tokio::test]
    async fn a_second_signal_cuts_off_at_once() {
        let life = Lifecycle::new(LONG);
        life.spawn("hanging", std::future::pending());
        life.signalled("SIGTERM");
        life.signalled("SIGINT");
        assert_eq!(life.ended().await, Stopped::CutOff);
    }

    #[test]
    fn only_a_clean_stop_exits_with_zero() {
        assert_eq!(ExitCode::from(Stopped::Clean), ExitCode::SUCCESS);
        assert_eq!(ExitCode::from(Stopped::TaskFailed), ExitCode::FAILURE);
        assert_eq!(ExitCode::from(Stopped::CutOff), ExitCode::FAILURE);
    }
}
