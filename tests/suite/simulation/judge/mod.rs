//! Says what must not be. It has its own books of claims, leases, POSTs and failures, and believes no column of a row.
//!
//! It is told of every effect in the store at the moment of the effect, of every POST and of every acknowledgement; so
//! what goes wrong is found where it happens. What can only be said at the end is in `closing`.

mod closing;
mod prompt;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use postback::domain::delivery::{AttemptOutcome, DeliveryState, Hint};
use postback::domain::ids::{DeliveryId, LeaseId};
use postback::domain::time::Timestamp;
use postback::store::deliveries::{Claim, Claimed, Finished};

use self::prompt::Prompt;
use super::model::{Booking, Ended, Model};
use super::plan::{Kind, Plan};
use super::receivers::Answer;
use super::trace::{Place, number_of, place_of};

/// What a call in the store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Record,
    Claim,
    ClaimNext,
    HandBack,
    Finish,
    TakeDue,
    Expire,
    TakeOver,
    Unpublished,
    Replay,
    Endpoint,
    Hold,
    Release,
    Look,
}

impl Call {
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Claim => "claim",
            Self::ClaimNext => "claim_next",
            Self::HandBack => "hand_back",
            Self::Finish => "finish",
            Self::TakeDue => "take_due",
            Self::Expire => "expire_leases",
            Self::TakeOver => "take_over",
            Self::Unpublished => "unpublished",
            Self::Replay => "replay",
            Self::Endpoint => "disable_endpoint",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Look => "look",
        }
    }
}

/// A claim that was granted, and what its holder did with it.
struct Granted {
    instance: usize,
    until: Timestamp,
    posts: Vec<Answer>,
}

/// What the judge itself knows of a delivery.
#[derive(Default)]
struct Known {
    live: Option<(LeaseId, Timestamp)>,
    failures: i32,
    unknowns: i32,
    /// Before this it must not be attempted, less what a claim tolerates.
    not_before: Option<Timestamp>,
    /// The `webhook-id` of its first POST.
    told_as: Option<String>,
}

/// See the module.
pub struct Judge {
    found: Option<String>,
    plan: Terms,
    known: BTreeMap<DeliveryId, Known>,
    granted: BTreeMap<Place, Granted>,
    /// When attempts ended, by their leases.
    ends: BTreeMap<LeaseId, Timestamp>,
    acknowledged: BTreeMap<u32, Booking>,
    /// What instances have asked the store about: hints claimed or handed back.
    asked: BTreeSet<(usize, Place)>,
    prompt: Prompt,
    /// When a clock was last stepped.
    stepped_at: Option<Timestamp>,
    /// What has happened that a run may be about.
    seen: BTreeSet<&'static str>,
}

/// What of the plan the judge goes by.
struct Terms {
    rungs: Vec<std::time::Duration>,
    max_attempts: i32,
    max_age: std::time::Duration,
    /// How long a delivery waits whose hint was not taken.
    hand_back_after: std::time::Duration,
    /// How long an attempt may take.
    timeout: std::time::Duration,
    /// Whether nothing at all goes wrong.
    nothing: bool,
    /// Whether all clocks always agree.
    clocks_agree: bool,
    /// Whether an instance may be held up between its look at the lease and the request.
    held_up: bool,
    few_permits: bool,
}

impl Judge {
    pub fn new(plan: &Plan) -> Self {
        Self {
            found: None,
            plan: Terms {
                rungs: plan.policy.ladder.rungs().to_vec(),
                max_attempts: plan.policy.max_attempts,
                max_age: plan.policy.max_age,
                hand_back_after: plan.settings.delivery.hand_back_after,
                timeout: plan.settings.delivery.timeout,
                nothing: plan.kinds.is_empty(),
                clocks_agree: !plan.has(Kind::ClockSteps),
                held_up: plan.has_any(&[Kind::Freezes, Kind::ClockSteps]),
                few_permits: plan.has(Kind::FewPermits),
            },
            known: BTreeMap::new(),
            granted: BTreeMap::new(),
            ends: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            asked: BTreeSet::new(),
            prompt: Prompt::new(plan),
            stepped_at: None,
            seen: BTreeSet::new(),
        }
    }

    pub fn violated(&mut self, what: String) {
        self.found.get_or_insert(what);
    }

    fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what());
        }
    }

    pub fn has_found(&self) -> bool {
        self.found.is_some()
    }

    /// What must not be and was, if anything; and what has happened.
    pub fn verdict(&self) -> (Option<String>, BTreeSet<&'static str>) {
        (self.found.clone(), self.seen.clone())
    }

    /// Nobody is to be expected to keep any time before this.
    pub fn unwell(&mut self, until: Timestamp) {
        self.prompt.unwell(until);
    }

    pub fn instances(&mut self, well: usize, now: Timestamp) {
        self.prompt.instances(well, now);
    }

    pub fn clock_stepped(&mut self, now: Timestamp) {
        self.stepped_at = Some(now);
    }

    pub fn acknowledged(&mut self, key: u32, booking: &Booking) {
        let first = self.acknowledged.entry(key).or_insert_with(|| booking.clone());
        let same = first == booking;
        self.demand(same, || format!("postback {key} was acknowledged with other deliveries than before"));
    }

    /// An instance's claims were granted so.
    pub fn claimed(&mut self, instance: usize, claims: &[Claim], claimed: &[Claimed]) {
        self.asked.extend(claims.iter().map(|claim| (instance, place_of(&claim.hint))));
        for claimed in claimed {
            let hint = claims.iter().find(|claim| claim.lease_id == claimed.lease_id).map(|claim| claim.hint);
            let fits = hint.is_some_and(|hint| hint.epoch == claimed.epoch && hint.attempt + 1 == claimed.number);
            self.demand(fits, || format!("{claimed:?} was granted for another hint: {hint:?}"));
        }
    }

    /// An instance asks the store about these hints.
    pub fn asked_about(&mut self, instance: usize, hints: &[Hint]) {
        self.asked.extend(hints.iter().map(|hint| (instance, place_of(hint))));
    }

    pub fn handed_back(&mut self, hints: &[Hint], model: &Model, at: Timestamp) {
        for row in standing(hints, model) {
            self.prompt.expect(row.id, at.max(row.next_attempt_at), prompt::ROUND, "after it was handed back");
        }
    }

    pub fn unpublished(&mut self, hints: &[Hint], model: &Model, not_before: Timestamp) {
        for row in standing(hints, model) {
            let from = not_before.max(row.next_attempt_at);
            self.prompt.expect(row.id, from, prompt::ROUND, "after no queue took its hint");
        }
    }

    /// No queue took these hints.
    pub fn not_taken(&mut self, hints: &[Hint], model: &Model, now: Timestamp) {
        for row in standing(hints, model) {
            let from = now.plus(self.plan.hand_back_after).max(row.next_attempt_at);
            self.prompt.expect(row.id, from, prompt::ROUND, "after no queue took its hint");
        }
    }

    pub fn finishing(&mut self, finished: &[Finished], model: &Model) {
        for finished in finished {
            let claimed = &finished.claimed;
            self.ends.insert(claimed.lease_id, finished.finished_at);
            let place = (number_of(claimed.delivery_id), claimed.epoch, claimed.number);
            let posts = self.granted.get(&place).map(|granted| granted.posts.clone()).unwrap_or_default();
            let succeeded = finished.result.outcome == AttemptOutcome::Delivered;
            let told = posts.iter().any(|answer| answer.is_success());
            self.demand(!succeeded || told, || format!("attempt {place:?} succeeded without a 2xx: {posts:?}"));
            self.demand(succeeded == finished.next.is_none(), || {
                format!("{place:?}: {:?} follows {posts:?}", finished.next)
            });
            let exists = model.rows.contains_key(&claimed.delivery_id);
            self.demand(exists, || format!("attempt {place:?} is of a delivery that is gone"));
        }
    }

    pub fn finished(&mut self, finished: &[Finished], model: &Model) {
        for finished in finished {
            let claimed = &finished.claimed;
            let place = (number_of(claimed.delivery_id), claimed.epoch, claimed.number);
            let written = model.attempts.get(&(claimed.delivery_id, claimed.epoch, claimed.number));
            let outcome = written.map(|attempt| attempt.outcome);
            let right = if finished.next.is_none() { Ended::Delivered } else { Ended::Failed };
            self.demand(outcome == Some(right), || format!("the end of {place:?} was written as {outcome:?}"));
            let row = model.rows.get(&claimed.delivery_id);
            let settled = row.is_none_or(|row| row.epoch != claimed.epoch || row.state == DeliveryState::Delivered);
            self.demand(finished.next.is_some() || settled, || format!("the success of {place:?} settled nothing"));
        }
    }

    pub fn unserved(&mut self, endpoint: usize, now: Timestamp) {
        self.prompt.unserved(endpoint, now);
    }

    /// A request reached a receiver.
    pub fn posted(&mut self, instance: usize, place: Place, id: String, answer: Answer, now: Timestamp) {
        let Some(granted) = self.granted.get_mut(&place) else {
            return self.violated(format!("a POST of {place:?}, which nobody has claimed"));
        };
        granted.posts.push(answer);
        let (holder, posts, until) = (granted.instance, granted.posts.len(), granted.until);
        self.demand(holder == instance, || format!("a POST of {place:?} by {instance}, not by its holder {holder}"));
        self.demand(posts == 1, || format!("{posts} POSTs of the one attempt {place:?}"));
        let in_time = self.plan.held_up || now.plus(self.plan.timeout) <= until;
        self.demand(in_time, || format!("a POST of {place:?} that may outlast its lease"));
        if let Some(known) = self.known.iter_mut().find(|(id, _)| number_of(**id) == place.0).map(|(_, known)| known) {
            let told_as = known.told_as.get_or_insert_with(|| id.clone());
            let same = *told_as == id;
            self.demand(same, || format!("{place:?} was told under another id, {id}"));
        }
    }

    /// An instance acknowledged a message with these hints.
    pub fn message_done(&mut self, instance: usize, hints: &[Hint], model: &Model) {
        for row in standing(hints, model) {
            // With few permits a hint may wait in memory; its row comes up by itself should the instance die.
            let asked = self.plan.few_permits || self.asked.contains(&(instance, place_of(&row.hint())));
            self.demand(asked, || format!("a message was acknowledged before {:?} was claimed", place_of(&row.hint())));
        }
    }
}

/// The rows that still stand as hinted.
fn standing<'a>(hints: &[Hint], model: &'a Model) -> Vec<&'a super::model::Row> {
    let stands =
        |hint: &Hint| model.rows.get(&hint.delivery_id).filter(|row| row.stands_as(hint) && row.lease.is_none());
    hints.iter().filter_map(stands).collect()
}
