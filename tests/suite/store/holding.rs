//! Commissions that are held, and released by time.

use std::time::Duration;

use postback::domain::commission::CommissionStanding;
use postback::domain::ids::ConversionId;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::reading::{CommissionView, Filter, Page};
use serde_json::json;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, percent, with};

on_both_engines!(
    a_commission_is_held_and_then_payable,
    a_goals_own_hold_beats_the_programs,
    corrections_and_reversals_go_where_the_commission_lies,
    a_reversal_after_the_release_takes_back_what_is_payable,
    a_release_goes_in_bounded_steps_and_once_over_all_instances,
    a_refund_and_a_release_at_once_leave_sound_books,
);

const DAY: Duration = Duration::from_secs(86_400);

/// A world that pays 10 % of each sale and holds it for 14 days.
async fn holding(kind: Kind) -> World {
    let mut world = World::new(kind).await;
    let version = percent(world.now(), world.plan.id, "10", None);
    world.program.commission_hold_days = 14;
    let entries = [Entry::PlanVersion { version, created_at: world.now() }, Entry::Program(world.program.clone())];
    world.put(&entries).await.unwrap();
    world
}

async fn commission(world: &World, id: ConversionId) -> CommissionView {
    let filter = Filter { conversion_id: Some(id), ..Filter::default() };
    world.database.commissions(&filter, Page { before: None, limit: 1 }).await.unwrap().remove(0)
}

/// What is held and what is payable, as text; the operator owes both, and the books are sound.
async fn lies(world: &World) -> (String, String) {
    world.assert_sound().await;
    let balances = world.balances().await;
    let of = |account: &str| balances.get(account).cloned().unwrap_or_default();
    (of("held"), of("payable"))
}

fn texts(held: &str, payable: &str) -> (String, String) {
    (held.to_owned(), payable.to_owned())
}

async fn release(world: &World) -> usize {
    world.database.release_held(world.now(), 100).await.unwrap()
}

async fn a_commission_is_held_and_then_payable(kind: Kind) {
    let world = holding(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    let approved_at = world.now();
    assert_eq!(lies(&world).await, texts("10 EUR", ""));
    let held = commission(&world, id).await;
    assert_eq!((held.state, held.hold_until), (CommissionStanding::OnHold, Some(approved_at.plus(14 * DAY))));

    world.clock.advance(14 * DAY - Duration::from_micros(1));
    assert_eq!(release(&world).await, 0, "not a moment too early");
    let events = world.database.raw().await.count("events").await;
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(release(&world).await, 1);
    assert_eq!(lies(&world).await, texts("", "10 EUR"));
    let released = commission(&world, id).await;
    assert_eq!((released.state, released.revision), (CommissionStanding::Available, held.revision + 1));
    assert_eq!(released.hold_until, held.hold_until, "it is told how long it was held");
    let raw = world.database.raw().await;
    assert_eq!(raw.count("events").await, events, "a release tells nobody");
    assert_eq!(raw.texts("SELECT kind FROM ledger_transactions ORDER BY posted_at").await, ["commission", "release"]);
    assert_eq!(release(&world).await, 0, "once");
}

async fn a_goals_own_hold_beats_the_programs(kind: Kind) {
    let mut world = holding(kind).await;
    world.sale.commission_hold_days = Some(0);
    world.put(&[Entry::Goal(world.sale.clone())]).await.unwrap();
    world.accepted(world.a_sale(&world.click(), "e1")).await;
    assert_eq!(lies(&world).await, texts("", "10 EUR"));
}

async fn corrections_and_reversals_go_where_the_commission_lies(kind: Kind) {
    let world = holding(kind).await;
    let sale = world.a_sale(&world.click(), "e1");
    let pending = with(world.a_sale(&world.click(), "e2"), json!({ "status": "pending" }));
    world.record_all([sale.clone(), pending]).await;
    assert_eq!(lies(&world).await, texts("10 EUR", ""));
    world.record(with(sale.clone(), json!({ "amount": "70" }))).await;
    assert_eq!(lies(&world).await, texts("7 EUR", ""), "while it is held");

    world.clock.advance(14 * DAY);
    assert_eq!(release(&world).await, 1);
    world.record(with(sale, json!({ "amount": "50" }))).await;
    assert_eq!(lies(&world).await, texts("", "5 EUR"), "after its release");

    // The other is approved only now: its days are counted from here.
    world.record(json!({ "event_id": "e2", "status": "approved" })).await;
    assert_eq!(lies(&world).await, texts("10 EUR", "5 EUR"));
    assert_eq!(release(&world).await, 0);
    world.record(json!({ "event_id": "e2", "status": "reversed" })).await;
    assert_eq!(lies(&world).await, texts("", "5 EUR"));
    world.clock.advance(14 * DAY);
    assert_eq!(release(&world).await, 0, "nothing is left to be released");
}

async fn a_reversal_after_the_release_takes_back_what_is_payable(kind: Kind) {
    let world = holding(kind).await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    world.clock.advance(14 * DAY);
    assert_eq!(release(&world).await, 1);
    world.record(json!({ "event_id": "e1", "status": "reversed" })).await;
    assert_eq!(lies(&world).await, texts("", ""));
    assert_eq!(commission(&world, id).await.state, CommissionStanding::Reversed);
    let raw = world.database.raw().await;
    let accounts = "SELECT account FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id \
         WHERE t.kind = 'reversal' AND account LIKE 'affiliate:%'";
    assert!(raw.texts(accounts).await[0].ends_with(":payable"));
}

async fn a_release_goes_in_bounded_steps_and_once_over_all_instances(kind: Kind) {
    let world = holding(kind).await;
    let sales: Vec<_> = (0..30).map(|event| world.a_sale(&world.click(), &format!("e{event}"))).collect();
    world.record_all(sales).await;
    world.clock.advance(15 * DAY);
    let mut instances = Vec::new();
    for _ in 0..4 {
        let (store, now) = (world.database.again(&world.database.settings).await, world.now());
        instances.push(tokio::spawn(async move {
            let mut released = 0;
            loop {
                let step = store.release_held(now, 4).await.unwrap();
                assert!(step <= 4, "{step} in one step");
                released += step;
                if step == 0 {
                    return released;
                }
            }
        }));
    }
    let mut released = 0;
    for instance in instances {
        released += instance.await.unwrap();
    }
    // What one instance held locked, another left alone.
    released += release(&world).await;
    assert_eq!(released, 30);
    assert_eq!(lies(&world).await, texts("", "300 EUR"));
    assert_eq!(world.database.raw().await.count("ledger_transactions").await, 60);
}

async fn a_refund_and_a_release_at_once_leave_sound_books(kind: Kind) {
    let world = holding(kind).await;
    let sales: Vec<_> = (0..20).map(|event| world.a_sale(&world.click(), &format!("e{event}"))).collect();
    world.record_all(sales).await;
    world.clock.advance(15 * DAY);
    let (store, now) = (world.store(), world.now());
    let releasing = tokio::spawn(async move { while store.release_held(now, 1).await.unwrap() > 0 {} });
    for event in 0..20 {
        let refund = json!({ "event_id": format!("e{event}"), "status": "reversed" });
        let arrival = world.arrival(Ok(crate::support::world::said(refund)));
        loop {
            match world.database.record_batch(std::slice::from_ref(&arrival), &world.catalog, world.terms()).await {
                Ok(_) => break,
                Err(StoreError::Collision(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    releasing.await.unwrap();
    assert_eq!(lies(&world).await, texts("", ""));
    assert_eq!(
        world.database.raw().await.number("SELECT count(*) FROM commissions WHERE state = 'reversed'").await,
        20
    );
}
