//! What is old enough is deleted in steps; what somebody may still need stays.

use std::time::Duration;

use postback::domain::delivery::{AttemptOutcome, AttemptResult, Hint};
use postback::domain::ids::LeaseId;
use postback::domain::replay::{Note, Person};
use postback::domain::retry::{DeadReason, Next};
use postback::domain::time::Timestamp;
use postback::domain::verdict::Verdict;
use postback::store::deliveries::{Claim, Finished};
use postback::store::retention::{Kept, Prune};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World};

on_both_engines!(
    receipts_go_and_what_is_parked_stays,
    events_go_with_their_deliveries_once_nothing_is_to_be_done,
    one_holder_at_a_time_does_a_job,
);

/// Longer than anything in these tests takes.
const LATER: Duration = Duration::from_secs(3_600);

/// Steps of two rows each, to the end; how many were deleted in each.
async fn prune(world: &World, what: Kept, before: Timestamp) -> Vec<u64> {
    let (mut after, mut deleted) = (None, Vec::new());
    loop {
        let pruned = world.database.prune(what, Prune { after, before, limit: 2 }).await.unwrap();
        if pruned.reached.is_none() {
            return deleted;
        }
        after = pruned.reached;
        deleted.push(pruned.deleted);
    }
}

async fn receipts_go_and_what_is_parked_stays(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let first = world.accepted(world.a_lead(&click, "lead-1")).await;
    let parked = world.record(world.a_lead("of-nobody", "lead-2")).await.verdict;
    assert!(matches!(parked, Verdict::Parked(_)), "{parked:?}");
    assert_eq!(world.record(world.a_lead(&click, "lead-1")).await.verdict, Verdict::Duplicate);
    let between = world.now();
    world.clock.advance(LATER);
    assert_eq!(world.record(world.a_lead(&click, "lead-1")).await.verdict, Verdict::Duplicate);
    let raw = world.database.raw().await;
    assert_eq!(raw.count("receipts").await, 4);

    assert_eq!(prune(&world, Kept::Receipts, between).await, [1], "the duplicate came after that");
    assert_eq!(prune(&world, Kept::Receipts, between.plus(Duration::from_millis(1))).await, [1]);
    assert_eq!(raw.count("receipts").await, 2, "what is parked, and what came later");
    world.database.record_clicks(&[world.foreign_click("of-nobody")]).await.unwrap();
    let waiting = world.database.parked_ready(10).await.unwrap();
    let applied = world.database.apply_parked(&waiting, &world.catalog, world.terms()).await.unwrap();
    assert_eq!(applied.unparked.len(), 1, "it was still there to be judged");
    assert_eq!(prune(&world, Kept::Receipts, world.now().plus(LATER)).await, [2]);
    assert_eq!((raw.count("receipts").await, raw.count("receipt_verdicts").await), (0, 0));

    let again = world.record(world.a_lead(&click, "lead-1")).await;
    assert_eq!(
        (again.verdict, again.conversion_id),
        (Verdict::Duplicate, Some(first)),
        "what tells duplicates is kept"
    );
    world.assert_sound().await;
}

/// Attempts a delivery, which ends with it.
async fn attempt(world: &World, hint: Hint, outcome: AttemptOutcome) {
    let (now, lease) = (world.now(), Duration::from_secs(30));
    let claim = Claim { hint, lease_id: LeaseId::new(now) };
    let claimed = world.database.claim(&[claim], now, now, now.plus(lease)).await.unwrap().claimed.remove(0);
    let next = (outcome != AttemptOutcome::Delivered)
        .then_some(Next::Dead { failures: 1, reason: DeadReason::AttemptsExhausted });
    let duration = Duration::from_millis(1);
    let result = AttemptResult { outcome, status: Some(500), body_start: None, error: None, duration };
    world.database.finish(&[Finished { claimed, result, finished_at: now, next }], REPUBLISH_AFTER).await.unwrap();
}

async fn events_go_with_their_deliveries_once_nothing_is_to_be_done(kind: Kind) {
    let world = World::new(kind).await;
    let failed = AttemptOutcome::Failed { retry_after: None };
    let told = world.record_all([world.a_lead(&world.click(), "lead-1")]).await.hints;
    // Three events for the affiliate; others may be told of them too.
    let (own, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|hint| hint.endpoint_id == world.endpoint.id);
    let [delivered, dead, waits] = own[..] else { panic!("three are told: {own:?}") };
    for hint in others {
        attempt(&world, hint, AttemptOutcome::Delivered).await;
    }
    attempt(&world, delivered, AttemptOutcome::Delivered).await;
    attempt(&world, dead, failed).await;
    let raw = world.database.raw().await;
    let all = raw.count("events").await;
    assert_eq!(prune(&world, Kept::Events, world.now()).await.iter().sum::<u64>(), 0, "nothing ended before now");

    world.clock.advance(LATER);
    let deleted = i64::try_from(prune(&world, Kept::Events, world.now()).await.iter().sum::<u64>()).unwrap();
    assert_eq!(raw.count("events").await, all - deleted);
    assert_eq!(all - deleted, 2, "what waits, and what is dead and not acknowledged");
    for (hint, stays) in [(delivered, false), (dead, true), (waits, true)] {
        assert_eq!(world.database.delivery(hint.delivery_id).await.unwrap().is_some(), stays);
    }

    let note: Note = "closed down".parse().unwrap();
    world.database.acknowledge(dead.delivery_id, &note, Person::CommandLine, world.now()).await.unwrap();
    world.clock.advance(LATER);
    attempt(&world, waits, AttemptOutcome::Delivered).await;
    prune(&world, Kept::Events, world.now()).await;
    assert!(world.database.delivery(dead.delivery_id).await.unwrap().is_none(), "it was acknowledged an hour ago");
    assert!(world.database.delivery(waits.delivery_id).await.unwrap().is_some(), "it arrived just now");
    world.clock.advance(LATER);
    prune(&world, Kept::Events, world.now()).await;
    for table in ["events", "deliveries", "attempts", "delivery_acknowledgements"] {
        assert_eq!(raw.count(table).await, 0, "{table}");
    }
    world.assert_sound().await;
}

async fn one_holder_at_a_time_does_a_job(kind: Kind) {
    let world = World::new(kind).await;
    let (store, now) = (&world.database, world.now());
    let (one, other) = (LeaseId::new(now), LeaseId::new(now));
    let minute = Duration::from_secs(60);
    assert!(store.hold_job("j", one, now, now.plus(minute)).await.unwrap());
    assert!(!store.hold_job("j", other, now, now.plus(minute)).await.unwrap());
    assert!(store.hold_job("k", other, now, now.plus(minute)).await.unwrap(), "another job");
    let later = now.plus(minute / 2);
    assert!(store.hold_job("j", one, later, later.plus(minute)).await.unwrap(), "renewed");
    assert!(!store.hold_job("j", other, now.plus(minute), now.plus(minute * 2)).await.unwrap());
    let over = later.plus(minute);
    assert!(store.hold_job("j", other, over, over.plus(minute)).await.unwrap(), "it ran out");
    store.release_job("j", one).await.unwrap();
    assert!(!store.hold_job("j", one, over, over.plus(minute)).await.unwrap(), "it was not its to let go");
    store.release_job("j", other).await.unwrap();
    assert!(store.hold_job("j", one, over, over.plus(minute)).await.unwrap());
}
