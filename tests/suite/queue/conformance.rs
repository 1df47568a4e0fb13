//! Every behaviour that callers may count on, on both implementations. Order is not promised.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postback::domain::delivery::Hint;
use postback::queue::Queue;
use postback::queue::embedded::{Embedded, EmbeddedSettings};
use postback::queue::{Received, Route};

use super::broker::{self, Running};
use super::{hint, is_refused, ladder, next};
use crate::support::{eventually, soon};

/// Two rungs that a test can wait for, and one that it cannot.
const RUNGS_MS: [u64; 3] = [200, 700, 3_600_000];
const LONG_RUNG: usize = 2;

macro_rules! conformance {
    ($($behaviour:ident)+) => {
        mod embedded {
            $(#[tokio::test]
            async fn $behaviour() {
                let settings = super::EmbeddedSettings { capacity: super::LIMIT, rung_capacity: super::LIMIT };
                let queue = super::Embedded::new(settings, &super::ladder(&super::RUNGS_MS));
                super::$behaviour(std::sync::Arc::new(queue)).await;
            })+
        }
        mod rabbitmq {
            $(#[tokio::test]
            async fn $behaviour() {
                let ladder = super::ladder(&super::RUNGS_MS);
                let limit = u32::try_from(super::LIMIT).unwrap();
                let settings = postback::queue::rabbitmq::RabbitMqSettings { max_length: limit, ..super::broker::settings() };
                let running = super::Running::start(settings, &ladder).connected().await;
                super::$behaviour(running.queue.clone()).await;
                running.remove(&ladder).await;
            })+
        }
    };
}

conformance! {
    what_is_published_is_received_and_acknowledged_once
    what_is_dropped_comes_again
    a_rung_comes_back_after_its_time_and_not_before
    a_rung_that_does_not_exist_is_refused
    nothing_to_say_is_said_at_once
    several_receivers_share
    closing_ends_every_receiver
    a_full_queue_refuses_and_takes_again
    a_full_rung_refuses
    depths_tell_where_messages_lie
    health_says_that_all_is_well
}

/// Messages that a queue under test takes, about.
const LIMIT: usize = 50;

async fn what_is_published_is_received_and_acknowledged_once(queue: Arc<dyn Queue>) {
    let hints = vec![hint(), Hint { epoch: 3, attempt: 14, ..hint() }];
    queue.publish(Route::Work, &hints).await.unwrap();
    let received = next(&*queue).await;
    assert_eq!(received.hints, hints);
    received.ack().await;

    // What was acknowledged does not come again: the next message is the next one published.
    let second = hint();
    queue.publish(Route::Work, &[second]).await.unwrap();
    let received = next(&*queue).await;
    assert_eq!(received.hints, [second]);
    received.ack().await;
}

async fn what_is_dropped_comes_again(queue: Arc<dyn Queue>) {
    let hint = hint();
    queue.publish(Route::Work, &[hint]).await.unwrap();
    for _ in 0..2 {
        let received = next(&*queue).await;
        assert_eq!(received.hints, [hint]);
        drop(received);
    }
    let received = next(&*queue).await;
    assert_eq!(received.hints, [hint]);
    received.ack().await;
}

async fn a_rung_comes_back_after_its_time_and_not_before(queue: Arc<dyn Queue>) {
    let (short, long) = (hint(), hint());
    let start = Instant::now();
    queue.publish(Route::Rung(1), &[long]).await.unwrap();
    queue.publish(Route::Rung(0), &[short]).await.unwrap();
    let mut arrivals = Vec::new();
    for _ in 0..2 {
        let received = next(&*queue).await;
        arrivals.push((received.hints[0], start.elapsed()));
        received.ack().await;
    }
    for (hint, rung) in [(short, 0), (long, 1)] {
        let (_, after) = arrivals.iter().find(|(arrived, _)| *arrived == hint).expect("it arrived");
        let wait = Duration::from_millis(RUNGS_MS[rung]);
        assert!(*after >= wait, "rung {rung} came back after {after:?}");
    }
}

async fn a_rung_that_does_not_exist_is_refused(queue: Arc<dyn Queue>) {
    let outcome = queue.publish(Route::Rung(RUNGS_MS.len()), &[hint()]).await;
    assert!(is_refused(&outcome), "{outcome:?}");
}

async fn nothing_to_say_is_said_at_once(queue: Arc<dyn Queue>) {
    queue.publish(Route::Work, &[]).await.unwrap();
    let marker = hint();
    queue.publish(Route::Work, &[marker]).await.unwrap();
    let received = next(&*queue).await;
    assert_eq!(received.hints, [marker], "an empty message would have come first");
    received.ack().await;
}

async fn several_receivers_share(queue: Arc<dyn Queue>) {
    // Nobody acknowledges before all have one, so each must have got another message.
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { next(&*queue).await })
        })
        .collect();
    let published: HashSet<Hint> = (0..8).map(|_| hint()).collect();
    for hint in &published {
        queue.publish(Route::Work, &[*hint]).await.unwrap();
    }
    let mut held: Vec<Received> = Vec::new();
    for receiver in receivers {
        held.push(receiver.await.unwrap());
    }
    let received: HashSet<Hint> = held.iter().flat_map(|received| received.hints.clone()).collect();
    assert_eq!(received, published);
    for received in held {
        received.ack().await;
    }
}

async fn closing_ends_every_receiver(queue: Arc<dyn Queue>) {
    queue.publish(Route::Work, &[hint()]).await.unwrap();
    let held = next(&*queue).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.receive().await.is_none() })
        })
        .collect();
    soon("close", queue.close()).await;
    for receiver in waiting {
        assert!(soon("receive ends", receiver).await.unwrap(), "a receiver got a message from a closed queue");
    }
    assert!(soon("receive ends", queue.receive()).await.is_none());
    assert!(!queue.health().consuming);
    soon("what was handed out can still be acknowledged", held.ack()).await;
}

async fn a_full_queue_refuses_and_takes_again(queue: Arc<dyn Queue>) {
    // A broker counts behind the publisher's back: full is approximate, but must come.
    let mut taken = 0;
    while queue.publish(Route::Work, &[hint()]).await.is_ok() {
        taken += 1;
        assert!(taken < 20 * LIMIT, "the queue takes without end");
    }
    assert!(taken >= LIMIT, "refused after {taken}");
    let outcome = queue.publish(Route::Work, &[hint()]).await;
    assert!(is_refused(&outcome), "{outcome:?}");
    for _ in 0..taken {
        next(&*queue).await.ack().await;
    }
    eventually("the queue takes messages again", async || queue.publish(Route::Work, &[hint()]).await.is_ok()).await;
}

async fn a_full_rung_refuses(queue: Arc<dyn Queue>) {
    let mut taken = 0;
    let outcome = loop {
        let outcome = queue.publish(Route::Rung(LONG_RUNG), &[hint()]).await;
        if outcome.is_err() {
            break outcome;
        }
        taken += 1;
        assert!(taken < 20 * LIMIT, "the rung takes without end");
    };
    assert!(is_refused(&outcome) && taken >= LIMIT, "{outcome:?} after {taken}");
    queue.publish(Route::Work, &[hint()]).await.expect("a full rung does not stop the work queue");
}

async fn depths_tell_where_messages_lie(queue: Arc<dyn Queue>) {
    for _ in 0..3 {
        queue.publish(Route::Rung(LONG_RUNG), &[hint()]).await.unwrap();
    }
    eventually("the rung's depth is three", async || {
        let depths = queue.depths().await.unwrap();
        let names: HashSet<&str> = depths.iter().map(|depth| depth.queue.as_str()).collect();
        assert_eq!(names.len(), depths.len(), "each queue once");
        depths.iter().any(|depth| depth.queue.contains("retry.3600s") && depth.messages == 3)
    })
    .await;
}

async fn health_says_that_all_is_well(queue: Arc<dyn Queue>) {
    let health = queue.health();
    assert!(health.publishing && health.consuming && health.detail.is_none(), "{health:?}");
}
