//! HTTP/1.1 as far as a bench needs it: whole messages one after the other on a connection that is kept, bodies with a
//! length. Nothing is copied and nothing allocated for a message, so that what is measured is the service.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The most headers of a message.
const MAX_HEADERS: usize = 48;
/// The longest message that is read.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);
/// Room for a few messages.
const BUFFER_BYTES: usize = 8 * 1024;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    unread: BytesMut,
}

/// A request as it came.
pub struct Request<'a> {
    /// Path and query.
    pub target: &'a str,
    headers: &'a [httparse::Header<'a>],
    /// The body.
    pub body: &'a [u8],
}

/// An answer as it came.
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(self.headers, name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Accepts for ever, each connection in a task of its own; how one ends is its own business.
pub async fn serve_each<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Wire {
    /// A connection that was made.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: BytesMut::with_capacity(BUFFER_BYTES) })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits for a whole request and takes what is wanted of it; `None` when the other side has closed.
    pub async fn request<T>(&mut self, mut take: impl FnMut(&Request<'_>) -> T) -> io::Result<Option<T>> {
        self.message(|bytes| {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            let httparse::Status::Complete(start) = head.parse(bytes).map_err(io::Error::other)? else {
                return Ok(None);
            };
            let Some((body, end)) = body(bytes, start, head.headers)? else { return Ok(None) };
            let request = Request { target: head.path.unwrap_or_default(), headers: head.headers, body };
            Ok(Some((take(&request), end)))
        })
        .await
    }

    /// Waits for a whole answer and takes what is wanted of it.
    pub async fn response<T>(&mut self, mut take: impl FnMut(&Response<'_>) -> T) -> io::Result<T> {
        let answer = self.message(|bytes| {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(start) = head.parse(bytes).map_err(io::Error::other)? else {
                return Ok(None);
            };
            let Some((body, end)) = body(bytes, start, head.headers)? else { return Ok(None) };
            Ok(Some((take(&Response { status: head.code.unwrap_or_default(), body }), end)))
        });
        answer.await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits until the other side closes or sends something that was not asked for.
    pub async fn disturbed(&mut self) {
        // Either way this connection is of no more use.
        let _ = self.stream.read_buf(&mut self.unread).await;
    }

    async fn message<T>(
        &mut self,
        mut read: impl FnMut(&[u8]) -> io::Result<Option<(T, usize)>>,
    ) -> io::Result<Option<T>> {
        loop {
            if !self.unread.is_empty()
                && let Some((taken, end)) = read(&self.unread)?
            {
                self.unread.advance(end);
                return Ok(Some(taken));
            }
            if self.unread.len() > MAX_MESSAGE_BYTES {
                return Err(io::Error::other("a message is too long"));
            }
            self.unread.reserve(BUFFER_BYTES);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

/// The body after a head of `start` bytes, and where it ends; `None` while a part of it is missing.
fn body<'a>(bytes: &'a [u8], start: usize, headers: &[httparse::Header<'_>]) -> io::Result<Option<(&'a [u8], usize)>> {
    if value_of(headers, "transfer-encoding").is_some() {
        return Err(io::Error::other("a message without a length cannot be read"));
    }
    let length = value_of(headers, "content-length").map(|value| std::str::from_utf8(value).map(str::parse::<usize>));
    let length = match length {
        None => 0,
        Some(Ok(Ok(length))) if length <= MAX_MESSAGE_BYTES => length,
        Some(_) => return Err(io::Error::other("a message's length cannot be read")),
    };
    let end = start.saturating_add(length);
    Ok(bytes.get(start..end).map(|body| (body, end)))
}

fn value_of<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}
