//! The subscribers' side: each endpoint has a port of its own, checks every message and counts which came how often.
//!
//! The signatures are checked by Standard Webhooks' own crate, which shares no line with what signs. An endpoint can be
//! told to hang: it then reads and does not answer until it is told otherwise.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::book::{Book, index};
use super::wire::{Request, Wire};
use crate::clock::Clock;

/// How far the time of a message may be from now, in seconds: what Standard Webhooks recommends.
const TOLERANCE_SECONDS: u64 = 300;
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// What an endpoint does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers 200 at once.
    Good,
    /// Does not answer.
    Hanging,
}

/// How messages to an endpoint are known to be real.
pub enum Proof {
    /// They are signed.
    Signature(Webhook),
    /// They are not signed: postbacks with macros.
    None,
}

/// One endpoint.
pub struct Inbox {
    /// What it is called.
    pub name: String,
    /// The affiliate whose postbacks it is told.
    pub affiliate: usize,
    proof: Proof,
    book: Arc<Book>,
    clock: Clock,
    mood: watch::Sender<Mood>,
    seen: Mutex<Seen>,
    delivered: AtomicU64,
    hung: AtomicU64,
}

/// What came to an endpoint about one postback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// A hash of the first message's id.
    pub id: u64,
    /// How many times it was answered 200.
    pub count: u32,
    /// How many of them had another id than the first.
    pub other_ids: u32,
}

/// The first delivery of one postback.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The postback.
    pub number: u64,
    /// When it came, in the book's microseconds.
    pub at_micros: u64,
    /// How long after the postback was due or fired.
    pub micros: u64,
}

/// What came to an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By the postback's number.
    pub told: Vec<Told>,
    /// First deliveries in the order in which they came.
    pub arrivals: Vec<Arrival>,
    /// Messages whose signature does not fit.
    pub wrongly_signed: u64,
    /// Messages about nothing that was fired.
    pub strange: u64,
}

/// A message as it was judged, before it is written down.
enum Message {
    Of { number: u64, id: u64 },
    WronglySigned,
    Strange,
}

impl Inbox {
    /// An endpoint that has seen nothing.
    pub fn new(name: String, affiliate: usize, proof: Proof, book: Arc<Book>) -> Self {
        Self {
            name,
            affiliate,
            proof,
            book,
            clock: Clock::system(),
            mood: watch::Sender::new(Mood::Good),
            seen: Mutex::default(),
            delivered: AtomicU64::new(0),
            hung: AtomicU64::new(0),
        }
    }

    /// How many different postbacks it was told of.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// How many messages it left without an answer.
    pub fn hung(&self) -> u64 {
        self.hung.load(Ordering::Relaxed)
    }

    /// What it does from now on. Messages that hang are answered when it turns good.
    pub fn turn(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Whether it hangs.
    pub fn hangs(&self) -> bool {
        *self.mood.borrow() == Mood::Hanging
    }

    /// Whether its messages carry an id.
    pub const fn has_ids(&self) -> bool {
        matches!(self.proof, Proof::Signature(_))
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves for ever; to be run on the receivers' lane.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&self).connection(stream))),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// A connection that breaks is the service's to notice; what was not answered comes again.
    async fn connection(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        while let Some(message) = wire.request(|request| self.judge(request)).await? {
            if self.hangs() {
                self.hung.fetch_add(1, Ordering::Relaxed);
                let mut mood = self.mood.subscribe();
                tokio::select! {
                    _ = mood.wait_for(|mood| *mood == Mood::Good) => {}
                    () = wire.disturbed() => return Ok(()),
                }
            }
            // Written down before it is answered, so that an answer is never forgotten.
            wire.send(if self.note(message) { GOOD } else { BAD }).await?;
        }
        Ok(())
    }

    fn judge(&self, request: &Request<'_>) -> Message {
        let id = request.header("webhook-id").unwrap_or_default();
        if let Proof::Signature(webhook) = &self.proof
            && !self.fits(webhook, id, request)
        {
            return Message::WronglySigned;
        }
        let number = self.number_in(request.body).or_else(|| self.number_in(request.target.as_bytes()));
        match number {
            Some(number)
                if self.book.entry(number).fired_micros > 0 && self.book.affiliate_of(number) == self.affiliate =>
            {
                Message::Of { number, id: hash(id.as_bytes()) }
            }
            _ => Message::Strange,
        }
    }

    fn fits(&self, webhook: &Webhook, id: &str, request: &Request<'_>) -> bool {
        let seconds = request.header("webhook-timestamp").and_then(|text| text.parse::<i64>().ok());
        let Some(seconds) = seconds else { return false };
        let Ok(signature) = webhook.sign(id, seconds, request.body) else { return false };
        let claimed = request.header("webhook-signature").unwrap_or_default();
        let is_recent = self.clock.now().seconds().abs_diff(seconds) <= TOLERANCE_SECONDS;
        !id.is_empty() && is_recent && claimed.split(' ').any(|token| token == signature)
    }

    /// The number of the postback whose event id stands somewhere in `bytes`.
    fn number_in(&self, bytes: &[u8]) -> Option<u64> {
        let prefix = self.book.event_prefix().as_bytes();
        let at = bytes.windows(prefix.len()).position(|part| part == prefix)?;
        let rest = bytes.get(at + prefix.len()..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    }

    /// Writes a message down; whether it is to be answered 200.
    fn note(&self, message: Message) -> bool {
        let at_micros = self.book.micros();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            Message::Of { number, id } => {
                if seen.note(number, id) {
                    let micros = at_micros.saturating_sub(self.book.entry(number).fired_micros);
                    seen.arrivals.push(Arrival { number, at_micros, micros });
                    self.delivered.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Message::WronglySigned => {
                seen.wrongly_signed += 1;
                false
            }
            Message::Strange => {
                seen.strange += 1;
                true
            }
        }
    }
}

impl Seen {
    /// Counts a message about a postback; whether it is the first.
    fn note(&mut self, number: u64, id: u64) -> bool {
        let place = index(number);
        if self.told.len() <= place {
            self.told.resize(place.saturating_add(1), Told::default());
        }
        let Some(told) = self.told.get_mut(place) else { return false };
        told.count = told.count.saturating_add(1);
        if told.count == 1 {
            told.id = id;
            return true;
        }
        if told.id != id {
            told.other_ids = told.other_ids.saturating_add(1);
        }
        false
    }
}

/// FNV-1a: different ids have different hashes but for one in billions.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
