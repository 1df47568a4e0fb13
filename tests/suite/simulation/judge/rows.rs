//! Which changes of a delivery's row are allowed, by whom.

use std::time::Duration;

use postback::domain::delivery::DeliveryState;
use postback::domain::retry::{DeadReason, UNKNOWNS_PER_FAILURE};
use postback::domain::time::Timestamp;

use super::super::endpoint_of;
use super::super::model::{Change, Row};
use super::super::receivers::Answer;
use super::super::trace::number_of;
use super::prompt::{HINT_LOST, Prompt, ROUND};
use super::{Call, Granted, Judge, Known};

/// How far before its time a claim may come.
const EARLY_BY: Duration = Duration::from_secs(2);
/// For how long after a step an instance may not have measured anew: what a call may take, on its way and back.
const STEP_IN_CALL: Duration = Duration::from_secs(40);

impl Judge {
    /// A call of an instance changed a row, at `now` by the database's clock.
    pub fn row_changed(&mut self, call: Call, instance: usize, change: &Change, now: Timestamp) {
        let after = &change.after;
        let Some(before) = &change.before else {
            self.known.insert(after.id, Known::default());
            return self.prompt.expect(after.id, now, HINT_LOST, "after its commit");
        };
        self.states(call, before, after);
        if call == Call::TakeOver && after.lease.is_some() {
            self.known.entry(after.id).or_default().live = after.lease;
        }
        if after.attempt != before.attempt && after.epoch == before.epoch {
            self.claim(call, instance, before, after, now);
        } else if before.lease.is_some() && after.lease.is_none() {
            self.lease_ended(call, before, after, now);
        }
        self.expectations(call, before, after, now);
        self.see(call, before, after);
    }

    fn see(&mut self, call: Call, before: &Row, after: &Row) {
        use DeliveryState::{Dead, Delivered, Pending};
        let what = match (call, before.state, after.state) {
            (Call::Finish, Pending, Delivered) if before.lease.is_none() => "a late success",
            (Call::Finish, Dead, Delivered) => "a success of what was dead",
            (Call::Finish, _, Delivered) => "a success",
            (Call::Finish, _, Dead) if after.dead_reason == Some(DeadReason::TooOld) => "death of age",
            (_, Pending, Dead) => "death after all attempts",
            (Call::Finish, ..) => "a failure",
            (Call::Expire, ..) if after.failures > before.failures => "unknown ends that count as a failure",
            (Call::Expire, ..) => "an unknown end",
            (Call::Claim, ..) if after.attempt == before.attempt => "a hint that came early",
            (Call::TakeDue, ..) if before.republished >= 2 => "a hint lost again and again",
            _ => call.name(),
        };
        self.seen.insert(what);
    }

    fn states(&mut self, call: Call, before: &Row, after: &Row) {
        use DeliveryState::{Dead, Delivered, Held, Pending};
        let name = number_of(after.id);
        let again = after.epoch != before.epoch;
        let allowed = match (before.state, after.state) {
            _ if again => call == Call::Replay && after.epoch == before.epoch + 1 && after.state == Pending,
            (Pending, Pending) | (Delivered, Delivered) | (Dead, Dead) | (Held, Held) => true,
            (Pending, Held) => call == Call::Hold && before.lease.is_none(),
            (Held, Pending) => call == Call::Release,
            (Pending, Dead) => matches!(call, Call::Finish | Call::Expire),
            (Pending | Held | Dead, Delivered) => call == Call::Finish && self.was_told(name, after.epoch),
            _ => false,
        };
        self.demand(allowed, || format!("{call:?} took {name} from {:?} to {:?}", before.state, after.state));
        if again {
            let known = self.known.entry(after.id).or_default();
            (known.failures, known.unknowns, known.not_before) = (0, 0, None);
        }
    }

    /// Whether its receiver has answered a POST of this epoch with success.
    fn was_told(&self, delivery: u32, epoch: i32) -> bool {
        let attempts = self.granted.range((delivery, epoch, 0)..=(delivery, epoch, i32::MAX));
        attempts.flat_map(|(_, granted)| &granted.posts).any(|answer| answer.is_success())
    }

    fn claim(&mut self, call: Call, instance: usize, before: &Row, after: &Row, now: Timestamp) {
        let place = (number_of(after.id), after.epoch, after.attempt);
        let asked = matches!(call, Call::Claim | Call::ClaimNext) && after.attempt == before.attempt + 1;
        self.demand(asked && before.state == DeliveryState::Pending, || format!("{call:?} made attempt {place:?}"));
        let Some(lease) = after.lease else {
            return self.violated(format!("{place:?} was claimed without a lease"));
        };
        let known = self.known.entry(after.id).or_default();
        let (live, not_before) = (known.live.replace(lease), known.not_before.take());
        self.demand(live.is_none(), || format!("{place:?} was claimed under another lease"));
        let early = not_before.is_some_and(|from| now.plus(EARLY_BY) < from);
        self.demand(!early || !self.plan.clocks_agree, || format!("{place:?} was claimed before its rung was over"));
        let granted = Granted { instance, until: lease.1, posts: Vec::new() };
        let used = self.granted.insert(place, granted).is_some();
        self.demand(!used, || format!("the number of {place:?} was used before"));
    }

    fn lease_ended(&mut self, call: Call, before: &Row, after: &Row, now: Timestamp) {
        let name = number_of(after.id);
        let Some((lease, until)) = self.known.entry(after.id).or_default().live.take() else {
            return self.violated(format!("{call:?} ended a lease of {name} that was none"));
        };
        let stepping = self.stepped_at.is_some_and(|at| now.since(at) < STEP_IN_CALL);
        let over = until <= now || stepping;
        match call {
            Call::Finish if after.state == DeliveryState::Delivered => {}
            Call::Finish => {
                let ended_at = self.ends.get(&lease).copied();
                self.demand(ended_at.is_some(), || format!("{name} was finished by another lease than its own"));
                known_failure(self.known.entry(after.id).or_default());
                self.rung(before, after, ended_at.unwrap_or(now));
            }
            Call::Expire => {
                self.demand(over, || format!("the lease of {name} was ended before its time"));
                let known = self.known.entry(after.id).or_default();
                known.unknowns += 1;
                if known.unknowns == UNKNOWNS_PER_FAILURE {
                    known_failure(known);
                }
            }
            Call::Replay => self.demand(over, || format!("a replay of {name} ended a lease that was held")),
            _ => self.violated(format!("{call:?} ended the lease of {name}")),
        }
        if after.epoch == before.epoch && after.state != DeliveryState::Delivered {
            self.failures(before, after, now);
        }
    }

    /// The failures of the row are those that happened, and it is dead exactly when the policy has it so.
    fn failures(&mut self, before: &Row, after: &Row, now: Timestamp) {
        let (name, failures) = (number_of(after.id), self.known[&after.id].failures);
        let counted = after.failures;
        self.demand(counted == failures, || format!("{name} failed {failures} times, its row says {counted}"));
        let longest = self.plan.rungs.iter().max().copied().unwrap_or_default();
        let last = before.first_attempt_at.unwrap_or(now).plus(self.plan.max_age);
        let exhausted = failures >= self.plan.max_attempts;
        let allowed = match after.dead_reason {
            None => after.state == DeliveryState::Pending && !exhausted,
            Some(DeadReason::AttemptsExhausted) => failures == self.plan.max_attempts,
            Some(DeadReason::TooOld) => !exhausted && now.plus(longest) > last,
        };
        let (state, reason) = (after.state, after.dead_reason);
        self.demand(allowed, || format!("{name} is {state:?} ({reason:?}) after {failures} failures"));
    }

    /// After a known failure it waits for its rung, or a longer one if the receiver asked for it.
    fn rung(&mut self, before: &Row, after: &Row, ended_at: Timestamp) {
        let place = (number_of(after.id), before.epoch, before.attempt);
        let asked = self.granted.get(&place).and_then(|granted| match granted.posts.first() {
            Some(Answer::Status { retry_after_s, .. }) => retry_after_s.map(Duration::from_secs),
            _ => None,
        });
        let failures = usize::try_from(self.known[&after.id].failures).unwrap();
        let rungs = &self.plan.rungs;
        let climbed = &rungs[(failures - 1).min(rungs.len() - 1)..];
        let rung = climbed.iter().find(|rung| **rung >= asked.unwrap_or_default()).or(rungs.last());
        let from = ended_at.plus(*rung.unwrap());
        if after.state == DeliveryState::Pending {
            let waits = after.next_attempt_at >= from;
            self.demand(waits, || format!("{place:?} is to be tried again before its rung is over"));
            self.known.entry(after.id).or_default().not_before = Some(from);
        }
    }

    fn expectations(&mut self, call: Call, before: &Row, after: &Row, now: Timestamp) {
        let (id, endpoint) = (after.id, endpoint_of(after.endpoint_id));
        let claimed = after.attempt != before.attempt && after.epoch == before.epoch;
        if claimed || call == Call::TakeDue || after.lease.is_none() && before.lease.is_some() {
            let late = self.prompt.came_up(id, endpoint, now);
            self.demand(late.is_none(), || format!("{}: {}", number_of(id), late.clone().unwrap_or_default()));
        }
        if after.state != DeliveryState::Pending {
            self.prompt.came_up(id, endpoint, now);
            return;
        }
        let prompt = &mut self.prompt;
        match call {
            _ if claimed => {
                let until = after.lease.map_or(now, |(_, until)| until);
                prompt.expect(id, until, ROUND, "after its lease ran out");
            }
            Call::TakeDue => prompt.expect(id, now, Prompt::taken_again(before.republished), "after its hint was lost"),
            Call::Finish => prompt.expect(id, after.next_attempt_at, HINT_LOST, "after its rung was over"),
            Call::Expire => prompt.expect(id, after.next_attempt_at, ROUND, "after its lease was ended"),
            Call::Claim => prompt.expect(id, after.next_attempt_at, ROUND, "after it was hinted at too early"),
            Call::Replay => prompt.expect(id, now, HINT_LOST, "after its replay"),
            Call::Release | Call::TakeOver => {
                prompt.expect(id, after.next_attempt_at.max(now), ROUND, "after it was released or taken over");
            }
            _ => {}
        }
    }
}

/// A failure, or what counts as one.
fn known_failure(known: &mut Known) {
    known.failures += 1;
    known.unknowns = 0;
}
