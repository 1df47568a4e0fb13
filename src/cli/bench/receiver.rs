//! The subscribers' side: each endpoint has a port of its own, checks every message and counts which came how often.
//!
//! The signatures are checked by Standard Webhooks' own crate, which shares no line with what signs. An endpoint can be
//! told to hang: it then reads and does not answer until it is told otherwise.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cli::outside::book::{Book, index};
use crate::cli::outside::proof::{TOLERANCE_SECONDS, fits, hash};
use crate::cli::outside::wire::{self, Request, Wire};
use crate::clock::Clock;

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
        wire::serve_each(listener, |stream| Arc::clone(&self).connection(stream)).await;
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
            && !fits(webhook, request, self.clock.now().seconds(), TOLERANCE_SECONDS)
        {
            return Message::WronglySigned;
        }
        let number = self.book.number_in(request.body).or_else(|| self.book.number_in(request.target.as_bytes()));
        match number {
            Some(number)
                if self.book.entry(number).fired_micros > 0 && self.book.affiliate_of(number) == self.affiliate =>
            {
                Message::Of { number, id: hash(id.as_bytes()) }
            }
            _ => Message::Strange,
        }
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
