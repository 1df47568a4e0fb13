//! What a broker and the way to it can do to us, and what must come of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::types::AMQPValue;
use postback::domain::delivery::Hint;
use postback::queue::rabbitmq::{RabbitMq, RabbitMqSettings};
use postback::queue::{PublishError, Queue, Route};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::{self, Hands, Running};
use super::{hint, is_refused, is_unavailable, ladder, next};
use crate::support::proxy::Proxy;
use crate::support::{eventually, soon};

/// A rung that no test waits for.
const LONG_MS: u64 = 3_600_000;
const LONG_QUEUE: &str = "retry.3600s";

/// The test broker, seen through a proxy.
async fn through_proxy(settings: RabbitMqSettings) -> (Proxy, RabbitMqSettings) {
    let mut url = broker::url();
    let proxy = Proxy::start(format!("{}:{}", url.authority.host, url.authority.port)).await;
    "127.0.0.1".clone_into(&mut url.authority.host);
    url.authority.port = proxy.port();
    (proxy, RabbitMqSettings { url: SecretString::from(url.to_string()), ..settings })
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn an_unroutable_message_is_never_taken_however_many_are_published_at_once() {
    let ladder = ladder(&[LONG_MS]);
    // A long back-off, so that nothing is declared again during the test.
    let long = Duration::from_secs(300);
    let settings = RabbitMqSettings { backoff_min: long, backoff_max: long, ..broker::settings() };
    let running = Running::start(settings, &ladder).connected().await;
    let hands = Hands::new().await;
    hands.unbind(&running.name(LONG_QUEUE), &running.name("deliver"), "r3600s").await;

    // Whether a return is pinned on the wrong message is a matter of luck, so try often.
    for _ in 0..10 {
        burst_of_unroutable_messages(&running).await;
    }
    running.remove(&ladder).await;
}

/// 400 messages at once, every tenth routable.
async fn burst_of_unroutable_messages(running: &Running) {
    let publishes: Vec<_> = (0..400)
        .map(|n| {
            let queue = Arc::clone(&running.queue);
            let (route, hint) = if n % 10 == 0 { (Route::Work, hint()) } else { (Route::Rung(0), hint()) };
            tokio::spawn(async move { (route, hint, queue.publish(route, &[hint]).await) })
        })
        .collect();
    let mut routable = HashSet::new();
    for publish in publishes {
        let (route, hint, outcome) = publish.await.unwrap();
        match route {
            Route::Work => {
                outcome.unwrap();
                routable.insert(hint);
            }
            Route::Rung(_) => assert!(is_refused(&outcome), "unroutable, but {outcome:?}"),
        }
    }
    let mut received = HashSet::new();
    while received.len() < routable.len() {
        let message = next(&*running.queue).await;
        received.extend(message.hints.iter().copied());
        message.ack().await;
    }
    assert_eq!(received, routable);
}

#[tokio::test]
async fn a_rung_that_was_deleted_is_declared_again() {
    let ladder = ladder(&[LONG_MS]);
    let running = Running::start(broker::settings(), &ladder).connected().await;
    Hands::new().await.delete(&running.name(LONG_QUEUE)).await;
    let outcome = running.queue.publish(Route::Rung(0), &[hint()]).await;
    assert!(is_refused(&outcome), "{outcome:?}");
    eventually("the rung takes messages again", async || {
        running.queue.publish(Route::Rung(0), &[hint()]).await.is_ok()
    })
    .await;
    running.remove(&ladder).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_kept_in_poison_and_leaves_the_work_queue() {
    let ladder = ladder(&[LONG_MS]);
    let running = Running::start(broker::settings(), &ladder).connected().await;
    let hands = Hands::new().await;
    let body = br#"{"v":99,"items":"from the future"}"#;
    hands.put(&running.name("work"), body).await;
    eventually("the message is in the poison queue", async || running.depth("poison").await == 1).await;
    assert_eq!(running.queue.poisoned(), 1);

    // The readable ones behind it are not held up.
    let hint = hint();
    running.queue.publish(Route::Work, &[hint]).await.unwrap();
    let received = next(&*running.queue).await;
    assert_eq!(received.hints, [hint]);
    received.ack().await;

    running.stop().await;
    assert!(hands.take(&running.name("work")).await.is_none(), "it was acknowledged");
    let kept = hands.take(&running.name("poison")).await.expect("it was kept");
    assert_eq!(kept.delivery.data, body);
    running.remove(&ladder).await;
}

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_declared_again() {
    let ladder = ladder(&[LONG_MS]);
    // The pauses of the real settings: a queue that is declared while its deletion is under way loses what it takes.
    let settings = RabbitMqSettings { backoff_min: Duration::from_millis(250), ..broker::settings() };
    let running = Running::start(settings, &ladder).connected().await;
    let held_hint = hint();
    running.queue.publish(Route::Work, &[held_hint]).await.unwrap();
    let held = next(&*running.queue).await;
    Hands::new().await.delete(&running.name("work")).await;
    // Its message is gone with the queue; saying so late must do no harm.
    soon("a late acknowledgement", held.ack()).await;

    let hint = hint();
    eventually("the work queue takes messages again", async || {
        running.queue.publish(Route::Work, &[hint]).await.is_ok()
    })
    .await;
    let received = next(&*running.queue).await;
    assert_eq!(received.hints, [hint]);
    received.ack().await;
    running.remove(&ladder).await;
}

/// A queue that is declared again while its deletion is under way may tell its consumer nothing, and know nothing of it.
#[tokio::test]
async fn a_queue_deleted_again_and_again_is_never_left_without_its_consumer() {
    let ladder = ladder(&[LONG_MS]);
    let settings = RabbitMqSettings { backoff_min: Duration::from_millis(1), ..broker::settings() };
    let running = Running::start(settings, &ladder).connected().await;
    let hands = Hands::new().await;
    for _ in 0..10 {
        hands.delete(&running.name("work")).await;
        eventually("what is published is received", async || {
            // Refused while the queue is missing; asked for as the relay asks, which is how the loss is noticed.
            let (_published, _depths) =
                (running.queue.publish(Route::Work, &[hint()]).await, running.queue.depths().await);
            match tokio::time::timeout(Duration::from_millis(100), running.queue.receive()).await {
                Ok(received) => {
                    received.expect("it is open").ack().await;
                    true
                }
                Err(_) => false,
            }
        })
        .await;
    }
    running.remove(&ladder).await;
}

#[tokio::test]
async fn cut_connections_are_rebuilt_and_nothing_hangs_or_is_lost() {
    let ladder = ladder(&[LONG_MS]);
    let (proxy, settings) = through_proxy(broker::settings()).await;
    let running = Running::start(settings, &ladder).connected().await;
    let (held_hint, mut taken) = (hint(), HashSet::new());
    running.queue.publish(Route::Work, &[held_hint]).await.unwrap();
    let held = next(&*running.queue).await;

    for cuts in 0..5 {
        proxy.cut();
        // Publishes during and after the cut: each answers, and what was taken is remembered.
        eventually("publishing works again", async || {
            let hint = hint();
            match soon("an answer", running.queue.publish(Route::Work, &[hint])).await {
                Ok(()) => taken.insert(hint),
                Err(PublishError::Unavailable(_)) => false,
                Err(other) => panic!("after {cuts} cuts: {other}"),
            }
        })
        .await;
    }
    // Handed out before the first cut: its acknowledgement went nowhere, so it comes again.
    soon("a late acknowledgement", held.ack()).await;
    taken.insert(held_hint);
    let mut received = HashSet::new();
    while !taken.is_subset(&received) {
        let message = next(&*running.queue).await;
        received.extend(message.hints.iter().copied());
        message.ack().await;
    }
    running.wait_connected().await;
    assert_eq!(running.queue.health().detail, None);
    running.remove(&ladder).await;
}

#[tokio::test]
async fn a_black_holed_broker_costs_a_publish_no_more_than_the_timeouts() {
    let ladder = ladder(&[LONG_MS]);
    let (confirm_timeout, call_timeout) = (Duration::from_millis(500), Duration::from_secs(2));
    let (proxy, settings) = through_proxy(broker::settings()).await;
    let settings = RabbitMqSettings { confirm_timeout, call_timeout, ..settings };
    let running = Running::start(settings, &ladder).connected().await;
    proxy.black_hole(true);

    let start = Instant::now();
    let outcome = running.queue.publish(Route::Work, &[hint()]).await;
    assert!(is_unavailable(&outcome), "{outcome:?}");
    assert!(start.elapsed() < confirm_timeout + Duration::from_secs(1), "took {:?}", start.elapsed());
    eventually("the connection is given up", async || !running.queue.health().publishing).await;
    let detail = running.queue.health().detail.expect("health says why");
    assert!(detail.contains("within"), "{detail}");
    let start = Instant::now();
    let outcome = running.queue.publish(Route::Work, &[hint()]).await;
    assert!(is_unavailable(&outcome), "{outcome:?}");
    assert!(start.elapsed() < confirm_timeout, "without a connection the answer comes at once");

    proxy.black_hole(false);
    eventually("publishing works again", async || running.queue.publish(Route::Work, &[hint()]).await.is_ok()).await;
    next(&*running.queue).await.ack().await;
    running.remove(&ladder).await;
}

#[tokio::test]
async fn connections_that_were_given_up_do_not_pile_up() {
    let ladder = ladder(&[LONG_MS]);
    let (proxy, settings) = through_proxy(broker::settings()).await;
    let timeout = Duration::from_millis(100);
    let settings = RabbitMqSettings { call_timeout: timeout, confirm_timeout: timeout, ..settings };
    proxy.black_hole(true);
    let running = Running::start(settings, &ladder);
    eventually("twenty redials", async || proxy.accepted() >= 20).await;
    running.stop().await;
    // A client that waits for an answer keeps its socket and, in lapin, a thread.
    eventually("each was closed", async || proxy.open() == 0).await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_black_holed_broker() {
    let ladder = ladder(&[LONG_MS]);
    let (proxy, settings) = through_proxy(broker::settings()).await;
    let settings = RabbitMqSettings { call_timeout: Duration::from_secs(1), ..settings };
    let running = Running::start(settings.clone(), &ladder).connected().await;
    running.queue.publish(Route::Work, &[hint()]).await.unwrap();
    let held = next(&*running.queue).await;
    proxy.black_hole(true);
    let start = Instant::now();
    drop(held);
    soon("close", running.queue.close()).await;
    running.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    proxy.black_hole(false);

    // And nothing was lost by it.
    let again = Running::start(RabbitMqSettings { url: broker::settings().url, ..settings }, &ladder).connected().await;
    next(&*again.queue).await.ack().await;
    again.remove(&ladder).await;
}

#[tokio::test]
async fn what_a_closing_instance_holds_goes_to_the_others() {
    let ladder = ladder(&[LONG_MS]);
    let settings = broker::settings();
    let closing = Running::start(settings.clone(), &ladder).connected().await;
    let published: HashSet<Hint> = (0..10).map(|_| hint()).collect();
    for hint in &published {
        closing.queue.publish(Route::Work, &[*hint]).await.unwrap();
    }
    // One is being worked on, one was dropped, the rest waits in the window of this instance.
    let held = next(&*closing.queue).await;
    drop(next(&*closing.queue).await);
    soon("close", closing.queue.close()).await;
    let held_hints = held.hints.clone();
    soon("what was handed out can still be acknowledged", held.ack()).await;

    // The first instance is closed but not stopped, so its connection still stands.
    let other = Running::start(settings, &ladder).connected().await;
    let mut received: HashSet<Hint> = held_hints.into_iter().collect();
    while received.len() < published.len() {
        let message = next(&*other.queue).await;
        assert!(received.is_disjoint(&message.hints.iter().copied().collect()), "a message came twice");
        received.extend(message.hints.iter().copied());
        message.ack().await;
    }
    assert_eq!(received, published);
    closing.stop().await;
    other.remove(&ladder).await;
}

#[tokio::test]
async fn messages_are_persistent_and_closing_leaves_them_with_the_broker() {
    let ladder = ladder(&[LONG_MS]);
    let running = Running::start(broker::settings(), &ladder).connected().await;
    running.queue.close().await;
    running.queue.publish(Route::Work, &[hint()]).await.expect("workers that finish may still publish");
    running.queue.publish(Route::Rung(0), &[hint()]).await.unwrap();
    let hands = Hands::new().await;
    for queue in ["work", LONG_QUEUE] {
        let message = hands.take(&running.name(queue)).await.expect("nobody consumed it");
        assert_eq!(*message.delivery.properties.delivery_mode(), Some(2), "{queue}");
    }
    running.remove(&ladder).await;
}

#[tokio::test]
async fn the_queues_have_the_arguments_that_delivery_depends_on() {
    let ladder = ladder(&[1_500]);
    let settings = RabbitMqSettings { max_length: 1_234, ..broker::settings() };
    let running = Running::start(settings, &ladder).connected().await;
    let text = |value: &str| AMQPValue::LongString(value.into());
    let number = AMQPValue::LongLongInt;
    let common =
        [("x-queue-type", text("quorum")), ("x-overflow", text("reject-publish")), ("x-max-length", number(1_234))];
    let consumed = [("x-delivery-limit", number(1_000_000_000))];
    let rung = [
        ("x-message-ttl", number(1_500)),
        ("x-dead-letter-exchange", text(&running.name("deliver"))),
        ("x-dead-letter-routing-key", text("work")),
        ("x-dead-letter-strategy", text("at-least-once")),
    ];
    for (queue, special) in [("work", &consumed[..]), ("retry.1500ms", &rung[..]), ("poison", &consumed[..])] {
        let name = running.name(queue);
        let arguments = [&common[..], special].concat();
        // The broker accepts a declaration of an existing queue only when it is equivalent.
        Hands::new().await.declare(&name, &arguments).await.expect("exactly these arguments");
        for left_out in 0..arguments.len() {
            let mut fewer = arguments.clone();
            let (argument, _) = fewer.remove(left_out);
            let refused = Hands::new().await.declare(&name, &fewer).await;
            assert!(refused.is_err(), "{queue} would be the same without {argument}");
        }
    }
    running.remove(&ladder).await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_explained_and_awaited() {
    let ladder = ladder(&[LONG_MS]);
    let settings = broker::settings();
    let work = format!("{}.work.v1", settings.prefix);
    let hands = Hands::new().await;
    hands.declare(&work, &[]).await.unwrap();
    let running = Running::start(settings, &ladder);
    eventually("health names the queue", async || {
        running.queue.health().detail.is_some_and(|detail| detail.contains(&work) && detail.contains("delete it"))
    })
    .await;
    assert!(!running.queue.health().publishing && !running.queue.health().consuming);
    let outcome = running.queue.publish(Route::Work, &[hint()]).await;
    assert!(is_unavailable(&outcome), "{outcome:?}");
    hands.delete(&work).await;
    running.wait_connected().await;
    running.remove(&ladder).await;
}

#[tokio::test]
async fn starting_needs_no_broker_and_tells_no_secret() {
    let port = closed_port().await;
    let plaintext = broker::url();
    let urls = [
        format!("amqp://user:hunter2@127.0.0.1:{port}/%2f"),
        // TLS spoken to a port that does not.
        format!("amqps://user:hunter2@{}:{}/%2f", plaintext.authority.host, plaintext.authority.port),
        format!("amqp://user:hunter2@{}:{}/%2f", plaintext.authority.host, plaintext.authority.port),
    ];
    for url in urls {
        let settings = RabbitMqSettings { url: SecretString::from(url.clone()), ..broker::settings() };
        let shown = format!("{settings:?}");
        let running = Running::start(settings, &ladder(&[LONG_MS]));
        let outcome = soon("an answer", running.queue.publish(Route::Work, &[hint()])).await;
        assert!(is_unavailable(&outcome), "{outcome:?}");
        eventually("health says why", async || {
            running.queue.health().detail.is_some_and(|detail| detail != "connecting")
        })
        .await;
        let health = running.queue.health();
        assert!(!health.publishing && !health.consuming);
        let said = format!("{shown} {health:?} {outcome:?} {:?}", running.queue.depths().await);
        assert!(!said.contains("hunter2") && !said.contains("127.0.0.1"), "{said}");
        running.stop().await;
        assert!(running.queue.receive().await.is_none());
    }
}

#[tokio::test]
async fn settings_that_can_never_work_are_refused_without_their_secret() {
    let good = broker::settings;
    let cases = [
        (RabbitMqSettings { url: SecretString::from("postgres://user:hunter2@host/"), ..good() }, "amqp://"),
        (RabbitMqSettings { url: SecretString::from("hunter2"), ..good() }, "amqp://"),
        (RabbitMqSettings { prefix: "with space".to_owned(), ..good() }, "prefix"),
        (RabbitMqSettings { prefix: "p".repeat(101), ..good() }, "prefix"),
        (RabbitMqSettings { max_length: 0, ..good() }, "at least one message"),
        (RabbitMqSettings { publish_channels: 0, ..good() }, "in flight"),
        (RabbitMqSettings { prefetch: 0, ..good() }, "in flight"),
    ];
    let start = |settings, rung_ms| {
        RabbitMq::start(settings, &ladder(&[rung_ms]), TaskTracker::new(), CancellationToken::new())
    };
    for (settings, expected) in cases {
        let Err(error) = start(settings, LONG_MS) else { panic!("started, expected {expected}") };
        assert!(error.to_string().contains(expected) && !error.to_string().contains("hunter2"), "{error}");
    }
    let Err(error) = start(good(), 50 * 86_400_000) else { panic!("started with a rung of 50 days") };
    assert!(error.to_string().contains("49 days"), "{error}");
}
