//! One HTTP attempt: a request goes out, an [`AttemptResult`] comes back, whatever happens in between.
//!
//! Guaranteed: an attempt ends by its deadline, which includes resolving, connecting, TLS and the whole
//! answer; it goes only where [`EgressPolicy`] allows at this moment; it holds at most one small buffer of
//! the answer, however much is sent. One call makes at most one request that the receiver can see: the
//! HTTP client repeats a request on a new connection only when none of it was written to the old one.
//!
//! The status decides. Once the head of the answer is there, a body that drips, breaks off or never
//! ends cannot turn a 2xx into a failure: the receiver has said that it has the event.
//!
//! Deliberately not done: no redirects (3xx is a failure: the target was judged, another one was not), no
//! proxy from the environment, no decompression (a bomb stays what it is), no cookies, no HTTP/2.
//! Retrying, disabling and slowing down are decided by whoever reads the result.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::connector::{Bounded, Connector, DialError, shown_seconds};
use super::egress::{EgressPolicy, MAX_URL_BYTES, TargetUrl, UrlError};
use super::resolver::{self, Resolve};
use crate::domain::delivery::{AttemptOutcome, AttemptResult};
use crate::domain::time::Timestamp;

/// The most time that any attempt may take, whatever the settings and the endpoint ask for.
pub const MAX_TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many unused connections are kept to one host and port.
const MAX_IDLE_PER_HOST: usize = 32;

/// The most bytes of an answer that are buffered at once; a head that is larger is not read.
const MAX_BUFFER_BYTES: usize = 32 * 1024;

/// Who we say we are.
const AGENT: &str = concat!("postback/", env!("CARGO_PKG_VERSION"));

/// Limits of an attempt.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// From the start to the last byte that is read, unless the request says otherwise; at most
    /// [`MAX_TOTAL_TIMEOUT`].
    pub total_timeout: Duration,
    /// Name servers to ask; none is the system's resolver.
    pub name_servers: Vec<SocketAddr>,
    /// For resolving the name.
    pub resolve_timeout: Duration,
    /// For connecting, all addresses together; and again for agreeing on TLS.
    pub connect_timeout: Duration,
    /// After so many bytes of the answer's body the connection is dropped.
    pub max_response_bytes: usize,
    /// So many bytes of the answer's body are kept as text.
    pub max_kept_bytes: usize,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            total_timeout: Duration::from_secs(10),
            name_servers: Vec::new(),
            resolve_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(5),
            max_response_bytes: 16 * 1024,
            max_kept_bytes: 1024,
        }
    }
}

/// What to send. It has no `Debug`: URL, headers and body may carry secrets.
#[derive(Clone)]
pub struct OutboundRequest {
    /// The endpoint's URL as registered; it is judged again now.
    pub url: String,
    /// The method with what belongs to it.
    pub method: OutboundMethod,
    /// Headers besides those that this module sets; made by us, never by the subscriber.
    pub headers: Vec<(&'static str, String)>,
    /// The only status that says that the message was taken; without it any 2xx does.
    pub expected_status: Option<u16>,
    /// Replaces [`SenderSettings::total_timeout`] for this attempt; at most [`MAX_TOTAL_TIMEOUT`].
    pub timeout: Option<Duration>,
}

/// The method of an [`OutboundRequest`].
#[derive(Clone)]
pub enum OutboundMethod {
    /// A POST with a body, which is sent byte for byte.
    Post {
        /// The body.
        body: Bytes,
        /// Its media type.
        content_type: &'static str,
    },
    /// A GET, without a body.
    Get,
}

/// Makes one attempt: [`Sender`] over HTTP, the simulation of delivery (`tests/suite/simulation`) without a network.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// As [`Sender::send`].
    async fn send(&self, request: OutboundRequest, now: Timestamp) -> AttemptResult;
}

#[async_trait]
impl Outbound for Sender {
    async fn send(&self, request: OutboundRequest, now: Timestamp) -> AttemptResult {
        Self::send(self, request, now).await
    }
}

/// Makes attempts over HTTP. Cloning shares the connections.
#[derive(Clone)]
pub struct Sender {
    client: Client<Bounded<HttpsConnector<Connector>>, Full<Bytes>>,
    connector: Connector,
    settings: SenderSettings,
}

/// The head of an answer and the start of its body.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body_start: Option<String>,
}

impl Sender {
    /// A sender that trusts the public certificate authorities.
    ///
    /// # Errors
    /// When the TLS library refuses its own configuration.
    pub fn new(policy: EgressPolicy, settings: SenderSettings) -> Result<Self, rustls::Error> {
        let resolver = resolver::choose(&settings.name_servers, settings.resolve_timeout);
        Ok(Self::with_parts(policy, settings, resolver, verified_tls()?))
    }

    /// A sender with this resolver, whatever the settings name, and another trust, for tests. The ALPN of `tls` must be empty.
    #[must_use]
    pub fn with_parts(
        policy: EgressPolicy,
        settings: SenderSettings,
        resolver: Arc<dyn Resolve>,
        tls: ClientConfig,
    ) -> Self {
        let connector = Connector::new(policy, resolver, settings.resolve_timeout, settings.connect_timeout);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector.clone());
        let connect_limit = settings.resolve_timeout + settings.connect_timeout * 2;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_BUFFER_BYTES)
            // Safe, and wanted: it applies only to a request that was never begun because the kept
            // connection had been closed meanwhile. Once begun, a request is not repeated here.
            .retry_canceled_requests(true)
            .build(Bounded::new(https, connect_limit));
        Self { client, connector, settings }
    }

    /// Judges a URL for registration: its text, then every address that its name has now.
    ///
    /// # Errors
    /// [`DialError`], whose text is for the person who registers the URL.
    pub async fn check_url(&self, url: &str) -> Result<TargetUrl, DialError> {
        if url.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong(MAX_URL_BYTES).into());
        }
        let target = self.connector.policy().judge_url(url)?;
        self.connector.locate(&target).await?;
        Ok(target)
    }

    /// Makes one attempt. `now` is the time of its start, against which a date in `Retry-After` is read.
    pub async fn send(&self, request: OutboundRequest, now: Timestamp) -> AttemptResult {
        let started = Instant::now();
        let limit = request.timeout.unwrap_or(self.settings.total_timeout).min(MAX_TOTAL_TIMEOUT);
        let expected_status = request.expected_status;
        let exchanged = self.exchange(request, started + limit, limit).await;
        let duration = started.elapsed();
        match exchanged {
            Ok(answer) => judge_answer(answer, expected_status, now.plus(duration), duration),
            Err(error) => AttemptResult {
                outcome: AttemptOutcome::Failed { retry_after: None },
                status: None,
                body_start: None,
                error: Some(error),
                duration,
            },
        }
    }

    /// The exchange itself; the error is a sentence for the affiliate.
    async fn exchange(&self, request: OutboundRequest, deadline: Instant, limit: Duration) -> Result<Answer, String> {
        let target = self.connector.policy().judge_url(&request.url).map_err(|error| error.to_string())?;
        let request = http_request(&target, request)?;
        let response = timeout_at(deadline, self.client.request(request))
            .await
            .map_err(|_| format!("the receiver did not answer within {}", shown_seconds(limit)))?
            .map_err(|error| describe(&error))?;
        Ok(self.read_answer(response, deadline).await)
    }

    /// Reads the body until its end, its limit, its failure or the deadline, whichever comes first.
    async fn read_answer(&self, response: Response<Incoming>, deadline: Instant) -> Answer {
        let (head, mut body) = response.into_parts();
        // Three bytes more than are kept, so that a character on the edge can be decoded.
        let buffered_bytes = self.settings.max_kept_bytes.saturating_add(3);
        let mut start = Vec::new();
        let mut read_bytes = 0_usize;
        while read_bytes < self.settings.max_response_bytes {
            let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else { break };
            let Ok(data) = frame.into_data() else { continue };
            read_bytes = read_bytes.saturating_add(data.len());
            start.extend(data.iter().take(buffered_bytes - start.len()));
        }
        let body_start = answer::shown_body(&start, self.settings.max_kept_bytes);
        Answer { status: head.status, headers: head.headers, body_start }
    }
}

/// TLS 1.2 and 1.3 and nothing older; whose certificates are trusted is still to be said.
///
/// # Errors
/// When the TLS library refuses its own configuration.
pub fn tls_versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])
}

/// TLS with certificates verified against the roots compiled in.
fn verified_tls() -> Result<ClientConfig, rustls::Error> {
    Ok(tls_versions()?.with_webpki_roots().with_no_client_auth())
}

fn http_request(target: &TargetUrl, request: OutboundRequest) -> Result<Request<Full<Bytes>>, String> {
    let (method, body, content_type) = match request.method {
        OutboundMethod::Post { body, content_type } => (Method::POST, body, Some(content_type)),
        OutboundMethod::Get => (Method::GET, Bytes::new(), None),
    };
    let mut made = Request::new(Full::new(body));
    *made.method_mut() = method;
    *made.uri_mut() = target.uri().clone();
    let headers = made.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let content_type = content_type.map(|media_type| (CONTENT_TYPE.as_str(), media_type.to_owned()));
    for (name, value) in content_type.into_iter().chain(request.headers) {
        let refused = || format!("the request could not be made: HTTP does not allow this value of {name}");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        headers.append(name, HeaderValue::from_str(&value).map_err(|_| refused())?);
    }
    Ok(made)
}

fn judge_answer(answer: Answer, expected: Option<u16>, now: Timestamp, duration: Duration) -> AttemptResult {
    let status = answer.status.as_u16();
    let (outcome, error) = if expected.map_or(answer.status.is_success(), |expected| expected == status) {
        (AttemptOutcome::Delivered, None)
    } else {
        let retry_after = answer::retry_after(answer.status, &answer.headers, now);
        let instead = expected.map(|expected| format!(", and {expected} is expected")).unwrap_or_default();
        (AttemptOutcome::Failed { retry_after }, Some(format!("the receiver answered {status}{instead}")))
    };
    AttemptResult { outcome, status: Some(status), body_start: answer.body_start, error, duration }
}

/// The sentence for the affiliate; the causes, which name no URL, are kept for us in the log.
fn describe(error: &(dyn Error + 'static)) -> String {
    let sentence = answer::failure_sentence(error);
    let causes: Vec<String> = answer::chain(error).map(ToString::to_string).collect();
    tracing::debug!(causes = causes.join(": "), "an attempt failed without an answer");
    sentence
}
