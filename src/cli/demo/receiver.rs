//! The subscribers' side: a real HTTP server that verifies every message and writes down what came before it answers.
//!
//! The verifying is Standard Webhooks' own crate, which shares no line with what signs. It fails on purpose, so that
//! retries show: the first try of every fifth message gets 500, of every seventeenth no answer at all, and one endpoint
//! answers nothing but 503 for a second.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::world::affiliate_endpoint;
use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// The longest message that is read.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Of so many messages, the first try of one gets 500.
const FAILS_EVERY: usize = 5;
/// Of so many messages, the first try of one gets no answer.
const DROPS_EVERY: usize = 17;
/// The endpoint that is out for a while …
const OUTAGE_AT: usize = 1;
/// … after so many messages to all of them …
const OUTAGE_AFTER: usize = 100;
/// … for so long.
const OUTAGE: Duration = Duration::from_secs(1);
/// What is written down where no answer was given.
const NO_ANSWER: u16 = 0;

/// One POST that came in: a line of `received.journal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// In which run of the demo.
    pub run: u32,
    /// At which endpoint.
    pub endpoint: String,
    /// The `webhook-id`.
    pub webhook_id: String,
    /// The event type that the body names.
    pub event_type: String,
    /// What it is about: the operator's event id, or the payout.
    pub subject: String,
    /// Whether the signature fits the body.
    pub verified: bool,
    /// The status that was answered; 0 for none.
    pub answer: u16,
}

impl Arrival {
    /// Whether this try delivered the message.
    pub const fn delivered(&self) -> bool {
        self.verified && self.answer == 200
    }
}

/// The server and what it has seen.
pub struct Receiver {
    hooks: BTreeMap<String, Webhook>,
    journal: Journal,
    seen: Mutex<Seen>,
    clock: Clock,
    run: u32,
}

#[derive(Default)]
struct Seen {
    /// Messages in the order of their first try, by endpoint and id.
    messages: BTreeSet<(String, String)>,
    outage_until: Option<Timestamp>,
    delivered: BTreeSet<(String, String)>,
    arrivals: Vec<Arrival>,
}

/// What to answer, before it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Broken,
    Gone,
    Out,
}

/// Takes the port that endpoints name, or a free one.
pub async fn listen(port: Option<u16>) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)))).await
}

impl Receiver {
    /// A receiver for endpoints by name, each with its secret; `earlier` is what came in runs before.
    pub fn new(
        secrets: impl IntoIterator<Item = (String, String)>,
        journal: Journal,
        earlier: Vec<Arrival>,
        clock: Clock,
        run: u32,
    ) -> Result<Self, standardwebhooks::WebhookError> {
        let hook = |(name, secret): (String, String)| Ok((name, Webhook::new(&secret)?));
        let hooks = secrets.into_iter().map(hook).collect::<Result<_, standardwebhooks::WebhookError>>()?;
        let mut seen = Seen::default();
        for arrival in &earlier {
            seen.note(arrival);
        }
        seen.arrivals = earlier;
        if seen.messages.len() >= OUTAGE_AFTER {
            seen.outage_until = Some(Timestamp::from_micros(0));
        }
        Ok(Self { hooks, journal, seen: Mutex::new(seen), clock, run })
    }

    /// How many messages have been delivered.
    pub fn delivered(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).delivered.len()
    }

    /// Everything that came in.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).arrivals.clone()
    }

    /// Serves until told to stop.
    pub async fn run(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&self).serve(stream))),
                    Err(error) => {
                        // Out of file descriptors, mostly; others may be given back meanwhile.
                        tracing::warn!(%error, "the demo's receiver cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let receiver = Arc::clone(&self);
            async move { receiver.answer(request).await }
        });
        if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection to the demo's receiver broke, maybe on purpose");
        }
    }

    /// Judges and writes down one message. An error drops the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Empty<Bytes>>> {
        let endpoint = request.uri().path().trim_start_matches('/').to_owned();
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_MESSAGE_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
        match self.take(endpoint, &head.headers, &body)? {
            NO_ANSWER => Err(io::Error::other("no answer, on purpose")),
            status => Ok(response(status)),
        }
    }

    fn take(&self, endpoint: String, headers: &HeaderMap, body: &[u8]) -> io::Result<u16> {
        let hook = self.hooks.get(&endpoint);
        let verified = hook.is_some_and(|hook| hook.verify(body, headers).is_ok());
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let message: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let event_type = text("/type");
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match (verified, seen.mood(&endpoint, &id, now)) {
            (false, _) => 400,
            (true, Mood::Good) => 200,
            (true, Mood::Broken) => 500,
            (true, Mood::Out) => 503,
            (true, Mood::Gone) => NO_ANSWER,
        };
        let arrival = Arrival {
            at: now.micros(),
            run: self.run,
            endpoint,
            webhook_id: id,
            subject: if event_type.starts_with("payout.") { text("/data/payout_id") } else { text("/data/event_id") },
            event_type,
            verified,
            answer,
        };
        // Written down before it is answered: what was answered 200 is never forgotten.
        self.journal.write(&arrival)?;
        seen.note(&arrival);
        seen.arrivals.push(arrival);
        Ok(answer)
    }
}

impl Seen {
    fn mood(&mut self, endpoint: &str, id: &str, now: Timestamp) -> Mood {
        let first = !self.messages.contains(&(endpoint.to_owned(), id.to_owned()));
        let number = self.messages.len().saturating_add(1);
        if number >= OUTAGE_AFTER && self.outage_until.is_none() {
            self.outage_until = Some(now.plus(OUTAGE));
        }
        if endpoint == affiliate_endpoint(OUTAGE_AT) && self.outage_until.is_some_and(|end| now < end) {
            Mood::Out
        } else if first && number.is_multiple_of(DROPS_EVERY) {
            Mood::Gone
        } else if first && number.is_multiple_of(FAILS_EVERY) {
            Mood::Broken
        } else {
            Mood::Good
        }
    }

    fn note(&mut self, arrival: &Arrival) {
        let message = (arrival.endpoint.clone(), arrival.webhook_id.clone());
        if arrival.delivered() {
            self.delivered.insert(message.clone());
        }
        self.messages.insert(message);
    }
}

fn response(status: u16) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::outside::throwaway::Folder;

    #[test]
    fn failures_on_purpose_end() {
        let mut seen = Seen::default();
        let (early, late) = (Timestamp::from_micros(1_000_000), Timestamp::from_micros(5_000_000));
        let mut moods = Vec::new();
        for number in 1..=200 {
            let id = number.to_string();
            moods.push(seen.mood("op", &id, early));
            seen.messages.insert(("op".to_owned(), id));
        }
        assert_eq!((moods[4], moods[16]), (Mood::Broken, Mood::Gone));
        let out = affiliate_endpoint(OUTAGE_AT);
        assert_eq!(seen.mood(&out, "x", early), Mood::Out, "the clock stands in the outage");
        assert_ne!(moods[150], Mood::Out, "the others go on");
        assert_ne!(seen.mood(&out, "x", late), Mood::Out, "it ends");
        assert!(
            (1..=200).all(|number| seen.mood("op", &number.to_string(), late) == Mood::Good),
            "second tries are good"
        );
    }

    #[test]
    fn a_forged_message_is_noticed() {
        let folder = Folder::temporary("demo").unwrap();
        let (journal, _) = Journal::open::<Arrival>(&folder.path().join("received.journal")).unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let clock = Clock::system();
        let receiver = Receiver::new([("op".into(), secret.into())], journal, vec![], clock.clone(), 1).unwrap();
        let body = br#"{"type":"commission.created","data":{"event_id":"e1"}}"#;
        let seconds = clock.now().seconds();
        let signature = Webhook::new(secret).unwrap().sign("ev_1", seconds, body).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "ev_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        assert_eq!(receiver.take("op".into(), &headers, body).unwrap(), 200);
        assert_eq!(receiver.take("op".into(), &headers, b"{}").unwrap(), 400);
        assert_eq!(receiver.take("other".into(), &headers, body).unwrap(), 400);
        let verified: Vec<bool> = receiver.arrivals().iter().map(|arrival| arrival.verified).collect();
        assert_eq!(verified, [true, false, false]);
        assert_eq!(receiver.delivered(), 1);
        folder.remove().unwrap();
    }
}
