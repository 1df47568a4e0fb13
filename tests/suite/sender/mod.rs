//! The outbound sender against real receivers on loopback (RELIABILITY section 6).

mod addresses;
mod answers;
mod connections;
mod environment;
mod limits;
mod names;
mod receiver;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postback::delivery::egress::EgressPolicy;
use postback::delivery::resolver::Resolve;
use postback::delivery::sender::{OutboundMethod, OutboundRequest, Sender, SenderSettings, tls_versions};
use postback::domain::delivery::{AttemptOutcome, AttemptResult};
use postback::domain::time::Timestamp;
use rustls::{ClientConfig, RootCertStore};

const FAILED: AttemptOutcome = AttemptOutcome::Failed { retry_after: None };
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const NAME: &str = "hooks.example.com";

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

/// TLS as in production, trusting these authorities instead of the public ones.
fn trusting(roots: RootCertStore) -> ClientConfig {
    tls_versions().unwrap().with_root_certificates(roots).with_no_client_auth()
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
