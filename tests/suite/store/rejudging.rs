//! Receipts that are judged again: they book what their first arrival would have, once, and never change.

use std::sync::Arc;
use std::time::Duration;

use postback::domain::catalog::{Goal, GoalPolicy};
use postback::domain::commission::CommissionStanding;
use postback::domain::ids::ReceiptId;
use postback::domain::payout::Step;
use postback::domain::postback::ConversionStatus;
use postback::domain::replay::{Person, ReceiptFilter, Unbooked};
use postback::domain::verdict::{Code, ParkReason, Rejection, Verdict};
use postback::intake::catalog_cache::CatalogCache;
use postback::replay::Judge;
use postback::store::configuration::Entry;
use postback::store::reading::ReceiptView;
use postback::store::recording::Arrival;
use postback::store::replays::{Judged, ReceiptsReplayed, Rejudging};
use serde_json::json;

use super::payouts::send;
use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{PARK_FOR, REPUBLISH_AFTER, World, goal, said, with};

on_both_engines!(
    a_refused_receipt_books_what_its_first_arrival_would_have,
    what_was_booked_meanwhile_is_a_duplicate,
    what_was_paid_meanwhile_says_so,
    a_parked_receipt_is_judged_at_any_time,
    of_two_replays_at_once_one_books,
    an_older_postback_never_undoes_a_later_one,
    what_is_still_wrong_stays_refused,
    a_dry_run_says_what_would_be_created,
);

/// What judges in this world.
async fn judge(world: &World) -> Judge {
    Judge {
        store: world.store(),
        catalog: CatalogCache::load(world.store()).await.unwrap(),
        clock: world.clock.clone(),
        park_for: PARK_FOR,
        republish_after: REPUBLISH_AFTER,
    }
}

/// Records a request that was refused for `code`.
async fn refused(world: &World, query: &str, code: Code) -> ReceiptId {
    let mut arrival = world.arrival(Err(Rejection::new(code)));
    arrival.request.query = query.to_owned();
    record(world, arrival).await
}

async fn record(world: &World, arrival: Arrival) -> ReceiptId {
    let recorded = world.database.record_batch(&[arrival], &world.catalog, world.terms()).await.unwrap();
    recorded.outcomes[0].receipt_id
}

/// Judges a receipt again; `None` where it is booked already.
async fn again(world: &World, id: ReceiptId, dry_run: bool) -> Option<Judged> {
    world.clock.advance(Duration::from_millis(5));
    let request = world.database.stored_request(id).await.unwrap().unwrap();
    let work = Rejudging { items: Vec::new(), by: Person::CommandLine, dry_run, step: None };
    match judge(world).await.judge(&[request], work, usize::MAX).await.unwrap() {
        ReceiptsReplayed::Judged(mut judgements) => judgements.judged.pop(),
        ReceiptsReplayed::Lost => panic!("no job"),
    }
}

async fn verdict(world: &World, id: ReceiptId) -> Verdict {
    again(world, id, false).await.expect("it is open").outcome.verdict
}

async fn receipt(world: &World, id: ReceiptId) -> ReceiptView {
    world.database.receipt(id).await.unwrap().unwrap()
}

async fn a_refused_receipt_books_what_its_first_arrival_would_have(kind: Kind) {
    let world = World::new(kind).await;
    let query = format!("click_id={}&goal=lead&event_id=e1&token=redacted&ts=1&signature=redacted", world.click());
    let id = refused(&world, &query, Code::SignatureStale).await;
    let before = receipt(&world, id).await;
    // By now the click is out of the program's window.
    world.clock.advance(Duration::from_secs(40 * 86_400));
    let dry = again(&world, id, true).await.unwrap();
    assert_eq!(dry.outcome.verdict, Verdict::Accepted);
    let earned = dry.booked.unwrap().commission.unwrap();
    assert_eq!(earned.money.amount_text(), "5.00");
    let raw = world.database.raw().await;
    for table in ["conversions", "receipt_verdicts", "dedup_keys", "events", "deliveries", "ledger_entries"] {
        assert_eq!(raw.count(table).await, 0, "{table}");
    }

    let judged = again(&world, id, false).await.unwrap();
    assert_eq!(judged.outcome.verdict, Verdict::Accepted);
    let conversion = world.database.conversion(judged.outcome.conversion_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((conversion.received_at, conversion.receipt_id), (before.received_at, id));
    world.assert_owed("5").await;
    let after = receipt(&world, id).await;
    let [later] = after.later_verdicts.as_slice() else { panic!("{after:?}") };
    assert_eq!((later.verdict.as_str(), later.replayed_by.as_deref()), ("accepted", Some("command line")));
    assert_eq!(
        (after.query, after.received_at, after.verdict.as_str()),
        (before.query, before.received_at, "accepted")
    );
    assert!(again(&world, id, false).await.is_none(), "booked is booked");
    world.assert_owed("5").await;
}

async fn what_was_booked_meanwhile_is_a_duplicate(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = refused(&world, &format!("click_id={click}&goal=lead&event_id=e1"), Code::SignatureInvalid).await;
    let booked = world.accepted(world.a_lead(&click, "e1")).await;
    let events = world.database.raw().await.count("events").await;
    let judged = again(&world, id, false).await.unwrap();
    assert_eq!((judged.outcome.verdict, judged.outcome.conversion_id), (Verdict::Duplicate, Some(booked)));
    assert_eq!(world.database.raw().await.count("events").await, events, "a duplicate tells nobody");
    world.assert_owed("5").await;
    assert!(again(&world, id, false).await.is_none(), "known is known");
}

async fn what_was_paid_meanwhile_says_so(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = refused(&world, &format!("click_id={click}&goal=lead&event_id=e1"), Code::SignatureInvalid).await;
    world.accepted(world.a_lead(&click, "e1")).await;
    let payout = world.payout("k1").await;
    let standing = async || again(&world, id, true).await.unwrap().standing;
    assert_eq!(standing().await, Some(CommissionStanding::Stated));
    world.steps(payout.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    assert_eq!(standing().await, Some(CommissionStanding::Paid));
    assert_eq!(again(&world, id, false).await.unwrap().standing, Some(CommissionStanding::Paid));
}

async fn a_parked_receipt_is_judged_at_any_time(kind: Kind) {
    let world = World::new(kind).await;
    let fields = world.a_lead("foreign", "e1");
    let mut arrival = world.arrival(Ok(said(fields)));
    arrival.request.query = "click_id=foreign&goal=lead&event_id=e1".to_owned();
    let id = record(&world, arrival).await;
    let raw = world.database.raw().await;
    assert_eq!(raw.count("parked").await, 1);
    assert_eq!(verdict(&world, id).await, Verdict::Parked(ParkReason::UnknownClick));
    assert_eq!(raw.count("parked").await, 1, "it waits on");

    // Its time is over; a replay gives it as long again.
    let instant = Duration::from_millis(1);
    world.clock.advance(PARK_FOR - instant);
    assert_eq!(world.database.expire_parked(world.now(), 10).await.unwrap(), 0, "counted from its arrival it is over");
    world.clock.advance(instant);
    assert_eq!(world.database.expire_parked(world.now(), 10).await.unwrap(), 1);
    assert_eq!(receipt(&world, id).await.verdict, "rejected");
    assert_eq!(verdict(&world, id).await, Verdict::Parked(ParkReason::UnknownClick));
    assert_eq!(world.database.expire_parked(world.now(), 10).await.unwrap(), 0);

    let click = world.foreign_click("foreign");
    world.database.record_clicks(&[click]).await.unwrap();
    assert_eq!(again(&world, id, true).await.unwrap().outcome.verdict, Verdict::Accepted);
    assert_eq!(raw.count("parked").await, 1, "a dry run leaves it parked");
    assert_eq!(verdict(&world, id).await, Verdict::Accepted);
    assert_eq!(raw.count("parked").await, 0);
    world.assert_owed("5").await;
}

async fn of_two_replays_at_once_one_books(kind: Kind) {
    let world = World::new(kind).await;
    let query = format!("click_id={}&goal=lead&event_id=e1", world.click());
    let id = refused(&world, &query, Code::IpDenied).await;
    let request = world.database.stored_request(id).await.unwrap().unwrap();
    let judge = Arc::new(judge(&world).await);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (judge, request) = (Arc::clone(&judge), request.clone());
            tokio::spawn(async move {
                let work = Rejudging { items: Vec::new(), by: Person::CommandLine, dry_run: false, step: None };
                match judge.judge(&[request], work, 0).await.unwrap() {
                    ReceiptsReplayed::Judged(judgements) => judgements.judged.len(),
                    ReceiptsReplayed::Lost => 0,
                }
            })
        })
        .collect();
    let mut judged = 0;
    for task in tasks {
        judged += task.await.unwrap();
    }
    assert_eq!(judged, 1, "the others find it booked");
    assert_eq!(receipt(&world, id).await.later_verdicts.len(), 1);
    world.assert_owed("5").await;
}

async fn an_older_postback_never_undoes_a_later_one(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let query = |amount: u32, more: &str| {
        format!("click_id={click}&goal=sale&event_id=e1&amount={amount}&status=approved{more}")
    };
    let older = refused(&world, &query(50, ""), Code::SignatureInvalid).await;
    let versioned = refused(&world, &query(70, "&version=9"), Code::SignatureInvalid).await;
    world.accepted(with(world.a_sale(&click, "e1"), json!({"version": 3}))).await;
    assert_eq!(verdict(&world, older).await, Verdict::Rejected(Code::ConflictingRevision));
    let amount = || async { world.database.raw().await.texts("SELECT CAST(revision AS TEXT) FROM conversions").await };
    assert_eq!(amount().await, ["1"]);
    assert_eq!(verdict(&world, versioned).await, Verdict::Updated, "the sender says itself that it is newer");
    assert_eq!(amount().await, ["2"]);
    world.assert_sound().await;
}

async fn what_is_still_wrong_stays_refused(kind: Kind) {
    let mut world = World::new(kind).await;
    let click = world.click();
    let broken = refused(&world, &format!("click_id={click}&goal=lead&amount=many"), Code::BadAmount).await;
    let lossy = refused(&world, &format!("click_id={click}\u{fffd}&goal=lead"), Code::Encoding).await;
    let unknown = refused(&world, &format!("click_id={click}&goal=vip&event_id=e1"), Code::UnknownGoal).await;
    for (id, code) in [(broken, Code::BadAmount), (lossy, Code::Encoding), (unknown, Code::UnknownGoal)] {
        assert_eq!(verdict(&world, id).await, Verdict::Rejected(code));
        let view = receipt(&world, id).await;
        assert_eq!((view.later_verdicts.len(), view.code.as_deref()), (1, Some(code.as_str())));
    }
    let vip: Goal = goal(world.now(), world.program.id, "vip", GoalPolicy::Once, ConversionStatus::Approved);
    world.put(&[Entry::Goal(vip)]).await.unwrap();
    assert_eq!(verdict(&world, unknown).await, Verdict::Accepted, "the cause is mended");
}

async fn a_dry_run_says_what_would_be_created(kind: Kind) {
    let world = World::new(kind).await;
    for event in ["e1", "e2"] {
        let query = format!("click_id={}&goal=lead&event_id={event}", world.click());
        refused(&world, &query, Code::SignatureStale).await;
    }
    refused(&world, "goal=lead&amount=x", Code::BadAmount).await;
    world.clock.advance(Duration::from_secs(1));
    let run = judge(&world).await.dry_run(&ReceiptFilter::default(), Person::CommandLine).await.unwrap();
    assert_eq!(run.matched, 3);
    assert_eq!(run.verdicts().into_iter().collect::<Vec<_>>(), [("accepted", 2), ("rejected", 1)]);
    let filter = ReceiptFilter { code: Some("signature_stale".parse().unwrap()), ..ReceiptFilter::default() };
    assert_eq!(judge(&world).await.dry_run(&filter, Person::CommandLine).await.unwrap().matched, 2);
    let filter = ReceiptFilter { verdict: Unbooked::Parked, ..ReceiptFilter::default() };
    assert_eq!(judge(&world).await.dry_run(&filter, Person::CommandLine).await.unwrap().matched, 0);
    world.assert_owed("0").await;
}
