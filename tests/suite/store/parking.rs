//! What waits: for its click, for its sale, until its time is over.

use std::time::Duration;

use postback::domain::booking::Outcome;
use postback::domain::click::LinkCode;
use postback::domain::dedup::{Visitor, wait_key};
use postback::domain::verdict::{ParkReason, Verdict};
use postback::store::configuration::Entry;
use postback::store::recording::Recorded;
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{PARK_FOR, World, link, operator, program, with};

on_both_engines!(
    what_waits_for_its_click_is_applied_in_the_order_received,
    an_arrival_wakes_what_waited_before_it,
    a_refund_before_its_sale_waits_for_it,
    a_refund_before_its_sale_in_one_batch_is_applied_after_it,
    a_refund_before_its_sale_finds_it_by_the_once_key,
    a_refund_that_overtook_the_approval_ends_the_sale,
    a_refund_of_an_unknown_click_waits_twice,
    a_refund_under_its_own_event_id_waits_for_the_click_first,
    what_still_waits_does_not_come_up_for_ever,
    customers_alone_wait,
    another_operators_click_is_unknown,
    time_runs_out,
);

async fn wake(world: &World) -> Recorded {
    let ready = world.database.parked_ready(100).await.unwrap();
    world.database.apply_parked(&ready, &world.catalog, world.terms()).await.unwrap()
}

fn verdicts(outcomes: &[Outcome]) -> Vec<Verdict> {
    outcomes.iter().map(|outcome| outcome.verdict).collect()
}

async fn parks(world: &World, fields: Value, reason: ParkReason) -> Outcome {
    let outcome = world.record(fields).await;
    assert_eq!(outcome.verdict, Verdict::Parked(reason));
    assert_eq!(outcome.conversion_id, None);
    outcome
}

fn reversal(event: &str) -> Value {
    json!({ "event_id": event, "status": "reversed" })
}

async fn what_waits_for_its_click_is_applied_in_the_order_received(kind: Kind) {
    let world = World::new(kind).await;
    let sale = |amount: &str| with(world.a_sale("c1", "e1"), json!({ "amount": amount }));
    for amount in ["10", "12", "11"] {
        parks(&world, sale(amount), ParkReason::UnknownClick).await;
    }
    assert_eq!(world.database.parked_ready(100).await.unwrap(), Vec::<String>::new());
    assert!(world.balances().await.is_empty());
    let raw = world.database.raw().await;
    assert_eq!((raw.count("parked").await, raw.count("dedup_keys").await), (3, 0), "what waits takes no key");

    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    let key = wait_key(world.operator.id, Visitor::Click("c1"));
    assert_eq!(world.database.parked_ready(100).await.unwrap(), [key]);
    let recorded = wake(&world).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Accepted, Verdict::Updated, Verdict::Updated]);
    assert!(recorded.outcomes.is_empty() && !recorded.hints.is_empty());
    let id = recorded.unparked[0].conversion_id.unwrap();
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!((view.amount, view.revision), (Some("11".parse().unwrap()), 3));
    world.assert_owed("20").await;

    let receipt = world.database.receipt(recorded.unparked[0].receipt_id).await.unwrap().unwrap();
    assert_eq!((receipt.verdict.as_str(), receipt.conversion_id), ("accepted", Some(id)));
    assert_eq!(receipt.later_verdicts.len(), 1);
    assert_eq!(raw.number("SELECT count(*) FROM receipts WHERE verdict = 'parked'").await, 3, "receipts never change");
    assert_eq!(raw.count("parked").await, 0);
    assert!(wake(&world).await.unparked.is_empty());
}

async fn an_arrival_wakes_what_waited_before_it(kind: Kind) {
    let world = World::new(kind).await;
    parks(&world, world.a_lead("c1", "early"), ParkReason::UnknownClick).await;
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    let recorded = world.record_all([world.a_lead("c1", "late")]).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Accepted]);
    assert_eq!(verdicts(&recorded.outcomes), [Verdict::Duplicate]);
    assert_eq!(recorded.outcomes[0].conversion_id, recorded.unparked[0].conversion_id);
    let view = world.database.conversion(recorded.unparked[0].conversion_id.unwrap()).await.unwrap().unwrap();
    assert_eq!(view.event_id.as_deref(), Some("early"), "the one received first stands");
    world.assert_owed("5").await;
}

async fn a_refund_before_its_sale_waits_for_it(kind: Kind) {
    let world = World::new(kind).await;
    let parked = parks(&world, reversal("e1"), ParkReason::OriginalMissing).await;
    let recorded = world.record_all([world.a_sale(&world.click(), "e1")]).await;
    assert_eq!(verdicts(&recorded.outcomes), [Verdict::Accepted]);
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Updated]);
    assert_eq!(recorded.unparked[0].receipt_id, parked.receipt_id);
    world.assert_owed("0").await;
    assert_eq!(world.database.raw().await.count("ledger_transactions").await, 2, "booked, and taken back");
}

async fn a_refund_before_its_sale_in_one_batch_is_applied_after_it(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let recorded = world.record_all([reversal("e1"), reversal("e2"), sale]).await;
    let waits = Verdict::Parked(ParkReason::OriginalMissing);
    assert_eq!(verdicts(&recorded.outcomes), [Verdict::Updated, waits, Verdict::Accepted]);
    assert_eq!(recorded.outcomes[0].conversion_id, recorded.outcomes[2].conversion_id);
    assert_eq!(world.database.raw().await.count("parked").await, 1);
    world.assert_owed("0").await;
}

async fn a_refund_before_its_sale_finds_it_by_the_once_key(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let refund = with(world.a_lead(&click, "refund"), json!({ "status": "reversed" }));
    parks(&world, refund, ParkReason::OriginalMissing).await;
    let recorded = world.record_all([world.a_lead(&click, "e1")]).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Updated]);
    world.assert_owed("0").await;
}

async fn a_refund_that_overtook_the_approval_ends_the_sale(kind: Kind) {
    let world = World::new(kind).await;
    let sale =
        |status: &str, version: i64| with(world.a_sale("c1", "e1"), json!({ "status": status, "version": version }));
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    parks(&world, sale("reversed", 3), ParkReason::OriginalMissing).await;
    let recorded = world.record_all([sale("pending", 1)]).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Updated]);
    assert_eq!(world.record(sale("approved", 2)).await.verdict, Verdict::Duplicate);
    world.assert_owed("0").await;
}

async fn a_refund_of_an_unknown_click_waits_twice(kind: Kind) {
    let world = World::new(kind).await;
    // Without an event id and with an unknown click nobody can say which event is meant: first the click is missing.
    let refund = json!({ "click_id": "c1", "goal": "lead", "status": "reversed" });
    parks(&world, refund, ParkReason::UnknownClick).await;
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    assert_eq!(verdicts(&wake(&world).await.unparked), [Verdict::Parked(ParkReason::OriginalMissing)]);
    assert_eq!(
        world.database.parked_ready(100).await.unwrap(),
        Vec::<String>::new(),
        "it waits for something else now"
    );
    let recorded = world.record_all([world.a_lead("c1", "e1")]).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Updated]);
    world.assert_owed("0").await;
}

async fn a_refund_under_its_own_event_id_waits_for_the_click_first(kind: Kind) {
    let world = World::new(kind).await;
    let refund = json!({ "click_id": "c1", "goal": "lead", "event_id": "r9", "status": "reversed" });
    parks(&world, refund, ParkReason::UnknownClick).await;
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    assert_eq!(verdicts(&wake(&world).await.unparked), [Verdict::Parked(ParkReason::OriginalMissing)]);
    let recorded = world.record_all([world.a_lead("c1", "e1")]).await;
    assert_eq!(verdicts(&recorded.unparked), [Verdict::Updated], "whatever event id the lead comes under");
    world.assert_owed("0").await;
}

async fn what_still_waits_does_not_come_up_for_ever(kind: Kind) {
    let world = World::new(kind).await;
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    // Its click is known, its sale is not.
    parks(&world, with(world.a_sale("c1", "e1"), json!({ "status": "reversed" })), ParkReason::OriginalMissing).await;
    assert_eq!(world.database.parked_ready(100).await.unwrap(), Vec::<String>::new());
    // Its sale is recorded by an instance that does not see the parked row: the join finds it.
    let raw = world.database.raw().await;
    raw.execute("UPDATE parked SET wait_key = 'away:' || wait_key").await.unwrap();
    world.accepted(world.a_sale("c1", "e1")).await;
    raw.execute("UPDATE parked SET wait_key = substr(wait_key, 6)").await.unwrap();
    assert_eq!(world.database.parked_ready(100).await.unwrap().len(), 1);
    assert_eq!(verdicts(&wake(&world).await.unparked), [Verdict::Updated]);
    world.assert_owed("0").await;
}

async fn customers_alone_wait(kind: Kind) {
    let world = World::new(kind).await;
    let customer = json!({ "customer_id": "k1", "event_id": "e1", "goal": "sale" });
    parks(&world, customer, ParkReason::UnknownCustomer).await;
    assert_eq!(world.database.parked_ready(100).await.unwrap(), Vec::<String>::new());
    let with_click = json!({ "customer_id": "k1", "click_id": world.click(), "event_id": "e2", "goal": "sale" });
    world.accepted(with_click).await;
}

async fn another_operators_click_is_unknown(kind: Kind) {
    let mut world = World::new(kind).await;
    let now = world.now();
    let other = operator(now, "Other");
    let theirs = program(now, other.id, None);
    let their_link = link(now, theirs.id, world.affiliate.id);
    world
        .put(&[Entry::Operator(other.clone()), Entry::Program(theirs.clone()), Entry::Link(their_link.clone())])
        .await
        .unwrap();
    let own = world.click_on(their_link.code, now);
    let mut imported = world.foreign_click("theirs");
    (imported.operator_id, imported.program_id) = (other.id, theirs.id);
    world.database.record_clicks(&[imported]).await.unwrap();
    let nobodys = world.click_on(LinkCode::generate(), now);
    let answers = [
        parks(&world, world.a_lead(&own, "e1"), ParkReason::UnknownClick).await,
        parks(&world, world.a_lead("theirs", "e2"), ParkReason::UnknownClick).await,
        parks(&world, world.a_lead(&nobodys, "e3"), ParkReason::UnknownClick).await,
    ];
    assert!(answers.iter().all(|answer| answer.rejection.is_none()));
    assert_eq!(world.database.parked_ready(100).await.unwrap(), Vec::<String>::new());
}

async fn time_runs_out(kind: Kind) {
    let world = World::new(kind).await;
    let first = parks(&world, world.a_lead("c1", "e1"), ParkReason::UnknownClick).await;
    world.clock.advance(Duration::from_secs(3_600));
    parks(&world, world.a_lead("c2", "e2"), ParkReason::UnknownClick).await;
    let almost = world.now().plus(PARK_FOR).minus(Duration::from_secs(3_601));
    assert_eq!(world.database.expire_parked(almost, 100).await.unwrap(), 0);
    let over = almost.plus(Duration::from_secs(2));
    assert_eq!(world.database.expire_parked(over, 100).await.unwrap(), 1);
    let receipt = world.database.receipt(first.receipt_id).await.unwrap().unwrap();
    assert_eq!((receipt.verdict.as_str(), receipt.code.as_deref()), ("rejected", Some("unknown_click")));
    assert_eq!(receipt.later_verdicts.len(), 1);
    assert_eq!(world.database.expire_parked(over.plus(PARK_FOR), 100).await.unwrap(), 1);
    assert_eq!(world.database.raw().await.count("parked").await, 0);
    // What comes after its time is a new arrival.
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    world.accepted(world.a_lead("c1", "e1")).await;
}
