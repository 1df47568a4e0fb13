//! What all of a run share: chance, the trace, the store's rows, the judge; and how an instance reaches them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use postback::clock::Clock;
use postback::domain::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::judge::Judge;
use super::model::Model;
use super::plan::{Kind, Plan};
use super::receivers::Receivers;
use super::trace::{Event, Trace};

/// When every run begins: 2026-01-15, by every clock that has not been stepped.
pub const START: Timestamp = Timestamp::from_micros(1_768_478_400_000_000);

/// See the module.
pub struct World {
    pub plan: Plan,
    /// The database's clock, which is right.
    pub clock: Clock,
    pub receivers: Receivers,
    chance: Mutex<Chance>,
    trace: Mutex<Trace>,
    model: Mutex<Model>,
    judge: Mutex<Judge>,
    calm: AtomicBool,
    store_down_until: Mutex<Option<Instant>>,
    instances: AtomicUsize,
    /// Something changed that the end of the run may depend on.
    pub moved: Notify,
}

impl World {
    pub fn new(plan: Plan, model: Model) -> Arc<Self> {
        let chance = Mutex::new(Chance::new(plan.seed.wrapping_add(1 << 40)));
        let judge = Mutex::new(Judge::new(&plan));
        Arc::new(Self {
            receivers: Receivers::new(plan.endpoints),
            plan,
            clock: Clock::of_runtime(START),
            chance,
            trace: Mutex::new(Trace::new()),
            model: Mutex::new(model),
            judge,
            calm: AtomicBool::new(false),
            store_down_until: Mutex::default(),
            instances: AtomicUsize::new(0),
            moved: Notify::new(),
        })
    }

    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap()
    }

    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap()
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap()
    }

    pub fn note(&self, event: Event) {
        self.trace().note(event);
    }

    /// Whether nothing goes wrong any more.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// From here on nothing goes wrong.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        *self.store_down_until.lock().unwrap() = None;
        self.note(Event::Calm);
    }

    /// Whether this kind of fault happens now, where it happens so often in a hundred.
    pub fn strikes(&self, kind: Kind, often: u64) -> bool {
        self.plan.has(kind) && !self.is_calm() && self.chance().percent(often)
    }

    pub fn take_store_down(&self, time: Duration) {
        *self.store_down_until.lock().unwrap() = Some(Instant::now() + time);
        self.judge().unwell(self.clock.now().plus(time));
    }

    pub fn store_is_down(&self) -> bool {
        self.store_down_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }

    /// The number of the next instance.
    pub fn next_instance(&self) -> usize {
        self.instances.fetch_add(1, Ordering::Relaxed)
    }

    /// Says what must not be; the run is over.
    pub fn violated(&self, what: String) {
        self.note(Event::Violated(what.clone()));
        self.judge().violated(what);
        self.moved.notify_one();
    }
}

/// The life of one instance, and everything that it sees of the world outside. Whoever is dead never gets past `open`.
pub struct Life {
    pub world: Arc<World>,
    pub instance: usize,
    pub slot: usize,
    /// The clock of its machine, as the instance corrects it.
    pub clock: Clock,
    dead: AtomicBool,
    frozen_until: Mutex<Option<Instant>>,
}

impl Life {
    pub fn new(world: &Arc<World>, slot: usize, clock: Clock) -> Arc<Self> {
        let world = Arc::clone(world);
        let instance = world.next_instance();
        Arc::new(Self { world, instance, slot, clock, dead: AtomicBool::new(false), frozen_until: Mutex::default() })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub fn freeze(&self, time: Duration) {
        let mut frozen_until = self.frozen_until.lock().unwrap();
        *frozen_until = (*frozen_until).max(Some(Instant::now() + time));
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }

    /// Goes on once this instance may do something: never, if it is dead.
    pub async fn open(&self) {
        loop {
            if self.is_dead() {
                return std::future::pending().await;
            }
            let frozen_until = *self.frozen_until.lock().unwrap();
            match frozen_until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Lets time pass, as far as this instance lives to see it.
    pub async fn pause(&self, time: Duration) {
        if !time.is_zero() {
            sleep(time).await;
        }
        self.open().await;
    }

    pub fn note(&self, event: Event) {
        self.world.note(event);
    }
}
