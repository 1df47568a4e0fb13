//! Alerts: opened once however many instances watch, told by one of them, kept when they are past.

use std::time::Duration;

use postback::domain::catalog::{Source, SourceSecret, Status};
use postback::domain::ids::{AlertId, SourceId, SourceSecretId};
use postback::domain::signature::{InboundScheme, SigningSecret};
use postback::domain::time::Timestamp;
use postback::store::alerts::{AlertView, Notice, Step};
use postback::store::configuration::Entry;
use postback::store::reading::{Filter, Page};
use tokio::task::JoinSet;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{self, World};

on_both_engines!(
    of_many_openers_one_wins,
    what_was_seen_lately_does_not_close,
    each_channel_is_told_in_order_by_one,
    old_news_are_not_told,
    alerts_are_listed_open_and_past,
    signs_of_trouble_are_found,
);

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// What is open, by name and subject.
async fn open(world: &World) -> Vec<AlertView> {
    world.database.open_alerts().await.unwrap().into_iter().map(|(view, _)| view).collect()
}

/// Opens an alert a second later than whatever was before.
async fn opened(world: &World, name: &str, subject: &str) -> AlertView {
    world.clock.advance(SECOND);
    assert!(world.database.open_alert(name, subject, 7, world.now()).await.unwrap());
    open(world).await.into_iter().find(|view| view.name == name && view.subject == subject).unwrap()
}

async fn closed(world: &World, id: AlertId) {
    world.clock.advance(SECOND);
    assert!(world.database.close_alert(id, world.now(), world.now()).await.unwrap());
}

async fn of_many_openers_one_wins(kind: Kind) {
    let world = World::new(kind).await;
    for round in 1..=2_i64 {
        let (mut opening, mut closing) = (JoinSet::new(), JoinSet::new());
        for _ in 0..16 {
            let (store, now) = (world.store(), world.now());
            opening.spawn(async move { store.open_alert("queue_depth", "", round, now).await.unwrap() });
        }
        assert_eq!(opening.join_all().await.into_iter().filter(|opened| *opened).count(), 1, "round {round}");
        let view = open(&world).await.remove(0);
        assert_eq!((view.name.as_str(), view.value, view.closed_at), ("queue_depth", round, None));
        for _ in 0..16 {
            let (store, now) = (world.store(), world.now());
            closing.spawn(async move { store.close_alert(view.id, now, now).await.unwrap() });
        }
        assert_eq!(closing.join_all().await.into_iter().filter(|closed| *closed).count(), 1, "round {round}");
        assert_eq!(open(&world).await, []);
    }
    assert_eq!(world.database.raw().await.count("alerts").await, 2, "a row for each opening");
    opened(&world, "queue_depth", "").await;
    opened(&world, "source_silent", "src_1").await;
    opened(&world, "source_silent", "src_2").await;
    assert_eq!(open(&world).await.len(), 3, "another name or subject is another alert");
}

async fn what_was_seen_lately_does_not_close(kind: Kind) {
    let world = World::new(kind).await;
    let view = opened(&world, "broker_unreachable", "").await;
    let opened_at = world.now();
    world.clock.advance(SECOND);
    world.database.alert_seen(view.id, 9, world.now()).await.unwrap();
    assert_eq!(open(&world).await[0].value, 9);
    assert!(!world.database.close_alert(view.id, opened_at, world.now()).await.unwrap(), "seen after that");
    world.database.alert_seen(view.id, 1, opened_at).await.unwrap();
    assert_eq!(open(&world).await[0].value, 9, "an older look changes nothing");
    assert!(world.database.close_alert(view.id, world.now(), world.now()).await.unwrap());
    world.clock.advance(SECOND);
    world.database.alert_seen(view.id, 5, world.now()).await.unwrap();
    assert_eq!(open(&world).await, [], "what is closed stays closed");
}

/// What a channel has not been told.
async fn untold(world: &World, channel: &str) -> Vec<(String, Step)> {
    let found = world.database.untold_alerts(channel, Timestamp::from_micros(0), 10).await.unwrap();
    found.into_iter().map(|(view, step)| (view.name, step)).collect()
}

async fn each_channel_is_told_in_order_by_one(kind: Kind) {
    let world = World::new(kind).await;
    let first = opened(&world, "queue_depth", "").await;
    opened(&world, "dead_letters", "").await;
    closed(&world, first.id).await;
    let step = |name: &str, step| (name.to_owned(), step);
    let all =
        [step("queue_depth", Step::Opened), step("dead_letters", Step::Opened), step("queue_depth", Step::Closed)];
    assert_eq!(untold(&world, "webhook").await, all);

    let notice = Notice { alert_id: first.id, channel: "webhook", step: Step::Opened };
    let claim = async |free_before| world.database.claim_notice(notice, free_before, world.now()).await.unwrap();
    let long_ago = Timestamp::from_micros(0);
    let mut claiming = JoinSet::new();
    for _ in 0..8 {
        let (store, now, id) = (world.store(), world.now(), first.id);
        let notice = Notice { alert_id: id, channel: "webhook", step: Step::Opened };
        claiming.spawn(async move { store.claim_notice(notice, Timestamp::from_micros(0), now).await.unwrap() });
    }
    assert_eq!(claiming.join_all().await.into_iter().filter(|claimed| *claimed).count(), 1);
    assert!(claim(world.now()).await, "whose claimer died is free again");
    world.database.end_notice(notice, false, world.now()).await.unwrap();
    assert!(claim(long_ago).await, "and so is what was given back");
    world.database.end_notice(notice, true, world.now()).await.unwrap();
    assert!(!claim(world.now()).await, "what was told is not told again");
    world.database.end_notice(notice, false, world.now()).await.unwrap();
    assert_eq!(untold(&world, "webhook").await, all[1..]);
    assert_eq!(untold(&world, "chat").await, all, "another channel has its own notices");
}

async fn old_news_are_not_told(kind: Kind) {
    let world = World::new(kind).await;
    let view = opened(&world, "queue_depth", "").await;
    world.clock.advance(DAY);
    closed(&world, view.id).await;
    let since = world.now().minus(SECOND);
    let found = world.database.untold_alerts("webhook", since, 10).await.unwrap();
    assert_eq!(found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(), [Step::Closed]);
}

async fn alerts_are_listed_open_and_past(kind: Kind) {
    let world = World::new(kind).await;
    let first = opened(&world, "queue_depth", "").await;
    closed(&world, first.id).await;
    let second = opened(&world, "dead_letters", "").await;
    let past = AlertView {
        id: AlertId::new(world.now().minus(DAY)),
        name: "database_unreachable".to_owned(),
        subject: String::new(),
        value: 1,
        opened_at: world.now().minus(DAY),
        closed_at: Some(world.now()),
    };
    world.database.keep_past_alert(&past).await.unwrap();
    let list = async |status: Option<&str>| {
        let filter = Filter { status: status.map(str::to_owned), ..Filter::default() };
        let page = Page { before: None, limit: 10 };
        let found = world.database.alerts(&filter, page).await.unwrap();
        found.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, [second.id, first.id, past.id], "newest first");
    assert_eq!(list(Some("open")).await, [second.id]);
    assert_eq!(list(Some("closed")).await, [first.id, past.id]);
    assert_eq!(list(Some("whatever")).await, []);
    let page = Page { before: Some(second.id.uuid()), limit: 1 };
    assert_eq!(world.database.alerts(&Filter::default(), page).await.unwrap()[0].id, first.id);
}

async fn signs_of_trouble_are_found(kind: Kind) {
    let mut world = World::new(kind).await;
    let (now, operator) = (world.now(), world.operator.id);
    let signs = async |world: &World| world.database.signs(Some(now), now.minus(DAY * 90), now).await.unwrap();
    assert_eq!(signs(&world).await, Default::default());

    let of = |change: fn(&mut Source)| {
        let mut source = world::source(now, operator);
        source.signature_scheme = InboundScheme::Body;
        change(&mut source);
        source
    };
    let active = of(|_| {});
    let others = [
        of(|source| source.status = Status::Inactive),
        of(|source| {
            source.test = true;
            source.signature_scheme = InboundScheme::None;
        }),
    ];
    let old = |source_id: SourceId, days, expires_at| SourceSecret {
        id: SourceSecretId::new(now),
        source_id,
        secret: SigningSecret::generate(),
        created_at: now.minus(DAY * days),
        expires_at,
    };
    let rotated = of(|_| {});
    let mut entries = vec![Entry::Source(active.clone()), Entry::Source(rotated.clone())];
    entries.extend(others.iter().cloned().map(Entry::Source));
    let sources = others.iter().chain([&active]);
    entries.extend(sources.clone().map(|source| Entry::SourceSecret(old(source.id, 91, None))));
    entries.push(Entry::SourceSecret(old(rotated.id, 91, Some(now))));
    entries.push(Entry::SourceSecret(old(rotated.id, 89, None)));
    world.put(&entries).await.unwrap();
    assert_eq!(signs(&world).await.old_secrets, [(active.id, now.minus(DAY * 91))]);

    let heard: Vec<_> = sources.map(|source| (source.id, now.minus(SECOND))).collect();
    world.database.sources_heard(&heard).await.unwrap();
    world.database.sources_heard(&[(active.id, now.minus(DAY))]).await.unwrap();
    assert_eq!(signs(&world).await.silent, [(active.id, now.minus(SECOND))], "the latest time counts");
    assert_eq!(world.database.signs(None, now, now).await.unwrap().silent, [], "where nobody asks");
    world.database.sources_heard(&[(active.id, now)]).await.unwrap();
    assert_eq!(signs(&world).await.silent, []);
}
