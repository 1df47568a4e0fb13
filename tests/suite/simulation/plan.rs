//! What a seed stands for: the settings, what is posted when, what goes wrong, and until when.
//!
//! Each seed has only some kinds of faults, so that each of them also happens without the others, and what only shows
//! where nothing else goes wrong is seen too.

use std::sync::LazyLock;
use std::time::Duration;

use postback::config::Settings;
use postback::domain::retry::{Ladder, RetryPolicy};

use super::chance::Chance;

/// A kind of fault that a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Kills,
    Freezes,
    Stops,
    ClockSteps,
    StoreFails,
    StoreSlow,
    StoreDown,
    QueueLoses,
    QueueDoubles,
    QueueDelays,
    QueueRefuses,
    QueueDown,
    QueueForgets,
    BadReceivers,
    SlowReceivers,
    Stalls,
    Pauses,
    Replays,
    FewPermits,
}

const KINDS: [Kind; 19] = [
    Kind::Kills,
    Kind::Freezes,
    Kind::Stops,
    Kind::ClockSteps,
    Kind::StoreFails,
    Kind::StoreSlow,
    Kind::StoreDown,
    Kind::QueueLoses,
    Kind::QueueDoubles,
    Kind::QueueDelays,
    Kind::QueueRefuses,
    Kind::QueueDown,
    Kind::QueueForgets,
    Kind::BadReceivers,
    Kind::SlowReceivers,
    Kind::Stalls,
    Kind::Pauses,
    Kind::Replays,
    Kind::FewPermits,
];

/// Something that is done to the run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The instance in this slot is gone at once; another one starts after a while.
    Kill {
        slot: usize,
        down: Duration,
    },
    /// It does nothing for so long and goes on; the broker may give its messages to others meanwhile.
    Freeze {
        slot: usize,
        time: Duration,
        disconnected: bool,
    },
    /// It is asked to stop as by SIGTERM; another one starts when it has.
    Stop {
        slot: usize,
    },
    /// The machine's clock of this slot jumps.
    StepClock {
        slot: usize,
        micros: i64,
    },
    StoreDown {
        time: Duration,
    },
    QueueDown {
        time: Duration,
    },
    /// Everything that lies in the queue is gone.
    QueueForgets,
    /// The receiver of this endpoint answers so from now on.
    Mood {
        endpoint: usize,
        mood: Mood,
    },
    Pause {
        endpoint: usize,
    },
    Resume {
        endpoint: usize,
    },
    /// A person replays the delivery with this number, if there is one, by the instance in this slot.
    Replay {
        delivery: usize,
        slot: usize,
    },
}

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mood {
    /// 204, soon.
    Good,
    /// 500, or now and then 204.
    Broken,
    /// 503 with `Retry-After`, now and then without.
    Busy,
    /// Takes what it is told and does not answer in time.
    Silent,
    /// Cannot be reached.
    Away,
    /// Any of these, each time another.
    Mixed,
    /// 410.
    Gone,
}

/// See the module.
pub struct Plan {
    pub seed: u64,
    pub kinds: Vec<Kind>,
    pub settings: Settings,
    pub policy: RetryPolicy,
    /// One instance with the queue in its process, as on SQLite.
    pub alone: bool,
    pub slots: usize,
    pub endpoints: usize,
    /// When each postback is posted for the first time.
    pub postbacks: Vec<Duration>,
    pub actions: Vec<(Duration, Action)>,
    /// When nothing goes wrong any more.
    pub calm_at: Duration,
    /// The endpoint that stays paused, if one does.
    pub stays_paused: Option<usize>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let chance = &mut chance;
        let alone = chance.percent(15);
        let mut kinds = kinds(chance);
        if alone {
            // Nothing corrects the clock of an embedded engine, so rows may be due in ten minutes; it has no broker.
            kinds.retain(|kind| !matches!(kind, Kind::ClockSteps | Kind::QueueDown | Kind::QueueForgets));
        }
        let slots = if alone { 1 } else { 1 + chance.index(3) };
        let endpoints = 1 + chance.index(3);
        let calm_at = if kinds.is_empty() { Duration::from_secs(10) } else { chance.seconds(30, 150) };
        let few = kinds.contains(&Kind::FewPermits);
        let count = if few { 8 + chance.below(10) } else { 1 + chance.below(6) };
        let last = u64::try_from(calm_at.as_millis()).unwrap();
        let burst = few && chance.percent(70);
        let postbacks = (0..count).map(|_| chance.millis(0, if burst { 300 } else { last })).collect();
        let settings = settings(chance, &kinds);
        let delivery = &settings.delivery;
        let policy = RetryPolicy {
            ladder: delivery.ladder.clone(),
            max_attempts: i32::try_from(delivery.max_attempts).unwrap(),
            max_age: delivery.max_age,
        };
        let stays_paused = (kinds.contains(&Kind::Pauses) && chance.percent(25)).then_some(0);
        let mut plan = Self {
            seed,
            kinds,
            settings,
            policy,
            alone,
            slots,
            endpoints,
            postbacks,
            actions: Vec::new(),
            calm_at,
            stays_paused,
        };
        plan.actions = plan.draw_actions(chance);
        plan
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    pub fn has_any(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }

    fn draw_actions(&self, chance: &mut Chance) -> Vec<(Duration, Action)> {
        let mut actions = Vec::new();
        for kind in self.kinds.clone() {
            for _ in 0..1 + chance.below(4) {
                let slot = chance.index(self.slots);
                let endpoint = chance.index(self.endpoints);
                let action = match kind {
                    Kind::Kills => Action::Kill { slot, down: chance.millis(50, 20_000) },
                    Kind::Freezes => {
                        let time = chance.millis(1_000, 70_000);
                        Action::Freeze { slot, time, disconnected: chance.percent(60) }
                    }
                    Kind::Stops => Action::Stop { slot },
                    Kind::ClockSteps => Action::StepClock { slot, micros: step(chance) },
                    Kind::StoreDown => Action::StoreDown { time: chance.millis(100, 40_000) },
                    Kind::QueueDown => Action::QueueDown { time: chance.millis(100, 90_000) },
                    Kind::QueueForgets => Action::QueueForgets,
                    Kind::BadReceivers => Action::Mood { endpoint, mood: mood(chance) },
                    Kind::Pauses if chance.percent(50) => Action::Pause { endpoint },
                    Kind::Pauses if chance.percent(30) => Action::Mood { endpoint, mood: Mood::Gone },
                    Kind::Pauses => Action::Resume { endpoint },
                    Kind::Replays => {
                        Action::Replay { delivery: chance.index(self.postbacks.len() * self.endpoints), slot }
                    }
                    _ => continue,
                };
                let thousandths = u32::try_from(chance.below(1_000)).unwrap();
                actions.push((self.calm_at * thousandths / 1_000, action));
            }
        }
        actions.sort_by_key(|(at, _)| *at);
        actions
    }
}

fn kinds(chance: &mut Chance) -> Vec<Kind> {
    match chance.below(16) {
        0 => Vec::new(),
        // One or two kinds, and nothing else.
        1..=6 => {
            let (one, other) = (chance.pick(&KINDS), chance.pick(&KINDS));
            if one == other { vec![one] } else { vec![one, other] }
        }
        _ => {
            let often = 15 + chance.below(45);
            KINDS.iter().copied().filter(|_| chance.percent(often)).collect()
        }
    }
}

fn step(chance: &mut Chance) -> i64 {
    let micros = i64::try_from(chance.below(600_000_000)).unwrap();
    if chance.percent(50) { micros } else { -micros }
}

fn mood(chance: &mut Chance) -> Mood {
    chance.pick(&[Mood::Good, Mood::Broken, Mood::Busy, Mood::Silent, Mood::Away, Mood::Mixed])
}

static DEFAULTS: LazyLock<Settings> = LazyLock::new(|| Settings::from_pairs(&[]).unwrap());

/// The defaults, with a ladder that does not take hours.
fn settings(chance: &mut Chance, kinds: &[Kind]) -> Settings {
    let mut settings = DEFAULTS.clone();
    let delivery = &mut settings.delivery;
    let (rungs, attempts): (&[u64], u32) = chance.pick(&[
        (&[30, 120, 600][..], 4),
        (&[5, 20, 60][..], 6),
        (&[5][..], 15),
        (&[3, 30][..], 3),
        (&[30][..], 2),
    ]);
    delivery.ladder = Ladder::new(rungs.iter().copied().map(Duration::from_secs).collect()).unwrap();
    delivery.max_attempts = attempts;
    if chance.percent(35) && !kinds.contains(&Kind::ClockSteps) {
        delivery.max_age = chance.seconds(10, 120);
    }
    if kinds.contains(&Kind::FewPermits) {
        delivery.endpoint_in_flight = 1 + chance.index(3);
    }
    if chance.percent(30) {
        delivery.breaker_after = 2;
        delivery.breaker_pause = Duration::from_secs(3);
    }
    if chance.percent(20) {
        // The shortest that the timeout allows.
        delivery.lease = delivery.timeout * 3 / 2;
    }
    if chance.percent(20) {
        delivery.window = 1 + chance.index(4);
    }
    settings
}
