//! Conversions that change without a postback: their hold is over, or an admin decides.

use std::time::Duration;

use postback::domain::booking::OwnChange;
use postback::domain::commission::CommissionStanding;
use postback::domain::conversion::ChangedBy;
use postback::domain::ids::{ConversionId, KeyId};
use postback::domain::postback::ConversionStatus::{self, Approved, Hold, Pending, Rejected, Reversed};
use postback::domain::time::Timestamp;
use postback::domain::verdict::{Code, Verdict};
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::reading::{CommissionView, ConversionView, Filter, Page};
use postback::store::recording::Recorded;
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, operator, with};

on_both_engines!(
    a_hold_ends_by_itself_after_the_goals_days,
    a_revision_does_not_begin_the_hold_anew,
    without_hold_days_a_hold_never_ends_by_itself,
    two_instances_approve_each_conversion_once,
    an_admin_approves_what_was_rejected,
    an_admin_records_a_won_chargeback,
    what_refunds_ended_gets_the_last_one_back,
    an_admins_change_is_not_undone_by_a_copy_and_may_go_back,
    what_an_admin_may_not_do_writes_nothing,
    a_test_stays_out_of_the_books_whoever_approves_it,
    what_comes_late_is_booked_in_the_month_of_its_approval,
);

const DAY: Duration = Duration::from_secs(86_400);

async fn with_hold_days(kind: Kind, days: Option<i32>) -> World {
    let mut world = World::new(kind).await;
    world.sale.hold_days = days;
    world.put(&[Entry::Goal(world.sale.clone())]).await.unwrap();
    world
}

async fn held(world: &World, event: &str) -> ConversionId {
    world.accepted(with(world.a_sale(&world.click(), event), json!({ "status": "hold" }))).await
}

async fn approve_held(world: &World, limit: i64) -> Recorded {
    world.database.approve_held(limit, &world.catalog, world.terms()).await.unwrap()
}

fn to(status: ConversionStatus, world: &World) -> OwnChange {
    OwnChange::Status { to: status, key_id: world.operator_key.1.id, reason: "looked into it".to_owned() }
}

async fn change(world: &World, id: ConversionId, status: ConversionStatus) -> Recorded {
    let change = to(status, world);
    world.clock.advance(Duration::from_secs(1));
    world.database.change_conversion(id, &change, &world.catalog, world.terms()).await.unwrap()
}

async fn seen(world: &World, id: ConversionId) -> ConversionView {
    world.database.conversion(id).await.unwrap().unwrap()
}

async fn commissions(world: &World, id: ConversionId) -> Vec<CommissionView> {
    let filter = Filter { conversion_id: Some(id), ..Filter::default() };
    world.database.commissions(&filter, Page { before: None, limit: 2 }).await.unwrap()
}

async fn told(world: &World) -> Vec<String> {
    world.database.raw().await.texts("SELECT event_type FROM events ORDER BY created_at, event_type").await
}

async fn a_hold_ends_by_itself_after_the_goals_days(kind: Kind) {
    let world = with_hold_days(kind, Some(14)).await;
    let first = held(&world, "e1").await;
    world.clock.advance(DAY);
    let second = held(&world, "e2").await;
    let third = held(&world, "e3").await;
    world.clock.advance(12 * DAY);
    assert_eq!(approve_held(&world, 10).await.changed, 0, "not a day too soon");
    world.clock.advance(DAY);
    let recorded = approve_held(&world, 10).await;
    assert_eq!((recorded.changed, recorded.hints.len()), (1, 3), "the affiliate's two and the operator's one");
    let view = seen(&world, first).await;
    assert_eq!((view.status, view.revision, &view.changed_by), (Approved, 2, &ChangedBy::HoldOver));
    assert_eq!((view.hold_until, view.past_revisions[0].status), (None, Hold));
    assert_eq!(view.past_revisions[0].changed_by, ChangedBy::Sender);
    world.assert_owed("20").await;
    let last = told(&world).await.split_off(6);
    assert_eq!(last, ["commission.approved", "conversion.updated"]);

    // One refused in time stays refused; steps are as short as asked for.
    world.record(json!({ "event_id": "e2", "status": "rejected" })).await;
    held(&world, "e4").await;
    world.clock.advance(20 * DAY);
    assert_eq!(approve_held(&world, 1).await.changed, 1);
    assert_eq!(seen(&world, third).await.status, Approved, "the longest waiting first");
    assert_eq!(approve_held(&world, 1).await.changed, 1);
    assert_eq!(approve_held(&world, 1).await.changed, 0);
    assert_eq!(seen(&world, second).await.status, Rejected);
    world.assert_owed("60").await;
}

async fn a_revision_does_not_begin_the_hold_anew(kind: Kind) {
    let world = with_hold_days(kind, Some(14)).await;
    let id = held(&world, "e1").await;
    let until = seen(&world, id).await.hold_until;
    assert!(until.is_some());
    world.clock.advance(10 * DAY);
    assert_eq!(world.record(json!({ "event_id": "e1", "amount": "70" })).await.verdict, Verdict::Updated);
    assert_eq!(seen(&world, id).await.hold_until, until);
    let pending = world.accepted(with(world.a_sale(&world.click(), "e2"), json!({ "status": "pending" }))).await;
    assert_eq!(seen(&world, pending).await.hold_until, None);
    world.record(json!({ "event_id": "e2", "status": "hold" })).await;
    let begun = world.now().plus(14 * DAY);
    assert_eq!(seen(&world, pending).await.hold_until, Some(begun), "it begins when the hold does");
}

async fn without_hold_days_a_hold_never_ends_by_itself(kind: Kind) {
    let world = with_hold_days(kind, None).await;
    let id = held(&world, "e1").await;
    assert_eq!(seen(&world, id).await.hold_until, None);
    world.clock.advance(1_000 * DAY);
    assert_eq!(approve_held(&world, 10).await.changed, 0);
}

async fn two_instances_approve_each_conversion_once(kind: Kind) {
    let world = with_hold_days(kind, Some(1)).await;
    for number in 0..20 {
        held(&world, &format!("e{number}")).await;
    }
    world.clock.advance(2 * DAY);
    let (other, terms) = (world.database.again(&world.database.settings).await, world.terms());
    let work = async |store: &dyn postback::store::Store| {
        let mut changed = 0;
        loop {
            let step = store.approve_held(3, &world.catalog, terms).await.unwrap().changed;
            if step == 0 {
                return changed;
            }
            changed += step;
        }
    };
    let (one, two) = tokio::join!(work(&*world.database.store), work(&*other));
    // What the other one works on is passed over, so whoever is done first may leave the rest.
    let rest = work(&*world.database.store).await;
    assert_eq!(one + two + rest, 20);
    world.assert_owed("400").await;
    other.close().await;
}

async fn an_admin_approves_what_was_rejected(kind: Kind) {
    let world = World::new(kind).await;
    let never = world.accepted(with(world.a_sale(&world.click(), "e1"), json!({ "status": "rejected" }))).await;
    let pending = world.accepted(with(world.a_sale(&world.click(), "e2"), json!({ "status": "pending" }))).await;
    world.record(json!({ "event_id": "e2", "status": "rejected" })).await;
    world.assert_owed("0").await;
    for id in [never, pending] {
        assert_eq!(change(&world, id, Approved).await.changed, 1);
        let view = seen(&world, id).await;
        assert_eq!((view.status, view.no_commission), (Approved, None));
        let key_id: KeyId = world.operator_key.1.id;
        assert_eq!(view.changed_by, ChangedBy::Admin { key_id, reason: "looked into it".to_owned() });
        let earned = commissions(&world, id).await;
        assert_eq!(
            (earned.len(), earned[0].state, earned[0].amount),
            (1, CommissionStanding::Available, earned[0].booked)
        );
    }
    world.assert_owed("40").await;
    let last = told(&world).await.split_off(5);
    let first_time = ["commission.approved", "commission.created", "conversion.updated"];
    assert_eq!(last, [first_time.as_slice(), &["commission.approved", "conversion.updated"]].concat());
}

async fn an_admin_records_a_won_chargeback(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    let reversal = json!({ "event_id": "e1", "status": "reversed", "reason": "chargeback" });
    world.record(reversal.clone()).await;
    world.assert_owed("0").await;
    assert_eq!(change(&world, id, Approved).await.changed, 1);
    world.assert_owed("20").await;
    let earned = commissions(&world, id).await;
    assert_eq!(
        (earned.len(), earned[0].state),
        (1, CommissionStanding::Available),
        "the same commission, booked again"
    );
    assert_eq!(world.record(reversal).await.verdict, Verdict::Duplicate, "a copy does not undo it");
    world.assert_owed("20").await;
    assert_eq!(change(&world, id, Reversed).await.changed, 1);
    world.assert_owed("0").await;
    let statuses: Vec<_> = seen(&world, id).await.past_revisions.iter().map(|past| past.status).collect();
    assert_eq!(statuses, [Approved, Reversed, Approved]);
}

async fn what_refunds_ended_gets_the_last_one_back(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    let refund = |event: &str, amount: &str| json!({ "event_id": event, "original_event_id": "e1", "amount": amount });
    world.record(refund("r1", "40")).await;
    world.record(refund("r2", "60")).await;
    assert_eq!(seen(&world, id).await.status, Reversed);
    change(&world, id, Approved).await;
    let view = seen(&world, id).await;
    assert_eq!((view.status, view.amount, view.refunds.len()), (Approved, Some("60".parse().unwrap()), 1));
    assert_eq!(world.record(refund("r2", "60")).await.verdict, Verdict::Duplicate);
    assert_eq!(world.record(refund("r3", "10")).await.verdict, Verdict::Updated);
    assert_eq!(seen(&world, id).await.amount, Some("50".parse().unwrap()));
    world.assert_owed("20").await;
}

async fn an_admins_change_is_not_undone_by_a_copy_and_may_go_back(kind: Kind) {
    let world = World::new(kind).await;
    let sale = with(world.a_sale(&world.click(), "e1"), json!({ "status": "pending" }));
    let id = world.accepted(sale.clone()).await;
    for status in [Hold, Rejected, Approved, Reversed, Approved] {
        assert_eq!(change(&world, id, status).await.changed, 1, "{status}");
        assert_eq!(change(&world, id, status).await.changed, 0, "there already");
        assert_eq!(world.record(sale.clone()).await.verdict, Verdict::Duplicate);
    }
    assert_eq!(seen(&world, id).await.revision, 6);
    world.assert_owed("20").await;
    // What the sender says later counts as ever.
    let smaller = with(sale, json!({ "status": "approved", "amount": "70", "version": 2 }));
    assert_eq!(world.record(smaller).await.verdict, Verdict::Updated);
    assert_eq!(seen(&world, id).await.changed_by, ChangedBy::Sender);
}

async fn what_an_admin_may_not_do_writes_nothing(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    let before = told(&world).await;
    for status in [Pending, Hold, Rejected] {
        let refused = change(&world, id, status).await.refused.unwrap();
        assert_eq!(refused.code, Code::IllegalTransition, "{status}");
    }
    let nobody = change(&world, ConversionId::new(world.now()), Approved).await.refused.unwrap();
    assert_eq!(nobody.code, Code::NotFound);
    assert_eq!((told(&world).await, seen(&world, id).await.revision), (before, 1));
    let other = operator(world.now(), "Other");
    world.database.put(&[Entry::Operator(other)]).await.unwrap();
    let change = to(Reversed, &world);
    let stale = world.database.change_conversion(id, &change, &world.catalog, world.terms()).await;
    assert!(matches!(stale, Err(StoreError::StaleConfiguration)), "{stale:?}");
    let stale = world.database.approve_held(1, &world.catalog, world.terms()).await;
    assert!(matches!(stale, Err(StoreError::StaleConfiguration)), "{stale:?}");
}

async fn a_test_stays_out_of_the_books_whoever_approves_it(kind: Kind) {
    let world = with_hold_days(kind, Some(1)).await;
    let trial = json!({ "status": "hold", "test": true });
    let id = world.accepted(with(world.a_sale(&world.click(), "e1"), trial)).await;
    world.clock.advance(2 * DAY);
    assert_eq!(approve_held(&world, 10).await.changed, 1);
    change(&world, id, Reversed).await;
    change(&world, id, Approved).await;
    let view = seen(&world, id).await;
    assert_eq!((view.status, view.booked_period), (Approved, None));
    let raw = world.database.raw().await;
    assert_eq!((raw.count("ledger_entries").await, raw.count("commissions").await), (0, 0));
    let bodies = raw.texts("SELECT body FROM events").await;
    assert!(bodies.iter().all(|body| serde_json::from_str::<Value>(body).unwrap()["test"] == true));
}

async fn what_comes_late_is_booked_in_the_month_of_its_approval(kind: Kind) {
    let world = World::new(kind).await;
    let occurred_at = json!({ "occurred_at": "2025-12-20T00:00:00Z" });
    let click = world.click_on(world.link.code, Timestamp::parse_rfc3339("2025-12-19T00:00:00Z").unwrap());
    let pending = json!({ "status": "pending" });
    let id = world.accepted(with(with(world.a_sale(&click, "e1"), occurred_at), pending)).await;
    let view = seen(&world, id).await;
    assert_eq!(view.booked_period, None);
    assert_eq!(view.occurred_at.to_string(), "2025-12-20T00:00:00.000000Z");
    assert!(view.received_at.to_string().starts_with("2026-01-15"));
    world.clock.advance(20 * DAY);
    world.record(json!({ "event_id": "e1", "status": "approved" })).await;
    assert_eq!(seen(&world, id).await.booked_period.as_deref(), Some("2026-02"));
    world.clock.advance(30 * DAY);
    world.record(json!({ "event_id": "e1", "amount": "70" })).await;
    assert_eq!(seen(&world, id).await.booked_period.as_deref(), Some("2026-02"), "once and for all");
}
