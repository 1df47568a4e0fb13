//! A connection's stream, which does not wait for ever between two requests.
//!
//! actix limits how long the head of a connection's first request may take and how long a connection may lie idle. What
//! it does not limit: the rest of a later head, and the rest of a body that nobody reads, because its request is refused
//! already. So the stream knows whose turn it is. While a request is served it does nothing. After the answer, the first byte
//! begins a head, which has as long as any head (RELIABILITY section 5: 408); a rest of a refused body is no head and ends in
//! the same time. To actix the end looks like a client that went away. In the same way idle connections end when the
//! service stops.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a client reads whose head did not come to its end.
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From an answer to the next request, at most.
    pub idle: Duration,
}

/// Whose turn it is on a connection. Clones share it; all live on the connection's thread.
#[derive(Clone)]
pub struct Turn(Rc<Shared>);

struct Shared {
    phase: Cell<Phase>,
    patience: Patience,
    stopping: CancellationToken,
    reader: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The first head is on its way; actix has its eye on it.
    First,
    /// A request is served.
    Ours,
    /// The answer is given; the client may go on.
    Theirs {
        /// When the connection ends unless a request begins.
        until: Instant,
        /// Whether something has come since the answer.
        heard: bool,
        /// Whether the client may still be sending what nobody reads.
        unread: bool,
    },
}

impl Turn {
    /// A request begins.
    pub fn begin(&self) {
        self.0.phase.set(Phase::Ours);
    }

    /// Its answer is made. `unread` is whether some of its body may not have been read.
    pub fn end(&self, unread: bool) {
        let Patience { head, idle } = self.0.patience;
        let until = Instant::now() + if unread { head } else { idle + head };
        self.0.phase.set(Phase::Theirs { until, heard: false, unread });
        if (unread || self.0.stopping.is_cancelled())
            && let Some(reader) = &*self.0.reader.borrow()
        {
            reader.wake_by_ref();
        }
    }

    fn hear(&self) {
        if let Phase::Theirs { until, heard: false, unread } = self.0.phase.get() {
            let until = until.min(Instant::now() + self.0.patience.head);
            self.0.phase.set(Phase::Theirs { until, heard: true, unread });
        }
    }
}

/// The stream of a connection. Counts as closed by the client once it has waited long enough.
pub struct Connection {
    stream: TcpStream,
    turn: Turn,
    timer: Option<Pin<Box<Sleep>>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    /// The connection over `stream`.
    #[must_use]
    pub fn new(stream: TcpStream, patience: Patience, stopping: &CancellationToken) -> Self {
        let shared =
            Shared { phase: Cell::new(Phase::First), patience, stopping: stopping.clone(), reader: RefCell::default() };
        let stop = Box::pin(stopping.clone().cancelled_owned());
        Self { stream, turn: Turn(Rc::new(shared)), timer: None, stop }
    }

    /// Whose turn it is, to be told by its requests.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Whether the connection has ended; if not, the task is woken when it does.
    fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        let stopped = self.turn.0.stopping.is_cancelled() || self.stop.as_mut().poll(context).is_ready();
        let mut reader = self.turn.0.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *reader = Some(context.waker().clone());
        }
        drop(reader);
        let Phase::Theirs { until, heard, unread } = self.turn.0.phase.get() else { return false };
        if stopped && !heard {
            return true;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        // A timer that is early is not worth setting anew at each request.
        if timer.deadline() > until || (timer.is_elapsed() && Instant::now() < until) {
            timer.as_mut().reset(until);
        }
        if timer.as_mut().poll(context).is_pending() {
            return false;
        }
        if Instant::now() < until {
            timer.as_mut().reset(until);
            return timer.as_mut().poll(context).is_ready();
        }
        if heard && !unread {
            // The last word; whether it gets through makes no difference.
            let _ = Pin::new(&mut self.stream).poll_write(context, TIMED_OUT);
        }
        true
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended(context) {
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, into);
        if into.filled().len() > before {
            this.turn.hear();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
