//! Alerts about the broker: away, refusing, and holding what nobody can read.

use postback::alerts::catalogue::Alert;

use super::{ONE_EACH, Operations, is_open, sell};
use crate::queue::broker::Hands;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::receiver::Receiver;
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack};

#[tokio::test]
async fn a_broker_that_is_away_is_told_and_its_return_too() {
    let operations = Operations::start().await;
    let site = operations.of(Site::new(Stack::Brokered).await);
    let (user, rest) = site.get("queue.amqp_url").split_once('@').unwrap();
    let (host, vhost) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(host.to_owned()).await;
    let through = format!("{user}@127.0.0.1:{}/{vhost}", proxy.port());
    let site = site.again().with("queue.amqp_url", &through).with("queue.call_timeout", "300ms");
    let service = site.start().await;
    proxy.black_hole(true);
    operations.told_both(Alert::BrokerUnreachable, "", &["open"]).await;
    proxy.black_hole(false);
    operations.told_both(Alert::BrokerUnreachable, "", &["open", "closed"]).await;
    service.stop().await;
}

#[tokio::test]
async fn a_queue_that_refuses_is_told_and_that_it_takes_again_too() {
    let (operations, receiver) = (Operations::start().await, Receiver::start().await);
    let site = operations.of(Site::new(Stack::Brokered).await);
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, &receiver, ONE_EACH).await;
    let prefix = site.get("queue.prefix");
    let (queue, exchange) = (format!("{prefix}.work.v1"), format!("{prefix}.deliver.v1"));
    let hands = Hands::new().await;
    hands.unbind(&queue, &exchange, "work").await;
    sell(&service, &shop, "one").await;
    operations.told_both(Alert::PublishRefused, "", &["open"]).await;
    let health = service.state.relay.health();
    assert!(!health.publishing && health.detail.unwrap().contains("no queue is bound"), "it is connected all the same");
    hands.bind(&queue, &exchange, "work").await;
    operations.told_both(Alert::PublishRefused, "", &["open", "closed"]).await;
    eventually("it arrived", async || receiver.posts().len() == 1).await;
    assert!(service.state.relay.health().publishing);
    service.stop().await;
}

#[tokio::test]
async fn what_nobody_can_read_is_told_until_it_is_purged() {
    let operations = Operations::start().await;
    let site = operations.of(Site::new(Stack::Brokered).await);
    let service = site.start().await;
    let prefix = site.get("queue.prefix");
    let hands = Hands::new().await;
    hands.put(&format!("{prefix}.work.v1"), b"from the future").await;
    operations.told_both(Alert::PoisonNotEmpty, "", &["open"]).await;
    assert!(is_open(&service, Alert::PoisonNotEmpty).await);
    assert_eq!(hands.purge(&format!("{prefix}.poison.v1")).await, 1);
    operations.told_both(Alert::PoisonNotEmpty, "", &["open", "closed"]).await;
    service.stop().await;
}
