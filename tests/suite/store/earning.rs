//! What is earned, beyond an amount for each goal: a percentage of the sale, for so many months.

use postback::domain::commission::NoCommission;
use postback::domain::ids::ConversionId;
use postback::domain::verdict::Verdict;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::reading::{CommissionView, Filter, Page};
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, percent, said as said_of, with};

on_both_engines!(
    a_percentage_of_a_sale_and_of_what_a_refund_leaves,
    a_percentage_of_no_amount_is_nothing,
    a_percentage_recurs_from_the_customers_first_sale,
    an_earlier_sale_that_arrives_late_moves_the_first,
    a_click_stands_in_for_an_unknown_customer,
    nothing_counts_under_a_key_that_nothing_came_of,
    first_sales_at_once_agree_on_the_first,
);

/// A world whose plan pays a percentage of each sale.
pub async fn paying(kind: Kind, rate: &str, months: Option<u32>) -> World {
    let mut world = World::new(kind).await;
    let version = percent(world.now(), world.plan.id, rate, months);
    world.put(&[Entry::PlanVersion { version, created_at: world.now() }]).await.unwrap();
    world
}

/// The commissions of a conversion: one or none.
async fn commission(world: &World, id: ConversionId) -> Option<CommissionView> {
    let filter = Filter { conversion_id: Some(id), ..Filter::default() };
    let mut found = world.database.commissions(&filter, Page { before: None, limit: 2 }).await.unwrap();
    assert!(found.len() < 2, "one commission for each conversion");
    found.pop()
}

fn sale_of(world: &World, event: &str, amount: &str) -> Value {
    with(world.a_sale(&world.click(), event), json!({ "amount": amount }))
}

async fn a_percentage_of_a_sale_and_of_what_a_refund_leaves(kind: Kind) {
    let world = paying(kind, "12.5", None).await;
    let sale = sale_of(&world, "e1", "119.99");
    let id = world.accepted(sale.clone()).await;
    world.assert_owed("15").await;
    let refund = with(sale, json!({ "amount": "79.99" }));
    assert_eq!(world.record(refund).await.verdict, Verdict::Updated);
    world.assert_owed("10").await;
    let raw = world.database.raw().await;
    assert_eq!(raw.count("ledger_transactions").await, 2, "the difference is posted, not the whole");
    let earned = commission(&world, id).await.unwrap();
    assert_eq!((earned.amount.to_string(), earned.booked.to_string()), ("10".to_owned(), "10".to_owned()));
    assert_eq!(earned.explanation["base"], "79.99");

    world.record(json!({ "event_id": "e1", "status": "reversed" })).await;
    world.assert_owed("0").await;
}

async fn a_percentage_of_no_amount_is_nothing(kind: Kind) {
    let world = paying(kind, "12.5", None).await;
    let mut sale = world.a_sale(&world.click(), "e1");
    sale.as_object_mut().unwrap().remove("amount");
    let id = world.accepted(sale.clone()).await;
    let reason = async || world.database.conversion(id).await.unwrap().unwrap().no_commission;
    assert_eq!(reason().await, Some(NoCommission::NoAmount));
    assert!(commission(&world, id).await.is_none());
    world.assert_owed("0").await;
    // The amount is told later.
    assert_eq!(world.record(with(sale, json!({ "amount": "40" }))).await.verdict, Verdict::Updated);
    assert_eq!(reason().await, None);
    world.assert_owed("5").await;
}

/// A sale of 100 by a customer at a time.
fn sale_at(world: &World, event: &str, customer: &str, occurred_at: &str) -> Value {
    let said = json!({ "customer_id": customer, "occurred_at": occurred_at });
    with(world.a_sale(&world.click(), event), said)
}

/// A world that pays 10 % for a month, with clicks that are older than every sale.
async fn recurring(kind: Kind) -> World {
    let mut world = paying(kind, "10", Some(1)).await;
    world.program.attribution_window_days = 3_650;
    world.put(&[Entry::Program(world.program.clone())]).await.unwrap();
    world
}

async fn a_percentage_recurs_from_the_customers_first_sale(kind: Kind) {
    let world = recurring(kind).await;
    world.accepted(sale_at(&world, "e1", "u1", "2026-01-31T12:00:00Z")).await;
    world.accepted(sale_at(&world, "e2", "u1", "2026-02-28T11:59:59Z")).await;
    world.assert_owed("20").await;
    let over = world.accepted(sale_at(&world, "e3", "u1", "2026-02-28T12:00:00Z")).await;
    let view = world.database.conversion(over).await.unwrap().unwrap();
    assert_eq!(view.no_commission, Some(NoCommission::RecurringOver));
    world.assert_owed("20").await;
    // Another customer has a first of its own, and a test counts for nobody.
    let test = with(sale_at(&world, "e4", "u2", "2025-01-01T00:00:00Z"), json!({ "test": true }));
    world.accepted(test).await;
    world.accepted(sale_at(&world, "e5", "u2", "2026-05-01T00:00:00Z")).await;
    world.assert_owed("30").await;
    let raw = world.database.raw().await;
    assert_eq!(raw.count("recurrences").await, 2);
    assert_eq!(raw.number("SELECT count(*) FROM conversions WHERE recurrence IS NOT NULL").await, 4);
}

async fn an_earlier_sale_that_arrives_late_moves_the_first(kind: Kind) {
    let sales = ["2026-01-01T00:00:00Z", "2026-01-20T00:00:00Z", "2026-02-10T00:00:00Z"];
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]];
    for (round, (order, at_once)) in orders.iter().flat_map(|order| [(order, false), (order, true)]).enumerate() {
        let world = recurring(kind).await;
        let sale = |at: usize| sale_at(&world, &format!("e{round}-{at}"), "u1", sales[at]);
        if at_once {
            world.record_all(order.map(sale)).await;
        } else {
            for at in order {
                world.accepted(sale(*at)).await;
            }
        }
        // The third is more than a month after the first, in whatever order they arrive.
        world.assert_owed("20").await;
    }
}

async fn a_click_stands_in_for_an_unknown_customer(kind: Kind) {
    let world = recurring(kind).await;
    let click = world.click();
    let at = |time: &str| json!({ "occurred_at": time });
    world.accepted(with(world.a_sale(&click, "e1"), at("2026-01-20T00:00:00Z"))).await;
    world.accepted(with(world.a_sale(&click, "e2"), at("2026-02-21T00:00:00Z"))).await;
    world.accepted(with(world.a_sale(&world.click(), "e3"), at("2026-02-21T00:00:00Z"))).await;
    world.assert_owed("20").await;
}

async fn nothing_counts_under_a_key_that_nothing_came_of(kind: Kind) {
    let world = recurring(kind).await;
    let mut refused = sale_at(&world, "e1", "u1", "2026-01-01T00:00:00Z");
    refused["goal"] = "nonsense".into();
    world.record(refused).await;
    let reversal = with(sale_at(&world, "e2", "u2", "2026-01-01T00:00:00Z"), json!({ "status": "reversed" }));
    assert_eq!(world.record(reversal).await.verdict.as_str(), "parked");
    assert_eq!(world.database.raw().await.count("recurrences").await, 0);
}

async fn first_sales_at_once_agree_on_the_first(kind: Kind) {
    let world = recurring(kind).await;
    let day = |day: i64| postback::domain::time::Timestamp::from_seconds(1_770_000_000 + day * 86_400).unwrap();
    let mut tasks = Vec::new();
    // The latest first, one every week over 10 weeks: four lie within a month of the first.
    for week in (0..10).rev() {
        let said = json!({ "customer_id": "u1", "occurred_at": day(week * 7) });
        let arrival = world.arrival(Ok(said_of(with(world.a_sale(&world.click(), &format!("e{week}")), said))));
        let (store, catalog, terms) = (world.store(), world.catalog.clone(), world.terms());
        tasks.push(tokio::spawn(async move {
            loop {
                match store.record_batch(std::slice::from_ref(&arrival), &catalog, terms).await {
                    Ok(recorded) => return recorded,
                    Err(StoreError::Collision(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().outcomes[0].verdict, Verdict::Accepted);
    }
    world.assert_owed("40").await;
}
