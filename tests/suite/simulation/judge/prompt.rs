//! How soon a delivery must come up again (RELIABILITY section 3), where database, instances and receivers are well.
//!
//! A delivery comes up when it is claimed or taken for a new hint. What it is to come up after is noted with the time by
//! which it must; times in which something was away that it depends on do not count.

use std::collections::BTreeMap;
use std::time::Duration;

use postback::domain::ids::DeliveryId;
use postback::domain::time::Timestamp;

use super::super::plan::{Kind, Plan};
use super::super::world::START;

/// A round of the sweeper, which wakes the backlog, and what calls may take.
pub const ROUND: Duration = Duration::from_secs(18);
/// A hint's time, and a round: 75 s, and what calls may take.
pub const HINT_LOST: Duration = Duration::from_secs(78);
/// For how long at most a hint that gets lost again and again is waited for: 8 times its time, and a round.
const MOST_DOUBLINGS: i32 = 3;
/// The republishing time of the settings.
const REPUBLISH_AFTER: Duration = Duration::from_secs(60);

struct Expected {
    from: Timestamp,
    within: Duration,
    why: &'static str,
}

/// See the module.
pub struct Prompt {
    applies: bool,
    /// What a queue that delays may add.
    slack: Duration,
    well_since: Timestamp,
    well: usize,
    expected: BTreeMap<DeliveryId, Expected>,
    /// When each endpoint was last seen without an instance that would take what is due for it.
    endpoints: Vec<Timestamp>,
}

impl Prompt {
    pub fn new(plan: &Plan) -> Self {
        let unwell = [Kind::ClockSteps, Kind::StoreFails, Kind::StoreSlow, Kind::Pauses];
        Self {
            applies: !plan.has_any(&unwell),
            slack: Duration::from_secs(if plan.has(Kind::QueueDelays) { 15 } else { 0 }),
            well_since: START,
            well: 0,
            expected: BTreeMap::new(),
            endpoints: vec![START; plan.endpoints],
        }
    }

    pub fn unwell(&mut self, until: Timestamp) {
        self.well_since = self.well_since.max(until);
    }

    pub fn instances(&mut self, well: usize, now: Timestamp) {
        if well == 0 || self.well == 0 {
            self.unwell(now);
        }
        self.well = well;
    }

    /// No instance would take what is due for this endpoint: each leaves it alone for a while, or has no permit left.
    pub fn unserved(&mut self, endpoint: usize, now: Timestamp) {
        self.endpoints[endpoint] = now;
    }

    pub fn expect(&mut self, id: DeliveryId, from: Timestamp, within: Duration, why: &'static str) {
        self.expected.insert(id, Expected { from, within, why });
    }

    /// How long until it is taken again that was taken so often before.
    pub fn taken_again(republished: i32) -> Duration {
        REPUBLISH_AFTER * (1 << republished.clamp(0, MOST_DOUBLINGS)) + ROUND
    }

    /// Nothing is expected of it any more; answers what was expected earlier than `now`, if something was.
    pub fn came_up(&mut self, id: DeliveryId, endpoint: usize, now: Timestamp) -> Option<String> {
        let expected = self.expected.remove(&id)?;
        self.overdue(&expected, endpoint, now)
    }

    /// What is still expected and should have been.
    pub fn still_expected(&self, id: DeliveryId, endpoint: usize, now: Timestamp) -> Option<String> {
        self.overdue(self.expected.get(&id)?, endpoint, now)
    }

    fn overdue(&self, expected: &Expected, endpoint: usize, now: Timestamp) -> Option<String> {
        if !self.applies || self.well == 0 {
            return None;
        }
        let from = expected.from.max(self.well_since).max(self.endpoints[endpoint]);
        let late = now.since(from.plus(expected.within + self.slack));
        (!late.is_zero()).then(|| format!("it came up {} s too late {}", late.as_secs(), expected.why))
    }
}
