//! Macro postbacks: called with the values of their event, filtered, and taken when the tracker says what it must.

use std::time::Duration;

use postback::domain::delivery::DeliveryState;
use postback::domain::endpoint::{Endpoint, Subscription};
use postback::domain::event::EventType;
use postback::domain::postback::ConversionStatus;
use postback::store::configuration::Entry;
use postback::store::deliveries::Replay;

use super::{ONE_EACH, sell};
use crate::support::receiver::{Answer, BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    a_postback_calls_the_same_url_at_every_attempt
    both_kinds_get_what_they_filter_for
    only_the_expected_status_delivers
}

const APPROVED: &[EventType] = &[EventType::CommissionApproved];

async fn open(service: &Service, endpoints: impl FnOnce(&Shop) -> Vec<Endpoint>) -> Shop {
    let shop = Shop::open(&*service.state.store).await;
    let entries: Vec<Entry> = endpoints(&shop).into_iter().map(Entry::Endpoint).collect();
    service.state.store.put(&entries).await.unwrap();
    shop
}

async fn a_postback_calls_the_same_url_at_every_attempt(stack: Stack) {
    let tracker = Receiver::start().await;
    tracker.follows(|number, _| (Duration::ZERO, if number == 0 { BROKEN } else { OK }));
    let service = Site::new(stack).await.start().await;
    let query = "cid={click_id}&s1={sub1}&s2={sub2}&txid={event_id}&g={goal}&st={status}&sum={amount}&payout={payout}\
                 &cur={currency}&coupon={coupon}&test={test}";
    let shop = open(&service, |shop| vec![shop.postback(&tracker, query, APPROVED)]).await;
    sell(&service, &shop, ["sale 1&x=y".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 1).await;
    let [delivery] = service.deliveries().await.try_into().unwrap();
    assert_eq!((delivery.failures, delivery.attempts.len()), (1, 2));

    let (state, again) = (&service.state, service.state.settings.delivery.republish_after);
    let replay = state.store.replay(delivery.id, state.clock.now(), again).await.unwrap();
    let Replay::Begun(hint) = replay else { panic!("nothing runs") };
    state.relay.announce(vec![hint]);
    service.settled(DeliveryState::Delivered, 1).await;

    let calls = tracker.posts();
    assert_eq!(calls.len(), 3);
    let expected = "/track?cid=click-1&s1=newsletter&s2=&txid=sale%201%26x%3Dy&g=sale&st=approved&sum=20.00&payout=5.00\
                    &cur=EUR&coupon=&test=0";
    for call in &calls {
        assert_eq!(call.target, expected);
        assert_eq!((call.id.as_str(), call.body.as_str()), (delivery.event_id.to_string().as_str(), ""));
    }
    service.stop().await;
}

async fn both_kinds_get_what_they_filter_for(stack: Stack) {
    let (tracker, hook) = (Receiver::start().await, Receiver::start().await);
    let service = Site::new(stack).await.start().await;
    let store = &*service.state.store;
    let mut wanted = None;
    let shop = open(&service, |shop| {
        let one = |query: &str, goals: &[&str], statuses: &[ConversionStatus]| {
            let endpoint = shop.postback(&tracker, query, &[]);
            let goals = goals.iter().map(|goal| goal.parse().unwrap()).collect();
            let subscription = Subscription { goals, statuses: statuses.to_vec(), ..endpoint.subscription.clone() };
            Endpoint { subscription, ..endpoint }
        };
        use ConversionStatus::{Approved, Reversed};
        let all = one("all={goal}", &["lead", "sale"], &[Approved, Reversed]);
        wanted = Some(all.id);
        vec![all, one("other={goal}", &["lead"], &[]), one("undone={status}", &["sale"], &[Reversed])]
    })
    .await;
    let webhook = shop.tell(store, &hook, &[]).await;
    let catalog = service.state.catalog.refresh().await.unwrap();
    let row = Endpoint::clone(catalog.endpoint(webhook).unwrap());
    let statuses = vec![ConversionStatus::Reversed];
    let filtered = Endpoint { subscription: Subscription { statuses, ..row.subscription.clone() }, ..row };
    store.put(&[Entry::Endpoint(filtered)]).await.unwrap();

    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 3).await;
    assert!(service.deliveries().await.iter().all(|delivery| Some(delivery.endpoint_id) == wanted));
    assert!(tracker.posts().iter().all(|call| call.target == "/track?all=sale"));
    assert!(hook.posts().is_empty());
    service.stop().await;
}

async fn only_the_expected_status_delivers(stack: Stack) {
    let tracker = Receiver::start().await;
    tracker.follows(|number, _| (Duration::ZERO, if number == 0 { OK } else { Answer::Status(204, String::new()) }));
    let service = Site::new(stack).await.start().await;
    let shop = open(&service, |shop| {
        vec![Endpoint { expected_status: Some(204), ..shop.postback(&tracker, "c={click_id}", ONE_EACH) }]
    })
    .await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 1).await;
    let [delivery] = service.deliveries().await.try_into().unwrap();
    let [first, second] = delivery.attempts.try_into().unwrap();
    assert_eq!((first.outcome.as_str(), first.status), ("failed", Some(200)));
    assert_eq!(first.error.as_deref(), Some("the receiver answered 200, and 204 is expected"));
    assert_eq!((second.outcome.as_str(), second.status), ("delivered", Some(204)));
    service.stop().await;
}
