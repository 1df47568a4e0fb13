//! What `store::deliveries::Deliveries` promises, row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use postback::domain::delivery::{AttemptOutcome, DeliveryState, Hint};
use postback::domain::ids::{DeliveryId, EndpointId, LeaseId};
use postback::domain::retry::{Next, RetryPolicy};
use postback::domain::time::Timestamp;
use postback::store::StoreError;
use postback::store::deliveries::{Backlog, Claim, Claimed, Claims, Finished, Replay, Settled};

use super::super::planted::Planted;
use super::{Attempt, Ended, Model, Row};

/// The longest wait for a hint that keeps getting lost: 2 to this many times the first one.
const MOST_DOUBLINGS: i32 = 3;

impl Model {
    pub fn claim(&mut self, claims: &[Claim], now: Timestamp, due_by: Timestamp, lease_until: Timestamp) -> Claims {
        let mut answer = Claims::default();
        let mut claims = claims.to_vec();
        claims.sort_by_key(|claim| claim.hint.delivery_id);
        let (any_epoch, any_attempt) = (self.has(Planted::ClaimIgnoresEpoch), self.has(Planted::ClaimIgnoresAttempt));
        let any_time = self.has(Planted::ClaimIgnoresDue);
        let mut early = Vec::new();
        for claim in &claims {
            let hint = &claim.hint;
            let Some(row) = self.rows.get(&hint.delivery_id) else { continue };
            let fits = row.stands_as(hint)
                || any_epoch && row.stands_as(&Hint { epoch: row.epoch, ..*hint })
                || any_attempt && row.stands_as(&Hint { attempt: row.attempt, ..*hint });
            if !fits || row.lease.is_some() && !any_attempt {
                continue;
            }
            if row.next_attempt_at <= due_by || any_time {
                answer.claimed.push(self.lease(hint.delivery_id, claim.lease_id, now, lease_until));
            } else {
                early.push(hint.delivery_id);
            }
        }
        for id in Self::named(early.into_iter()) {
            answer.early += 1;
            self.change(id, |row| row.republish_at = row.next_attempt_at);
        }
        answer
    }

    fn lease(&mut self, id: DeliveryId, lease_id: LeaseId, now: Timestamp, until: Timestamp) -> Claimed {
        self.change(id, |row| {
            row.attempt += 1;
            row.lease = Some((lease_id, until));
            row.republish_at = row.republish_at.min(until);
            row.first_attempt_at = row.first_attempt_at.or(Some(now));
        });
        let row = self.rows[&id];
        let told = &self.events[&row.event_id];
        Claimed {
            delivery_id: id,
            endpoint_id: row.endpoint_id,
            lease_id,
            claimed_at: now,
            epoch: row.epoch,
            number: row.attempt,
            history: row.history(now),
            event_id: row.event_id,
            event_type: told.event_type,
            body: told.body.clone(),
        }
    }

    /// What an endpoint has to attempt, the longest due first.
    pub fn due_of(&self, endpoint_id: EndpointId, now: Timestamp) -> Vec<Row> {
        let due = |row: &&Row| {
            row.endpoint_id == endpoint_id
                && row.state == DeliveryState::Pending
                && row.lease.is_none()
                && row.next_attempt_at <= now
        };
        let mut due: Vec<Row> = self.rows.values().filter(due).copied().collect();
        due.sort_by_key(|row| (row.next_attempt_at, row.id));
        due
    }

    /// `lease_of` makes the leases' ids.
    pub fn claim_next(
        &mut self,
        endpoint_id: EndpointId,
        limit: usize,
        now: Timestamp,
        lease_until: Timestamp,
        mut lease_of: impl FnMut() -> LeaseId,
    ) -> Vec<Claimed> {
        let mut due = self.due_of(endpoint_id, now);
        due.truncate(limit);
        due.sort_by_key(|row| row.id);
        due.iter().map(|row| self.lease(row.id, lease_of(), now, lease_until)).collect()
    }

    pub fn hand_back(&mut self, hints: &[Hint], republish_at: Timestamp) {
        if self.has(Planted::HandBackSwallows) {
            return;
        }
        let standing = hints.iter().filter(|hint| self.standing(hint).is_some()).map(|hint| hint.delivery_id);
        for id in Self::named(standing) {
            self.change(id, |row| row.republish_at = republish_at);
        }
    }

    pub fn unpublished(&mut self, hints: &[Hint], not_before: Timestamp) {
        if self.has(Planted::UnpublishedMarksNothing) {
            return;
        }
        let standing = hints.iter().filter(|hint| self.standing(hint).is_some()).map(|hint| hint.delivery_id);
        for id in Self::named(standing) {
            self.change(id, |row| {
                row.republished = 0;
                row.republish_at = row.next_attempt_at.max(not_before);
            });
        }
    }

    pub fn finish(&mut self, finished: &[Finished], republish_after: Duration) -> Vec<Settled> {
        let mut sorted: Vec<&Finished> = finished.iter().collect();
        sorted.sort_by_key(|finished| finished.claimed.delivery_id);
        for finished in &sorted {
            self.write_end(finished);
        }
        let mut changed = Vec::new();
        for finished in &sorted {
            let claimed = &finished.claimed;
            let ours = self.rows.get(&claimed.delivery_id).is_some_and(|row| {
                let any_lease = self.has(Planted::FinishIgnoresLease) && row.epoch == claimed.epoch;
                row.state == DeliveryState::Pending
                    && (any_lease || row.lease.is_some_and(|(lease, _)| lease == claimed.lease_id))
            });
            if ours {
                self.end_lease(finished, republish_after);
                changed.push(claimed.delivery_id);
            }
        }
        if changed.len() < sorted.len() && !self.has(Planted::FinishForgetsLateSuccess) {
            let late = sorted.iter().filter(|finished| finished.next.is_none());
            changed.extend(late.filter_map(|finished| self.settle_late(finished)).collect::<Vec<_>>());
        }
        let settled = |finished: &Finished| {
            if changed.contains(&finished.claimed.delivery_id) { Settled::Changed } else { Settled::LeaseLost }
        };
        finished.iter().map(settled).collect()
    }

    fn end_lease(&mut self, finished: &Finished, republish_after: Duration) {
        let next = finished.next.filter(|_| !self.has(Planted::FailureDelivers));
        let again = match next {
            Some(Next::Retry { at, .. }) => at.plus(republish_after),
            _ => finished.finished_at,
        };
        let before = finished.claimed.history.failures;
        self.change(finished.claimed.delivery_id, |row| row.settle(next, before, finished.finished_at, again));
    }

    fn settle_late(&mut self, finished: &Finished) -> Option<DeliveryId> {
        let row = *self.rows.get(&finished.claimed.delivery_id)?;
        if row.lease.is_some() {
            self.write_unknown(&row);
        }
        if row.epoch != finished.claimed.epoch || row.state == DeliveryState::Delivered {
            return None;
        }
        self.change(row.id, |row| {
            (row.state, row.settled_at) = (DeliveryState::Delivered, Some(finished.finished_at));
            (row.dead_reason, row.lease) = (None, None);
        });
        Some(row.id)
    }

    fn write_end(&mut self, finished: &Finished) {
        let (claimed, result) = (&finished.claimed, &finished.result);
        let started_at = claimed.claimed_at;
        let attempt = self.attempts.entry((claimed.delivery_id, claimed.epoch, claimed.number));
        let attempt = attempt.or_insert(Attempt { started_at, ..Attempt::unknown(started_at) });
        attempt.finished_at = Some(finished.finished_at);
        attempt.outcome = match result.outcome {
            AttemptOutcome::Delivered => Ended::Delivered,
            AttemptOutcome::Failed { .. } => Ended::Failed,
        };
        (attempt.status, attempt.error) = (result.status, result.error.clone());
        attempt.duration = Some(result.duration);
    }

    /// Writes that nobody will tell how the attempt ended that runs under the row's lease.
    fn write_unknown(&mut self, row: &Row) {
        if let Some((lease, _)) = row.lease {
            let attempt = Attempt::unknown(lease.made_at());
            self.attempts.entry((row.id, row.epoch, row.attempt)).or_insert(attempt);
        }
    }

    pub fn take_due(
        &mut self,
        now: Timestamp,
        skip: &[EndpointId],
        per_endpoint: i64,
        limit: i64,
        republish_after: Duration,
    ) -> Vec<Hint> {
        let mut turns: Vec<(usize, Timestamp, DeliveryId)> = Vec::new();
        let mut waiting: BTreeMap<EndpointId, Vec<&Row>> = BTreeMap::new();
        for row in self.rows.values() {
            let due = row.state == DeliveryState::Pending
                && row.lease.is_none()
                && row.next_attempt_at <= now
                && row.republish_at <= now;
            if due && !skip.contains(&row.endpoint_id) && self.is_active(row.endpoint_id) {
                waiting.entry(row.endpoint_id).or_default().push(row);
            }
        }
        for of_endpoint in waiting.values_mut() {
            of_endpoint.sort_by_key(|row| (row.next_attempt_at, row.id));
            of_endpoint.truncate(usize::try_from(per_endpoint).unwrap_or(0));
            turns.extend(of_endpoint.iter().enumerate().map(|(turn, row)| (turn, row.next_attempt_at, row.id)));
        }
        turns.sort();
        turns.truncate(usize::try_from(limit).unwrap_or(0));
        let taken = Self::named(turns.into_iter().map(|(.., id)| id));
        let take = |id: DeliveryId| {
            let hint = self.rows[&id].hint();
            self.change(id, |row| {
                let times = 1 << row.republished.clamp(0, MOST_DOUBLINGS);
                row.republish_at = now.plus(republish_after.saturating_mul(times));
                row.republished += 1;
            });
            hint
        };
        taken.into_iter().map(take).collect()
    }

    /// Whether no two rows that are due at `now` became due at the same moment.
    pub fn due_times_differ(&self, now: Timestamp) -> bool {
        let due = |row: &&Row| row.state == DeliveryState::Pending && row.next_attempt_at <= now;
        let mut times: Vec<Timestamp> = self.rows.values().filter(due).map(|row| row.next_attempt_at).collect();
        times.sort();
        times.windows(2).all(|pair| pair[0] != pair[1])
    }

    pub fn expire_leases(&mut self, now: Timestamp, policy: &RetryPolicy, limit: i64) -> u64 {
        if self.has(Planted::NothingExpires) {
            return 0;
        }
        let early = if self.has(Planted::ExpiresEarly) { Duration::from_secs(8) } else { Duration::ZERO };
        let over = |row: &&Row| {
            row.state == DeliveryState::Pending
                && row.republish_at <= now.plus(early)
                && row.lease_is_over(now.plus(early))
        };
        let mut over: Vec<Row> = self.rows.values().filter(over).copied().collect();
        over.sort_by_key(|row| (row.republish_at, row.id));
        over.truncate(usize::try_from(limit).unwrap_or(0));
        for row in &over {
            self.write_unknown(row);
            let next = Some(policy.after_unknown(row.history(now), now)).filter(|_| !self.has(Planted::ExpiryDelivers));
            let again = match next {
                Some(Next::Retry { at, .. }) => at,
                _ => now,
            };
            self.change(row.id, |changed| changed.settle(next, row.failures, now, again));
        }
        u64::try_from(over.len()).unwrap()
    }

    pub fn take_over(&mut self, now: Timestamp) -> u64 {
        let pending: Vec<Row> = self.rows.values().filter(|row| row.state == DeliveryState::Pending).copied().collect();
        let mut leases = 0;
        for row in pending {
            match row.lease {
                Some((lease, _)) => {
                    leases += 1;
                    self.change(row.id, |row| (row.lease, row.republish_at) = (Some((lease, now)), now));
                }
                None => self.change(row.id, |row| row.republish_at = row.next_attempt_at),
            }
        }
        leases
    }

    pub fn replay(&mut self, id: DeliveryId, now: Timestamp, republish_after: Duration) -> Result<Replay, StoreError> {
        let row = *self.rows.get(&id).ok_or(StoreError::NotFound("delivery"))?;
        if row.lease.is_some() && !row.lease_is_over(now) && !self.has(Planted::ReplayIgnoresLease) {
            return Ok(Replay::Leased);
        }
        self.write_unknown(&row);
        self.change(id, |row| {
            *row = Row {
                state: DeliveryState::Pending,
                epoch: row.epoch + 1,
                attempt: 0,
                failures: 0,
                unknowns: 0,
                first_due_at: now,
                first_attempt_at: None,
                next_attempt_at: now,
                republish_at: now.plus(republish_after),
                republished: 0,
                lease: None,
                settled_at: None,
                dead_reason: None,
                ..*row
            };
        });
        Ok(Replay::Begun(self.rows[&id].hint()))
    }

    pub fn backlog(&self, first_due_before: Timestamp) -> Backlog {
        let waiting = |row: &&Row| row.state == DeliveryState::Pending && self.is_active(row.endpoint_id);
        let waiting = || self.rows.values().filter(waiting);
        let late = waiting().filter(|row| row.first_due_at < first_due_before).count();
        Backlog {
            waiting: i64::try_from(late).unwrap(),
            oldest_first_due_at: waiting().map(|row| row.first_due_at).min(),
        }
    }

    pub fn count_in_state(&self, state: DeliveryState) -> i64 {
        i64::try_from(self.rows.values().filter(|row| row.state == state).count()).unwrap()
    }
}

impl Attempt {
    fn unknown(started_at: Timestamp) -> Self {
        Self { started_at, finished_at: None, outcome: Ended::Unknown, status: None, error: None, duration: None }
    }
}
