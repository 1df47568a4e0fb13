//! Commissions in another currency than they are earned in: by the rate of the time, or waiting for one.

use postback::domain::catalog::Affiliate;
use postback::domain::commission::CommissionStanding;
use postback::domain::exchange::ExchangeRate;
use postback::domain::ids::{ConversionId, FxRateId};
use postback::domain::time::Timestamp;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::reading::{CommissionView, Filter, Page};
use serde_json::json;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, percent, with};

on_both_engines!(
    the_rate_of_the_time_converts_before_the_one_rounding,
    without_a_rate_nothing_is_booked_until_it_arrives,
    a_rate_books_only_what_it_converts,
    a_pending_commission_is_converted_when_it_is_approved,
    a_correction_keeps_the_stored_rate_and_currency,
    what_waits_follows_its_conversion,
    a_booked_commission_waits_again_when_its_time_has_no_rate,
    instances_book_what_waited_once,
);

/// A world that pays 12.5 % of each sale, in euros, to an affiliate that is paid in another currency.
async fn paid_in(kind: Kind, currency: &str) -> World {
    let mut world = World::new(kind).await;
    let version = percent(world.now(), world.plan.id, "12.5", None);
    world.affiliate = Affiliate { settlement_currency: Some(currency.parse().unwrap()), ..world.affiliate.clone() };
    world.program.attribution_window_days = 3_650;
    let entries = [
        Entry::PlanVersion { version, created_at: world.now() },
        Entry::Affiliate(world.affiliate.clone()),
        Entry::Program(world.program.clone()),
    ];
    world.put(&entries).await.unwrap();
    world
}

async fn put_rate(world: &mut World, quote: &str, rate: &str, valid_from: Timestamp) {
    let rate = ExchangeRate {
        id: FxRateId::new(world.now()),
        base: "EUR".parse().unwrap(),
        quote: quote.parse().unwrap(),
        rate: rate.parse().unwrap(),
        valid_from,
        source: "bank".to_owned(),
        created_at: world.now(),
    };
    world.put(&[Entry::FxRate(rate)]).await.unwrap();
}

async fn commission(world: &World, id: ConversionId) -> CommissionView {
    let filter = Filter { conversion_id: Some(id), ..Filter::default() };
    world.database.commissions(&filter, Page { before: None, limit: 1 }).await.unwrap().remove(0)
}

/// What is payable; the books are sound.
async fn payable(world: &World) -> String {
    world.assert_sound().await;
    world.balances().await.get("payable").cloned().unwrap_or_default()
}

async fn book_awaiting(world: &World) -> usize {
    world.database.book_awaiting(&world.catalog, 100, world.terms()).await.unwrap().settled
}

async fn told(world: &World, event_type: &str) -> i64 {
    world.database.raw().await.number(&format!("SELECT count(*) FROM events WHERE event_type = '{event_type}'")).await
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

async fn the_rate_of_the_time_converts_before_the_one_rounding(kind: Kind) {
    let mut world = paid_in(kind, "JPY").await;
    put_rate(&mut world, "JPY", "100", at("2026-01-01T00:00:00Z")).await;
    put_rate(&mut world, "JPY", "162.370000000001", at("2026-01-10T00:00:00Z")).await;
    put_rate(&mut world, "JPY", "200", at("2026-01-20T00:00:00Z")).await;
    let said = json!({ "amount": "119.99", "occurred_at": "2026-01-15T00:00:00Z" });
    let id = world.accepted(with(world.a_sale(&world.click(), "e1"), said)).await;
    // 14.99875 × 162.370000000001 = 2435.347…; from the rounded 15.00 it would have been 2436.
    assert_eq!(payable(&world).await, "2435 JPY");
    let earned = commission(&world, id).await;
    assert_eq!((earned.state, earned.currency.code()), (CommissionStanding::Available, "JPY"));
    assert_eq!(earned.explanation["exchange"]["rate"], "162.370000000001");
    assert_eq!(earned.explanation["exchange"]["source"], "bank");
    assert_eq!((&earned.explanation["base"], &earned.explanation["earned_in"]), (&json!("119.99"), &json!("EUR")));
}

async fn without_a_rate_nothing_is_booked_until_it_arrives(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    let id = world.accepted(world.a_sale(&world.click(), "e1")).await;
    assert_eq!(payable(&world).await, "", "never one to one");
    let waits = commission(&world, id).await;
    assert_eq!((waits.state, waits.awaits), (CommissionStanding::AwaitingFx, Some("USD".parse().unwrap())));
    assert_eq!(
        (waits.amount.to_string().as_str(), waits.currency.code(), waits.booked.is_zero()),
        ("12.5", "EUR", true)
    );
    assert_eq!(told(&world, "commission.approved").await, 0);
    world.clock.advance(std::time::Duration::from_secs(400 * 86_400));
    assert_eq!(book_awaiting(&world).await, 0, "it waits without limit");

    let stale = world.catalog.clone();
    put_rate(&mut world, "USD", "1.1", at("2026-01-01T00:00:00Z")).await;
    let refused = world.database.book_awaiting(&stale, 100, world.terms()).await;
    assert!(matches!(refused, Err(StoreError::StaleConfiguration)), "{refused:?}");
    let recorded = world.database.book_awaiting(&world.catalog, 100, world.terms()).await.unwrap();
    assert_eq!((recorded.settled, recorded.hints.len()), (1, 2), "the affiliate and the operator are told");
    assert_eq!(payable(&world).await, "13.75 USD");
    assert_eq!(told(&world, "commission.approved").await, 1);
    let booked = commission(&world, id).await;
    assert_eq!((booked.state, booked.awaits), (CommissionStanding::Available, None));
    assert_eq!(book_awaiting(&world).await, 0, "once");
}

async fn a_rate_books_only_what_it_converts(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    let sale = |event: &str, day: &str| {
        with(world.a_sale(&world.click(), event), json!({ "occurred_at": format!("{day}T00:00:00Z") }))
    };
    let before = world.accepted(sale("before", "2026-01-15")).await;
    let after = world.accepted(sale("after", "2026-01-20")).await;
    put_rate(&mut world, "GBP", "0.9", at("2020-01-01T00:00:00Z")).await;
    assert_eq!(book_awaiting(&world).await, 0, "another currency's rate is none");
    put_rate(&mut world, "USD", "2", at("2026-01-20T00:00:00Z")).await;
    assert_eq!(book_awaiting(&world).await, 1);
    assert_eq!(commission(&world, after).await.state, CommissionStanding::Available);
    assert_eq!(commission(&world, before).await.state, CommissionStanding::AwaitingFx, "it happened before the rate");
    assert_eq!(payable(&world).await, "25 USD");
}

async fn a_pending_commission_is_converted_when_it_is_approved(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    let pending = with(world.a_sale(&world.click(), "e1"), json!({ "status": "pending" }));
    let id = world.accepted(pending).await;
    assert_eq!(commission(&world, id).await.state, CommissionStanding::Pending);
    put_rate(&mut world, "USD", "2", at("2026-01-01T00:00:00Z")).await;
    assert_eq!(book_awaiting(&world).await, 0, "a pending commission does not wait for a rate");
    world.record(json!({ "event_id": "e1", "status": "approved" })).await;
    assert_eq!(payable(&world).await, "25 USD");
}

async fn a_correction_keeps_the_stored_rate_and_currency(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    put_rate(&mut world, "USD", "2", at("2026-01-01T00:00:00Z")).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    assert_eq!(payable(&world).await, "25 USD");
    // The rate is corrected, and the affiliate is paid in another currency from now on.
    put_rate(&mut world, "USD", "3", at("2026-01-01T00:00:00Z")).await;
    world.affiliate.settlement_currency = None;
    world.put(&[Entry::Affiliate(world.affiliate.clone())]).await.unwrap();
    world.record(with(sale, json!({ "amount": "80" }))).await;
    assert_eq!(payable(&world).await, "20 USD");
    assert_eq!(commission(&world, id).await.explanation["exchange"]["rate"], "2");
    world.record(json!({ "event_id": "e1", "status": "reversed" })).await;
    assert_eq!(payable(&world).await, "");
    world.accepted(world.a_sale(&world.click(), "e2")).await;
    assert_eq!(payable(&world).await, "12.5 EUR");
}

async fn what_waits_follows_its_conversion(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    world.record(with(sale, json!({ "amount": "80" }))).await;
    let waits = commission(&world, id).await;
    assert_eq!((waits.state, waits.amount.to_string().as_str()), (CommissionStanding::AwaitingFx, "10"));
    let reversed = world.accepted(world.a_sale(&world.click(), "e2")).await;
    world.record(json!({ "event_id": "e2", "status": "reversed" })).await;
    assert_eq!(commission(&world, reversed).await.state, CommissionStanding::Reversed);
    assert_eq!(world.database.raw().await.count("ledger_entries").await, 0);
    put_rate(&mut world, "USD", "2", at("2026-01-01T00:00:00Z")).await;
    assert_eq!(book_awaiting(&world).await, 1);
    assert_eq!(payable(&world).await, "20 USD");
}

async fn a_booked_commission_waits_again_when_its_time_has_no_rate(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    put_rate(&mut world, "USD", "2", at("2026-01-10T00:00:00Z")).await;
    let sale = world.a_sale(&world.click(), "e1");
    let id = world.accepted(sale.clone()).await;
    world.record(with(sale, json!({ "occurred_at": "2026-01-05T00:00:00Z", "version": 2 }))).await;
    let view = commission(&world, id).await;
    // Nothing is booked by another day's rate.
    assert_eq!((view.state, payable(&world).await.as_str()), (CommissionStanding::AwaitingFx, ""));
    put_rate(&mut world, "USD", "3", at("2026-01-01T00:00:00Z")).await;
    assert_eq!(book_awaiting(&world).await, 1);
    assert_eq!(payable(&world).await, "37.5 USD");
}

async fn instances_book_what_waited_once(kind: Kind) {
    let mut world = paid_in(kind, "USD").await;
    let sales: Vec<_> = (0..12).map(|event| world.a_sale(&world.click(), &format!("e{event}"))).collect();
    world.record_all(sales).await;
    put_rate(&mut world, "USD", "2", at("2026-01-01T00:00:00Z")).await;
    let mut instances = Vec::new();
    for _ in 0..3 {
        let store = world.database.again(&world.database.settings).await;
        let (catalog, terms) = (world.catalog.clone(), world.terms());
        instances.push(tokio::spawn(async move {
            let mut booked = 0;
            loop {
                match store.book_awaiting(&catalog, 5, terms).await {
                    Ok(recorded) if recorded.settled == 0 => return booked,
                    Ok(recorded) => booked += recorded.settled,
                    Err(StoreError::Collision(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    let mut booked = 0;
    for instance in instances {
        booked += instance.await.unwrap();
    }
    // One that found only what another was booking has stopped early.
    booked += book_awaiting(&world).await;
    assert_eq!(booked, 12);
    assert_eq!(payable(&world).await, "300 USD");
}
