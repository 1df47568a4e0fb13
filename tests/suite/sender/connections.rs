//! Connections that are kept, and what happens when they die.

use postback::domain::delivery::AttemptOutcome;

use super::receiver::Receiver;
use super::{FAILED, OK, now, post, said, sender};

#[tokio::test]
async fn connections_are_kept() {
    let receiver = Receiver::answering(OK).await;
    let sender = sender();
    for _ in 0..20 {
        assert_eq!(sender.send(post(receiver.url()), now()).await.outcome, AttemptOutcome::Delivered);
    }
    assert_eq!(receiver.requests().len(), 20);
    assert!(receiver.connections() < 20, "{} connections", receiver.connections());
}

#[tokio::test]
async fn a_request_that_was_seen_is_never_repeated() {
    // Each connection answers its first request and closes after its second without a word.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(OK.as_bytes()).await;
        talk.next_request().await;
    })
    .await;
    let sender = sender();
    let mut failed = 0;
    for sent in 1..=20 {
        let result = sender.send(post(receiver.url()), now()).await;
        if result.outcome == FAILED {
            assert_eq!(said(&result), "the connection was closed before an answer came");
            failed += 1;
        }
        assert_eq!(receiver.requests().len(), sent, "each attempt is one request");
    }
    assert!(failed > 0, "no connection was used twice");
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    // Each connection answers one request and closes: a later attempt may find it out only while writing.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(OK.as_bytes()).await;
    })
    .await;
    let sender = sender();
    let mut delivered = 0;
    for _ in 0..20 {
        let result = sender.send(post(receiver.url()), now()).await;
        receiver.all_closed().await;
        if result.outcome == AttemptOutcome::Delivered {
            delivered += 1;
        } else {
            assert_eq!(said(&result), "the connection was closed before an answer came");
        }
    }
    assert_eq!(receiver.requests().len(), delivered, "an attempt that failed was never seen");
    assert!(delivered > 1, "after the first connection died there was another");
}
