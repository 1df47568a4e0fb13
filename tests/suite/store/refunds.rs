//! Refunds that are events of their own: what they take off, when, and never more than is left.

use postback::domain::booking::Outcome;
use postback::domain::ids::ConversionId;
use postback::domain::postback::ConversionStatus::{self, Approved, Rejected, Reversed};
use postback::domain::verdict::{Code, ParkReason, Verdict};
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, with};

on_both_engines!(
    a_refund_takes_off_its_amount_once,
    refunds_take_all_that_is_left_and_no_more,
    a_refund_of_all_needs_no_amount,
    a_refund_waits_for_its_sale,
    a_refund_in_one_batch_with_its_sale_finds_it,
    a_refund_before_the_approval_shrinks_what_is_approved,
    later_versions_of_a_sale_say_what_it_is_worth_before_refunds,
    what_a_refund_cannot_say_is_refused,
    an_event_id_stands_for_one_thing,
    a_negative_amount_is_a_refund_by_click_and_goal_or_under_the_same_id,
    a_test_refund_finds_tests_only,
);

fn refund(event: &str, original: &str, amount: &str) -> Value {
    json!({ "event_id": event, "original_event_id": original, "amount": amount })
}

/// Status and what is left of the amount.
async fn left(world: &World, id: ConversionId) -> (ConversionStatus, String) {
    let view = world.database.conversion(id).await.unwrap().unwrap();
    (view.status, view.amount.unwrap().to_string())
}

fn assert_verdict(outcome: &Outcome, verdict: Verdict, id: ConversionId) {
    assert_eq!((outcome.verdict, outcome.conversion_id), (verdict, Some(id)), "{outcome:?}");
}

fn refused(outcome: &Outcome, code: Code, field: Option<&str>) {
    let rejection = outcome.rejection.as_ref().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!((rejection.code, rejection.field.as_deref()), (code, field), "{rejection:?}");
    assert!(rejection.detail.is_some(), "{rejection:?}");
}

async fn a_refund_takes_off_its_amount_once(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = world.accepted(world.a_sale(&click, "e1")).await;
    let refund = with(refund("r1", "e1", "40"), json!({ "reason": "returned" }));
    assert_verdict(&world.record(refund.clone()).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Approved, "60".to_owned()));
    let events = world.database.raw().await.count("events").await;
    let raw = world.database.raw().await;
    assert_eq!(raw.count("dedup_keys").await, 2, "the sale's and the refund's");
    let more = json!({ "click_id": click, "goal": "sale", "currency": "EUR", "status": "reversed" });
    for copy in [refund.clone(), with(refund.clone(), more)] {
        assert_verdict(&world.record(copy).await, Verdict::Duplicate, id);
    }
    assert_eq!(raw.count("events").await, events, "a duplicate tells nobody");
    let two = world.record_all([refund.clone(), refund]).await;
    assert!(two.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Duplicate));
    assert_eq!(left(&world, id).await, (Approved, "60".to_owned()));
    world.assert_owed("20").await;
}

async fn refunds_take_all_that_is_left_and_no_more(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    let more = world.record(refund("r0", "e1", "100.01")).await;
    refused(&more, Code::BadAmount, Some("amount"));
    assert_verdict(&world.record(refund("r1", "e1", "40")).await, Verdict::Updated, id);
    let more = world.record(refund("r2", "e1", "60.000001")).await;
    refused(&more, Code::BadAmount, Some("amount"));
    assert_eq!(world.database.raw().await.count("dedup_keys").await, 2, "what is refused takes no key");
    assert_verdict(&world.record(refund("r2", "e1", "60")).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Reversed, "0".to_owned()));
    world.assert_owed("0").await;
    refused(&world.record(refund("r3", "e1", "0.01")).await, Code::BadAmount, Some("amount"));
    assert_verdict(&world.record(refund("r1", "e1", "40")).await, Verdict::Duplicate, id);
    assert_verdict(&world.record(json!({ "event_id": "e1", "status": "reversed" })).await, Verdict::Duplicate, id);
}

async fn a_refund_of_all_needs_no_amount(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let sale = json!({ "click_id": click, "event_id": "e1", "goal": "sale", "status": "approved" });
    let id = world.accepted(sale).await;
    refused(&world.record(refund("r1", "e1", "5")).await, Code::BadAmount, Some("amount"));
    let all = json!({ "event_id": "r1", "original_event_id": "e1", "status": "reversed" });
    assert_verdict(&world.record(all.clone()).await, Verdict::Updated, id);
    world.assert_owed("0").await;
    assert_eq!(world.database.conversion(id).await.unwrap().unwrap().status, Reversed);
    assert_verdict(&world.record(all).await, Verdict::Duplicate, id);
    // Without an event id of its own it is told apart by what it says.
    let second = world.accepted(world.a_sale(&click, "e2")).await;
    let all = json!({ "original_event_id": "e2", "status": "reversed" });
    assert_verdict(&world.record(all.clone()).await, Verdict::Updated, second);
    assert_verdict(&world.record(all).await, Verdict::Duplicate, second);
    assert_eq!(left(&world, second).await, (Reversed, "100".to_owned()));
    world.assert_owed("0").await;
}

async fn a_refund_waits_for_its_sale(kind: Kind) {
    let world = World::new(kind).await;
    for (event, amount) in [("r1", "40"), ("r2", "10"), ("r1", "40")] {
        let parked = world.record(refund(event, "e1", amount)).await;
        assert_eq!(parked.verdict, Verdict::Parked(ParkReason::OriginalMissing));
    }
    let raw = world.database.raw().await;
    assert_eq!((raw.count("dedup_keys").await, raw.count("parked").await), (0, 3), "what waits takes no key");
    let recorded = world.record_all([world.a_sale(&world.click(), "e1")]).await;
    let verdicts: Vec<_> = recorded.unparked.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Updated, Verdict::Updated, Verdict::Duplicate]);
    let id = recorded.outcomes[0].conversion_id.unwrap();
    assert_eq!(left(&world, id).await, (Approved, "50".to_owned()));
    assert_eq!((raw.count("parked").await, raw.count("dedup_keys").await), (0, 3));
    assert_verdict(&world.record(refund("r2", "e1", "10")).await, Verdict::Duplicate, id);

    // Recorded by an instance that does not see the parked row: the join finds it.
    world.record(refund("r9", "e9", "30")).await;
    raw.execute("UPDATE parked SET wait_key = 'away:' || wait_key").await.unwrap();
    let id = world.accepted(world.a_sale(&world.click(), "e9")).await;
    raw.execute("UPDATE parked SET wait_key = substr(wait_key, 6)").await.unwrap();
    let ready = world.database.parked_ready(100).await.unwrap();
    let woken = world.database.apply_parked(&ready, &world.catalog, world.terms()).await.unwrap();
    assert_verdict(&woken.unparked[0], Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Approved, "70".to_owned()));
}

async fn a_refund_in_one_batch_with_its_sale_finds_it(kind: Kind) {
    let world = World::new(kind).await;
    let batch = [refund("r1", "e1", "40"), world.a_sale(&world.click(), "e1"), refund("r2", "e1", "60")];
    let recorded = world.record_all(batch).await;
    let verdicts: Vec<_> = recorded.outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Updated, Verdict::Accepted, Verdict::Updated]);
    let id = recorded.outcomes[1].conversion_id.unwrap();
    assert_eq!(left(&world, id).await, (Reversed, "0".to_owned()));
    assert_eq!(world.database.raw().await.count("parked").await, 0);
    for again in ["r1", "r2"] {
        assert_verdict(
            &world.record(refund(again, "e1", if again == "r1" { "40" } else { "60" })).await,
            Verdict::Duplicate,
            id,
        );
    }
    world.assert_owed("0").await;
}

async fn a_refund_before_the_approval_shrinks_what_is_approved(kind: Kind) {
    let world = World::new(kind).await;
    let pending = json!({ "status": "pending" });
    let id = world.accepted(with(world.a_sale(&world.click(), "e1"), pending.clone())).await;
    assert_verdict(&world.record(refund("r1", "e1", "40")).await, Verdict::Updated, id);
    assert_verdict(&world.record(json!({ "event_id": "e1", "status": "approved" })).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Approved, "60".to_owned()));
    world.assert_owed("20").await;
    let other = world.accepted(with(world.a_sale(&world.click(), "e2"), pending)).await;
    assert_verdict(&world.record(refund("r2", "e2", "100")).await, Verdict::Updated, other);
    assert_eq!(left(&world, other).await, (Rejected, "0".to_owned()));
    world.assert_owed("20").await;
}

async fn later_versions_of_a_sale_say_what_it_is_worth_before_refunds(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    assert_verdict(&world.record(refund("r1", "e1", "40")).await, Verdict::Updated, id);
    assert_verdict(&world.record(sale.clone()).await, Verdict::Duplicate, id);
    assert_verdict(&world.record(with(sale.clone(), json!({ "currency": "EUR" }))).await, Verdict::Duplicate, id);
    let version = |version: i64, amount: &str| with(sale.clone(), json!({ "version": version, "amount": amount }));
    assert_verdict(&world.record(version(2, "90")).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Approved, "50".to_owned()));
    refused(&world.record(version(3, "39.99")).await, Code::BadAmount, Some("amount"));
    assert_verdict(&world.record(version(4, "40")).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Reversed, "0".to_owned()));
    world.assert_owed("0").await;
}

async fn what_a_refund_cannot_say_is_refused(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = world.accepted(world.a_sale(&click, "e1")).await;
    let base = refund("r1", "e1", "5");
    let without = |field: &str| {
        let mut fields = base.clone();
        fields.as_object_mut().unwrap().remove(field);
        fields
    };
    for (fields, code, field) in [
        (without("event_id"), Code::MissingField, Some("event_id")),
        (without("amount"), Code::MissingField, Some("amount")),
        (with(base.clone(), json!({ "amount": "0" })), Code::BadAmount, Some("amount")),
        (with(base.clone(), json!({ "status": "pending" })), Code::BadStatus, Some("status")),
        (with(base.clone(), json!({ "status": "rejected" })), Code::BadStatus, Some("status")),
        (with(base.clone(), json!({ "payout": "1" })), Code::OverrideNotPermitted, Some("payout")),
        (with(base.clone(), json!({ "click_id": world.click() })), Code::ConflictingRevision, None),
        (with(base.clone(), json!({ "goal": "lead" })), Code::ConflictingRevision, None),
        (with(base.clone(), json!({ "currency": "USD" })), Code::ConflictingRevision, None),
    ] {
        refused(&world.record(fields).await, code, field);
    }
    assert_verdict(&world.record(base).await, Verdict::Updated, id);
    refused(&world.record(refund("r1", "e1", "6")).await, Code::ConflictingRevision, None);
    assert_eq!(left(&world, id).await, (Approved, "95".to_owned()));
}

async fn an_event_id_stands_for_one_thing(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let first = world.accepted(world.a_sale(&click, "e1")).await;
    let second = world.accepted(world.a_sale(&click, "e2")).await;
    let taken = world.record(refund("e2", "e1", "5")).await;
    assert_verdict(&taken, Verdict::Rejected(Code::ConflictingRevision), second);
    assert_verdict(&world.record(refund("e2", "e9", "5")).await, Verdict::Rejected(Code::ConflictingRevision), second);
    assert_verdict(&world.record(refund("r1", "e1", "5")).await, Verdict::Updated, first);
    assert_verdict(&world.record(refund("r1", "e2", "5")).await, Verdict::Rejected(Code::ConflictingRevision), first);
    // A sale under a refund's id would change the original.
    let sale = world.record(world.a_sale(&click, "r1")).await;
    assert_verdict(&sale, Verdict::Rejected(Code::ConflictingRevision), first);
    assert_eq!(left(&world, first).await.1, "95");
    assert_eq!(left(&world, second).await.1, "100");
}

async fn a_negative_amount_is_a_refund_by_click_and_goal_or_under_the_same_id(kind: Kind) {
    let world = World::new(kind).await;
    let (click, unknown) = (world.click(), "later");
    let lead = |click: &str, event: &str, amount: &str| with(world.a_lead(click, event), json!({ "amount": amount }));
    let id = world.accepted(lead(&click, "e1", "100")).await;
    assert_verdict(&world.record(lead(&click, "r1", "-30")).await, Verdict::Updated, id);
    assert_verdict(&world.record(lead(&click, "r1", "-30")).await, Verdict::Duplicate, id);
    assert_eq!(left(&world, id).await, (Approved, "70".to_owned()));
    assert_verdict(&world.record(lead(&click, "r2", "-70")).await, Verdict::Updated, id);
    assert_eq!(left(&world, id).await, (Reversed, "0".to_owned()));

    // Under the sale's own id.
    let sale = world.accepted(world.a_sale(&click, "s1")).await;
    let less = json!({ "event_id": "s1", "amount": "-25" });
    assert_verdict(&world.record(less.clone()).await, Verdict::Updated, sale);
    assert_verdict(&world.record(less).await, Verdict::Duplicate, sale);
    assert_eq!(left(&world, sale).await, (Approved, "75".to_owned()));

    // Before its lead, and before its click.
    let early = world.record(lead(unknown, "r3", "-30")).await;
    assert_eq!(early.verdict, Verdict::Parked(ParkReason::UnknownClick));
    world.database.record_clicks(&[world.foreign_click(unknown)]).await.unwrap();
    let recorded = world.record_all([lead(unknown, "e3", "100")]).await;
    assert_eq!(recorded.unparked[0].verdict, Verdict::Updated);
    assert_eq!(left(&world, recorded.outcomes[0].conversion_id.unwrap()).await.1, "70");
    refused(
        &world.record(json!({ "click_id": click, "goal": "lead", "amount": "-1" })).await,
        Code::MissingField,
        Some("event_id"),
    );
}

async fn a_test_refund_finds_tests_only(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let real = world.accepted(world.a_sale(&click, "e1")).await;
    let trial = json!({ "test": true });
    let parked = world.record(with(refund("r1", "e1", "40"), trial.clone())).await;
    assert_eq!(parked.verdict, Verdict::Parked(ParkReason::OriginalMissing));
    let recorded = world.record_all([with(world.a_sale(&click, "e1"), trial)]).await;
    assert_eq!(recorded.unparked[0].verdict, Verdict::Updated);
    assert_ne!(recorded.outcomes[0].conversion_id, Some(real));
    assert_eq!(left(&world, real).await, (Approved, "100".to_owned()));
    world.assert_owed("20").await;
}
