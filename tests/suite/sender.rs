//! The outbound sender against real receivers on loopback (RELIABILITY section 6).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic like tests")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postback::delivery::connector::{DialError, Resolve};
use postback::delivery::egress::{Denied, EgressPolicy, UrlError};
use postback::delivery::sender::{OutboundMethod, OutboundRequest, Sender, SenderSettings};
use postback::domain::delivery::{AttemptOutcome, AttemptResult};
use postback::domain::time::Timestamp;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

const FAILED: AttemptOutcome = AttemptOutcome::Failed { retry_after: None };
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Part of each sentence with which a URL is refused before anything is dialled.
const REFUSALS: [&str; 3] = ["address is not public", "must be a public name", "must begin with https://"];
const NAME: &str = "hooks.example.com";

/// A receiver that does with each connection what its script says.
struct Receiver {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    ended: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    async fn start<F>(script: impl Fn(Conversation<TcpStream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (ending, ended) = watch::channel(0);
        let (counted, kept) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let scripted = script(Conversation { stream, requests: Arc::clone(&kept) });
                let ending = ending.clone();
                conversations.spawn(async move {
                    scripted.await;
                    ending.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self { port, connections, requests, ended, task }
    }

    /// Answers every request on every connection with the same text.
    async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut talk| {
            let answer = answer.clone();
            async move {
                while talk.next_request().await {
                    talk.write(answer.as_bytes()).await;
                }
            }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in?token=t", self.port)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until every connection has ended at this side too.
    async fn all_closed(&self) {
        let connections = self.connections();
        self.ended.clone().wait_for(|ended| *ended >= connections).await.unwrap();
    }
}

/// One connection as its script sees it.
struct Conversation<S> {
    stream: S,
    requests: Arc<Mutex<Vec<String>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Reads and keeps one request with its body; false when the sender has closed.
    async fn next_request(&mut self) -> bool {
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    self.requests.lock().unwrap().push(text);
                    return true;
                }
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
            }
        }
    }

    /// Writes; false when the sender has closed.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Keeps the connection open, silent, until the sender closes it.
    async fn hold(&mut self) {
        while matches!(self.stream.read(&mut [0; 4096]).await, Ok(count) if count > 0) {}
    }
}

/// A resolver with prepared answers: one list for each call, the last for all that follow.
struct Prepared {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    calls: AtomicUsize,
}

impl Prepared {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), calls: AtomicUsize::new(0) })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Prepared {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let first = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        first.ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A resolver that never answers.
struct Silent;

#[async_trait]
impl Resolve for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

fn allowing(ranges: &[&str]) -> EgressPolicy {
    EgressPolicy::new(ranges.iter().map(|range| range.parse().unwrap()).collect())
}

fn loopback() -> EgressPolicy {
    allowing(&["127.0.0.0/8", "::1/128"])
}

fn sender() -> Sender {
    Sender::new(loopback(), SenderSettings::default()).unwrap()
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn resolving(policy: EgressPolicy, resolver: Arc<dyn Resolve>) -> Sender {
    Sender::with_parts(policy, SenderSettings::default(), resolver, trusting(RootCertStore::empty()))
}

fn post(url: impl Into<String>) -> OutboundRequest {
    let body = Bytes::from_static(b"{\"type\":\"test\"}");
    let headers = vec![("webhook-id", "evt_1".to_owned())];
    let method = OutboundMethod::Post { body, content_type: "application/json" };
    OutboundRequest { url: url.into(), method, headers, expected_status: None, timeout: None }
}

fn post_within(url: impl Into<String>, millis: u64) -> OutboundRequest {
    OutboundRequest { timeout: Some(Duration::from_millis(millis)), ..post(url) }
}

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap()
}

fn said(result: &AttemptResult) -> &str {
    result.error.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_2xx_delivers_the_request_as_it_was_given() {
    let receiver = Receiver::answering(OK).await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (AttemptOutcome::Delivered, Some(200)));
    assert_eq!((result.body_start.as_deref(), result.error), (Some("ok"), None));
    assert!(result.duration > Duration::ZERO);

    let requests = receiver.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!((lines.remove(0), body), ("POST /in?token=t HTTP/1.1", "{\"type\":\"test\"}"));
    lines.sort_unstable();
    let agent = format!("user-agent: postback/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: 127.0.0.1:{}", receiver.port);
    let expected = [
        "accept-encoding: identity",
        "content-length: 15",
        "content-type: application/json",
        &host,
        &agent,
        "webhook-id: evt_1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn other_answers_fail_with_their_status() {
    for (status, line) in [(500, "500 Oops"), (404, "404 Not Found"), (410, "410 Gone"), (304, "304 Not Modified")] {
        let receiver = Receiver::answering(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")).await;
        let result = sender().send(post(receiver.url()), now()).await;
        assert_eq!((result.outcome, result.status, &result.body_start), (FAILED, Some(status), &None));
        assert_eq!(said(&result), format!("the receiver answered {status}"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Receiver::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", other.url());
        let receiver = Receiver::answering(answer).await;
        let result = sender().send(post(receiver.url()), now()).await;
        assert_eq!((result.outcome, result.status), (FAILED, Some(status)));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (status, value, asked) in [
        (429, "7", Some(7)),
        (503, "120", Some(120)),
        (503, "999999999", Some(86_400)),
        (429, "soon", None),
        (500, "120", None),
    ] {
        let answer = format!("HTTP/1.1 {status} Wait\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let result = sender().send(post(receiver.url()), now()).await;
        let retry_after = asked.map(Duration::from_secs);
        assert_eq!(result.outcome, AttemptOutcome::Failed { retry_after }, "{status} {value}");
    }

    let date = "Sat, 31 Jan 2026 12:10:00 GMT";
    let receiver =
        Receiver::answering(format!("HTTP/1.1 503 Wait\r\nretry-after: {date}\r\ncontent-length: 0\r\n\r\n")).await;
    let result = sender().send(post(receiver.url()), now()).await;
    // Counted from the answer, not from the start of the attempt.
    let retry_after =
        Some(Duration::from_secs(600) - Duration::from_micros(u64::try_from(result.duration.as_micros()).unwrap()));
    assert_eq!(result.outcome, AttemptOutcome::Failed { retry_after });
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver did not answer within 300 ms");
    assert!(result.duration >= Duration::from_millis(300) && result.duration < Duration::from_secs(3));
    receiver.all_closed().await;
}

#[tokio::test]
async fn a_head_that_drips_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for byte in OK.bytes() {
            pace.tick().await;
            if !talk.write(&[byte]).await {
                return;
            }
        }
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver did not answer within 300 ms");
    assert!(result.duration < Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_deadline_and_the_status_decides() {
    for (line, outcome) in [("200 OK", AttemptOutcome::Delivered), ("500 Oops", FAILED)] {
        let receiver = Receiver::start(move |mut talk| async move {
            talk.next_request().await;
            talk.write(format!("HTTP/1.1 {line}\r\ncontent-length: 100000\r\n\r\n").as_bytes()).await;
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while talk.write(b"x").await {
                pace.tick().await;
            }
        })
        .await;
        let result = sender().send(post_within(receiver.url(), 300), now()).await;
        assert_eq!(result.outcome, outcome);
        assert!(result.body_start.unwrap().starts_with('x'));
        assert!(result.duration >= Duration::from_millis(300) && result.duration < Duration::from_secs(3));
        receiver.all_closed().await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\npart").await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.body_start.as_deref()), (AttemptOutcome::Delivered, Some("part")));
    receiver.all_closed().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let receiver = Receiver::start(move |mut talk| {
        let count = Arc::clone(&count);
        async move {
            talk.next_request().await;
            talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
            while talk.write(&[b'y'; 16 * 1024]).await {
                count.fetch_add(16 * 1024, Ordering::SeqCst);
            }
        }
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (AttemptOutcome::Delivered, Some(200)));
    assert_eq!(result.body_start.unwrap(), "y".repeat(1024));
    assert!(result.duration < Duration::from_secs(5), "long before the deadline");
    receiver.all_closed().await;
    // What the sockets buffer on both sides, and not the gigabyte.
    assert!(written.load(Ordering::SeqCst) < 32 * 1024 * 1024);
}

#[tokio::test]
async fn an_endless_head_is_not_collected() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\nx: ").await;
        while talk.write(&[b'z'; 16 * 1024]).await {}
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver's answer was not valid HTTP");
}

#[tokio::test]
async fn bodies_are_never_decompressed() {
    // The start of a gzip stream; what is kept is the stream, not what it unpacks to.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\n\x1f\x8bABC").await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered);
    assert_eq!(result.body_start.as_deref(), Some("\u{fffd}\u{fffd}ABC"));
}

#[tokio::test]
async fn what_is_no_answer_is_told_in_words() {
    let closing = Receiver::start(|mut talk| async move {
        talk.next_request().await;
    })
    .await;
    let result = sender().send(post(closing.url()), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the connection was closed before an answer came"));

    let babbling = Receiver::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let result = sender().send(post(babbling.url()), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the receiver's answer was not valid HTTP"));

    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let result = sender().send(post(format!("http://{}/", deaf.local_addr().unwrap())), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the connection was refused"));

    let result = resolving(loopback(), Prepared::new(&[])).send(post(format!("https://{NAME}/")), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the name could not be resolved"));

    let settings = SenderSettings { resolve_timeout: Duration::from_millis(200), ..SenderSettings::default() };
    let sender = Sender::with_parts(loopback(), settings, Arc::new(Silent), trusting(RootCertStore::empty()));
    let result = sender.send(post(format!("https://{NAME}/")), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the name could not be resolved within 200 ms"));
}

#[tokio::test]
async fn a_header_that_http_forbids_is_not_sent() {
    let receiver = Receiver::answering(OK).await;
    let headers = vec![("webhook-id", "evt_1\r\nx-smuggled: 1".to_owned())];
    let result = sender().send(OutboundRequest { headers, ..post(receiver.url()) }, now()).await;
    assert_eq!(result.outcome, FAILED);
    assert_eq!(said(&result), "the request could not be made: HTTP does not allow this value of webhook-id");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn connections_are_kept() {
    let receiver = Receiver::answering(OK).await;
    let sender = sender();
    for _ in 0..20 {
        assert_eq!(sender.send(post(receiver.url()), now()).await.outcome, AttemptOutcome::Delivered);
    }
    assert_eq!(receiver.requests().len(), 20);
    assert!(receiver.connections() < 20, "{} connections", receiver.connections());
}

#[tokio::test]
async fn a_request_that_was_seen_is_never_repeated() {
    // Each connection answers its first request and closes after its second without a word.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(OK.as_bytes()).await;
        talk.next_request().await;
    })
    .await;
    let sender = sender();
    let mut failed = 0;
    for sent in 1..=20 {
        let result = sender.send(post(receiver.url()), now()).await;
        if result.outcome == FAILED {
            assert_eq!(said(&result), "the connection was closed before an answer came");
            failed += 1;
        }
        assert_eq!(receiver.requests().len(), sent, "each attempt is one request");
    }
    assert!(failed > 0, "no connection was used twice");
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    // Each connection answers one request and closes: a later attempt may find it out only while writing.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(OK.as_bytes()).await;
    })
    .await;
    let sender = sender();
    let mut delivered = 0;
    for _ in 0..20 {
        let result = sender.send(post(receiver.url()), now()).await;
        receiver.all_closed().await;
        if result.outcome == AttemptOutcome::Delivered {
            delivered += 1;
        } else {
            assert_eq!(said(&result), "the connection was closed before an answer came");
        }
    }
    assert_eq!(receiver.requests().len(), delivered, "an attempt that failed was never seen");
    assert!(delivered > 1, "after the first connection died there was another");
}

#[tokio::test]
async fn a_stalled_tls_handshake_is_given_up() {
    let receiver = Receiver::start(|mut talk| async move { talk.hold().await }).await;
    let settings = SenderSettings {
        resolve_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(100),
        ..SenderSettings::default()
    };
    let sender = Sender::new(loopback(), settings).unwrap();
    let result = sender.send(post(format!("https://127.0.0.1:{}/", receiver.port)), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no connection could be made within 300 ms"));
    receiver.all_closed().await;
}

#[tokio::test]
async fn without_allowed_ranges_loopback_is_refused_in_every_spelling() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = Sender::new(EgressPolicy::default(), SenderSettings::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "0",
        "localhost",
        "localhost.",
        "LocalHost",
        "a.localhost",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    ] {
        for scheme in ["http", "https"] {
            let result = sender.send(post(format!("{scheme}://{host}:{port}/")), now()).await;
            assert_eq!((result.outcome, result.status), (FAILED, None), "{scheme} {host}");
            let why = said(&result);
            assert!(REFUSALS.iter().any(|known| why.contains(known)), "{scheme} {host}: {why}");
        }
    }
    let named = resolving(EgressPolicy::default(), Prepared::new(&[&["127.0.0.1"]]));
    let result = named.send(post(format!("https://{NAME}:{port}/")), now()).await;
    assert_eq!(said(&result), "the address is not public (loopback)");

    // The first connection that arrives is our own: nobody dialled before.
    let own = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.port(), own.local_addr().unwrap().port());
}

#[tokio::test]
async fn a_name_with_one_private_address_is_refused() {
    let receiver = Receiver::answering(OK).await;
    let policy = || allowing(&["127.0.0.1/32"]);
    for answer in [&["127.0.0.1", "10.0.0.1"], &["10.0.0.1", "127.0.0.1"], &["127.0.0.1", "::ffff:10.0.0.1"]] {
        let sender = resolving(policy(), Prepared::new(&[answer]));
        let result = sender.send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
        assert_eq!(said(&result), "the address is not public (private network)");
    }
    // One address is exempt, one is public: http is right for the first and wrong for the second.
    let sender = resolving(policy(), Prepared::new(&[&["127.0.0.1", "8.8.8.8"]]));
    let result = sender.send(post(format!("http://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!(said(&result), "the URL must begin with https://");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_was_judged_is_what_is_dialled() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let resolver = Prepared::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let sender = resolving(allowing(&["127.0.0.1/32"]), resolver.clone());
    let url = format!("http://{NAME}:{}/", receiver.port);

    let result = sender.send(post(&url), now()).await;
    assert_eq!((result.outcome, resolver.calls()), (AttemptOutcome::Delivered, 1), "asked once, judged, dialled");
    assert!(receiver.requests()[0].contains(&format!("host: {NAME}:{}\r\n", receiver.port)));

    let result = sender.send(post(&url), now()).await;
    assert_eq!((said(&result), resolver.calls()), ("the address is not public (loopback)", 2), "judged at every dial");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let receiver = Receiver::answering(OK).await;
    let sender = resolving(loopback(), Prepared::new(&[&["127.0.0.3", "127.0.0.1"]]));
    let result = sender.send(post(format!("http://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!((result.outcome, receiver.connections()), (AttemptOutcome::Delivered, 1));
}

#[tokio::test]
async fn registration_judges_the_text_and_the_addresses() {
    let sender = resolving(EgressPolicy::default(), Prepared::new(&[&["8.8.8.8"], &["8.8.8.8", "10.0.0.1"]]));
    let url = format!("https://{NAME}/in");
    assert_eq!(sender.check_url(&url).await.unwrap().to_string(), url);
    let denied = Denied { kind: "private network" };
    let refused = sender.check_url(&url).await;
    assert!(matches!(refused, Err(DialError::NotAllowed(UrlError::Address(why))) if why == denied));
    let refused = sender.check_url("http://hooks.example.com/").await;
    assert!(matches!(refused, Err(DialError::NotAllowed(UrlError::Scheme))));
}

/// A certificate for [`NAME`], as its own root, and a receiver that shows it.
async fn tls_receiver() -> (Receiver, CertificateDer<'static>, Arc<Mutex<Vec<String>>>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let receiver = Receiver::start(move |talk| {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        async move {
            let Ok(stream) = acceptor.accept(talk.stream).await else { return };
            seen.lock().unwrap().push(stream.get_ref().1.server_name().unwrap_or_default().to_owned());
            let mut talk = Conversation { stream, requests: talk.requests };
            while talk.next_request().await {
                talk.write(OK.as_bytes()).await;
            }
        }
    })
    .await;
    (receiver, cert.der().clone(), names)
}

#[tokio::test]
async fn tls_sees_the_name_and_verifies_it() {
    let (receiver, certificate, names) = tls_receiver().await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let resolver = Prepared::new(&[&["127.0.0.1"]]);
    let sender = Sender::with_parts(loopback(), SenderSettings::default(), resolver, trusting(roots));

    let result = sender.send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered, "{result:?}");
    assert_eq!(*names.lock().unwrap(), [NAME]);
    assert!(receiver.requests()[0].contains(&format!("host: {NAME}:{}\r\n", receiver.port)));

    let result = sender.send(post(format!("https://other.example.com:{}/", receiver.port)), now()).await;
    assert_eq!(said(&result), "the TLS certificate was not accepted: it does not name this host");
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_in_production() {
    let (receiver, ..) = tls_receiver().await;
    let result = sender().send(post(format!("https://127.0.0.1:{}/", receiver.port)), now()).await;
    assert_eq!(result.outcome, FAILED);
    assert!(said(&result).starts_with("the TLS certificate was not accepted"), "{result:?}");
    assert!(receiver.requests().is_empty());

    let plain = Receiver::start(|mut talk| async move {
        talk.write(OK.as_bytes()).await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post(format!("https://127.0.0.1:{}/", plain.port)), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no TLS connection could be agreed on"));
}
