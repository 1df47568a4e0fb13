//! One connection to the broker: dialled with a deadline, watched, and really gone when dropped.
//!
//! lapin runs each connection in a thread of its own. When the broker is black-holed that thread waits
//! for ever: there is no deadline in the handshake, and the heartbeat stops while a close is under way.
//! So a [`Link`] keeps a second handle on the socket and shuts the socket down when it is cut or dropped;
//! that ends the thread. lapin's own recovery is off (RELIABILITY section 1, trap 13): whatever fails
//! marks the link as broken, and its owner builds a new one.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use futures_util::StreamExt;
use lapin::protocol::AMQPError;
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Seconds between heartbeats; silence of twice that ends the connection.
const HEARTBEAT_SECONDS: u16 = 10;

/// The longest text that AMQP can carry as a short string, in bytes.
const SHORT_STRING_BYTES: usize = 255;

/// Something went wrong between us and the broker: a sentence for `/readyz` and the log, without
/// addresses and credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(pub(super) String);

/// Where the broker is, and as whom we log in. Shows nothing of it.
#[derive(Clone)]
pub(super) struct Address(AMQPUri);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

impl Address {
    /// Reads `amqp://` and `amqps://` URLs. An empty virtual host means `/`: nobody names one "".
    pub(super) fn parse(url: &SecretString) -> Result<Self, &'static str> {
        let text = url.expose_secret();
        // The parser's own message may repeat the URL with its password.
        let mut uri: AMQPUri =
            text.parse().map_err(|_| "expected amqp://user:password@host:port/vhost or amqps://…")?;
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        if uri.vhost.len() > SHORT_STRING_BYTES {
            return Err("the virtual host is longer than 255 bytes");
        }
        if let Some(host) = ipv6_literal(text) {
            host.clone_into(&mut uri.authority.host);
        }
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        Ok(Self(uri))
    }
}

/// The host of a URL when it is an IPv6 address: the URI parser would silently take `localhost` for it.
fn ipv6_literal(url: &str) -> Option<&str> {
    let after_scheme = url.split_once("://")?.1;
    let authority = after_scheme.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split_once(']').map(|(address, _)| address)
}

/// A broker call with a deadline.
pub(super) async fn call<T>(
    what: &str,
    deadline: Duration,
    future: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault(format!("{what}: {}", describe(&error)))),
        Err(_) => Err(Fault(format!("{what}: no answer from the broker within {deadline:?}"))),
    }
}

/// The protocol error that the broker answered with, if that is what happened.
pub(super) fn protocol_error(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error),
        _ => None,
    }
}

/// A lapin error in words. The broker's own text may name the user, so it is not repeated.
fn describe(error: &lapin::Error) -> String {
    let Some(error) = protocol_error(error) else { return error.to_string() };
    match error.get_id() {
        320 => "the broker closed the connection (it is stopping, or an operator closed it)".to_owned(),
        403 => "the broker refuses the login, or the user lacks a permission".to_owned(),
        404 => "an exchange or a queue is missing".to_owned(),
        530 => "the virtual host does not exist, or the user may not use it".to_owned(),
        code => format!("the broker answered with AMQP error {code}"),
    }
}

/// A second handle on a connection's socket.
#[derive(Default)]
struct Wire(Mutex<WireState>);

#[derive(Default)]
enum WireState {
    #[default]
    Dialling,
    Open(std::net::TcpStream),
    Cut,
}

impl Wire {
    /// Remembers the socket, unless the dialler was given up meanwhile.
    fn opened(&self, socket: std::net::TcpStream) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, WireState::Cut) {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        *state = WireState::Open(socket);
        Ok(())
    }

    fn cut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let WireState::Open(socket) = std::mem::replace(&mut *state, WireState::Cut)
            && let Err(error) = socket.shutdown(std::net::Shutdown::Both)
        {
            // The peer was faster: there is nothing left to shut down.
            tracing::debug!(%error, "socket to the broker was already down");
        }
    }
}

/// Cuts the wire when dropped.
struct Cutter(Arc<Wire>);

impl Drop for Cutter {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// One connection, and whether it still can be trusted.
pub(super) struct Link {
    connection: Connection,
    cutter: Cutter,
    call_timeout: Duration,
    opened_at: Instant,
    broken: CancellationToken,
    reason: OnceLock<Fault>,
    useful: AtomicBool,
}

impl Link {
    /// Dials and logs in, within `call_timeout` altogether.
    pub(super) async fn open(address: &Address, name: &str, call_timeout: Duration) -> Result<Self, Fault> {
        let wire = Arc::new(Wire::default());
        let cutter = Cutter(Arc::clone(&wire));
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let handshake = async {
            let runtime = lapin::runtime::default_runtime()?;
            let uri = address.0.clone();
            // Runs in lapin's thread, which nobody can cancel: hence a deadline of its own.
            let dial = Connection::connector(
                uri,
                runtime,
                async move |uri, runtime| {
                    let dial = async {
                        let addresses = resolve(&uri).await?;
                        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                        if let AsyncTcpStream::Plain(plain) = &stream {
                            wire.opened(plain.get_ref().as_fd().try_clone_to_owned()?.into())?;
                        }
                        match uri.scheme {
                            AMQPScheme::AMQP => Ok(stream),
                            AMQPScheme::AMQPS => {
                                stream.into_tls(&uri.authority.host, OwnedTLSConfig::default().as_ref()).await
                            }
                        }
                    };
                    let stream: io::Result<_> =
                        tokio::time::timeout(call_timeout, dial).await.unwrap_or_else(|late| Err(late.into()));
                    Ok(stream?)
                },
                properties,
            );
            dial.await
        };
        let connection = call("connecting to the broker", call_timeout, handshake).await?;
        Ok(Self {
            connection,
            cutter,
            call_timeout,
            opened_at: Instant::now(),
            broken: CancellationToken::new(),
            reason: OnceLock::new(),
            useful: AtomicBool::new(false),
        })
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, Fault> {
        self.call("opening a channel", self.connection.create_channel()).await
    }

    /// A call on this connection, with the deadline for calls.
    pub(super) async fn call<T>(&self, what: &str, future: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
        call(what, self.call_timeout, future).await
    }

    /// Marks the link as broken; the first reason counts. Its owner builds a new one.
    pub(super) fn fail(&self, fault: Fault) {
        // A second reason is a consequence of the first.
        let _first = self.reason.set(fault);
        self.broken.cancel();
    }

    /// Whether somebody found the link broken.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Ends when the link is broken, with the reason.
    pub(super) async fn broken(&self) -> Fault {
        self.broken.cancelled().await;
        self.reason.get().cloned().unwrap_or_else(|| Fault("the connection broke".to_owned()))
    }

    /// Watches the connection; ends when it is broken or blocked, with the reason.
    ///
    /// A blocked connection (memory or disk alarm) counts as broken: lapin stops writing on it, even
    /// heartbeats, so nothing that is handed to it gets anywhere.
    pub(super) async fn watch(&self) -> Fault {
        let mut events = pin!(self.connection.events_listener());
        if !self.connection.status().connected() {
            return Fault("the connection was lost".to_owned());
        }
        loop {
            tokio::select! {
                fault = self.broken() => return fault,
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Fault(format!("the connection was lost: {}", describe(&error))),
                    Some(Event::ConnectionBlocked(_)) => {
                        return Fault("the broker takes no messages (memory or disk alarm)".to_owned());
                    }
                    Some(_) => {}
                    None => return Fault("the connection was lost".to_owned()),
                },
            }
        }
    }

    /// Notes that the link did its work, so that the next redial may be quick.
    pub(super) fn mark_useful(&self) {
        self.useful.store(true, Ordering::Relaxed);
    }

    /// How long ago it was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// Whether it did its work, or at least held for `long_enough`.
    pub(super) fn was_useful(&self, long_enough: Duration) -> bool {
        self.useful.load(Ordering::Relaxed) || self.opened_at.elapsed() >= long_enough
    }

    /// Drops the connection without a word. Everything under way on it ends with an error.
    pub(super) fn cut(&self) {
        self.broken.cancel();
        self.cutter.0.cut();
    }

    /// Takes leave of the broker, then drops the connection.
    pub(super) async fn close(&self) {
        let goodbye = self.connection.close(200, "OK".into());
        if let Err(fault) = self.call("closing the connection", goodbye).await {
            tracing::debug!(%fault, "the broker did not take part in closing");
        }
        self.cut();
    }
}

/// The addresses of the broker's host, in the resolver's order.
async fn resolve(uri: &AMQPUri) -> io::Result<Vec<SocketAddr>> {
    let host = (uri.authority.host.as_str(), uri.authority.port);
    Ok(tokio::net::lookup_host(host).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, &'static str> {
        Address::parse(&SecretString::from(url))
    }

    #[test]
    fn an_empty_virtual_host_is_the_default_one() {
        for url in ["amqp://broker", "amqp://broker/", "amqp://broker/%2f"] {
            assert_eq!(parse(url).unwrap().0.vhost, "/", "{url}");
        }
        assert_eq!(parse("amqp://broker/tracking").unwrap().0.vhost, "tracking");
        assert!(parse(&format!("amqp://broker/{}", "v".repeat(256))).is_err());
    }

    #[test]
    fn an_ipv6_address_is_not_taken_for_localhost() {
        let address = parse("amqps://u:p%40@[2001:db8::1]:5671/%2f").unwrap();
        assert_eq!(address.0.authority.host, "2001:db8::1");
        assert_eq!(address.0.authority.port, 5671);
        assert_eq!(parse("amqp://u:p@broker.example:1234").unwrap().0.authority.host, "broker.example");
    }

    #[test]
    fn neither_errors_nor_debug_show_the_password() {
        let error = parse("amqp:hunter2").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let address = parse("amqp://user:hunter2@broker").unwrap();
        assert_eq!(format!("{address:?}"), "Address(..)");
    }
}
