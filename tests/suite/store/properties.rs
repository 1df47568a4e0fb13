//! DOMAIN 3.5 no. 1: any order and multiplicity of the same postbacks gives the same balances.

use postback::domain::conversion::after;
use postback::domain::postback::ConversionStatus::{self, Approved, Hold, Pending};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::engines::Kind;
use crate::support::world::World;

/// What a sender said about one event, version by version: a way through the transitions, with a payout each.
fn histories() -> impl Strategy<Value = Vec<(ConversionStatus, u32)>> {
    let first = prop::sample::select(vec![Pending, Approved, Hold]);
    let later = prop::collection::vec((any::<Index>(), 0..4_u32), 0..4);
    (first, 0..4_u32, later).prop_map(|(first, payout, later)| {
        let mut history = vec![(first, payout)];
        let mut stands = first;
        for (choice, payout) in later {
            let allowed: Vec<_> =
                ConversionStatus::ALL.into_iter().filter(|sent| after(stands, Some(*sent)).is_some()).collect();
            if allowed.is_empty() {
                break;
            }
            let sent = *choice.get(&allowed);
            stands = after(stands, Some(sent)).unwrap();
            history.push((sent, payout));
        }
        history
    })
}

/// Places of the history in any order, each at least once.
fn orders(length: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..length, 0..4)
        .prop_map(move |again| (0..length).chain(again).collect::<Vec<_>>())
        .prop_shuffle()
}

fn said(click: &str, event: &str, version: usize, (status, payout): (ConversionStatus, u32)) -> Value {
    json!({
        "click_id": click, "event_id": event, "goal": "sale", "amount": "100", "version": version + 1,
        "status": status, "payout": payout.to_string(),
    })
}

/// Refunds as events of their own: in all less than the sale.
fn refund(event: &str, number: usize, amount: u32) -> Value {
    json!({ "event_id": format!("{event}-r{number}"), "original_event_id": event, "amount": amount.to_string() })
}

async fn owed(world: &World) -> Decimal {
    world.database.balances("affiliate:").await.unwrap().iter().map(|balance| -balance.amount).sum()
}

/// Sends postbacks in batches of `batch`; answers what they came to for the affiliate.
async fn worth(world: &World, postbacks: Vec<Value>, batch: usize) -> Decimal {
    let before = owed(world).await;
    for postbacks in postbacks.chunks(batch) {
        world.record_all(postbacks.to_vec()).await;
    }
    owed(world).await - before
}

#[test]
fn any_order_and_multiplicity_gives_the_same_balances() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::new(Kind::Sqlite));
    let refunds = prop::collection::vec(1..30_u32, 0..3);
    let strategy = (histories(), refunds).prop_flat_map(|(history, refunds)| {
        let length = history.len() + refunds.len();
        (Just((history, refunds)), orders(length), 1..4_usize)
    });
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |((history, refunds), order, batch)| {
        runtime.block_on(async {
            let event = format!("{:016x}", rand::random::<u64>());
            let (click, other_click, other) = (world.click(), world.click(), format!("{event}-shuffled"));
            let postback = |click: &str, event: &str, at: usize| match history.get(at) {
                Some(version) => said(click, event, at, *version),
                None => refund(event, at, refunds[at - history.len()]),
            };
            let straight = (0..history.len() + refunds.len()).map(|at| postback(&click, &event, at)).collect();
            let shuffled = order.iter().map(|at| postback(&other_click, &other, *at)).collect();
            let (expected, actual) = (worth(&world, straight, 1).await, worth(&world, shuffled, batch).await);
            prop_assert_eq!(expected, actual);
            prop_assert_eq!(world.database.verify_ledger().await.unwrap(), []);
            Ok(())
        })
    });
    let waiting = runtime.block_on(async { world.database.raw().await.count("parked").await });
    drop(world);
    result.unwrap();
    assert_eq!(waiting, 0, "every refund has found its sale");
}
