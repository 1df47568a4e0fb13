//! DOMAIN 3.5 no. 2 and 3 over percentages, holds and exchange rates: whatever happens in whatever order, the books are
//! sound, recording it in batches changes nothing, and taking everything back leaves nothing in any currency.

use std::collections::BTreeMap;
use std::time::Duration;

use postback::domain::exchange::ExchangeRate;
use postback::domain::ids::FxRateId;
use postback::domain::time::Timestamp;
use postback::store::configuration::Entry;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::engines::Kind;
use crate::support::world::{World, percent};

/// Sales in one history.
const SALES: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A sale is said to have this status and so many cents.
    Said { sale: usize, status: &'static str, cents: u32 },
    /// Half a day goes by, and what is due is released.
    Later,
    /// A rate for what happened arrives, and what waited for it is booked.
    Rate { millionths: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop::sample::select(vec!["pending", "approved", "approved", "hold", "rejected", "reversed"]);
    let said = (0..SALES, status, 0..100_000_u32).prop_map(|(sale, status, cents)| Step::Said { sale, status, cents });
    let rate = (1..5_000_000_u32).prop_map(|millionths| Step::Rate { millionths });
    prop::collection::vec(prop_oneof![6 => said, 2 => Just(Step::Later), 1 => rate], 1..24)
}

/// A world that pays a third of each sale, in euros or, to one that is paid otherwise, in dollars; held for a day.
async fn world(dollars: bool) -> World {
    let mut world = World::new(Kind::Sqlite).await;
    let version = percent(world.now(), world.plan.id, "33.333333333333", None);
    world.program.commission_hold_days = 1;
    world.affiliate.settlement_currency = dollars.then(|| "USD".parse().unwrap());
    let entries = [
        Entry::PlanVersion { version, created_at: world.now() },
        Entry::Program(world.program.clone()),
        Entry::Affiliate(world.affiliate.clone()),
    ];
    world.put(&entries).await.unwrap();
    world
}

fn said(clicks: &[String], at: Timestamp, step: &Step, version: usize) -> Option<Value> {
    let Step::Said { sale, status, cents } = step else { return None };
    let amount = format!("{}.{:02}", cents / 100, cents % 100);
    Some(json!({
        "click_id": clicks[*sale], "event_id": format!("e{sale}"), "goal": "sale", "status": status, "amount": amount,
        "occurred_at": at, "version": version,
    }))
}

/// Lets it all happen, postbacks in batches of at most `batch`; answers what lies where, with the world as it is then.
async fn happen(steps: &[Step], dollars: bool, batch: usize) -> (BTreeMap<String, String>, World) {
    let mut world = world(dollars).await;
    let (at, clicks): (_, Vec<String>) = (world.now(), (0..SALES).map(|_| world.click()).collect());
    let mut waiting = Vec::new();
    for (version, step) in steps.iter().enumerate() {
        waiting.extend(said(&clicks, at, step, version + 1));
        let is_said = matches!(step, Step::Said { .. });
        if waiting.len() >= batch || !is_said {
            world.record_all(std::mem::take(&mut waiting)).await;
        }
        match step {
            Step::Said { .. } => {}
            Step::Later => {
                world.clock.advance(Duration::from_secs(43_200));
                world.database.release_held(world.now(), 100).await.unwrap();
            }
            Step::Rate { millionths } => {
                let rate = ExchangeRate {
                    id: FxRateId::new(world.now()),
                    base: "EUR".parse().unwrap(),
                    quote: "USD".parse().unwrap(),
                    rate: format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000).parse().unwrap(),
                    valid_from: at,
                    source: "bank".to_owned(),
                    created_at: world.now(),
                };
                world.put(&[Entry::FxRate(rate)]).await.unwrap();
                world.database.book_awaiting(&world.catalog, 100, world.terms()).await.unwrap();
            }
        }
    }
    world.record_all(waiting).await;
    (world.balances().await, world)
}

#[test]
fn the_books_are_sound_whatever_happens_and_taking_all_back_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let strategy = (steps(), any::<bool>(), 2..6_usize);
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |(steps, dollars, batch)| {
        runtime.block_on(async {
            let (alone, world) = happen(&steps, dollars, 1).await;
            prop_assert_eq!(world.database.verify_ledger().await.unwrap(), []);
            let (together, other) = happen(&steps, dollars, batch).await;
            prop_assert_eq!(other.database.verify_ledger().await.unwrap(), []);
            prop_assert_eq!(alone, together, "batches change nothing");
            let back = |sale: usize| json!({ "event_id": format!("e{sale}"), "status": "reversed", "version": 1_000 });
            world.record_all((0..SALES).map(back)).await;
            prop_assert_eq!(world.database.verify_ledger().await.unwrap(), []);
            prop_assert_eq!(world.balances().await, BTreeMap::new(), "nothing is left in any currency");
            Ok(())
        })
    });
    result.unwrap();
}
