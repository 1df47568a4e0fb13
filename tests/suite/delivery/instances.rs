//! Several instances on one database: they share the work, or refuse to.

use std::time::{Duration, Instant};

use postback::app::StartError;
use postback::domain::catalog::Key;
use postback::domain::delivery::DeliveryState;
use postback::domain::verdict::Verdict;
use postback::store::configuration::Entry;
use postback::store::reading::{Filter, Page};

use super::{ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::{OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    the_next_postback_is_booked_by_the_plan_in_force
}

#[tokio::test]
async fn two_instances_share_the_work_and_do_nothing_twice() {
    const SALES: usize = 200;
    let receiver = Receiver::start().await;
    let site = Site::new(Stack::Brokered).await.with("delivery.timeout", "5s").with("delivery.lease", "10s");
    let (one, other) = (site.start().await, site.start().await);
    let shop = Shop::open(&*one.state.store).await;
    shop.tell(&*one.state.store, &receiver, ONE_EACH).await;
    let half = SALES / 2;
    tokio::join!(sell(&one, &shop, ids(SALES).take(half)), sell(&other, &shop, ids(SALES).skip(half)));
    one.settled(DeliveryState::Delivered, i64::try_from(SALES).unwrap()).await;
    assert_eq!(receiver.posts().len(), SALES);
    assert!(receiver.times().into_values().all(|times| times == 1));
    for delivery in one.deliveries().await {
        assert_eq!(delivery.attempts.len(), 1);
    }
    for instance in [&one, &other] {
        assert!(attempts_made(instance) > 0, "both took part");
    }
    one.stop().await;
    other.stop().await;
}

fn attempts_made(instance: &Service) -> u64 {
    let text = instance.state.metrics.render().unwrap();
    let line = text.lines().find(|line| line.starts_with("postback_attempts_total{outcome=\"delivered\"}")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// As with several brokers (docs/scaling.md): what one instance hinted at in queues of its own is no secret to another, since
/// the rows are the truth.
#[tokio::test]
async fn instances_with_queues_of_their_own_share_the_rows() {
    const SALES: usize = 60;
    let receiver = Receiver::start().await;
    receiver.follows(|_, _| (Duration::from_millis(20), OK));
    let site = Site::new(Stack::Brokered)
        .await
        .with("delivery.endpoint_in_flight", "1")
        .with("delivery.republish_after", "1s");
    let one = site.start().await;
    let prefix = format!("{}-other", site.get("queue.prefix"));
    let other = site.again().with("queue.prefix", &prefix).start().await;
    let shop = Shop::open(&*one.state.store).await;
    shop.tell(&*one.state.store, &receiver, ONE_EACH).await;
    let half = SALES / 2;
    tokio::join!(sell(&one, &shop, ids(SALES).take(half)), sell(&other, &shop, ids(SALES).skip(half)));
    one.stop().await;
    other.settled(DeliveryState::Delivered, i64::try_from(SALES).unwrap()).await;
    assert!(receiver.times().into_values().all(|times| times == 1));
    other.stop().await;
}

#[tokio::test]
async fn sqlite_serves_one_process() {
    refuses_a_second(Site::new(Stack::Embedded).await).await;
}

#[tokio::test]
async fn postgres_without_a_broker_serves_one_process() {
    let site = Site::new(Stack::Brokered).await.with("queue.amqp_url", "");
    refuses_a_second(site).await;
}

async fn refuses_a_second(site: Site) {
    let first = site.start().await;
    assert!(matches!(site.try_start().await.map(|_| ()), Err(StartError::NotAlone)));
    first.stop().await;
    site.start().await.stop().await;
}

#[tokio::test]
async fn one_that_forgot_the_broker_is_refused_beside_others_and_they_beside_it() {
    let together = Site::new(Stack::Brokered).await;
    let alone = together.again().with("queue.amqp_url", "");
    let (one, other) = (together.start().await, together.start().await);
    assert!(matches!(alone.try_start().await.map(|_| ()), Err(StartError::NotAlone)));
    one.stop().await;
    other.stop().await;
    let one = alone.start().await;
    assert!(matches!(together.try_start().await.map(|_| ()), Err(StartError::NotInCompany)));
    one.stop().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_within_five_seconds() {
    let site = Site::new(Stack::Brokered).await;
    let (one, other) = (site.start().await, site.start().await);
    let shop = Shop::open(&*one.state.store).await;
    let known = async |service: &Service| {
        let catalog = service.state.catalog.current();
        catalog.key(shop.key.public_id).map(|key| key.revoked_at.is_none())
    };
    eventually("the key is known everywhere", async || known(&other).await == Some(true)).await;
    let revoked = Key { revoked_at: Some(one.state.clock.now()), ..shop.key.clone() };
    let at = Instant::now();
    one.state.store.put(&[Entry::Key(revoked)]).await.unwrap();
    for instance in [&one, &other] {
        eventually("the key is refused", async || known(instance).await == Some(false)).await;
    }
    assert!(at.elapsed() < Duration::from_secs(5), "{:?}", at.elapsed());
    one.stop().await;
    other.stop().await;
}

async fn the_next_postback_is_booked_by_the_plan_in_force(stack: Stack) {
    let site = Site::new(stack).await;
    let service = site.start().await;
    // Written past the service's own cache, as another instance would.
    let elsewhere = site.store().await;
    let shop = Shop::open(&*elsewhere).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    let before = service.state.clock.now().minus(Duration::from_secs(1));
    elsewhere.put(&[shop.plan_version("7.50", before)]).await.unwrap();
    let outcome = service.state.recorder.record(shop.sale("sale-2")).await.unwrap();
    assert_eq!(outcome.verdict, Verdict::Accepted);
    let page = Page { before: None, limit: 10 };
    let commissions = service.state.store.commissions(&Filter::default(), page).await.unwrap();
    let amounts: Vec<String> = commissions.iter().rev().map(|commission| commission.amount.to_string()).collect();
    assert_eq!(amounts, ["5", "7.5"]);
    elsewhere.close().await;
    service.stop().await;
}
