//! A thread with a runtime of its own and a name, so that the CPU time of firing and of receiving can be told apart.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::task;
use tokio_util::sync::CancellationToken;

/// The thread. When it is dropped, what runs on it ends.
pub struct Lane {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    /// Starts it.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        let work = move || runtime.block_on(stopped.cancelled());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    /// Runs `work` on it.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> task::JoinHandle<T> {
        self.handle.spawn(work)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It only waited; what it ran has no result that anybody still wants.
            let _ = thread.join();
        }
    }
}
