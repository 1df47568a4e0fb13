//! One run from its seed to its end: what is posted, what is done to it, the calm afterwards, and the judgement.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use postback::clock::Clock;
use postback::domain::delivery::DeliveryState;
use postback::domain::endpoint::EndpointStatus;
use postback::domain::ids::EndpointId;
use postback::metrics::Metrics;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::instance::Instance;
use super::model::Model;
use super::plan::{Action, Kind, Mood, Plan};
use super::planted::Planted;
use super::queue::Broker;
use super::trace::Event;
use super::world::{START, World};
use super::{endpoint_of, endpoints_of, id_of};

/// How long an operator waits for an answer before it posts again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long after all faults everything must have come to its end: a ladder, and hints that were lost before.
const END_WITHIN: Duration = Duration::from_secs(3 * 3_600);
/// How often the judge is told which endpoints are served.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is still under way when nothing waits any more gets so long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What came of a run.
pub struct Outcome {
    pub violated: Option<String>,
    pub hash: u64,
    pub trace: Vec<String>,
    /// What happened that a run may be about.
    pub seen: BTreeSet<&'static str>,
    /// How long the run was by its own clock.
    pub lasted: Duration,
}

/// Plays a seed, with a fault planted or without.
pub fn play(seed: u64, planted: Option<Planted>, metrics: &Arc<Metrics>, traced: bool) -> Outcome {
    play_plan(Plan::of(seed), planted, metrics, traced)
}

/// Plays what is planned.
pub fn play_plan(plan: Plan, planted: Option<Planted>, metrics: &Arc<Metrics>, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let mut model = Model { planted, ..Model::default() };
        endpoints_of(&plan, &mut model);
        let world = World::new(plan, model);
        let run = Arc::new(Run::new(&world, metrics));
        run.go().await;
        let (violated, seen) = world.judge().verdict();
        let hash = world.trace().hash();
        let trace = if traced || violated.is_some() { world.trace().lines() } else { Vec::new() };
        Outcome { violated, hash, trace, seen, lasted: begun.elapsed() }
    })
}

/// The instances of a run, and what is done to them.
struct Run {
    world: Arc<World>,
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    clocks: Vec<Clock>,
    slots: Mutex<Vec<Option<Instance>>>,
    /// Postbacks that are not acknowledged yet.
    open: Mutex<BTreeSet<u32>>,
}

impl Run {
    fn new(world: &Arc<World>, metrics: &Arc<Metrics>) -> Self {
        let plan = &world.plan;
        let skew = || if plan.alone { 0 } else { i64::try_from(world.chance().below(10_000_000)).unwrap() - 5_000_000 };
        let clock = |_| Clock::of_runtime(postback::domain::time::Timestamp::from_micros(START.micros() + skew()));
        Self {
            world: Arc::clone(world),
            broker: Broker::new(world),
            metrics: Arc::clone(metrics),
            clocks: (0..plan.slots).map(clock).collect(),
            slots: Mutex::new((0..plan.slots).map(|_| None).collect()),
            open: Mutex::new((0..u32::try_from(plan.postbacks.len()).unwrap()).collect()),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Instance>>> {
        self.slots.lock().unwrap()
    }

    async fn go(self: &Arc<Self>) {
        let world = &self.world;
        let begun = Instant::now();
        for slot in 0..world.plan.slots {
            tokio::spawn(Arc::clone(self).keep_up(slot, Duration::ZERO));
        }
        for (key, at) in (0..).zip(world.plan.postbacks.clone()) {
            tokio::spawn(Arc::clone(self).post(key, begun + at));
        }
        tokio::spawn(Arc::clone(self).disturb(begun));
        tokio::spawn(Arc::clone(self).watch());
        let end = begun + world.plan.calm_at + END_WITHIN;
        if timeout_at(end, self.all_said()).await.is_err() {
            world.violated("something has not come to its end".to_owned());
        }
        self.close().await;
    }

    /// Waits until nothing waits any more, and whoever was frozen has said what it had to say.
    async fn all_said(&self) {
        loop {
            self.settled().await;
            let instances: Vec<Instance> = self.slots().iter().flatten().cloned().collect();
            for instance in instances {
                instance.life.open().await;
            }
            sleep(LAST_WORDS).await;
            let violated = self.world.judge().has_found();
            if violated || self.world.model().is_settled() {
                return;
            }
        }
    }

    /// Waits until it is calm and nothing waits any more, or until something has been violated.
    async fn settled(&self) {
        loop {
            let world = &self.world;
            let settled = world.is_calm() && self.open.lock().unwrap().is_empty() && world.model().is_settled();
            if settled || world.judge().has_found() {
                return;
            }
            world.moved.notified().await;
        }
    }

    async fn close(&self) {
        let world = &self.world;
        if world.judge().has_found() {
            return;
        }
        world.judge().close(&world.plan, &world.model(), world.clock.now());
        let instances: Vec<Instance> = self.slots().iter_mut().filter_map(Option::take).collect();
        for instance in instances {
            instance.stop().await;
        }
    }

    /// Starts an instance in a slot after `pause`, and again until it starts.
    async fn keep_up(self: Arc<Self>, slot: usize, pause: Duration) {
        sleep(pause).await;
        loop {
            let world = &self.world;
            let started = Instance::start(world, slot, &self.clocks[slot], &self.broker, &self.metrics);
            match started.await {
                Ok(instance) => {
                    self.slots()[slot] = Some(instance);
                    return self.count();
                }
                Err(_) => world.note(Event::StartFailed { slot }),
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Tells the judge how many instances are well.
    fn count(&self) {
        let slots = self.slots();
        let well = slots.iter().flatten().filter(|instance| !instance.life.is_dead() && !instance.life.is_frozen());
        let failed = slots.iter().flatten().find(|instance| instance.has_failed()).map(|found| found.life.instance);
        let well = well.count();
        drop(slots);
        self.world.judge().instances(well, self.world.clock.now());
        if let Some(instance) = failed {
            self.world.violated(format!("a task of instance {instance} ended by itself"));
        }
    }

    /// Tells the judge again and again which endpoints no instance serves.
    async fn watch(self: Arc<Self>) {
        let world = &self.world;
        loop {
            for number in 0..world.plan.endpoints {
                let id = EndpointId::from_uuid(id_of(u32::try_from(number).unwrap()));
                if !self.slots().iter().flatten().any(|instance| instance.serves(id)) {
                    world.judge().unserved(number, world.clock.now());
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// An instance that takes requests, any of them.
    fn any(&self) -> Option<Instance> {
        let slots = self.slots();
        let living: Vec<&Instance> = slots.iter().flatten().filter(|instance| !instance.life.is_dead()).collect();
        if living.is_empty() {
            return None;
        }
        Some(living[self.world.chance().index(living.len())].clone())
    }

    /// An operator posts until it is told that it was taken, and now and then once more.
    async fn post(self: Arc<Self>, key: u32, at: Instant) {
        sleep_until(at).await;
        loop {
            if let Some(instance) = self.any() {
                self.world.note(Event::Posted { key, instance: instance.life.instance });
                if let Ok(Ok(booking)) = timeout(ANSWER_WITHIN, instance.record(key)).await {
                    self.world.note(Event::Acknowledged { key });
                    self.world.judge().acknowledged(key, &booking);
                    self.open.lock().unwrap().remove(&key);
                    self.world.moved.notify_one();
                    if self.world.is_calm() || self.world.chance().percent(70) {
                        return;
                    }
                }
            }
            let pause = self.world.chance().millis(200, 3_000);
            sleep(pause).await;
        }
    }

    /// Does what the plan says, and then has everything well again.
    async fn disturb(self: Arc<Self>, begun: Instant) {
        for (at, action) in self.world.plan.actions.clone() {
            sleep_until(begun + at).await;
            self.world.note(Event::Did(action));
            self.act(action);
        }
        sleep_until(begun + self.world.plan.calm_at).await;
        self.calm_down();
    }

    fn calm_down(&self) {
        let world = &self.world;
        for endpoint in 0..world.plan.endpoints {
            // Some receivers never get well: what is for them dies. They answer; one that does not is left alone longer and
            // longer, and what is for it takes days to die.
            let well = !world.plan.has(Kind::BadReceivers) || world.chance().percent(75);
            world.receivers.set(endpoint, if well { Mood::Good } else { Mood::Broken });
            if world.plan.stays_paused != Some(endpoint) {
                self.set_status(endpoint, EndpointStatus::Active);
            }
        }
        if let Some(endpoint) = world.plan.stays_paused {
            self.set_status(endpoint, EndpointStatus::Paused);
        }
        self.broker.come_up();
        world.calm_down();
        world.judge().unwell(world.clock.now());
        world.moved.notify_one();
    }

    fn act(self: &Arc<Self>, action: Action) {
        let (world, now) = (&self.world, self.world.clock.now());
        match action {
            Action::Kill { slot, down } => self.kill(slot, down),
            Action::Freeze { slot, time, disconnected } => {
                if let Some(instance) = self.slots()[slot].as_ref() {
                    instance.life.freeze(time);
                    if disconnected {
                        self.broker.disconnected(instance.life.instance);
                    }
                }
                world.judge().unwell(now.plus(time));
            }
            Action::Stop { slot } => {
                let instance = self.slots()[slot].take();
                self.count();
                if let Some(instance) = instance {
                    tokio::spawn(Arc::clone(self).replace(instance, slot));
                }
            }
            Action::StepClock { slot, micros } => {
                self.clocks[slot].step(micros);
                world.judge().clock_stepped(now);
            }
            Action::StoreDown { time } => world.take_store_down(time),
            Action::QueueDown { time } => {
                self.broker.take_down(time);
                world.judge().unwell(now.plus(time));
            }
            Action::QueueForgets => self.broker.forget(),
            Action::Mood { endpoint, mood } => world.receivers.set(endpoint, mood),
            Action::Pause { endpoint } => self.set_status(endpoint, EndpointStatus::Paused),
            Action::Resume { endpoint } => self.set_status(endpoint, EndpointStatus::Active),
            Action::Replay { delivery, slot } => self.replay(delivery, slot),
        }
    }

    fn kill(self: &Arc<Self>, slot: usize, down: Duration) {
        let Some(instance) = self.slots()[slot].take() else { return };
        instance.life.die();
        self.broker.disconnected(instance.life.instance);
        self.count();
        tokio::spawn(Arc::clone(self).keep_up(slot, down));
    }

    async fn replace(self: Arc<Self>, instance: Instance, slot: usize) {
        instance.stop().await;
        self.broker.disconnected(instance.life.instance);
        self.keep_up(slot, Duration::from_millis(500)).await;
    }

    fn set_status(&self, endpoint: usize, status: EndpointStatus) {
        let mut model = self.world.model();
        let found = model.endpoints.values().map(|(_, found)| found).find(|found| endpoint_of(found.id) == endpoint);
        let mut changed = found.unwrap().clone();
        if changed.status != status {
            changed.status = status;
            model.put_endpoint(changed);
        }
    }

    /// A person replays what is settled, as it is meant, or what is not.
    fn replay(&self, delivery: usize, slot: usize) {
        let model = self.world.model();
        let settled = model.rows.values().filter(|row| row.state != DeliveryState::Pending);
        let rows: Vec<_> = if delivery.is_multiple_of(3) { model.rows.values().collect() } else { settled.collect() };
        let id = rows.get(delivery % rows.len().max(1)).map(|row| row.id);
        drop(model);
        if let (Some(id), Some(instance)) = (id, self.slots()[slot].as_ref()) {
            instance.replay(id);
        }
    }
}
