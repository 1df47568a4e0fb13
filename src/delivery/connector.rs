//! Dials a judged URL: resolve, judge every address, connect to one that was judged.
//!
//! Guaranteed: no connection is opened to an address that [`EgressPolicy`] has not just allowed for
//! this very URL. Literal addresses take the same way as names, a name with a single bad address is
//! refused as a whole, and what was resolved is what is dialled, so a name that changes between check
//! and dial gains nothing. TLS is wrapped around this connector and sees the name, never the address;
//! [`Bounded`] is wrapped around both, so that no half-made connection outlives its time.
//!
//! A connection that is kept for the next attempt stays where it was judged: addresses are judged by rules that do not
//! change while the service runs, so a name that has moved meanwhile reaches nothing through it that was ever refused.
//! The next dial judges the name anew.
//!
//! Not done: no proxy, and no racing of IPv4 against IPv6 (the addresses are tried in the resolver's order).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::egress::{EgressPolicy, TargetHost, TargetUrl, UrlError};
use super::resolver::Resolve;

/// How many addresses of one name are tried; each gets its share of the time to connect.
const MAX_ADDRESSES_TRIED: usize = 4;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection, in words for the affiliate: no addresses, no details of ours.
#[derive(Debug, Error)]
pub enum DialError {
    /// The URL, or an address that it leads to, is not allowed.
    #[error(transparent)]
    NotAllowed(#[from] UrlError),
    /// The name has no address; the source is absent when the resolver found an empty list.
    #[error("the name could not be resolved")]
    Unresolved(#[source] Option<io::Error>),
    /// The resolver took longer than it may.
    #[error("the name could not be resolved within {}", shown_seconds(*.0))]
    ResolveTimedOut(Duration),
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused(#[source] io::Error),
    /// No answer to the attempt to connect.
    #[error("no connection could be made within {}", shown_seconds(*.0))]
    ConnectTimedOut(Duration),
    /// Any other failure to connect: no route, the network is down.
    #[error("no connection could be made")]
    Unreachable(#[source] io::Error),
}

impl DialError {
    /// The stable `reason` of this refusal when a URL is registered.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::NotAllowed(refused) => refused.slug(),
            Self::Unresolved(_) | Self::ResolveTimedOut(_) => "url_unresolved",
            Self::Refused(_) | Self::ConnectTimedOut(_) | Self::Unreachable(_) => "url_unreachable",
        }
    }
}

/// A duration as a person reads it: `10 s`, `300 ms`.
pub(super) fn shown_seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// The connector under TLS and the HTTP client. Cloning shares it.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    policy: EgressPolicy,
    resolver: Arc<dyn Resolve>,
    resolve_timeout: Duration,
    connect_timeout: Duration,
}

impl Connector {
    /// A connector that obeys `policy`; `resolve_timeout` and `connect_timeout` are each for one dial.
    #[must_use]
    pub fn new(
        policy: EgressPolicy,
        resolver: Arc<dyn Resolve>,
        resolve_timeout: Duration,
        connect_timeout: Duration,
    ) -> Self {
        Self { shared: Arc::new(Shared { policy, resolver, resolve_timeout, connect_timeout }) }
    }

    /// The rules that this connector obeys.
    #[must_use]
    pub fn policy(&self) -> &EgressPolicy {
        &self.shared.policy
    }

    /// Where `target` may be dialled: at least one address, each of them judged.
    ///
    /// # Errors
    /// [`DialError`] when the name does not resolve, or any of its addresses is not allowed.
    pub async fn locate(&self, target: &TargetUrl) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = match target.host() {
            TargetHost::Address(address) => vec![*address],
            TargetHost::Name(name) => self.resolve(name).await?,
        };
        Ok(self.shared.policy.judge_all(target, &addresses)?)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let limit = self.shared.resolve_timeout;
        let addresses = timeout(limit, self.shared.resolver.resolve(name))
            .await
            .map_err(|_| DialError::ResolveTimedOut(limit))?
            .map_err(|source| match source.kind() {
                io::ErrorKind::TimedOut => DialError::ResolveTimedOut(limit),
                _ => DialError::Unresolved(Some(source)),
            })?;
        if addresses.is_empty() { Err(DialError::Unresolved(None)) } else { Ok(addresses) }
    }

    async fn dial(self, uri: Uri) -> Result<TokioIo<TcpStream>, DialError> {
        let target = self.shared.policy.judge_url(&uri.to_string())?;
        let mut addresses = self.locate(&target).await?;
        addresses.truncate(MAX_ADDRESSES_TRIED);
        let tried = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = self.shared.connect_timeout / tried;
        let mut last = DialError::Unresolved(None);
        for address in addresses {
            match self.connect(address, share).await {
                Ok(stream) => return Ok(TokioIo::new(stream)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, address: SocketAddr, share: Duration) -> Result<TcpStream, DialError> {
        let stream = timeout(share, TcpStream::connect(address))
            .await
            .map_err(|_| DialError::ConnectTimedOut(self.shared.connect_timeout))?
            .map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => DialError::Refused(error),
                _ => DialError::Unreachable(error),
            })?;
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connector with a limit on the whole of connecting, TLS included.
///
/// The deadline of an attempt is not enough: when a kept connection becomes free first, the HTTP client
/// finishes the new one in the background, where a receiver that stalls the handshake could hold it for ever.
#[derive(Clone)]
pub struct Bounded<C> {
    connector: C,
    limit: Duration,
}

impl<C> Bounded<C> {
    /// `connector`, given up after `limit`.
    pub const fn new(connector: C, limit: Duration) -> Self {
        Self { connector, limit }
    }
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.connector.call(uri));
        let limit = self.limit;
        Box::pin(async move { connecting.await.unwrap_or_else(|_| Err(DialError::ConnectTimedOut(limit).into())) })
    }
}
