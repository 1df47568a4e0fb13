//! What people decide about what failed: dead deliveries are let be, many are replayed.

use std::time::Duration;

use postback::domain::delivery::{AttemptOutcome, AttemptResult, DeliveryState, Hint};
use postback::domain::event::EventType;
use postback::domain::ids::{DeliveryId, LeaseId, ReplayId};
use postback::domain::replay::{DeliveryFilter, Note, Person, ReplayState, Selection, SettledState, Skip, Window};
use postback::domain::retry::{DeadReason, Next};
use postback::store::StoreError;
use postback::store::deliveries::{Claim, Finished, Replay};
use postback::store::reading::{DeliveryView, Filter, Page};
use postback::store::replays::{Acknowledged, Canceled, NewReplay, ReplayView, Step, Stepped};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World};

on_both_engines!(
    a_dead_delivery_is_let_be_until_it_is_replayed,
    only_what_is_dead_is_let_be,
    a_job_replays_what_matched_once,
    filters_narrow,
    what_changed_meanwhile_is_skipped_with_its_reason,
    a_canceled_job_does_nothing_more,
    a_job_left_behind_is_taken_up,
);

/// Records a lead, and answers the hints about what the affiliate is told of it: three.
async fn told(world: &World, event: &str) -> Vec<Hint> {
    let mut hints = world.record_all([world.a_lead(&world.click(), event)]).await.hints;
    hints.retain(|hint| hint.endpoint_id == world.endpoint.id);
    hints
}

/// Attempts a delivery; it fails for good.
async fn die(world: &World, hint: Hint) {
    let (now, lease) = (world.now(), Duration::from_secs(30));
    let claim = Claim { hint, lease_id: LeaseId::new(now) };
    let claimed = world.database.claim(&[claim], now, now, now.plus(lease)).await.unwrap().claimed.remove(0);
    let outcome = AttemptOutcome::Failed { retry_after: None };
    let result =
        AttemptResult { outcome, status: Some(500), body_start: None, error: None, duration: Duration::from_millis(1) };
    let next = Some(Next::Dead { failures: 1, reason: DeadReason::AttemptsExhausted });
    world.database.finish(&[Finished { claimed, result, finished_at: now, next }], REPUBLISH_AFTER).await.unwrap();
}

async fn view(world: &World, id: DeliveryId) -> DeliveryView {
    world.database.delivery(id).await.unwrap().unwrap()
}

async fn acknowledged(world: &World, acknowledged: bool) -> Vec<DeliveryId> {
    let filter = Filter { status: Some("dead".to_owned()), acknowledged: Some(acknowledged), ..Filter::default() };
    let page = Page { before: None, limit: 100 };
    world.database.deliveries(&filter, page).await.unwrap().iter().map(|delivery| delivery.id).collect()
}

fn note(text: &str) -> Note {
    text.parse().unwrap()
}

async fn a_dead_delivery_is_let_be_until_it_is_replayed(kind: Kind) {
    let world = World::new(kind).await;
    let [one, other, ..] = told(&world, "lead-1").await[..] else { panic!("three are told") };
    die(&world, one).await;
    die(&world, other).await;
    assert_eq!(world.database.dead_waiting().await.unwrap(), 2);
    let by = Person::Key(world.operator_key.1.id);
    let wish = world.database.acknowledge(one.delivery_id, &note("closed down"), by, world.now()).await.unwrap();
    let Acknowledged::Is(first) = wish else { panic!("it is dead") };
    assert_eq!((first.note.as_str(), first.by, first.at), ("closed down", by, world.now()));
    world.clock.advance(Duration::from_secs(1));
    let again = world.database.acknowledge(one.delivery_id, &note("other"), Person::CommandLine, world.now()).await;
    assert_eq!(again.unwrap(), Acknowledged::Is(first.clone()), "the first one stands");
    assert_eq!(view(&world, one.delivery_id).await.acknowledgement, Some(first));
    assert_eq!(world.database.dead_waiting().await.unwrap(), 1);
    assert_eq!(acknowledged(&world, true).await, [one.delivery_id]);
    assert_eq!(acknowledged(&world, false).await, [other.delivery_id]);

    let replay = world.database.replay(one.delivery_id, world.now(), REPUBLISH_AFTER).await.unwrap();
    let Replay::Begun(hint) = replay else { panic!("nothing runs") };
    assert_eq!(view(&world, one.delivery_id).await.acknowledgement, None, "that was said of its first life");
    die(&world, hint).await;
    assert_eq!(world.database.dead_waiting().await.unwrap(), 2);
    let wish = world.database.acknowledge(one.delivery_id, &note("again"), Person::CommandLine, world.now()).await;
    let Acknowledged::Is(second) = wish.unwrap() else { panic!("it is dead again") };
    assert_eq!((second.note.as_str(), second.by), ("again", Person::CommandLine));
    assert_eq!(world.database.raw().await.count("delivery_acknowledgements").await, 2);
}

async fn only_what_is_dead_is_let_be(kind: Kind) {
    let world = World::new(kind).await;
    let hint = told(&world, "lead-1").await[0];
    let wish = async |id| world.database.acknowledge(id, &note("why"), Person::CommandLine, world.now()).await;
    assert_eq!(wish(hint.delivery_id).await.unwrap(), Acknowledged::NotDead(DeliveryState::Pending));
    let unknown = wish(DeliveryId::new(world.now())).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("delivery"))), "{unknown:?}");
    assert_eq!(world.database.raw().await.count("delivery_acknowledgements").await, 0);
}

/// So many dead deliveries of the affiliate, a multiple of three.
async fn dead(world: &World, count: usize) -> Vec<Hint> {
    let mut all = Vec::new();
    for lead in 0..count / 3 {
        let hints = told(world, &format!("lead-{lead}")).await;
        assert_eq!(hints.len(), 3);
        for hint in &hints {
            die(world, *hint).await;
        }
        all.extend(hints);
    }
    all.sort_by_key(|hint| hint.delivery_id);
    all
}

async fn job(world: &World, filter: DeliveryFilter) -> ReplayView {
    world.clock.advance(Duration::from_secs(1));
    let now = world.now();
    let new = NewReplay {
        id: ReplayId::new(now),
        selection: Selection::Deliveries(filter),
        rate: 50,
        created_at: now,
        created_by: Person::CommandLine,
    };
    world.database.create_replay(&new).await.unwrap()
}

async fn lease(world: &World) -> Option<(ReplayId, LeaseId)> {
    let lease = LeaseId::new(world.now());
    let until = world.now().plus(Duration::from_secs(30));
    let claimed = world.database.claim_replay(lease, world.now(), until).await.unwrap();
    claimed.map(|job| (job.id, lease))
}

async fn step(world: &World, (replay_id, lease_id): (ReplayId, LeaseId), limit: i64) -> Stepped {
    let now = world.now();
    let step = Step { replay_id, lease_id, now, lease_until: now.plus(Duration::from_secs(30)), limit };
    world.database.replay_deliveries(step, REPUBLISH_AFTER, usize::MAX).await.unwrap()
}

async fn stands(world: &World, id: ReplayId) -> ReplayView {
    world.database.replay_job(id).await.unwrap().unwrap()
}

fn ids(hints: &[Hint]) -> Vec<DeliveryId> {
    let mut ids: Vec<DeliveryId> = hints.iter().map(|hint| hint.delivery_id).collect();
    ids.sort();
    ids
}

async fn a_job_replays_what_matched_once(kind: Kind) {
    let world = World::new(kind).await;
    let dead = dead(&world, 6).await;
    let made = job(&world, DeliveryFilter::default()).await;
    assert_eq!((made.matched, made.replayed, made.state), (6, 0, ReplayState::Running));
    let later = told(&world, "later").await;
    die(&world, later[0]).await;

    let held = lease(&world).await.expect("nobody works it");
    assert_eq!(held.0, made.id);
    assert_eq!(lease(&world).await, None, "one works it at a time");
    assert_eq!(step(&world, (made.id, LeaseId::new(world.now())), 4).await, Stepped::Lost);
    let Stepped::Some { looked_at: 4, hints } = step(&world, held, 4).await else { panic!("two are left") };
    assert_eq!(ids(&hints), ids(&dead[..4]));
    assert!(hints.iter().all(|hint| (hint.epoch, hint.attempt) == (2, 0)), "{hints:?}");
    let now = stands(&world, made.id).await;
    assert_eq!((now.replayed, now.state), (4, ReplayState::Running));

    // One dies again at once: the job is past it.
    die(&world, hints[0]).await;
    let Stepped::Done { hints } = step(&world, held, 4).await else { panic!("nothing is left") };
    assert_eq!(ids(&hints), ids(&dead[4..]));
    let done = stands(&world, made.id).await;
    assert_eq!((done.replayed, done.state, done.skipped.len()), (6, ReplayState::Done, 0));
    assert_eq!((done.ended_at, done.created_by), (Some(world.now()), Person::CommandLine));
    assert_eq!(step(&world, held, 4).await, Stepped::Lost);
    assert_eq!(lease(&world).await, None);
    assert_eq!(view(&world, later[0].delivery_id).await.state, DeliveryState::Dead, "it died after the job was made");
    let page = Page { before: None, limit: 10 };
    assert_eq!(world.database.replay_jobs(Some("done".to_owned()), page).await.unwrap().len(), 1);
    assert_eq!(world.database.replay_jobs(Some("running".to_owned()), page).await.unwrap().len(), 0);
}

async fn filters_narrow(kind: Kind) {
    let world = World::new(kind).await;
    let began = world.now();
    let dead = dead(&world, 6).await;
    world.clock.advance(Duration::from_secs(60));
    let matching = async |filter: DeliveryFilter| {
        let (count, sample) = world.database.matching_deliveries(&filter, world.now(), 2).await.unwrap();
        assert_eq!(i64::try_from(sample.len()).unwrap(), count.min(2));
        count
    };
    let all = DeliveryFilter::default;
    let to = |at| Window { from: None, to: Some(at) };
    let from = |at| Window { from: Some(at), to: None };
    assert_eq!(matching(all()).await, 6);
    assert_eq!(matching(DeliveryFilter { endpoint_id: Some(world.endpoint.id), ..all() }).await, 6);
    assert_eq!(matching(DeliveryFilter { endpoint_id: Some(world.operator_endpoint.id), ..all() }).await, 0);
    assert_eq!(matching(DeliveryFilter { affiliate_id: Some(world.affiliate.id), ..all() }).await, 6);
    assert_eq!(matching(DeliveryFilter { operator_id: Some(world.operator.id), ..all() }).await, 0);
    assert_eq!(matching(DeliveryFilter { event_type: Some(EventType::CommissionCreated), ..all() }).await, 2);
    assert_eq!(matching(DeliveryFilter { dead_reason: Some(DeadReason::TooOld), ..all() }).await, 0);
    assert_eq!(matching(DeliveryFilter { dead_reason: Some(DeadReason::AttemptsExhausted), ..all() }).await, 6);
    assert_eq!(matching(DeliveryFilter { state: SettledState::Delivered, ..all() }).await, 0);
    assert_eq!(matching(DeliveryFilter { window: to(began), ..all() }).await, 0);
    assert_eq!(matching(DeliveryFilter { window: from(began), ..all() }).await, 6);
    assert_eq!(matching(DeliveryFilter { window: from(world.now()), ..all() }).await, 0);
    let first = view(&world, dead[0].delivery_id).await.created_at;
    let apart = first.plus(Duration::from_micros(1));
    assert_eq!(matching(DeliveryFilter { window: to(apart), ..all() }).await, 3);
    assert_eq!(matching(DeliveryFilter { window: from(apart), ..all() }).await, 3);
    let why = note("x");
    let acknowledge = world.database.acknowledge(dead[0].delivery_id, &why, Person::CommandLine, world.now());
    assert!(matches!(acknowledge.await.unwrap(), Acknowledged::Is(_)));
    assert_eq!(matching(all()).await, 5, "what a person lets be is let be");
    assert_eq!(matching(DeliveryFilter { acknowledged: true, ..all() }).await, 6);
}

async fn what_changed_meanwhile_is_skipped_with_its_reason(kind: Kind) {
    let world = World::new(kind).await;
    let dead = dead(&world, 3).await;
    let made = job(&world, DeliveryFilter::default()).await;
    let single = world.database.replay(dead[0].delivery_id, world.now(), REPUBLISH_AFTER).await.unwrap();
    assert!(matches!(single, Replay::Begun(_)));
    // A lease on a dead row is a fault; whatever put it there may be sending.
    let raw = world.database.raw().await;
    let until = match kind {
        Kind::Sqlite => world.now().plus(Duration::from_secs(60)).micros().to_string(),
        Kind::Postgres => format!("'{}'", world.now().plus(Duration::from_secs(60))),
    };
    let plant = format!(
        "UPDATE deliveries SET lease_id = id, lease_until = {until} WHERE state = 'dead' AND id = \
         (SELECT id FROM deliveries WHERE state = 'dead' ORDER BY id DESC LIMIT 1)"
    );
    assert_eq!(raw.execute(&plant).await.unwrap(), 1);
    let held = lease(&world).await.unwrap();
    let Stepped::Done { hints } = step(&world, held, 10).await else { panic!("nothing is left") };
    assert_eq!(ids(&hints), [dead[1].delivery_id]);
    let done = stands(&world, made.id).await;
    let skipped: Vec<_> = done.skipped.into_iter().collect();
    assert_eq!((done.matched, done.replayed), (3, 1));
    assert_eq!(skipped, [(Skip::AttemptRunning, 1), (Skip::Changed, 1)]);
}

async fn a_canceled_job_does_nothing_more(kind: Kind) {
    let world = World::new(kind).await;
    dead(&world, 3).await;
    let made = job(&world, DeliveryFilter::default()).await;
    let held = lease(&world).await.unwrap();
    step(&world, held, 1).await;
    let by = Person::Key(world.operator_key.1.id);
    let Canceled::Is(canceled) = world.database.cancel_replay(made.id, by, world.now()).await.unwrap() else {
        panic!("it runs")
    };
    assert_eq!((canceled.state, canceled.canceled_by, canceled.replayed), (ReplayState::Canceled, Some(by), 1));
    let again = world.database.cancel_replay(made.id, Person::CommandLine, world.now()).await.unwrap();
    assert!(matches!(again, Canceled::Is(stands) if stands.canceled_by == Some(by)), "the first one stands");
    assert_eq!(step(&world, held, 1).await, Stepped::Lost);
    assert_eq!(lease(&world).await, None);
    assert_eq!(world.database.count_in_state(DeliveryState::Dead).await.unwrap(), 2);
    let unknown = world.database.cancel_replay(ReplayId::new(world.now()), by, world.now()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("replay"))));

    let other = job(&world, DeliveryFilter::default()).await;
    let held = lease(&world).await.unwrap();
    assert!(matches!(step(&world, held, 10).await, Stepped::Done { .. }));
    let late = world.database.cancel_replay(other.id, by, world.now()).await.unwrap();
    assert!(matches!(late, Canceled::WasDone));
}

async fn a_job_left_behind_is_taken_up(kind: Kind) {
    let world = World::new(kind).await;
    dead(&world, 3).await;
    let made = job(&world, DeliveryFilter::default()).await;
    let gone = lease(&world).await.unwrap();
    step(&world, gone, 1).await;
    world.clock.advance(Duration::from_secs(31));
    let other = lease(&world).await.expect("its lease ran out");
    assert_eq!(step(&world, gone, 1).await, Stepped::Lost, "a paused instance changes nothing");
    step(&world, other, 1).await;
    world.database.release_replay(made.id, other.1).await.unwrap();
    let third = lease(&world).await.expect("it was let go");
    step(&world, third, 1).await;
    world.database.take_over(world.now()).await.unwrap();
    let fourth = lease(&world).await.expect("the process before is gone");
    assert!(matches!(step(&world, fourth, 1).await, Stepped::Done { .. }));
    assert_eq!(stands(&world, made.id).await.replayed, 3);
    assert_eq!(world.database.count_in_state(DeliveryState::Dead).await.unwrap(), 0);
}
