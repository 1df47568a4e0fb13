//! A receiver: checks and writes down every POST before it answers, and can be told to misbehave.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::evil;
use crate::cli::outside::book::Book;
use crate::cli::outside::proof::{TOLERANCE_SECONDS, fits, hash};
use crate::cli::outside::wire::{self, Request, Wire};
use crate::clock::Clock;

const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
/// What a redirect's target begins with: nobody may come there.
pub const ELSEWHERE: &str = "/elsewhere";

/// What a receiver does with what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers 200 at once.
    Good,
    /// Does not answer until the mood changes.
    Hanging,
    /// Answers 500.
    Broken,
    /// Answers a byte a second.
    Dripping,
    /// Answers 200 and a body of 1 GiB.
    Huge,
    /// Answers 200 and a small body that would be large.
    Bomb(Arc<Vec<u8>>),
    /// Sends on to another address of its own, which sends on, and so forth.
    Redirecting,
}

/// What came about one postback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// When each POST came, in the book's microseconds.
    pub posts: Vec<u64>,
    /// How many were answered 2xx.
    pub good: u64,
    /// Hashes of the ids that they had.
    pub ids: Vec<u64>,
}

/// What came to a receiver.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By the postback's number.
    pub told: BTreeMap<u64, Told>,
    /// The first id of each postback, as text.
    pub ids: BTreeMap<u64, String>,
    /// Messages whose signature does not fit.
    pub wrongly_signed: u64,
    /// Messages about nothing that was fired.
    pub strange: u64,
    /// Requests at an address that only a redirect names.
    pub followed: u64,
}

/// The receiver.
pub struct Inbox {
    /// What it is called.
    pub name: String,
    /// The affiliate whose postbacks it is told.
    pub affiliate: usize,
    webhook: Webhook,
    book: Arc<Book>,
    clock: Clock,
    tolerance_seconds: AtomicU64,
    mood: watch::Sender<Mood>,
    seen: Mutex<Seen>,
    misbehaved: AtomicU64,
}

/// A message as it was judged, before it is written down.
enum Message {
    Of { number: u64, id: String },
    WronglySigned,
    Strange,
    Followed,
}

impl Inbox {
    /// A receiver that has seen nothing.
    pub fn new(name: String, affiliate: usize, webhook: Webhook, book: Arc<Book>) -> Self {
        Self {
            name,
            affiliate,
            webhook,
            book,
            clock: Clock::system(),
            tolerance_seconds: AtomicU64::new(TOLERANCE_SECONDS),
            mood: watch::Sender::new(Mood::Good),
            seen: Mutex::default(),
            misbehaved: AtomicU64::new(0),
        }
    }

    /// What it does from now on.
    pub fn turn(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How far the time of a message may be off from now on.
    pub fn tolerate(&self, seconds: u64) {
        self.tolerance_seconds.store(seconds, Ordering::SeqCst);
    }

    /// How many POSTs it did not answer 200 as it should.
    pub fn misbehaved(&self) -> u64 {
        self.misbehaved.load(Ordering::SeqCst)
    }

    /// What came so far, to look at.
    pub fn look(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was told of a postback and said so.
    pub fn has(&self, number: u64) -> bool {
        self.look().told.get(&number).is_some_and(|told| told.good > 0)
    }

    /// Serves for ever; to be run on the receivers' lane.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        wire::serve_each(listener, |stream| Arc::clone(&self).connection(stream)).await;
    }

    /// A connection that breaks is the service's to notice; what was not answered comes again.
    async fn connection(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        let mut mood = self.mood.subscribe();
        while let Some(message) = wire.request(|request| self.judge(request)).await? {
            let now = mood.borrow_and_update().clone();
            // Written down before it is answered, so that an answer is never forgotten.
            if !self.note(message, &now) {
                wire.send(BAD).await?;
                continue;
            }
            if now != Mood::Good {
                self.misbehaved.fetch_add(1, Ordering::SeqCst);
            }
            if !evil::answer(&mut wire, &now, &mut mood).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn judge(&self, request: &Request<'_>) -> Message {
        if request.target.starts_with(ELSEWHERE) {
            return Message::Followed;
        }
        let tolerance = self.tolerance_seconds.load(Ordering::SeqCst);
        if !fits(&self.webhook, request, self.clock.now().seconds(), tolerance) {
            return Message::WronglySigned;
        }
        let is_ours = |number: &u64| {
            self.book.entry(*number).fired_micros > 0 && self.book.affiliate_of(*number) == self.affiliate
        };
        match self.book.number_in(request.body).filter(is_ours) {
            Some(number) => Message::Of { number, id: request.header("webhook-id").unwrap_or_default().to_owned() },
            None => Message::Strange,
        }
    }

    /// Writes a message down; whether it is one that should come.
    fn note(&self, message: Message, mood: &Mood) -> bool {
        let at_micros = self.book.micros();
        let mut seen = self.look();
        match message {
            Message::Of { number, id } => {
                let told = seen.told.entry(number).or_default();
                told.posts.push(at_micros);
                told.good += u64::from(matches!(mood, Mood::Good | Mood::Huge | Mood::Bomb(_)));
                let hashed = hash(id.as_bytes());
                if !told.ids.contains(&hashed) {
                    told.ids.push(hashed);
                }
                seen.ids.entry(number).or_insert(id);
                true
            }
            Message::WronglySigned => {
                seen.wrongly_signed += 1;
                false
            }
            Message::Strange => {
                seen.strange += 1;
                false
            }
            Message::Followed => {
                seen.followed += 1;
                false
            }
        }
    }
}
