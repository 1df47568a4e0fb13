//! The operator: fires postbacks at a fixed rate, each until it is acknowledged.
//!
//! Whatever is not answered 2xx (another status, a broken connection, no answer in time) is sent again under the same event
//! id, signed anew. Every answer is counted by its status, with the time that the slowest took: a fault judges by that
//! whether the service said 503 in time. With several addresses, a lane that fails goes on to the next one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::Failure;
use crate::cli::outside::book::{Book, index};
use crate::cli::outside::postback::Recipe;
use crate::cli::outside::wire::Wire;
use crate::clock::Clock;

/// Postbacks that are under way at once at the most.
const LANES: usize = 128;
/// How long one request may take: longer than any answer may.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait before something is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(2);
/// The longest answer that is shown.
const SHOWN_BYTES: usize = 300;

/// What was answered.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Answers {
    /// How many answers had which status.
    pub statuses: BTreeMap<u16, u64>,
    /// How many acknowledged something that was booked before.
    pub duplicates: u64,
    /// Requests whose connection broke or could not be made.
    pub broken: u64,
    /// Requests without an answer in time.
    pub late: u64,
    /// The slowest answer that was no 2xx, in microseconds.
    pub slowest_refusal_micros: u64,
    /// The first answer that is neither an acknowledgement nor a 503.
    pub strange: Option<String>,
}

impl Answers {
    /// How many answers had one of these statuses.
    pub fn with_status(&self, statuses: std::ops::RangeInclusive<u16>) -> u64 {
        self.statuses.range(statuses).map(|(_, count)| count).sum()
    }

    /// What two have together.
    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.duplicates += other.duplicates;
        self.broken += other.broken;
        self.late += other.late;
        self.slowest_refusal_micros = self.slowest_refusal_micros.max(other.slowest_refusal_micros);
        self.strange = self.strange.take().or_else(|| other.strange.clone());
    }
}

/// The load. Ends when dropped.
pub struct Load {
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
    _pacer: AbortOnDropHandle<()>,
}

struct Shared {
    recipe: Arc<Recipe>,
    book: Arc<Book>,
    clock: Clock,
    addresses: Vec<SocketAddr>,
    next: AtomicU64,
    per_second: AtomicU64,
    resets: AtomicU64,
    over: AtomicBool,
    due: Semaphore,
    answers: Mutex<Answers>,
}

impl Load {
    /// Begins to fire.
    pub fn start(recipe: Arc<Recipe>, book: Arc<Book>, addresses: Vec<SocketAddr>, per_second: u64) -> Self {
        let shared = Arc::new(Shared {
            recipe,
            book,
            clock: Clock::system(),
            addresses,
            next: AtomicU64::new(0),
            per_second: AtomicU64::new(per_second),
            resets: AtomicU64::new(0),
            over: AtomicBool::new(false),
            due: Semaphore::new(0),
            answers: Mutex::default(),
        });
        let mut lanes = JoinSet::new();
        for number in 0..LANES {
            lanes.spawn(Arc::clone(&shared).lane(number));
        }
        let pacer = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&shared).pace()));
        Self { shared, lanes, _pacer: pacer }
    }

    /// The numbers up to here, without it, were fired.
    pub fn next(&self) -> u64 {
        self.shared.next.load(Ordering::SeqCst)
    }

    /// What was answered so far.
    pub fn answers(&self) -> Answers {
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the answers so far.
    pub fn forget_answers(&self) {
        *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner) = Answers::default();
    }

    /// Fires so many a second from now on; answers how many it were before.
    pub fn pace(&self, per_second: u64) -> u64 {
        self.shared.per_second.swap(per_second, Ordering::SeqCst)
    }

    /// Lets the next so many postbacks first be sent on a connection that is reset in the middle.
    pub fn reset_next(&self, count: u64) {
        self.shared.resets.fetch_add(count, Ordering::SeqCst);
    }

    /// How many of them are still to come.
    pub fn resets_left(&self) -> u64 {
        self.shared.resets.load(Ordering::SeqCst)
    }

    /// Fires no more, and waits until everything is acknowledged.
    ///
    /// # Errors
    /// When something is not, in this time.
    pub async fn finish(&mut self, patience: Duration) -> Result<(), Failure> {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.due.add_permits(LANES);
        let ending = async { while self.lanes.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(patience, ending).await;
        ended.map_err(|_| {
            let answers = self.answers();
            let left = self.lanes.len();
            Failure::new(format!("{left} postbacks were not acknowledged in {} s: {answers:?}", patience.as_secs()))
        })
    }
}

impl Shared {
    async fn pace(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        let (mut last, mut owed) = (Instant::now(), 0);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            // In postbacks times a million, so that nothing is rounded away.
            let micros = u64::try_from(now.duration_since(last).as_micros()).unwrap_or(u64::MAX);
            owed += micros.saturating_mul(self.per_second.load(Ordering::SeqCst));
            last = now;
            self.due.add_permits(index(owed / 1_000_000));
            owed %= 1_000_000;
        }
    }

    async fn lane(self: Arc<Self>, lane: usize) {
        let (mut wire, mut body, mut request, mut address) = (None, String::new(), String::new(), lane);
        while let Ok(permit) = self.due.acquire().await {
            permit.forget();
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            self.book.fire(number, self.book.micros());
            self.recipe.body(number, &mut body);
            let left = self.resets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_ok() {
                self.recipe.request(&body, self.clock.now().seconds(), &mut request);
                // It is broken on purpose, and what became of it is not ours to know.
                let _ = self.reset(number, &request).await;
            }
            while !self.settled(number, &body, &mut request, &mut wire, address).await {
                wire = None;
                address = address.wrapping_add(1);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Sends a part of a request, or all of it, and resets the connection.
    async fn reset(&self, number: u64, request: &str) -> io::Result<()> {
        let stream = TcpStream::connect(self.address(index(number))).await?;
        stream.set_zero_linger()?;
        let mut wire = Wire::new(stream)?;
        let part = request.len() * (1 + index(number % 4)) / 4;
        wire.send(request.as_bytes().get(..part).unwrap_or_default()).await?;
        tokio::time::sleep(Duration::from_millis(number % 8)).await;
        Ok(())
    }

    fn address(&self, place: usize) -> SocketAddr {
        let place = place % self.addresses.len().max(1);
        self.addresses.get(place).copied().unwrap_or(self.recipe.service)
    }

    /// Sends a postback once; whether it was acknowledged.
    async fn settled(
        &self,
        number: u64,
        body: &str,
        request: &mut String,
        wire: &mut Option<Wire>,
        address: usize,
    ) -> bool {
        self.recipe.request(body, self.clock.now().seconds(), request);
        let began = Instant::now();
        let sent = tokio::time::timeout(PATIENCE, self.exchange(wire, request, address)).await;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, text) = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                answers.broken += 1;
                return false;
            }
            Err(_) => {
                answers.late += 1;
                return false;
            }
        };
        *answers.statuses.entry(status).or_default() += 1;
        let verdict = |name: &str| text.contains(&format!("\"verdict\":\"{name}\""));
        let (accepted, duplicate) = (verdict("accepted"), verdict("duplicate"));
        let acknowledged = (200..300).contains(&status) && (accepted || duplicate);
        if acknowledged {
            self.book.acknowledge(number, accepted);
            answers.duplicates += u64::from(duplicate);
        } else {
            answers.slowest_refusal_micros = answers.slowest_refusal_micros.max(micros);
            if status != 503 {
                answers.strange.get_or_insert_with(|| format!("{status} {text}"));
            }
        }
        acknowledged
    }

    async fn exchange(&self, wire: &mut Option<Wire>, request: &str, address: usize) -> io::Result<(u16, String)> {
        let wire = match wire {
            Some(wire) => wire,
            None => wire.insert(Wire::new(TcpStream::connect(self.address(address)).await?)?),
        };
        wire.send(request.as_bytes()).await?;
        wire.response(|response| {
            let text = response.body.get(..SHOWN_BYTES).unwrap_or(response.body);
            (response.status, String::from_utf8_lossy(text).into_owned())
        })
        .await
    }
}
