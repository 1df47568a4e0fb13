//! Where commissions stand once payouts take them: available, stated, paid, and back; in lists, alone and by filter.

use postback::domain::commission::CommissionStanding::{self, Available, Paid, Pending, Reversed, Stated};
use postback::domain::ids::ConversionId;
use postback::domain::payout::Step;
use postback::store::reading::{CommissionView, Filter, Page};
use serde_json::json;

use super::earning::paying;
use super::payouts::{cancel, fail, give_back, send};
use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::World;

on_both_engines!(
    a_commission_is_stated_then_paid,
    what_comes_back_is_available_again,
    a_reversal_after_paid_shows_what_is_owed_back,
    a_correction_after_paid_is_available_until_it_is_settled,
    filters_find_what_is_shown,
);

const ALL: Page = Page { before: None, limit: 1_000 };
const STATES: [&str; 8] = ["pending", "awaiting_fx", "on_hold", "available", "stated", "paid", "reversed", "void"];

impl World {
    /// The commission of a conversion, the same alone and in a list.
    async fn earned_by(&self, id: ConversionId) -> CommissionView {
        let filter = Filter { conversion_id: Some(id), ..Filter::default() };
        let listed = self.database.commissions(&filter, ALL).await.unwrap().remove(0);
        let alone = self.database.commission(listed.id).await.unwrap().unwrap();
        let shown = |view: &CommissionView| (view.state, view.paid, view.payout_id);
        assert_eq!(shown(&alone), shown(&listed));
        listed
    }

    /// Where it stands, what of it was paid, and whether a payout holds it.
    async fn stands(&self, id: ConversionId) -> (CommissionStanding, String, bool) {
        let view = self.earned_by(id).await;
        (view.state, view.paid.to_string(), view.payout_id.is_some())
    }
}

fn is(state: CommissionStanding, paid: &str, held: bool) -> (CommissionStanding, String, bool) {
    (state, paid.to_owned(), held)
}

async fn a_commission_is_stated_then_paid(kind: Kind) {
    let world = World::new(kind).await;
    let ids = world.sales(&["s1", "s2"]).await;
    assert_eq!(world.stands(ids[0]).await, is(Available, "0", false));
    let payout = world.payout("k1").await;
    let later = world.sales(&["s3"]).await;
    for step in [Step::Approve, Step::Process, send("tx-1")] {
        assert_eq!(world.stands(ids[1]).await, is(Stated, "0", true), "before {step:?}");
        world.steps(payout.id, [step]).await;
    }
    assert_eq!(world.stands(ids[1]).await, is(Stated, "0", true));
    let revision = world.earned_by(ids[0]).await.revision;
    world.steps(payout.id, [Step::Complete]).await;
    for id in ids {
        assert_eq!(world.stands(id).await, is(Paid, "20", true));
        assert_eq!(world.earned_by(id).await.payout_id, Some(payout.id));
    }
    assert_eq!(world.stands(later[0]).await, is(Available, "0", false));
    let view = world.database.commissions(&Filter::default(), ALL).await.unwrap().pop().unwrap();
    assert_eq!(view.revision, revision, "a payout changes no commission");
}

async fn what_comes_back_is_available_again(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.sales(&["s1"]).await[0];
    let failed = world.payout("k1").await;
    world.steps(failed.id, [Step::Approve, send("tx-1"), fail()]).await;
    assert_eq!(world.stands(id).await, is(Stated, "0", true), "it may be tried again");
    world.steps(failed.id, [give_back()]).await;
    assert_eq!(world.stands(id).await, is(Available, "0", false));
    let canceled = world.payout("k2").await;
    world.steps(canceled.id, [cancel()]).await;
    assert_eq!(world.stands(id).await, is(Available, "0", false));
    let returned = world.payout("k3").await;
    world.steps(returned.id, [Step::Approve, send("tx-2"), Step::Complete]).await;
    assert_eq!(world.stands(id).await, is(Paid, "20", true));
    world.steps(returned.id, [give_back()]).await;
    assert_eq!(world.stands(id).await, is(Available, "0", false));
    let last = world.payout("k4").await;
    assert_eq!((world.stands(id).await.0, world.earned_by(id).await.payout_id), (Stated, Some(last.id)));
}

/// DOMAIN 3.2, clawback: what was paid and then reversed is taken off what is earned later.
async fn a_reversal_after_paid_shows_what_is_owed_back(kind: Kind) {
    let world = World::new(kind).await;
    let id = world.sales(&["s1"]).await[0];
    let first = world.payout("k1").await;
    world.steps(first.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    world.record(json!({ "event_id": "s1", "status": "reversed" })).await;
    let view = world.earned_by(id).await;
    assert_eq!((view.state, view.payout_id), (Reversed, Some(first.id)));
    assert_eq!((view.booked.to_string(), view.paid.to_string()), ("0".into(), "20".into()), "20 are owed back");
    world.sales(&["s2", "s3"]).await;
    let second = world.payout("k2").await;
    assert_eq!(world.stands(id).await, is(Reversed, "20", true), "not taken off before the payout is completed");
    world.steps(second.id, [Step::Approve, send("tx-2"), Step::Complete]).await;
    assert_eq!(world.stands(id).await, is(Reversed, "0", true));
    assert_eq!(world.earned_by(id).await.payout_id, Some(second.id), "which took it off");
    world.assert_sound().await;
}

async fn a_correction_after_paid_is_available_until_it_is_settled(kind: Kind) {
    let world = paying(kind, "10", None).await;
    let id = world.sales(&["s1", "s2"]).await[0];
    let pay = async |key: &str| {
        let payout = world.payout(key).await;
        world.steps(payout.id, [Step::Approve, send(key), Step::Complete]).await;
    };
    pay("k1").await;
    assert_eq!(world.stands(id).await, is(Paid, "10", true));
    world.record(json!({ "event_id": "s1", "amount": "60" })).await;
    assert_eq!(world.stands(id).await, is(Available, "10", true), "4 are owed back");
    world.sales(&["s3"]).await;
    let payout = world.payout("k2").await;
    assert_eq!((payout.money.amount_text(), world.stands(id).await), ("6.00".to_owned(), is(Stated, "10", true)));
    world.steps(payout.id, [Step::Approve, send("k2"), Step::Complete]).await;
    assert_eq!(world.stands(id).await, is(Paid, "6", true));
    world.assert_sound().await;
}

/// One of each kind: what a filter by state finds is what shows that state.
async fn filters_find_what_is_shown(kind: Kind) {
    let world = World::new(kind).await;
    let paid = world.sales(&["s1", "s2"]).await;
    let first = world.payout("k1").await;
    world.steps(first.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    world.record(json!({ "event_id": "s2", "status": "reversed" })).await;
    let stated = world.sales(&["s3", "s4", "s5"]).await;
    world.payout("k2").await;
    let open = world.sales(&["s6", "s7"]).await;
    let pending = json!({ "click_id": world.click(), "event_id": "s8", "goal": "sale", "amount": "1" });
    let pending = world.accepted(pending).await;
    for state in STATES {
        let filter = Filter { status: Some(state.to_owned()), ..Filter::default() };
        let found = world.database.commissions(&filter, ALL).await.unwrap();
        let shown = found.iter().map(|view| serde_json::to_value(view.state).unwrap());
        assert!(shown.into_iter().all(|shown| shown == state), "{state}: {found:?}");
        let mut conversions: Vec<_> = found.iter().map(|view| view.conversion_id).collect();
        conversions.reverse();
        let expected: &[ConversionId] = match state {
            "paid" => &paid[..1],
            "reversed" => &paid[1..],
            "stated" => &stated,
            "available" => &open,
            "pending" => &[pending],
            _ => &[],
        };
        assert_eq!(conversions, expected, "{state}");
        let paged = world.database.commissions(&filter, Page { before: None, limit: 1 }).await.unwrap();
        assert_eq!(paged.len(), expected.len().min(1));
        let foreign = postback::domain::ids::AffiliateId::new(world.now());
        let theirs = Filter { affiliate_id: Some(foreign), ..filter };
        assert!(world.database.commissions(&theirs, ALL).await.unwrap().is_empty());
    }
    assert_eq!(world.earned_by(pending).await.state, Pending);
}
