//! Alerts: opened once however many instances watch, told until they are told.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::World;

on_both_engines!(of_many_openers_one_wins, openings_and_closings_are_told_in_order);

async fn of_many_openers_one_wins(kind: Kind) {
    let world = World::new(kind).await;
    for round in 1..=2_i64 {
        let (mut opening, mut closing) = (JoinSet::new(), JoinSet::new());
        for _ in 0..16 {
            let (store, now) = (world.store(), world.now());
            opening.spawn(async move { store.open_alert("queue_depth", round, now).await.unwrap() });
        }
        assert_eq!(opening.join_all().await.into_iter().filter(|opened| *opened).count(), 1, "round {round}");
        assert_eq!(world.database.open_alerts().await.unwrap(), ["queue_depth"]);
        for _ in 0..16 {
            let (store, now) = (world.store(), world.now());
            closing.spawn(async move { store.close_alert("queue_depth", now).await.unwrap() });
        }
        assert_eq!(closing.join_all().await.into_iter().filter(|closed| *closed).count(), 1, "round {round}");
        assert!(world.database.open_alerts().await.unwrap().is_empty());
    }
    assert_eq!(world.database.raw().await.count("alerts").await, 2, "a row for each opening");
}

async fn openings_and_closings_are_told_in_order(kind: Kind) {
    let world = World::new(kind).await;
    let store = world.store();
    let step = || {
        world.clock.advance(Duration::from_secs(1));
        world.now()
    };
    assert!(store.open_alert("queue_depth", 120, step()).await.unwrap());
    assert!(store.open_alert("dead_letters", 1, step()).await.unwrap(), "another name is another alert");
    assert!(store.close_alert("queue_depth", step()).await.unwrap());
    assert!(!store.close_alert("queue_depth", step()).await.unwrap());
    let news = async || {
        let untold = store.untold_alerts(10).await.unwrap();
        untold.into_iter().map(|untold| (untold.name, untold.value, untold.closed_at.is_some())).collect::<Vec<_>>()
    };
    let told = |name: &str, value, closing| (name.to_owned(), value, closing);
    let all = [told("queue_depth", 120, false), told("dead_letters", 1, false), told("queue_depth", 120, true)];
    assert_eq!(news().await, all);
    assert_eq!(store.untold_alerts(1).await.unwrap().len(), 1);

    let first = store.untold_alerts(1).await.unwrap().remove(0);
    store.alert_told(first.id, false, step()).await.unwrap();
    assert_eq!(news().await, all[1..], "its closing is still to be told");
    store.alert_told(first.id, true, step()).await.unwrap();
    assert_eq!(news().await, all[1..2]);
    assert!(store.open_alert("queue_depth", 300, step()).await.unwrap());
    assert_eq!(news().await, [told("dead_letters", 1, false), told("queue_depth", 300, false)]);
}
