//! Many at once. Whoever comes first wins, everybody is told, and the books are sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use postback::domain::booking::Outcome;
use postback::domain::verdict::Verdict;
use postback::store::recording::Arrival;
use postback::store::{Company, StoreError};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, said, with};

on_both_engines!(
    of_64_copies_at_once_one_is_accepted,
    overlapping_batches_collide_at_most_and_succeed_when_retried,
    of_many_who_want_to_be_alone_one_is,
    who_is_alone_and_who_is_not_keep_each_other_out,
);

/// Records as the recorder does: a collision is tried again.
async fn record(world: &World, arrivals: &[Arrival]) -> Result<Vec<Outcome>, StoreError> {
    loop {
        match world.database.record_batch(arrivals, &world.catalog, world.terms()).await {
            Err(StoreError::Collision(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return Ok(other?.outcomes),
        }
    }
}

async fn of_64_copies_at_once_one_is_accepted(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let sale = world.a_sale(&world.click(), "e1");
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (world, sale) = (world.clone(), sale.clone());
        tasks.spawn(async move {
            let arrival = world.arrival(Ok(said(sale)));
            record(&world, &[arrival]).await.unwrap().remove(0)
        });
    }
    let outcomes = tasks.join_all().await;
    let of = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    assert_eq!((of(Verdict::Accepted), of(Verdict::Duplicate)), (1, 63));
    let ids: BTreeSet<_> = outcomes.iter().map(|outcome| outcome.conversion_id).collect();
    assert_eq!(ids.len(), 1, "everybody is told the same conversion");
    world.assert_owed("20").await;
    let raw = world.database.raw().await;
    assert_eq!((raw.count("commissions").await, raw.count("receipts").await), (1, 64));
    assert_eq!(raw.count("dedup_keys").await, 1);
}

async fn overlapping_batches_collide_at_most_and_succeed_when_retried(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let clicks: Vec<_> = (0..16).map(|_| world.click()).collect();
    let mut tasks = JoinSet::new();
    for task in 0..32_usize {
        // Each batch has eight of the sixteen, in an order of its own, as leads under event ids of its own and as
        // sales under shared ones; every fourth takes the sales back.
        let batch: Vec<_> = (0..8).map(|step| (task * 7 + step * (task % 5 * 2 + 1)) % 16).collect();
        let (world, clicks) = (world.clone(), clicks.clone());
        tasks.spawn(async move {
            let mut arrivals = Vec::new();
            for index in batch {
                let click = &clicks[index];
                arrivals.push(world.arrival(Ok(said(world.a_lead(click, &format!("lead-{task}-{index}"))))));
                let sale = world.a_sale(click, &format!("sale-{index}"));
                let status = if task % 4 == 0 { json!({ "status": "reversed" }) } else { json!({}) };
                arrivals.push(world.arrival(Ok(said(with(sale, status)))));
            }
            record(&world, &arrivals).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await.concat();
    world.assert_sound().await;
    let mut by_verdict: BTreeMap<&str, usize> = BTreeMap::new();
    outcomes.iter().for_each(|outcome| *by_verdict.entry(outcome.verdict.as_str()).or_default() += 1);
    let touched: BTreeSet<_> = outcomes.iter().filter_map(|outcome| outcome.conversion_id).collect();
    assert_eq!(by_verdict.get("accepted"), Some(&touched.len()), "{by_verdict:?}");
    assert!(by_verdict.contains_key("updated"), "some were taken back: {by_verdict:?}");
    let raw = world.database.raw().await;
    let leads = "SELECT count(*) FROM conversions WHERE goal = 'lead' AND status = 'approved'";
    assert_eq!(raw.number(leads).await, 16, "one lead for each click");
    // What is still parked or not reversed depends on who came first; what waits finds its sale now.
    let ready = world.database.parked_ready(100).await.unwrap();
    world.database.apply_parked(&ready, &world.catalog, world.terms()).await.unwrap();
    world.assert_owed("80").await;
    assert_eq!(raw.count("parked").await, 0);
}

async fn of_many_who_want_to_be_alone_one_is(kind: Kind) {
    let world = World::new(kind).await;
    let second = world.database.again(&world.database.settings).await;
    assert!(world.database.occupy(Company::Alone).await.unwrap());
    assert!(world.database.occupy(Company::Alone).await.unwrap(), "it stands");
    assert!(!second.occupy(Company::Alone).await.unwrap(), "another process has it");
    world.database.close().await;
    assert!(second.occupy(Company::Alone).await.unwrap(), "it is free when its holder is gone");
    second.close().await;
}

async fn who_is_alone_and_who_is_not_keep_each_other_out(kind: Kind) {
    let world = World::new(kind).await;
    let again = async || world.database.again(&world.database.settings).await;
    let (second, third, fourth) = (again().await, again().await, again().await);
    let in_company = kind == Kind::Postgres;
    assert!(world.database.occupy(Company::Several).await.unwrap());
    assert_eq!(second.occupy(Company::Several).await.unwrap(), in_company, "SQLite serves one process");
    assert!(!third.occupy(Company::Alone).await.unwrap(), "there are others");
    world.database.close().await;
    second.close().await;
    assert!(third.occupy(Company::Alone).await.unwrap());
    assert!(!fourth.occupy(Company::Several).await.unwrap(), "one believes that it is alone");
    fourth.close().await;
    third.close().await;
}
