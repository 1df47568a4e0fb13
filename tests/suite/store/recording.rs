//! What a postback comes to: verdict, booking, ledger, events and deliveries.

use std::time::Duration;

use postback::domain::booking::Outcome;
use postback::domain::catalog::Status;
use postback::domain::commission::{CommissionStanding, NoCommission};
use postback::domain::delivery::Hint;
use postback::domain::ids::ConversionId;
use postback::domain::postback::ConversionStatus;
use postback::domain::verdict::{Code, Rejection, Verdict};
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::reading::{CommissionView, Filter, Page};
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, fixed, operator, said, source, with};

on_both_engines!(
    a_new_sale_is_booked_and_told,
    a_pending_sale_books_nothing_until_it_is_approved,
    an_approved_sale_is_taken_back_in_full,
    the_same_postback_again_changes_nothing,
    a_once_goal_counts_once_whatever_the_event_id,
    a_refund_finds_its_sale_under_another_event_id_and_after_the_window,
    a_delayed_retry_does_not_undo_a_revision,
    contradictions_and_illegal_transitions_are_refused,
    two_copies_in_one_batch_make_one_conversion,
    two_event_ids_for_a_once_goal_in_one_batch_make_one_conversion,
    the_second_of_a_batch_counts_where_the_first_is_refused,
    a_batch_may_make_change_and_end_a_conversion,
    keys_are_given_back_when_nothing_came_of_them,
    what_is_refused_at_the_door_is_kept_as_a_receipt,
    tests_touch_no_money_and_no_real_key,
    a_payout_takes_the_place_of_the_plan,
    a_correction_books_the_difference,
    a_revision_may_earn_for_the_first_time,
    no_plan_is_no_commission_with_its_reason,
    stale_configuration_writes_nothing,
    hints_beyond_the_room_are_left_to_the_relay,
    clicks_are_stored_once,
);

async fn commission(world: &World, id: ConversionId) -> CommissionView {
    let filter = Filter { conversion_id: Some(id), ..Filter::default() };
    let mut found = world.database.commissions(&filter, Page { before: None, limit: 2 }).await.unwrap();
    assert_eq!(found.len(), 1, "one commission for each conversion");
    found.remove(0)
}

async fn status(world: &World, id: ConversionId) -> ConversionStatus {
    world.database.conversion(id).await.unwrap().unwrap().status
}

/// The types of all events so far: batch by batch, in each by name.
async fn told(world: &World) -> Vec<String> {
    world.database.raw().await.texts("SELECT event_type FROM events ORDER BY created_at, event_type").await
}

fn assert_verdict(outcome: &Outcome, verdict: Verdict, id: ConversionId) {
    assert_eq!((outcome.verdict, outcome.conversion_id), (verdict, Some(id)));
}

async fn a_new_sale_is_booked_and_told(kind: Kind) {
    let world = World::new(kind).await;
    world.database.record_clicks(&[world.foreign_click("their-click")]).await.unwrap();
    let recorded = world.record_all([world.a_sale("their-click", "e1")]).await;
    let outcome = &recorded.outcomes[0];
    assert_eq!(outcome.verdict, Verdict::Accepted);
    world.assert_owed("20").await;

    let id = outcome.conversion_id.unwrap();
    let earned = commission(&world, id).await;
    assert_eq!(
        (earned.state, earned.amount, earned.booked),
        (CommissionStanding::Available, earned.booked, earned.amount)
    );
    assert_eq!((earned.affiliate_id, earned.plan_version_id), (world.affiliate.id, world.plan_version.id));
    assert_eq!(earned.explanation["result"], "20");
    assert_eq!(earned.revision, 2, "created and approved are told as revisions 1 and 2");

    assert_eq!(told(&world).await, ["commission.approved", "commission.created", "conversion.recorded"]);
    // The affiliate wants all three, the operator what is approved.
    let endpoints: Vec<_> = recorded.hints.iter().map(|hint| hint.endpoint_id).collect();
    assert_eq!(endpoints.iter().filter(|id| **id == world.endpoint.id).count(), 3);
    assert_eq!(endpoints.iter().filter(|id| **id == world.operator_endpoint.id).count(), 1);
    assert_eq!((recorded.hints.len(), recorded.deferred), (4, 0));
    assert!(recorded.hints.iter().all(|hint| (hint.epoch, hint.attempt) == (1, 0)));

    let body =
        &world.database.raw().await.texts("SELECT body FROM events WHERE event_type = 'conversion.recorded'").await;
    let body: Value = serde_json::from_str(&body[0]).unwrap();
    assert_eq!(body["data"]["conversion_id"], json!(id));
    assert_eq!(body["data"]["sub_ids"], json!({ "sub1": "blue" }), "the click's own sub-ids come with it");
    assert_eq!((&body["data"]["amount"], &body["data"]["currency"]), (&json!("100.00"), &json!("EUR")));
}

async fn a_pending_sale_books_nothing_until_it_is_approved(kind: Kind) {
    let world = World::new(kind).await;
    let sale = with(world.a_sale(&world.click(), "e1"), json!({ "status": "pending" }));
    let id = world.accepted(sale.clone()).await;
    world.assert_owed("0").await;
    assert_eq!(commission(&world, id).await.state, CommissionStanding::Pending);

    assert_verdict(&world.record(with(sale, json!({ "status": "approved" }))).await, Verdict::Updated, id);
    world.assert_owed("20").await;
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!((view.status, view.revision), (ConversionStatus::Approved, 2));
    let events = ["commission.created", "conversion.recorded", "commission.approved", "conversion.updated"];
    assert_eq!(told(&world).await, events);
    assert_eq!(world.database.raw().await.count("conversion_revisions").await, 1, "the state before is kept");
}

async fn an_approved_sale_is_taken_back_in_full(kind: Kind) {
    for word in ["rejected", "reversed"] {
        let world = World::new(kind).await;
        let sale = world.a_sale(&world.click(), "e1");
        let id = world.accepted(sale.clone()).await;
        let outcome = world.record(json!({ "event_id": "e1", "status": word })).await;
        assert_verdict(&outcome, Verdict::Updated, id);
        assert_eq!(status(&world, id).await, ConversionStatus::Reversed);
        world.assert_owed("0").await;
        assert_eq!(world.database.raw().await.count("ledger_entries").await, 4, "booked and taken back");
        let taken_back = commission(&world, id).await;
        assert_eq!((taken_back.state, taken_back.booked.is_zero()), (CommissionStanding::Reversed, true));
        let again = world.record(with(sale, json!({ "status": word }))).await;
        assert_verdict(&again, Verdict::Duplicate, id);
    }
}

async fn the_same_postback_again_changes_nothing(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    let events = told(&world).await;
    for copy in [sale.clone(), with(sale.clone(), json!({ "currency": "EUR" })), json!({ "event_id": "e1" })] {
        assert_verdict(&world.record(copy).await, Verdict::Duplicate, id);
    }
    world.assert_owed("20").await;
    assert_eq!(told(&world).await, events, "a duplicate tells nobody");
    let raw = world.database.raw().await;
    assert_eq!((raw.count("receipts").await, raw.count("conversions").await), (4, 1));
}

async fn a_once_goal_counts_once_whatever_the_event_id(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = world.accepted(world.a_lead(&click, "e1")).await;
    assert_verdict(&world.record(world.a_lead(&click, "e2")).await, Verdict::Duplicate, id);
    assert_verdict(&world.record(json!({ "click_id": click, "goal": "lead" })).await, Verdict::Duplicate, id);
    world.assert_owed("5").await;

    // A refusal under another event id is meant for the conversion.
    let refusal = with(world.a_lead(&click, "e3"), json!({ "status": "rejected" }));
    assert_verdict(&world.record(refusal).await, Verdict::Updated, id);
    assert_eq!(status(&world, id).await, ConversionStatus::Reversed);
    world.assert_owed("0").await;
}

async fn a_refund_finds_its_sale_under_another_event_id_and_after_the_window(kind: Kind) {
    let mut world = World::new(kind).await;
    let (named, unnamed) = (world.click(), world.click());
    let first = world.accepted(world.a_lead(&named, "e1")).await;
    let second = world.accepted(json!({ "click_id": unnamed, "goal": "lead" })).await;
    world.assert_owed("10").await;
    // The window is long over and the program closed.
    world.clock.advance(Duration::from_secs(60 * 86_400));
    world.program.status = Status::Inactive;
    world.put(&[Entry::Program(world.program.clone())]).await.unwrap();

    let refund = with(world.a_lead(&named, "refund-1"), json!({ "status": "reversed" }));
    assert_verdict(&world.record(refund).await, Verdict::Updated, first);
    let refund = json!({ "click_id": unnamed, "goal": "lead", "status": "reversed" });
    assert_verdict(&world.record(refund).await, Verdict::Updated, second);
    world.assert_owed("0").await;
    assert_verdict(&world.record(world.a_lead(&named, "e4")).await, Verdict::Duplicate, first);
    let new = world.record(world.a_lead(&world.click(), "e5")).await;
    assert_eq!(new.verdict, Verdict::Rejected(Code::ProgramInactive));
}

async fn a_delayed_retry_does_not_undo_a_revision(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    let revised = with(sale.clone(), json!({ "amount": "70" }));
    assert_verdict(&world.record(revised).await, Verdict::Updated, id);
    assert_verdict(&world.record(sale.clone()).await, Verdict::Duplicate, id);
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!(view.amount, Some("70".parse().unwrap()));

    // By the sender's own count, even for what was never seen.
    let third = with(sale.clone(), json!({ "amount": "60", "version": 3 }));
    assert_verdict(&world.record(third).await, Verdict::Updated, id);
    let second = with(sale, json!({ "amount": "50", "version": 2 }));
    assert_verdict(&world.record(second).await, Verdict::Duplicate, id);
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!((view.amount, view.revision), (Some("60".parse().unwrap()), 3));
}

async fn contradictions_and_illegal_transitions_are_refused(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    for other in [json!({ "click_id": world.click() }), json!({ "goal": "lead" }), json!({ "currency": "USD" })] {
        let outcome = world.record(with(sale.clone(), other)).await;
        assert_verdict(&outcome, Verdict::Rejected(Code::ConflictingRevision), id);
        assert_eq!(outcome.verdict.http_status(), 409);
    }
    for status in ["pending", "hold"] {
        let outcome = world.record(with(sale.clone(), json!({ "status": status }))).await;
        assert_verdict(&outcome, Verdict::Rejected(Code::IllegalTransition), id);
    }
    world.record(json!({ "event_id": "e1", "status": "reversed" })).await;
    let revived = world.record(with(sale, json!({ "version": 9 }))).await;
    assert_verdict(&revived, Verdict::Rejected(Code::IllegalTransition), id);
    world.assert_owed("0").await;
}

async fn two_copies_in_one_batch_make_one_conversion(kind: Kind) {
    let world = World::new(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let outcomes = world.record_all([sale.clone(), sale]).await.outcomes;
    let id = outcomes[0].conversion_id.unwrap();
    assert_verdict(&outcomes[0], Verdict::Accepted, id);
    assert_verdict(&outcomes[1], Verdict::Duplicate, id);
    world.assert_owed("20").await;
}

async fn two_event_ids_for_a_once_goal_in_one_batch_make_one_conversion(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let outcomes = world.record_all([world.a_lead(&click, "e1"), world.a_lead(&click, "e2")]).await.outcomes;
    let id = outcomes[0].conversion_id.unwrap();
    assert_verdict(&outcomes[1], Verdict::Duplicate, id);
    world.assert_owed("5").await;
    // The second event id took nothing: without its click nobody knows it.
    let alone = world.record(json!({ "event_id": "e2", "status": "reversed" })).await;
    assert_eq!((alone.verdict.as_str(), alone.verdict.reason()), ("parked", Some("original_missing")));
}

async fn the_second_of_a_batch_counts_where_the_first_is_refused(kind: Kind) {
    let mut world = World::new(kind).await;
    world.lead.min_click_seconds = 600;
    world.put(&[Entry::Goal(world.lead.clone())]).await.unwrap();
    let click = world.click();
    let clicked_at = world.now().minus(Duration::from_secs(3_599));
    let hasty = with(world.a_lead(&click, "e1"), json!({ "occurred_at": clicked_at }));
    let outcomes = world.record_all([hasty, world.a_lead(&click, "e2")]).await.outcomes;
    assert_eq!(outcomes[0].verdict, Verdict::Rejected(Code::BelowMinClickTime));
    assert_eq!(outcomes[1].verdict, Verdict::Accepted);
    world.assert_owed("5").await;
    let id = outcomes[1].conversion_id.unwrap();
    assert_verdict(&world.record(world.a_lead(&click, "e3")).await, Verdict::Duplicate, id);
    assert_verdict(&world.record(json!({ "event_id": "e2" })).await, Verdict::Duplicate, id);
}

async fn a_batch_may_make_change_and_end_a_conversion(kind: Kind) {
    let world = World::new(kind).await;
    let sale = |more: Value| with(json!({ "click_id": "c1", "event_id": "e1", "goal": "sale" }), more);
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    let batch = [
        sale(json!({ "status": "pending", "amount": "10" })),
        sale(json!({ "status": "hold", "amount": "10" })),
        sale(json!({ "status": "approved", "amount": "12" })),
        sale(json!({ "status": "reversed" })),
        sale(json!({ "status": "approved", "amount": "12" })),
    ];
    let verdicts: Vec<_> = world.record_all(batch).await.outcomes.iter().map(|outcome| outcome.verdict).collect();
    let updated = Verdict::Updated;
    assert_eq!(verdicts, [Verdict::Accepted, updated, updated, updated, Verdict::Duplicate]);
    world.assert_owed("0").await;
    let raw = world.database.raw().await;
    assert_eq!((raw.count("conversion_revisions").await, raw.count("ledger_transactions").await), (3, 2));
}

async fn keys_are_given_back_when_nothing_came_of_them(kind: Kind) {
    let mut world = World::new(kind).await;
    world.affiliate.status = Status::Inactive;
    world.put(&[Entry::Affiliate(world.affiliate.clone())]).await.unwrap();
    let lead = world.a_lead(&world.click(), "e1");
    assert_eq!(world.record(lead.clone()).await.verdict, Verdict::Rejected(Code::AffiliateInactive));
    // A refund of what never came takes the keys to see what they lead to, and gives them back.
    let refund = with(world.a_sale(&world.click(), "e2"), json!({ "status": "reversed" }));
    world.record(refund).await;
    assert_eq!(world.database.raw().await.count("dedup_keys").await, 0);

    world.affiliate.status = Status::Active;
    world.put(&[Entry::Affiliate(world.affiliate.clone())]).await.unwrap();
    world.accepted(lead).await;
    world.assert_owed("5").await;
    assert_eq!(world.database.raw().await.count("dedup_keys").await, 2, "the event's and the click's");
}

async fn what_is_refused_at_the_door_is_kept_as_a_receipt(kind: Kind) {
    let world = World::new(kind).await;
    let refused = world.arrival(Err(Rejection::of_field(Code::BadAmount, "amount")));
    let unknown_goal = world.arrival(Ok(said(with(world.a_lead(&world.click(), "e1"), json!({ "goal": "x" })))));
    let no_event = world.arrival(Ok(said(json!({ "click_id": world.click(), "goal": "sale" }))));
    let nobody = world.arrival(Ok(said(json!({ "event_id": "e9", "goal": "sale" }))));
    let arrivals = [refused, unknown_goal, no_event, nobody];
    let outcomes = world.database.record_batch(&arrivals, &world.catalog, world.terms()).await.unwrap().outcomes;
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict.reason().unwrap()).collect();
    assert_eq!(codes, ["bad_amount", "unknown_goal", "missing_field", "missing_field"]);
    let receipt = world.database.receipt(arrivals[0].item.receipt_id).await.unwrap().unwrap();
    assert_eq!((receipt.verdict.as_str(), receipt.code.as_deref()), ("rejected", Some("bad_amount")));
    assert_eq!(receipt.field.as_deref(), Some("amount"));
    assert_eq!(world.database.raw().await.count("receipts").await, 4);
}

async fn tests_touch_no_money_and_no_real_key(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let trial = with(world.a_lead(&click, "e1"), json!({ "test": true }));
    let tried = world.accepted(trial.clone()).await;
    assert_verdict(&world.record(trial).await, Verdict::Duplicate, tried);
    world.assert_owed("0").await;
    let raw = world.database.raw().await;
    assert_eq!((raw.count("ledger_entries").await, raw.count("commissions").await), (0, 0));
    let bodies = raw.texts("SELECT body FROM events").await;
    assert_eq!(bodies.len(), 1, "conversion.recorded");
    assert_eq!(serde_json::from_str::<Value>(&bodies[0]).unwrap()["test"], true);
    let view = world.database.conversion(tried).await.unwrap().unwrap();
    assert_eq!((view.test, view.no_commission), (true, Some(NoCommission::Test)));

    let real = world.accepted(world.a_lead(&click, "e1")).await;
    assert_ne!(real, tried);
    world.assert_owed("5").await;
}

async fn a_payout_takes_the_place_of_the_plan(kind: Kind) {
    let world = World::new(kind).await;
    let sale = with(world.a_sale(&world.click(), "e1"), json!({ "payout": "33.335" }));
    let id = world.accepted(sale.clone()).await;
    world.assert_owed("33.34").await;
    let earned = commission(&world, id).await;
    assert_eq!(
        (&earned.explanation["model"], &earned.explanation["rate"]),
        (&json!("payout_override"), &json!("33.335"))
    );
    assert_verdict(&world.record(with(sale, json!({ "payout": "30" }))).await, Verdict::Updated, id);
    world.assert_owed("30").await;
}

async fn a_correction_books_the_difference(kind: Kind) {
    let mut world = World::new(kind).await;
    let mut dearer = fixed(world.now(), world.plan.id, &[("sale", "26.5")]);
    dearer.valid_from = world.now().minus(Duration::from_secs(600));
    world.put(&[Entry::PlanVersion { version: dearer.clone(), created_at: world.now() }]).await.unwrap();
    let early = json!({ "occurred_at": world.now().minus(Duration::from_secs(1_800)) });
    let sale = with(world.a_sale(&world.click(), "e1"), early);
    let id = world.accepted(sale.clone()).await;
    world.assert_owed("20").await;

    let later = json!({ "occurred_at": world.now().minus(Duration::from_secs(60)) });
    assert_verdict(&world.record(with(sale.clone(), later)).await, Verdict::Updated, id);
    world.assert_owed("26.5").await;
    let corrected = commission(&world, id).await;
    assert_eq!((corrected.plan_version_id, corrected.revision), (dearer.id, 3));
    assert_eq!(told(&world).await[3..], ["commission.updated", "conversion.updated"]);
    let raw = world.database.raw().await;
    let adjusted = "SELECT count(*) FROM ledger_transactions WHERE kind = 'adjustment'";
    assert_eq!(raw.number(adjusted).await, 1);

    // An amount that the commission does not hang on is told, and books nothing.
    world.record(json!({ "event_id": "e1", "amount": "99" })).await;
    assert_eq!(told(&world).await[5..], ["conversion.updated"]);
    world.assert_owed("26.5").await;
    world.record(json!({ "event_id": "e1", "status": "reversed" })).await;
    world.assert_owed("0").await;
}

async fn a_revision_may_earn_for_the_first_time(kind: Kind) {
    let mut world = World::new(kind).await;
    let mut other = fixed(world.now(), world.plan.id, &[("sale", "7")]);
    other.valid_from = world.now().minus(Duration::from_secs(600));
    let mut none = fixed(world.now(), world.plan.id, &[("lead", "5")]);
    none.valid_from = world.now().minus(Duration::from_secs(1_200));
    let version = |version| Entry::PlanVersion { version, created_at: world.now() };
    let versions = [version(other), version(none)];
    world.put(&versions).await.unwrap();
    let at = |seconds| json!({ "occurred_at": world.now().minus(Duration::from_secs(seconds)) });

    let sale = with(world.a_sale(&world.click(), "e1"), at(900));
    let id = world.accepted(sale.clone()).await;
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!(view.no_commission, Some(NoCommission::GoalNotInPlan));
    assert_verdict(&world.record(with(sale.clone(), at(60))).await, Verdict::Updated, id);
    world.assert_owed("7").await;
    assert_eq!(world.database.conversion(id).await.unwrap().unwrap().no_commission, None);
    // And back to nothing: the commission stays, with nothing in it.
    assert_verdict(&world.record(with(sale, at(800))).await, Verdict::Updated, id);
    world.assert_owed("0").await;
    assert_eq!(commission(&world, id).await.explanation["no_commission"], "goal_not_in_plan");
}

async fn no_plan_is_no_commission_with_its_reason(kind: Kind) {
    let mut world = World::new(kind).await;
    world.program.default_plan_id = None;
    world.put(&[Entry::Program(world.program.clone())]).await.unwrap();
    let id = world.accepted(world.a_lead(&world.click(), "e1")).await;
    let view = world.database.conversion(id).await.unwrap().unwrap();
    assert_eq!(view.no_commission, Some(NoCommission::NoPlan));
    assert_eq!(told(&world).await, ["conversion.recorded"]);
    world.assert_owed("0").await;
}

async fn stale_configuration_writes_nothing(kind: Kind) {
    let world = World::new(kind).await;
    let other = operator(world.now(), "Other");
    world
        .database
        .put(&[Entry::Source(source(world.now(), other.id)), Entry::Operator(other.clone())])
        .await
        .unwrap_err();
    world.database.put(&[Entry::Operator(other)]).await.unwrap();
    let arrival = world.arrival(Ok(said(world.a_lead(&world.click(), "e1"))));
    let refused = world.database.record_batch(&[arrival], &world.catalog, world.terms()).await.unwrap_err();
    assert!(matches!(refused, StoreError::StaleConfiguration), "{refused:?}");
    assert_eq!(world.database.raw().await.count("receipts").await, 0);
    let refused = world.database.apply_parked(&["w".to_owned()], &world.catalog, world.terms()).await.unwrap_err();
    assert!(matches!(refused, StoreError::StaleConfiguration), "{refused:?}");
}

async fn hints_beyond_the_room_are_left_to_the_relay(kind: Kind) {
    let world = World::new(kind).await;
    let arrival = world.arrival(Ok(said(world.a_lead(&world.click(), "e1"))));
    let mut terms = world.terms();
    terms.room = 1;
    let recorded = world.database.record_batch(&[arrival], &world.catalog, terms).await.unwrap();
    assert_eq!((recorded.hints.len(), recorded.deferred), (1, 3));
    let due = world.database.take_due(world.now(), &[], 10, 10, terms.republish_after).await.unwrap();
    assert_eq!(due.len(), 3);
    assert!(!due.contains(&recorded.hints[0]), "what was hinted at is not due at once");
    let distinct: std::collections::HashSet<&Hint> = due.iter().chain(&recorded.hints).collect();
    assert_eq!(distinct.len(), 4);
}

async fn clicks_are_stored_once(kind: Kind) {
    let world = World::new(kind).await;
    let mut changed = world.foreign_click("a");
    changed.clicked_at = world.now();
    let clicks = [world.foreign_click("b"), world.foreign_click("a"), world.foreign_click("b")];
    let new = world.database.record_clicks(&clicks).await.unwrap();
    assert_eq!(new, [true, true, false]);
    assert_eq!(world.database.record_clicks(&[changed, world.foreign_click("c")]).await.unwrap(), [false, true]);
    assert_eq!(world.database.raw().await.count("clicks").await, 3);
    assert!(world.database.record_clicks(&[]).await.unwrap().is_empty());
    world.accepted(world.a_lead("a", "e1")).await;
}
