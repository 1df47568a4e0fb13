//! One bench from its warm-up to its figures: fires, waits until all is told, takes the readings before and after.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::Args;
use super::receiver::{Inbox, Mood};
use super::runs::Run;
use super::sender::{self, End, Fired, Pace, Volley};
use super::service::Service;
use super::timeline::MemoryAt;
use super::usage::{self, Cpu, Parts, Watched};
use super::world::{self, World};
use crate::cli::Failure;
use crate::cli::outside::book::Book;
use crate::cli::outside::lane::Lane;

/// The threads' names, by which their CPU time is found.
pub const SENDER: &str = "bench-sender";
/// See [`SENDER`].
pub const RECEIVER: &str = "bench-receiver";

/// How often it is asked whether all is told.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// When nothing was delivered for so long, what is missing will not come. Longer than the ladder's first wait, any
/// lease and any sweep.
const STILLNESS: Duration = Duration::from_secs(100);
/// How long the service may take to store what the last attempts came to.
const STORING: Duration = Duration::from_secs(5);
/// How often memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(500);
/// The most connections that fill the tables beforehand.
const PREFILL_CONNECTIONS: usize = 64;

/// Everybody who takes part.
pub struct Bench {
    /// What is measured.
    pub run: Run,
    /// The service.
    pub service: Service,
    /// Whom it is about.
    pub world: World,
    /// What was fired.
    pub book: Arc<Book>,
    /// Whose CPU time and memory is read.
    pub watched: Watched,
    /// The sender's thread.
    pub sender: Lane,
    /// The number of the next postback.
    pub next: u64,
}

/// The readings of one part of a run.
pub struct Part {
    /// What was fired.
    pub fired: Fired,
    /// The number of its first postback.
    pub first: u64,
    /// When deliveries could begin, in the book's microseconds.
    pub began_micros: u64,
    /// CPU time of everybody.
    pub cpu: Cpu,
    /// Messages that the queue took.
    pub messages: u64,
}

/// What a run came to.
pub struct Measured {
    /// The part that counts.
    pub part: Part,
    /// The part to compare it with.
    pub before: Option<Part>,
    /// The most memory meanwhile.
    pub memory: Parts,
    /// The service's memory from time to time.
    pub memory_over_time: Vec<MemoryAt>,
    /// Attempts that failed although no receiver meant them to.
    pub failed_attempts: u64,
}

impl Bench {
    /// Warms up and measures.
    pub async fn measure(&mut self, args: &Args) -> Result<Measured, Failure> {
        let volley = Volley {
            first: 0,
            connections: self.run.connections(args),
            pace: self.run.pace(args),
            end: self.run.end(args),
            duplicates_percent: self.run.duplicates(args),
        };
        if args.prefill > 0 {
            let end = End::Count(args.prefill);
            let fill =
                Volley { connections: PREFILL_CONNECTIONS, pace: Pace::Closed, end, duplicates_percent: 0, ..volley };
            self.part(fill).await?;
        }
        self.part(Volley { end: End::After(Duration::from_secs(args.warmup)), ..volley }).await?;

        let seen = Arc::new(Mutex::new(Seen::default()));
        let watch = watch_memory(self.watched.clone(), Arc::clone(&self.book), Arc::clone(&seen));
        let watching = AbortOnDropHandle::new(tokio::spawn(watch));
        let (before, part) = match self.run {
            Run::NoisyNeighbour => {
                let before = self.part(volley).await?;
                if let Some((_, inbox)) = self.world.endpoints.first() {
                    inbox.turn(Mood::Hanging);
                }
                (Some(before), self.part(volley).await?)
            }
            Run::Backlog => (None, self.backlog(volley).await?),
            _ => (None, self.part(volley).await?),
        };
        drop(watching);
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut memory = seen.peak.max(usage::memory(&self.watched));
        let peaks = self.service.pids().into_iter().filter_map(usage::peak_memory_of).sum::<u64>();
        memory.service = memory.service.max((peaks > 0).then_some(peaks));
        let failed = self.attempts(&["\"failed\"", "\"unknown\""]).await?;
        let meant: u64 = self.inboxes().map(Inbox::hung).sum();
        Ok(Measured {
            part,
            before,
            memory,
            memory_over_time: seen.over_time,
            failed_attempts: failed.saturating_sub(meant),
        })
    }

    /// The endpoints.
    pub fn inboxes(&self) -> impl Iterator<Item = &Inbox> {
        self.world.endpoints.iter().map(|(_, inbox)| inbox.as_ref())
    }

    /// Fires a volley and waits until everything is told.
    async fn part(&mut self, volley: Volley) -> Result<Part, Failure> {
        let (first, before, messages) = (self.next, self.cpu(), self.messages().await?);
        let fired = self.fire(volley).await?;
        self.all_told().await;
        self.all_stored().await?;
        let cpu = self.cpu().since(before);
        let messages = self.messages().await?.saturating_sub(messages);
        Ok(Part { first, began_micros: fired.began_micros, fired, cpu, messages })
    }

    /// Fires while the endpoint is paused, so that everything is held; then lets all of it be due at once. What is read is
    /// the draining, with the release.
    async fn backlog(&mut self, volley: Volley) -> Result<Part, Failure> {
        let first = self.next;
        self.switch("paused").await?;
        let fired = self.fire(volley).await?;
        let messages = self.messages().await?;
        let (began_micros, before) = (self.book.micros(), self.cpu());
        self.switch("active").await?;
        self.all_told().await;
        self.all_stored().await?;
        let cpu = self.cpu().since(before);
        let messages = self.messages().await?.saturating_sub(messages);
        Ok(Part { fired, first, began_micros, cpu, messages })
    }

    async fn switch(&self, status: &str) -> Result<(), Failure> {
        for (id, _) in &self.world.endpoints {
            world::switch(&self.service, id, status).await?;
        }
        Ok(())
    }

    async fn fire(&mut self, volley: Volley) -> Result<Fired, Failure> {
        let volley = Volley { first: self.next, ..volley };
        let work =
            sender::fire(Arc::clone(&self.world.recipe), self.service.addresses(), Arc::clone(&self.book), volley);
        let fired = self.sender.spawn(work).await;
        let fired = fired.map_err(|error| Failure::new(format!("firing ended early: {error}")))?;
        self.next = fired.next;
        Ok(fired)
    }

    /// Waits until every endpoint that does not hang was told of all that was acknowledged, or nothing comes any more.
    async fn all_told(&self) {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let missing = self
                .inboxes()
                .any(|inbox| !inbox.hangs() && inbox.delivered() < self.book.acknowledged(inbox.affiliate));
            if !missing || since.elapsed() > STILLNESS {
                return;
            }
            let delivered = self.inboxes().map(Inbox::delivered).sum::<u64>();
            if delivered != last {
                (last, since) = (delivered, Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the service has stored as many deliveries as were received.
    async fn all_stored(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let delivered: u64 = self.inboxes().map(Inbox::delivered).sum();
        while self.attempts(&["\"delivered\""]).await? < delivered && began.elapsed() < STORING {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn attempts(&self, outcomes: &[&str]) -> Result<u64, Failure> {
        self.metric("postback_attempts_total", outcomes).await
    }

    async fn messages(&self) -> Result<u64, Failure> {
        self.metric("postback_publish_total", &["\"taken\""]).await
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> Result<u64, Failure> {
        let counted = self.service.metric(name, labels).await;
        counted.map_err(|error| Failure::new(format!("the metrics cannot be read: {error}")))
    }

    fn cpu(&self) -> Cpu {
        usage::cpu(&self.watched, SENDER, RECEIVER)
    }
}

/// What was seen of memory so far.
#[derive(Default)]
struct Seen {
    peak: Parts,
    over_time: Vec<MemoryAt>,
}

async fn watch_memory(watched: Watched, book: Arc<Book>, seen: Arc<Mutex<Seen>>) {
    loop {
        let now = usage::memory(&watched);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.peak = now.max(seen.peak);
            let at_micros = book.micros();
            seen.over_time.extend(now.service.map(|bytes| MemoryAt { at_micros, bytes }));
        }
        tokio::time::sleep(MEMORY_EVERY).await;
    }
}
