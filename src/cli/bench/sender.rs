//! The operators' side: fires postbacks and takes the time.
//!
//! Closed loop: each connection sends the next postback when the last one is answered. Open loop: postbacks are due at a
//! fixed rate whether the service keeps up or not, and the time counts from when one was due, so that a service that
//! stalls cannot hide it. What is answered 503 or 429, or not at all, is sent again, as the interface asks of senders.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cli::outside::book::Book;
use crate::cli::outside::postback::Recipe;
use crate::cli::outside::wire::{Response, Wire};
use crate::clock::Clock;

/// How long one request may take. Longer than the service takes to say that it cannot.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait before something is sent again.
const PAUSE: Duration = Duration::from_millis(5);
/// How many times in a row something is sent before the bench gives up.
const TRIES: u32 = 400;
/// How often the open loop looks what is due.
const TICK: Duration = Duration::from_micros(200);
/// How much later than planned an open loop ends at the most; what is left is not fired.
const GRACE: Duration = Duration::from_secs(30);
/// The longest answer that is shown.
const SHOWN_BYTES: usize = 300;

/// When the next postback is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When the last one on the connection is answered.
    Closed,
    /// So many a second.
    Open(u64),
    /// So long after the last one on the connection was answered.
    Pausing(Duration),
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After so many requests.
    Count(u64),
}

/// What is to be fired.
#[derive(Clone, Copy, Debug)]
pub struct Volley {
    /// The number of the first postback.
    pub first: u64,
    /// Connections.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub end: End,
    /// Of a hundred requests, how many repeat an earlier one of the same volley.
    pub duplicates_percent: u64,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// When it came, in the book's microseconds.
    pub at_micros: u64,
    /// How long it took since the request was due or sent.
    pub micros: u64,
}

/// What became of a volley.
#[derive(Debug, Default)]
pub struct Fired {
    /// Every request that was answered 2xx.
    pub shots: Vec<Shot>,
    /// The numbers from the first one up to here, without it, were fired.
    pub next: u64,
    /// When it began and when the last answer came, in the book's microseconds.
    pub began_micros: u64,
    /// See `began_micros`.
    pub ended_micros: u64,
    /// Answers by their verdict: `accepted` …
    pub accepted: u64,
    /// … and `duplicate`.
    pub duplicate: u64,
    /// How often the service asked to come again (503, 429).
    pub busy: u64,
    /// How often no answer came and the postback was sent again.
    pub resent: u64,
    /// Postbacks that were refused or answered with another verdict; none should be.
    pub refused: u64,
    /// What the first of them was answered.
    pub refusal: Option<String>,
    /// Postbacks that were never answered.
    pub unanswered: u64,
    /// Requests that were due and not sent, because the service could not keep up.
    pub behind: u64,
}

/// What an answer says.
enum Answer {
    Accepted,
    Duplicate,
    Busy,
    Refused(String),
}

/// A connection to an instance, while there is one.
struct Way {
    address: SocketAddr,
    wire: Option<Wire>,
}

/// Who fires.
struct Sender {
    recipe: Arc<Recipe>,
    /// The instances of the service; connections go round them.
    addresses: Vec<SocketAddr>,
    book: Arc<Book>,
    volley: Volley,
    clock: Clock,
    began: Instant,
    began_micros: u64,
    next: AtomicU64,
    due: Semaphore,
    over: AtomicBool,
    total: Mutex<Fired>,
}

/// Fires a volley; to be run on the sender's lane.
pub async fn fire(recipe: Arc<Recipe>, addresses: Vec<SocketAddr>, book: Arc<Book>, volley: Volley) -> Fired {
    let began = Instant::now();
    let sender = Arc::new(Sender {
        recipe,
        addresses,
        began_micros: book.micros_at(began),
        book,
        volley,
        clock: Clock::system(),
        began,
        next: AtomicU64::new(0),
        due: Semaphore::new(0),
        over: AtomicBool::new(false),
        total: Mutex::default(),
    });
    let pacer = pacer(&sender);
    let mut connections = JoinSet::new();
    for number in 0..volley.connections {
        connections.spawn(Arc::clone(&sender).connection(number));
    }
    while connections.join_next().await.is_some() {}
    sender.over.store(true, Ordering::Relaxed);
    if let Some(Ok(pacer)) = pacer {
        // It ends by itself within one tick.
        let _ = pacer.join();
    }
    let mut fired = std::mem::take(&mut *sender.total.lock().unwrap_or_else(PoisonError::into_inner));
    let positions = sender.positions_used();
    fired.began_micros = sender.began_micros;
    fired.next = volley.first + positions - repeats_before(positions, volley.duplicates_percent);
    if let (Pace::Open(_), Some(count)) = (volley.pace, sender.count()) {
        fired.behind = count.saturating_sub(positions);
    }
    fired
}

/// A thread that says in the open loop what is due: the runtime's own timer is too coarse for that.
fn pacer(sender: &Arc<Sender>) -> Option<io::Result<std::thread::JoinHandle<()>>> {
    let Pace::Open(per_second) = sender.volley.pace else { return None };
    let (sender, name) = (Arc::clone(sender), std::thread::current().name().unwrap_or("sender").to_owned());
    let work = move || {
        let (mut released, count) = (0, sender.count().unwrap_or(u64::MAX));
        while released < count && !sender.over.load(Ordering::Relaxed) {
            let micros = u64::try_from(sender.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            // The first one is due at once.
            let due = (micros.saturating_mul(per_second) / 1_000_000 + 1).min(count);
            sender.due.add_permits(crate::cli::outside::book::index(due - released));
            released = due;
            std::thread::sleep(TICK);
        }
        // Whoever waits sees that it is over.
        sender.due.add_permits(sender.volley.connections);
    };
    Some(std::thread::Builder::new().name(name).spawn(work))
}

/// How many of the first `positions` requests are repeats.
const fn repeats_before(positions: u64, percent: u64) -> u64 {
    positions.saturating_mul(percent) / 100
}

/// The postback that is sent at a position, counted from the first of the volley, and whether it is new. Repeats are
/// spread evenly, each of one that was new some tens or hundreds before.
const fn offset_at(position: u64, percent: u64) -> (u64, bool) {
    let repeats = repeats_before(position, percent);
    let new = position - repeats;
    if repeats_before(position + 1, percent) > repeats && new > 0 {
        (new.saturating_sub(1 + position.wrapping_mul(7_919) % 499), false)
    } else {
        (new, true)
    }
}

impl Sender {
    /// How many requests there are to send, where that is known.
    fn count(&self) -> Option<u64> {
        match (self.volley.end, self.volley.pace) {
            (End::Count(count), _) => Some(count),
            (End::After(time), Pace::Open(rate)) => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                Some(micros.saturating_mul(rate) / 1_000_000)
            }
            (End::After(_), _) => None,
        }
    }

    /// Positions that somebody took and that were to be fired.
    fn positions_used(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.count().unwrap_or(u64::MAX))
    }

    fn is_over(&self) -> bool {
        match (self.volley.end, self.volley.pace) {
            (End::After(time), Pace::Open(_)) => self.began.elapsed() > time + GRACE,
            (End::After(time), _) => self.began.elapsed() > time,
            (End::Count(_), _) => false,
        }
    }

    /// The next position, when it is due.
    async fn position(&self) -> Option<u64> {
        if matches!(self.volley.pace, Pace::Open(_)) {
            self.due.acquire().await.ok()?.forget();
        }
        if self.is_over() {
            return None;
        }
        let position = self.next.fetch_add(1, Ordering::Relaxed);
        self.count().is_none_or(|count| position < count).then_some(position)
    }

    async fn connection(self: Arc<Self>, number: usize) {
        let address = self.addresses.get(number % self.addresses.len().max(1)).copied().unwrap_or(self.recipe.service);
        let mut fired = Fired::default();
        let (mut way, mut body, mut request) = (Way { address, wire: None }, String::new(), String::new());
        while let Some(position) = self.position().await {
            let (offset, is_new) = offset_at(position, self.volley.duplicates_percent);
            let number = self.volley.first + offset;
            let since = match self.volley.pace {
                Pace::Open(rate) => self.began_micros + position.saturating_mul(1_000_000) / rate.max(1),
                Pace::Closed | Pace::Pausing(_) => self.book.micros(),
            };
            if is_new {
                self.book.fire(number, since);
            }
            self.recipe.body(number, &mut body);
            match self.settle(&mut way, &body, &mut request, &mut fired).await {
                Some(accepted) => {
                    self.book.acknowledge(number, accepted);
                    let at_micros = self.book.micros();
                    fired.shots.push(Shot { at_micros, micros: at_micros.saturating_sub(since) });
                    *if accepted { &mut fired.accepted } else { &mut fired.duplicate } += 1;
                }
                None if fired.unanswered > 0 => break,
                None => {}
            }
            if let Pace::Pausing(pause) = self.volley.pace {
                tokio::time::sleep(pause).await;
            }
        }
        self.total.lock().unwrap_or_else(PoisonError::into_inner).add(fired);
    }

    /// Sends a postback until it is answered; whether it was accepted, or `None` when it was not acknowledged.
    async fn settle(&self, way: &mut Way, body: &str, request: &mut String, fired: &mut Fired) -> Option<bool> {
        for _ in 0..TRIES {
            self.recipe.request(body, self.clock.now().seconds(), request);
            let sent = tokio::time::timeout(PATIENCE, self.exchange(way, request)).await;
            match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Answer::Accepted) => return Some(true),
                Ok(Answer::Duplicate) => return Some(false),
                Ok(Answer::Busy) => fired.busy += 1,
                Ok(Answer::Refused(text)) => {
                    fired.refused += 1;
                    fired.refusal.get_or_insert(text);
                    return None;
                }
                Err(_) => {
                    way.wire = None;
                    fired.resent += 1;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        fired.unanswered += 1;
        None
    }

    async fn exchange(&self, way: &mut Way, request: &str) -> io::Result<Answer> {
        let wire = match &mut way.wire {
            Some(wire) => wire,
            empty => empty.insert(Wire::new(TcpStream::connect(way.address).await?)?),
        };
        wire.send(request.as_bytes()).await?;
        wire.response(read).await
    }
}

fn read(response: &Response<'_>) -> Answer {
    let verdict = |name: &[u8]| response.body.windows(name.len()).any(|part| part == name);
    match response.status {
        200 if verdict(b"\"verdict\":\"accepted\"") => Answer::Accepted,
        200 if verdict(b"\"verdict\":\"duplicate\"") => Answer::Duplicate,
        503 | 429 => Answer::Busy,
        status => {
            let text = response.body.get(..SHOWN_BYTES).unwrap_or(response.body);
            Answer::Refused(format!("{status} {}", String::from_utf8_lossy(text)))
        }
    }
}

impl Fired {
    /// What two have together; begin and next are not theirs to know.
    fn add(&mut self, other: Self) {
        self.ended_micros = other.shots.last().map_or(0, |shot| shot.at_micros).max(self.ended_micros);
        self.shots.extend(other.shots);
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.busy += other.busy;
        self.resent += other.resent;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.refusal = self.refusal.take().or(other.refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_of_earlier_ones_and_as_many_as_asked_for() {
        for percent in [0, 10, 50, 90] {
            let all: Vec<(u64, bool)> = (0..1_000).map(|position| offset_at(position, percent)).collect();
            let mut fresh = 0;
            for (offset, is_new) in all {
                if is_new {
                    assert_eq!(offset, fresh);
                    fresh += 1;
                } else {
                    assert!(offset < fresh);
                }
            }
            assert_eq!(fresh, 1_000 - repeats_before(1_000, percent));
        }
    }
}
