//! The life of a delivery's row: claimed once, finished under its lease, brought up again, replayed.

use std::collections::BTreeSet;
use std::time::Duration;

use postback::domain::catalog::Owner;
use postback::domain::delivery::{AttemptOutcome, AttemptResult, DeliveryState, Hint};
use postback::domain::endpoint::EndpointStatus;
use postback::domain::ids::{DeliveryId, LeaseId};
use postback::domain::retry::{Ladder, RetryPolicy};
use postback::domain::time::Timestamp;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::deliveries::{Claim, Claimed, Claims, Finished, Replay, Settled};
use postback::store::reading::{DeliveryView, Filter, Page};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World, endpoint};

on_both_engines!(
    a_delivery_is_claimed_sent_and_done,
    a_failure_climbs_the_ladder_until_it_is_dead,
    a_claim_that_does_not_fit_does_nothing,
    of_two_workers_exactly_one_wins,
    an_early_hint_comes_up_when_it_is_due,
    the_next_of_an_endpoint_are_the_longest_waiting,
    what_was_handed_back_comes_up_and_is_no_attempt,
    due_deliveries_are_taken_in_turns,
    the_same_row_comes_up_at_growing_intervals,
    unpublished_hints_come_up_when_due,
    a_lease_that_ran_out_is_an_unknown_attempt,
    five_unknown_ends_count_as_one_failure,
    a_late_finish_changes_nothing_but_its_attempt,
    a_late_success_settles,
    a_new_process_takes_over_from_one_that_is_gone,
    a_replay_is_a_new_epoch,
    the_backlog_counts_what_is_late_and_not_held,
);

const LEASE: Duration = Duration::from_secs(30);

fn policy() -> RetryPolicy {
    let ladder = Ladder::new([30, 120].map(Duration::from_secs).to_vec()).unwrap();
    RetryPolicy { ladder, max_attempts: 3, max_age: Duration::from_secs(24 * 3_600) }
}

/// Records leads, and answers the first hints about the affiliate's `conversion.recorded` and others, three each.
pub(super) async fn hints(world: &World, leads: usize) -> Vec<Hint> {
    let leads: Vec<_> = (0..leads).map(|lead| world.a_lead(&world.click(), &format!("lead-{lead}"))).collect();
    let mut hints = world.record_all(leads).await.hints;
    hints.retain(|hint| hint.endpoint_id == world.endpoint.id);
    hints
}

pub(super) async fn claim(world: &World, hints: &[Hint]) -> Claims {
    let now = world.now();
    let claims: Vec<_> = hints.iter().map(|hint| Claim { hint: *hint, lease_id: LeaseId::new(now) }).collect();
    world.database.claim(&claims, now, now, now.plus(LEASE)).await.unwrap()
}

pub(super) async fn claim_one(world: &World, hint: Hint) -> Claimed {
    let mut claimed = claim(world, &[hint]).await.claimed;
    assert_eq!(claimed.len(), 1, "{hint:?} can be claimed");
    claimed.remove(0)
}

fn result(outcome: AttemptOutcome, status: u16) -> AttemptResult {
    AttemptResult {
        outcome,
        status: Some(status),
        body_start: Some("answer".to_owned()),
        error: None,
        duration: Duration::from_millis(17),
    }
}

fn delivered(claimed: &Claimed, at: Timestamp) -> Finished {
    let result = result(AttemptOutcome::Delivered, 204);
    Finished { claimed: claimed.clone(), result, finished_at: at, next: None }
}

pub(super) fn failed(claimed: &Claimed, at: Timestamp) -> Finished {
    let next = Some(policy().after_failure(claimed.history, at, None));
    let result = result(AttemptOutcome::Failed { retry_after: None }, 500);
    Finished { claimed: claimed.clone(), result, finished_at: at, next }
}

pub(super) async fn finish(world: &World, finished: Finished) -> Settled {
    world.database.finish(&[finished], REPUBLISH_AFTER).await.unwrap()[0]
}

pub(super) async fn view(world: &World, id: DeliveryId) -> DeliveryView {
    world.database.delivery(id).await.unwrap().unwrap()
}

pub(super) async fn due(world: &World) -> Vec<Hint> {
    world.database.take_due(world.now(), &[], 1_000, 1_000, REPUBLISH_AFTER).await.unwrap()
}

pub(super) fn ids(hints: &[Hint]) -> BTreeSet<DeliveryId> {
    hints.iter().map(|hint| hint.delivery_id).collect()
}

async fn a_delivery_is_claimed_sent_and_done(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    let claimed = claim_one(&world, hint).await;
    assert_eq!((claimed.endpoint_id, claimed.epoch, claimed.number), (world.endpoint.id, 1, 1));
    assert_eq!((claimed.history.failures, claimed.history.first_attempt_at), (0, world.now()));
    let message: serde_json::Value = serde_json::from_str(&claimed.body).unwrap();
    assert_eq!(message["type"], serde_json::json!(claimed.event_type));
    let attempt = &view(&world, hint.delivery_id).await.attempts[0];
    assert_eq!((attempt.outcome.as_str(), attempt.finished_at), ("unknown", None), "until somebody says how it ended");

    world.clock.advance(Duration::from_millis(17));
    assert_eq!(finish(&world, delivered(&claimed, world.now())).await, Settled::Changed);
    let done = view(&world, hint.delivery_id).await;
    assert_eq!((done.state, done.settled_at), (DeliveryState::Delivered, Some(world.now())));
    let attempt = &done.attempts[0];
    assert_eq!((attempt.outcome.as_str(), attempt.status, attempt.duration_ms), ("delivered", Some(204), Some(17)));
    assert_eq!(attempt.body_start.as_deref(), Some("answer"));
    assert!(claim(&world, &[hint, Hint { attempt: 1, ..hint }]).await.claimed.is_empty(), "done is done");
    assert_eq!(world.database.count_in_state(DeliveryState::Delivered).await.unwrap(), 1);
}

async fn a_failure_climbs_the_ladder_until_it_is_dead(kind: Kind) {
    let world = World::new(kind).await;
    let mut hint = hints(&world, 1).await[0];
    for (failures, wait) in [(1, 30), (2, 120)] {
        let claimed = claim_one(&world, hint).await;
        assert_eq!(claimed.number, failures);
        finish(&world, failed(&claimed, world.now())).await;
        let waiting = view(&world, hint.delivery_id).await;
        assert_eq!((waiting.state, waiting.failures, waiting.attempt), (DeliveryState::Pending, failures, failures));
        assert_eq!(waiting.next_attempt_at, world.now().plus(Duration::from_secs(wait)));
        hint.attempt += 1;
        // Published to its rung right after the commit; should that be lost, it comes up a minute after it was due.
        world.clock.advance(Duration::from_secs(wait));
        assert!(!ids(&due(&world).await).contains(&hint.delivery_id));
        world.clock.advance(REPUBLISH_AFTER);
        assert!(due(&world).await.contains(&hint));
    }
    let claimed = claim_one(&world, hint).await;
    finish(&world, failed(&claimed, world.now())).await;
    let dead = view(&world, hint.delivery_id).await;
    assert_eq!((dead.state, dead.dead_reason.as_deref()), (DeliveryState::Dead, Some("attempts_exhausted")));
    assert_eq!((dead.attempts.len(), dead.settled_at), (3, Some(world.now())));
    assert!(dead.attempts.iter().all(|attempt| attempt.outcome == "failed" && attempt.status == Some(500)));
    world.clock.advance(Duration::from_secs(86_400));
    assert!(!ids(&due(&world).await).contains(&hint.delivery_id));
}

async fn a_claim_that_does_not_fit_does_nothing(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    let unknown = Hint { delivery_id: DeliveryId::new(world.now()), ..hint };
    for stale in [Hint { epoch: 2, ..hint }, Hint { epoch: 0, ..hint }, Hint { attempt: 1, ..hint }, unknown] {
        let claims = claim(&world, &[stale]).await;
        assert_eq!((claims.claimed.len(), claims.early), (0, 0), "{stale:?}");
    }
    claim_one(&world, hint).await;
    for again in [hint, Hint { attempt: 1, ..hint }] {
        let claims = claim(&world, &[again]).await;
        assert_eq!((claims.claimed.len(), claims.early), (0, 0), "a lease is on it");
    }
    assert!(claim(&world, &[]).await.claimed.is_empty());
}

async fn of_two_workers_exactly_one_wins(kind: Kind) {
    let world = World::new(kind).await;
    let hints = hints(&world, 40).await;
    assert_eq!(hints.len(), 120);
    let mut backwards = hints.clone();
    backwards.reverse();
    let (one, other) = tokio::join!(claim(&world, &hints), claim(&world, &backwards));
    let all: Vec<_> = one.claimed.iter().chain(&other.claimed).map(|claimed| claimed.delivery_id).collect();
    assert_eq!(all.len(), 120, "each is claimed once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), ids(&hints));
    let begun = "SELECT CAST(count(*) AS TEXT) FROM deliveries WHERE attempt = 1 AND lease_id IS NOT NULL";
    assert_eq!(world.database.raw().await.texts(begun).await, ["120"]);
}

async fn an_early_hint_comes_up_when_it_is_due(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    finish(&world, failed(&claim_one(&world, hint).await, world.now())).await;
    let retry = Hint { attempt: 1, ..hint };
    let claims = claim(&world, &[retry]).await;
    assert_eq!((claims.claimed.len(), claims.early), (0, 1), "30 seconds before its time");
    world.clock.advance(Duration::from_secs(29));
    let tolerant = world.now().plus(Duration::from_secs(1));
    let lease = Claim { hint: retry, lease_id: LeaseId::new(world.now()) };
    world.clock.advance(Duration::from_secs(1));
    assert!(due(&world).await.contains(&retry), "it comes up when it is due, not a minute later");
    let claims = world.database.claim(&[lease], world.now(), tolerant, world.now().plus(LEASE)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
}

async fn the_next_of_an_endpoint_are_the_longest_waiting(kind: Kind) {
    let world = World::new(kind).await;
    let first = hints(&world, 1).await;
    world.clock.advance(Duration::from_secs(1));
    let leads = [world.a_lead(&world.click(), "later")];
    world.record_all(leads).await;
    let now = world.now();
    let next = world.database.claim_next(world.endpoint.id, 4, now, now.plus(LEASE)).await.unwrap();
    assert_eq!(next.len(), 4);
    let claimed: BTreeSet<_> = next.iter().map(|claimed| claimed.delivery_id).collect();
    assert!(claimed.is_superset(&ids(&first)), "the older ones first");
    assert!(next.iter().all(|claimed| claimed.endpoint_id == world.endpoint.id && claimed.number == 1));
    let rest = world.database.claim_next(world.endpoint.id, 10, now, now.plus(LEASE)).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert!(world.database.claim_next(world.endpoint.id, 10, now, now.plus(LEASE)).await.unwrap().is_empty());
}

async fn what_was_handed_back_comes_up_and_is_no_attempt(kind: Kind) {
    let world = World::new(kind).await;
    let hints = hints(&world, 1).await;
    let soon = world.now().plus(Duration::from_secs(5));
    world.database.hand_back(&hints, soon).await.unwrap();
    assert!(due(&world).await.is_empty());
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(ids(&due(&world).await), ids(&hints));
    assert_eq!(view(&world, hints[0].delivery_id).await.attempt, 0);
    // What is claimed by now is left alone.
    claim_one(&world, hints[0]).await;
    world.database.hand_back(&hints[..1], world.now()).await.unwrap();
    assert!(!ids(&due(&world).await).contains(&hints[0].delivery_id));
}

async fn due_deliveries_are_taken_in_turns(kind: Kind) {
    let mut world = World::new(kind).await;
    let others: Vec<_> = (0..3).map(|_| endpoint(world.now(), Owner::Affiliate(world.affiliate.id), &[])).collect();
    let entries: Vec<_> = others.iter().cloned().map(Entry::Endpoint).collect();
    world.put(&entries).await.unwrap();
    hints(&world, 5).await;
    world.clock.advance(REPUBLISH_AFTER);
    let take = async |skip: &[_], each, limit| {
        let taken = world.database.take_due(world.now(), skip, each, limit, REPUBLISH_AFTER).await.unwrap();
        let mut counts = std::collections::BTreeMap::new();
        taken.iter().for_each(|hint| *counts.entry(hint.endpoint_id).or_insert(0) += 1);
        counts
    };
    // Four endpoints with fifteen each and the operator's with five; room for seven: everybody gets one.
    let counts = take(&[], 3, 7).await;
    assert_eq!((counts.len(), counts.values().sum::<i32>()), (5, 7));
    let skip = [world.endpoint.id, world.operator_endpoint.id];
    let counts = take(&skip, 2, 100).await;
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [2, 2, 2], "two of each that is not skipped");
    assert!(skip.iter().all(|skipped| !counts.contains_key(skipped)));
    // An inactive endpoint's are held.
    let mut paused = others[0].clone();
    paused.status = EndpointStatus::Paused;
    world.put(&[Entry::Endpoint(paused.clone())]).await.unwrap();
    let held = world.database.take_due(world.now(), &[], 100, 1_000, REPUBLISH_AFTER).await.unwrap();
    assert!(held.iter().all(|hint| hint.endpoint_id != paused.id));
    paused.status = EndpointStatus::Active;
    world.put(&[Entry::Endpoint(paused.clone())]).await.unwrap();
    let released = world.database.take_due(world.now(), &[], 100, 1_000, REPUBLISH_AFTER).await.unwrap();
    assert!(!released.is_empty() && released.iter().all(|hint| hint.endpoint_id == paused.id), "and then released");
}

async fn the_same_row_comes_up_at_growing_intervals(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    world.clock.advance(REPUBLISH_AFTER);
    for doublings in [0_u32, 1, 2, 3, 3] {
        assert!(due(&world).await.contains(&hint), "after {doublings} doublings");
        let wait = REPUBLISH_AFTER * 2_u32.pow(doublings);
        world.clock.advance(wait - Duration::from_millis(1));
        assert!(!due(&world).await.contains(&hint), "not before {wait:?}");
        world.clock.advance(Duration::from_millis(1));
    }
    // An attempt begins the count anew.
    finish(&world, failed(&claim_one(&world, hint).await, world.now())).await;
    let retry = Hint { attempt: 1, ..hint };
    world.clock.advance(Duration::from_secs(30) + REPUBLISH_AFTER);
    assert!(due(&world).await.contains(&retry));
    world.clock.advance(REPUBLISH_AFTER);
    assert!(due(&world).await.contains(&retry));
}

async fn unpublished_hints_come_up_when_due(kind: Kind) {
    let world = World::new(kind).await;
    let hints = hints(&world, 1).await;
    assert!(due(&world).await.is_empty());
    world.database.unpublished(&hints, world.now()).await.unwrap();
    assert_eq!(ids(&due(&world).await), ids(&hints));
    // However often: the waits do not grow.
    for _ in 0..3 {
        let pause = Duration::from_secs(5);
        world.database.unpublished(&hints, world.now().plus(pause)).await.unwrap();
        assert!(due(&world).await.is_empty(), "not before its time");
        world.clock.advance(pause);
        assert_eq!(ids(&due(&world).await), ids(&hints));
    }
    // A retry that its rung did not take: due after the rung's time.
    finish(&world, failed(&claim_one(&world, hints[0]).await, world.now())).await;
    let retry = Hint { attempt: 1, ..hints[0] };
    world.database.unpublished(&[retry], world.now()).await.unwrap();
    world.clock.advance(Duration::from_secs(29));
    assert!(!due(&world).await.contains(&retry));
    world.clock.advance(Duration::from_secs(1));
    assert!(due(&world).await.contains(&retry));
}

async fn a_lease_that_ran_out_is_an_unknown_attempt(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    claim_one(&world, hint).await;
    world.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(world.database.expire_leases(world.now(), &policy(), 100).await.unwrap(), 0);
    assert!(!ids(&due(&world).await).contains(&hint.delivery_id));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.database.expire_leases(world.now(), &policy(), 100).await.unwrap(), 1);
    assert_eq!(world.database.expire_leases(world.now(), &policy(), 100).await.unwrap(), 0);
    let retry = Hint { attempt: 1, ..hint };
    assert!(due(&world).await.contains(&retry), "at once");
    let again = claim_one(&world, retry).await;
    assert_eq!((again.number, again.history.failures, again.history.unknowns), (2, 0, 1));
    assert_eq!(view(&world, hint.delivery_id).await.attempts[0].outcome, "unknown");
}

async fn five_unknown_ends_count_as_one_failure(kind: Kind) {
    let world = World::new(kind).await;
    let mut hint = hints(&world, 1).await[0];
    for _ in 0..5 {
        claim_one(&world, hint).await;
        world.clock.advance(LEASE);
        assert_eq!(world.database.expire_leases(world.now(), &policy(), 100).await.unwrap(), 1);
        hint.attempt += 1;
    }
    let waiting = view(&world, hint.delivery_id).await;
    assert_eq!((waiting.failures, waiting.attempt), (1, 5));
    assert_eq!(waiting.next_attempt_at, world.now().plus(Duration::from_secs(30)), "the first rung");
}

async fn a_late_finish_changes_nothing_but_its_attempt(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    let paused = claim_one(&world, hint).await;
    world.clock.advance(LEASE);
    world.database.expire_leases(world.now(), &policy(), 100).await.unwrap();
    let other = claim_one(&world, Hint { attempt: 1, ..hint }).await;
    assert_eq!(finish(&world, failed(&paused, world.now())).await, Settled::LeaseLost);
    let running = view(&world, hint.delivery_id).await;
    assert_eq!((running.state, running.failures), (DeliveryState::Pending, 0));
    let outcomes: Vec<_> = running.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["failed", "unknown"]);
    assert_eq!(finish(&world, delivered(&other, world.now())).await, Settled::Changed);
    assert_eq!(finish(&world, failed(&other, world.now())).await, Settled::LeaseLost, "settled stays settled");
    assert_eq!(view(&world, hint.delivery_id).await.state, DeliveryState::Delivered);
}

async fn a_late_success_settles(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    let paused = claim_one(&world, hint).await;
    world.clock.advance(LEASE);
    world.database.expire_leases(world.now(), &policy(), 100).await.unwrap();
    let other = claim_one(&world, Hint { attempt: 1, ..hint }).await;
    assert_eq!(finish(&world, delivered(&paused, world.now())).await, Settled::Changed);
    assert_eq!(view(&world, hint.delivery_id).await.state, DeliveryState::Delivered);
    assert_eq!(finish(&world, failed(&other, world.now())).await, Settled::LeaseLost);
    assert_eq!(view(&world, hint.delivery_id).await.state, DeliveryState::Delivered);

    // A success of an earlier epoch says nothing about this one.
    let Replay::Begun(hint) = world.database.replay(hint.delivery_id, world.now(), REPUBLISH_AFTER).await.unwrap()
    else {
        panic!("no lease is on it");
    };
    assert_eq!(finish(&world, delivered(&paused, world.now())).await, Settled::LeaseLost);
    assert_eq!(view(&world, hint.delivery_id).await.state, DeliveryState::Pending);
}

async fn a_new_process_takes_over_from_one_that_is_gone(kind: Kind) {
    let world = World::new(kind).await;
    let hints = hints(&world, 1).await;
    claim_one(&world, hints[0]).await;
    assert!(due(&world).await.is_empty());
    assert_eq!(world.database.take_over(world.now()).await.unwrap(), 1);
    let hinted = ids(&due(&world).await);
    assert_eq!(hinted.len(), 3, "what was hinted at in memory only comes up at once, the operator's too");
    assert!(!hinted.contains(&hints[0].delivery_id));
    assert_eq!(world.database.expire_leases(world.now(), &policy(), 100).await.unwrap(), 1);
    assert!(due(&world).await.contains(&Hint { attempt: 1, ..hints[0] }));
    assert_eq!(world.database.take_over(world.now()).await.unwrap(), 0);
}

async fn a_replay_is_a_new_epoch(kind: Kind) {
    let world = World::new(kind).await;
    let hint = hints(&world, 1).await[0];
    let replay = async || world.database.replay(hint.delivery_id, world.now(), REPUBLISH_AFTER).await;
    let claimed = claim_one(&world, hint).await;
    assert_eq!(replay().await.unwrap(), Replay::Leased, "an attempt is running");
    finish(&world, delivered(&claimed, world.now())).await;
    let Replay::Begun(again) = replay().await.unwrap() else { panic!("no lease is on it") };
    assert_eq!(again, Hint { epoch: 2, attempt: 0, ..hint });
    assert!(claim(&world, &[hint, Hint { attempt: 1, ..hint }]).await.claimed.is_empty(), "old messages do nothing");
    let second = claim_one(&world, again).await;
    assert_eq!((second.event_id, second.body), (claimed.event_id, claimed.body), "the same message under the same id");
    assert_eq!((second.number, second.history.failures), (1, 0));
    let whole = view(&world, hint.delivery_id).await;
    let attempts: Vec<_> = whole.attempts.iter().map(|attempt| (attempt.epoch, attempt.number)).collect();
    assert_eq!((whole.epoch, whole.settled_at, attempts), (2, None, vec![(1, 1), (2, 1)]));
    // A lease that has run out is no attempt any more.
    world.clock.advance(LEASE);
    assert!(matches!(replay().await.unwrap(), Replay::Begun(Hint { epoch: 3, .. })));
    let nobody = world.database.replay(DeliveryId::new(world.now()), world.now(), REPUBLISH_AFTER).await;
    assert!(matches!(nobody, Err(StoreError::NotFound("delivery"))));
}

async fn the_backlog_counts_what_is_late_and_not_held(kind: Kind) {
    let mut world = World::new(kind).await;
    let born = world.now();
    let all = hints(&world, 2).await;
    let late = world.now().plus(Duration::from_millis(1));
    let waiting = async |world: &World, before| world.database.backlog(before).await.unwrap().waiting;
    assert_eq!(waiting(&world, born).await, 0, "what is due since a moment is no backlog");
    assert_eq!(waiting(&world, late).await, 8, "three for the affiliate and one for the operator, twice");
    let oldest = world.database.backlog(late).await.unwrap().oldest_first_due_at;
    assert_eq!(oldest, Some(view(&world, all[0].delivery_id).await.first_due_at));

    // Done is out of the line; what waits on a rung is in it, by its first due time.
    finish(&world, delivered(&claim_one(&world, all[0]).await, world.now())).await;
    finish(&world, failed(&claim_one(&world, all[1]).await, world.now())).await;
    assert_eq!(waiting(&world, late).await, 7);
    let filter = Filter { status: Some("delivered".to_owned()), ..Filter::default() };
    assert_eq!(world.database.deliveries(&filter, Page { before: None, limit: 9 }).await.unwrap().len(), 1);

    world.endpoint.status = EndpointStatus::Paused;
    world.put(&[Entry::Endpoint(world.endpoint.clone())]).await.unwrap();
    assert_eq!(waiting(&world, late).await, 2, "what is held is not late");
}
