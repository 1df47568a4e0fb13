//! What one delivery goes through: signed, tried again on the ladder, dead, replayed.

use std::time::Duration;

use postback::domain::delivery::DeliveryState;
use postback::domain::event::EventType;
use postback::store::deliveries::Replay;
use postback::store::reading::{AttemptView, DeliveryView};

use super::{NEVER, ONE_EACH, sell};
use crate::support::eventually;
use crate::support::receiver::{Answer, BROKEN, OK, Receiver};
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};

on_both_stacks! {
    a_sale_arrives_signed_with_one_id_at_all_endpoints
    a_broken_receiver_gets_the_exact_ladder_and_then_nothing
    a_receiver_that_asks_for_time_gets_it
    what_receivers_do_is_kept_with_each_attempt
    a_dead_delivery_is_replayed_under_the_same_id
    a_replay_waits_for_a_running_attempt
    old_hints_do_nothing_after_a_replay
}

async fn a_sale_arrives_signed_with_one_id_at_all_endpoints(stack: Stack) {
    let (one, other) = (Receiver::start().await, Receiver::start().await);
    let service = Site::new(stack).await.start().await;
    let store = &*service.state.store;
    let shop = Shop::open(store).await;
    shop.tell(store, &one, &[]).await;
    shop.tell(store, &other, &[EventType::CommissionApproved]).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 4).await;

    let mut types: Vec<String> = one.posts().iter().map(|post| told(&post.body)["type"].to_string()).collect();
    types.sort();
    assert_eq!(types, ["\"commission.approved\"", "\"commission.created\"", "\"conversion.recorded\""]);
    let [there] = other.posts().try_into().unwrap();
    let here = one.posts().into_iter().find(|post| post.id == there.id).expect("the same id at both");
    assert_eq!(here.body, there.body);
    assert_eq!(told(&here.body)["data"]["amount"], "5.00");
    assert_eq!(told(&here.body)["data"]["sub_ids"]["sub1"], "newsletter");
    assert_eq!(there.headers["content-type"], "application/json");
    for delivery in service.deliveries().await {
        let [attempt] = delivery.attempts.try_into().unwrap();
        assert_eq!((attempt.outcome.as_str(), attempt.status, attempt.error), ("delivered", Some(200), None));
        assert!(attempt.finished_at.unwrap() >= attempt.started_at && attempt.duration_ms.is_some());
        assert_eq!(delivery.settled_at, attempt.finished_at);
    }
    service.stop().await;
}

fn told(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap()
}

async fn a_broken_receiver_gets_the_exact_ladder_and_then_nothing(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.answers(BROKEN);
    // Only the rungs bring anything back in time.
    let service = Site::new(stack).await.with("delivery.republish_after", NEVER).start().await;
    let shop = told_of_sales(&service, &receiver).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Dead, 1).await;
    let first = receiver.posts();
    assert_eq!(first.len(), 4);
    let gaps: Vec<Duration> = first.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (gap, rung_ms) in gaps.iter().zip([200, 400, 400]) {
        assert!(*gap >= Duration::from_millis(rung_ms), "{gaps:?}");
    }
    let [delivery] = service.deliveries().await.try_into().unwrap();
    assert_eq!((delivery.failures, delivery.attempt), (4, 4));
    assert_eq!(delivery.dead_reason.as_deref(), Some("attempts_exhausted"));

    // While another one climbs the whole ladder nothing more is sent about the first.
    sell(&service, &shop, ["sale-2".to_owned()]).await;
    service.settled(DeliveryState::Dead, 2).await;
    let mut times: Vec<usize> = receiver.times().into_values().collect();
    times.sort_unstable();
    assert_eq!(times, [4, 4]);
    service.stop().await;
}

async fn a_receiver_that_asks_for_time_gets_it(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.follows(|number, _| (Duration::ZERO, if number == 0 { Answer::RetryAfter(1) } else { OK }));
    let site = Site::new(stack).await.with("delivery.ladder", "100ms, 300ms, 1200ms").start().await;
    let shop = told_of_sales(&site, &receiver).await;
    sell(&site, &shop, ["sale-1".to_owned()]).await;
    site.settled(DeliveryState::Delivered, 1).await;
    let [first, second] = receiver.posts().try_into().unwrap();
    assert!(second.at - first.at >= Duration::from_millis(1_200), "the first rung of at least a second");
    site.stop().await;
}

async fn what_receivers_do_is_kept_with_each_attempt(stack: Stack) {
    let receiver = Receiver::start().await;
    let said = "no\u{0} such\nhook \u{202e}".to_owned();
    receiver.follows(move |number, _| {
        let answer = match number {
            0 => Answer::Status(404, said.clone()),
            1 => Answer::Close,
            2 => Answer::Hang,
            _ => OK,
        };
        (Duration::ZERO, answer)
    });
    let service = Site::new(stack).await.start().await;
    let shop = told_of_sales(&service, &receiver).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 1).await;

    let [delivery] = service.deliveries().await.try_into().unwrap();
    let shown = |attempt: &AttemptView| {
        (attempt.outcome.clone(), attempt.status, attempt.body_start.clone(), attempt.error.is_some())
    };
    let kept: Vec<_> = delivery.attempts.iter().map(shown).collect();
    let failed = |status, body: Option<&str>| ("failed".to_owned(), status, body.map(str::to_owned), true);
    assert_eq!(
        kept,
        [
            failed(Some(404), Some("no\u{fffd} such hook \u{fffd}")),
            failed(None, None),
            failed(None, None),
            ("delivered".to_owned(), Some(200), None, false),
        ]
    );
    assert!(delivery.attempts[2].duration_ms.unwrap() >= 400, "the whole timeout");
    assert_eq!(receiver.times().len(), 1, "always the same id");
    service.stop().await;
}

async fn a_dead_delivery_is_replayed_under_the_same_id(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.answers(BROKEN);
    let service = Site::new(stack).await.with("delivery.max_attempts", "1").start().await;
    let shop = told_of_sales(&service, &receiver).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    service.settled(DeliveryState::Dead, 1).await;
    receiver.answers(OK);
    let [dead] = service.deliveries().await.try_into().unwrap();
    let Replay::Begun(hint) = replay(&service, &dead).await else { panic!("nothing runs") };
    service.state.relay.announce(vec![hint]);
    service.settled(DeliveryState::Delivered, 1).await;

    let [delivery] = service.deliveries().await.try_into().unwrap();
    assert_eq!((delivery.epoch, delivery.attempt, delivery.failures, delivery.dead_reason), (2, 1, 0, None));
    let kept: Vec<_> = delivery.attempts.iter().map(|a| (a.epoch, a.number, a.outcome.as_str())).collect();
    assert_eq!(kept, [(1, 1, "failed"), (2, 1, "delivered")]);
    assert_eq!(receiver.times().into_values().collect::<Vec<_>>(), [2], "the same id twice");
    service.stop().await;
}

async fn a_replay_waits_for_a_running_attempt(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.follows(|_, _| (Duration::from_secs(1), OK));
    let site = Site::new(stack).await.with("delivery.timeout", "5s").with("delivery.lease", "8s");
    let service = site.start().await;
    let shop = told_of_sales(&service, &receiver).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    eventually("the attempt runs", async || receiver.posts().len() == 1).await;
    let [running] = service.deliveries().await.try_into().unwrap();
    assert_eq!(replay(&service, &running).await, Replay::Leased);
    service.settled(DeliveryState::Delivered, 1).await;
    let [delivery] = service.deliveries().await.try_into().unwrap();
    assert_eq!(delivery.epoch, 1);
    service.stop().await;
}

async fn old_hints_do_nothing_after_a_replay(stack: Stack) {
    let receiver = Receiver::start().await;
    receiver.answers(BROKEN);
    let site = Site::new(stack).await.with("delivery.ladder", "1s").with("delivery.republish_after", NEVER);
    let service = site.start().await;
    let shop = told_of_sales(&service, &receiver).await;
    sell(&service, &shop, ["sale-1".to_owned()]).await;
    // Its next hint, of the first epoch, waits on the rung.
    eventually("the first attempt has failed", async || {
        service.deliveries().await.iter().all(|delivery| delivery.failures == 1)
    })
    .await;
    receiver.answers(OK);
    let [failed] = service.deliveries().await.try_into().unwrap();
    let Replay::Begun(hint) = replay(&service, &failed).await else { panic!("nothing runs") };
    service.state.relay.announce(vec![hint; 3]);
    service.settled(DeliveryState::Delivered, 1).await;

    // Whatever was published before this sale's rung came back has come back with it.
    receiver.follows(|number, _| (Duration::ZERO, if number == 2 { BROKEN } else { OK }));
    sell(&service, &shop, ["sale-2".to_owned()]).await;
    service.settled(DeliveryState::Delivered, 2).await;
    let mut times: Vec<usize> = receiver.times().into_values().collect();
    times.sort_unstable();
    assert_eq!(times, [2, 2]);
    service.stop().await;
}

async fn told_of_sales(service: &Service, receiver: &Receiver) -> Shop {
    let shop = Shop::open(&*service.state.store).await;
    shop.tell(&*service.state.store, receiver, ONE_EACH).await;
    shop
}

async fn replay(service: &Service, delivery: &DeliveryView) -> Replay {
    let state = &service.state;
    state.store.replay(delivery.id, state.clock.now(), state.settings.delivery.republish_after).await.unwrap()
}
