//! Endpoints as a whole: given up, paused, strained, hanging; nothing is dropped, and others never wait for them.

use std::time::{Duration, Instant};

use postback::clock::Clock;
use postback::domain::catalog::Owner;
use postback::domain::delivery::DeliveryState;
use postback::domain::endpoint::{Endpoint, EndpointStatus};
use postback::domain::event::EventType;
use postback::domain::ids::EndpointId;
use postback::store::configuration::Entry;

use super::{NEVER, ONE_EACH, ids, sell};
use crate::support::eventually;
use crate::support::receiver::{Answer, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    a_receiver_that_is_gone_is_given_up_and_nothing_is_lost
    what_a_paused_endpoint_would_get_is_held_and_released_slowly
    a_date_in_retry_after_is_waited_for
    a_strained_endpoint_is_left_alone_until_a_probe_gets_through
    a_hanging_endpoint_hurts_only_itself
}

async fn status(service: &Service, id: EndpointId) -> (EndpointStatus, Option<String>) {
    let catalog = service.state.catalog.refresh().await.unwrap();
    let row = catalog.endpoint(id).unwrap();
    (row.status, row.status_reason.clone())
}

async fn set(service: &Service, id: EndpointId, status: EndpointStatus) {
    let catalog = service.state.catalog.refresh().await.unwrap();
    let row = Endpoint { status, ..Endpoint::clone(catalog.endpoint(id).unwrap()) };
    service.state.store.put(&[Entry::Endpoint(row)]).await.unwrap();
    service.state.catalog.refresh().await.unwrap();
}

async fn count(service: &Service, state: DeliveryState) -> i64 {
    service.state.store.count_in_state(state).await.unwrap()
}

async fn a_receiver_that_is_gone_is_given_up_and_nothing_is_lost(stack: Stack) {
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    gone.answers(Answer::Status(410, String::new()));
    let service = Site::new(stack).await.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    let id = shop.tell(store, &gone, ONE_EACH).await;
    shop.tell(store, &other, &[EventType::EndpointDisabled]).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    eventually("the other endpoint is told", async || other.posts().len() == 1).await;
    let (disabled, reason) = status(&service, id).await;
    assert_eq!(disabled, EndpointStatus::Disabled);
    assert_eq!(reason.as_deref(), Some("the receiver answered 410: this address is gone"));
    let told: serde_json::Value = serde_json::from_str(&other.posts()[0].body).unwrap();
    assert_eq!((&told["type"], &told["data"]["endpoint_id"]), (&"endpoint.disabled".into(), &id.to_string().into()));
    assert_eq!(told["data"]["affiliate_id"], shop.affiliate_id.to_string());

    // What follows is held beside the one that was refused, and all of it arrives once there is somebody again.
    sell(&service, &shop, ["sale-2".to_owned()]).await;
    eventually("both are held", async || count(&service, DeliveryState::Held).await == 2).await;
    let before = gone.posts().len();
    gone.answers(OK);
    set(&service, id, EndpointStatus::Active).await;
    service.settled(DeliveryState::Delivered, 3).await;
    assert_eq!(gone.posts().len(), before + 2);
    assert_eq!(gone.times().len(), 2);
    service.stop().await;
}

async fn what_a_paused_endpoint_would_get_is_held_and_released_slowly(stack: Stack) {
    const SALES: usize = 9;
    let (paused, other) = (Receiver::start().await, Receiver::start().await);
    let service = Site::new(stack).await.with("delivery.release_per_second", "3").start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    let id = shop.tell(store, &paused, ONE_EACH).await;
    shop.tell(store, &other, ONE_EACH).await;
    set(&service, id, EndpointStatus::Paused).await;
    sell(&service, &shop, ids(SALES)).await;
    eventually("the other endpoint has everything", async || other.posts().len() == SALES).await;
    assert_eq!(count(&service, DeliveryState::Held).await, i64::try_from(SALES).unwrap());
    assert!(paused.posts().is_empty());

    set(&service, id, EndpointStatus::Active).await;
    service.settled(DeliveryState::Delivered, 2 * i64::try_from(SALES).unwrap()).await;
    let came: Vec<Instant> = paused.posts().iter().map(|post| post.at).collect();
    assert_eq!((came.len(), paused.times().len()), (SALES, SALES), "each once");
    let took = came[SALES - 1] - came[0];
    assert!(took >= Duration::from_millis(1_500), "three a second, so two rounds lie between: {took:?}");
    service.stop().await;
}

async fn a_date_in_retry_after_is_waited_for(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.follows(|number, _| {
        // A date has whole seconds: two from now are at least one.
        let now = Duration::from_micros(u64::try_from(Clock::system().now().micros()).unwrap());
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + now + Duration::from_secs(2));
        (Duration::ZERO, if number == 0 { Answer::RetryAt(429, date) } else { OK })
    });
    let site = Site::new(stack).await.with("delivery.ladder", "100ms, 900ms, 2500ms").start().await;
    let shop = Shop::open(&*site.state.store).await;
    shop.tell(&*site.state.store, &receiver, ONE_EACH).await;
    sell(&site, &shop, ["sale-1".to_owned()]).await;
    site.settled(DeliveryState::Delivered, 1).await;
    let [first, second] = receiver.posts().try_into().unwrap();
    assert!(second.at - first.at >= Duration::from_secs(1), "as long as asked");
    site.stop().await;
}

async fn a_strained_endpoint_is_left_alone_until_a_probe_gets_through(stack: Stack) {
    const SALES: usize = 30;
    let (strained, sound) = (Receiver::start().await, Receiver::start().await);
    strained.answers(Answer::Status(502, String::new()));
    let site = Site::new(stack)
        .await
        .with("delivery.endpoint_in_flight", "2")
        .with("delivery.breaker_after", "3")
        .with("delivery.breaker_pause", "400ms")
        .with("delivery.max_attempts", "100");
    let service = site.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    shop.tell(store, &strained, ONE_EACH).await;
    shop.tell(store, &sound, ONE_EACH).await;
    sell(&service, &shop, ids(SALES)).await;
    eventually("the sound endpoint has everything", async || sound.posts().len() == SALES).await;
    eventually("some probes have failed", async || strained.posts().len() >= 6).await;
    // Three opened it, one more may have been on its way; from then on one at a time, ever more rarely.
    let came: Vec<Instant> = strained.posts().iter().map(|post| post.at).collect();
    assert!(came.len() < SALES, "most have not been tried");
    for pair in came[4..].windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(400), "{came:?}");
    }
    let waiting = count(&service, DeliveryState::Pending).await;
    assert_eq!(waiting, i64::try_from(SALES).unwrap(), "they stay due and are counted");
    let backlog = store.backlog(service.state.clock.now()).await.unwrap();
    assert_eq!(backlog.waiting, waiting);

    strained.answers(OK);
    service.settled(DeliveryState::Delivered, 2 * i64::try_from(SALES).unwrap()).await;
    assert_eq!(strained.times().len(), SALES);
    service.stop().await;
}

async fn a_hanging_endpoint_hurts_only_itself(stack: Stack) {
    const SALES: usize = 60;
    let (hanging, sound) = (Receiver::start().await, Receiver::start().await);
    hanging.answers(Answer::Hang);
    // Nothing comes back from the hanging one while the test runs.
    let site = Site::new(stack)
        .await
        .with("delivery.endpoint_in_flight", "4")
        .with("delivery.timeout", "30s")
        .with("delivery.lease", "60s")
        .with("delivery.hand_back_after", NEVER)
        .with("delivery.republish_after", NEVER)
        .with("server.drain", "100ms");
    let service = site.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    shop.tell(store, &hanging, ONE_EACH).await;
    shop.tell(store, &sound, ONE_EACH).await;
    sell(&service, &shop, ids(SALES)).await;
    eventually("the sound endpoint has everything", async || sound.posts().len() == SALES).await;
    eventually("the hanging one is full", async || hanging.posts().len() == 4).await;
    let all = i64::try_from(SALES).unwrap();
    eventually("their ends are written", async || count(&service, DeliveryState::Delivered).await == all).await;
    assert_eq!(hanging.most_at_once(), 4, "and never more than full");
    let state = &service.state;
    let owner = Owner::Affiliate(shop.affiliate_id);
    assert_eq!(state.catalog.current().endpoints_of(owner).count(), 2);
    assert_eq!(count(&service, DeliveryState::Pending).await, all);
    service.stop().await;
}
