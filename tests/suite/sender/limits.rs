//! What a receiver can not make us spend: time, memory, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postback::delivery::sender::{MAX_TOTAL_TIMEOUT, Sender, SenderSettings};
use postback::domain::delivery::AttemptOutcome;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::receiver::Receiver;
use super::{FAILED, OK, loopback, now, post, post_within, said, sender};

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver did not answer within 300 ms");
    assert!(result.duration >= Duration::from_millis(300) && result.duration < Duration::from_secs(3));
    receiver.all_closed().await;
}

#[tokio::test]
async fn a_head_that_drips_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for byte in OK.bytes() {
            pace.tick().await;
            if !talk.write(&[byte]).await {
                return;
            }
        }
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver did not answer within 300 ms");
    assert!(result.duration < Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_deadline_and_the_status_decides() {
    for (line, outcome) in [("200 OK", AttemptOutcome::Delivered), ("500 Oops", FAILED)] {
        let receiver = Receiver::start(move |mut talk| async move {
            talk.next_request().await;
            talk.write(format!("HTTP/1.1 {line}\r\ncontent-length: 100000\r\n\r\n").as_bytes()).await;
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while talk.write(b"x").await {
                pace.tick().await;
            }
        })
        .await;
        let result = sender().send(post_within(receiver.url(), 300), now()).await;
        assert_eq!(result.outcome, outcome);
        assert!(result.body_start.unwrap().starts_with('x'));
        assert!(result.duration >= Duration::from_millis(300) && result.duration < Duration::from_secs(3));
        receiver.all_closed().await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_ends_at_the_deadline() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\npart").await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post_within(receiver.url(), 300), now()).await;
    assert_eq!((result.outcome, result.body_start.as_deref()), (AttemptOutcome::Delivered, Some("part")));
    receiver.all_closed().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let receiver = Receiver::start(move |mut talk| {
        let count = Arc::clone(&count);
        async move {
            talk.next_request().await;
            talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
            while talk.write(&[b'y'; 16 * 1024]).await {
                count.fetch_add(16 * 1024, Ordering::SeqCst);
            }
        }
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (AttemptOutcome::Delivered, Some(200)));
    assert_eq!(result.body_start.unwrap(), "y".repeat(1024));
    assert!(result.duration < Duration::from_secs(5), "long before the deadline");
    receiver.all_closed().await;
    // What the sockets buffer on both sides, and not the gigabyte.
    assert!(written.load(Ordering::SeqCst) < 32 * 1024 * 1024);
}

#[tokio::test]
async fn an_endless_head_is_not_collected() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\nx: ").await;
        while talk.write(&[b'z'; 16 * 1024]).await {}
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (FAILED, None));
    assert_eq!(said(&result), "the receiver's answer was not valid HTTP");
}

#[tokio::test]
async fn bodies_are_never_decompressed() {
    // The start of a gzip stream; what is kept is the stream, not what it unpacks to.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\n\x1f\x8bABC").await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered);
    assert_eq!(result.body_start.as_deref(), Some("\u{fffd}\u{fffd}ABC"));
}

#[tokio::test]
async fn a_chunked_body_without_end_is_cut_off() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = format!("4000\r\n{}\r\n", "z".repeat(0x4000));
        while talk.write(chunk.as_bytes()).await {}
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered);
    assert_eq!(result.body_start.unwrap(), "z".repeat(1024));
    receiver.all_closed().await;
}

#[tokio::test]
async fn what_would_unpack_without_end_is_cut_off_packed() {
    // Deflate of one byte repeated: after the head, blocks that each stand for far more than they are.
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10000000\r\n\r\n").await;
        talk.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff").await;
        while talk.write(&[0xed; 16 * 1024]).await {}
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered);
    assert!(result.body_start.unwrap().len() <= 1024, "kept as it came");
    receiver.all_closed().await;
}

#[test]
fn the_limits_are_those_that_are_promised() {
    let limits = SenderSettings::default();
    let [resolve, connect, total] = [3, 5, 10].map(Duration::from_secs);
    assert_eq!((limits.resolve_timeout, limits.connect_timeout, limits.total_timeout), (resolve, connect, total));
    assert_eq!((limits.max_response_bytes, limits.max_kept_bytes), (16 * 1024, 1024));
    assert_eq!(MAX_TOTAL_TIMEOUT, Duration::from_secs(30));
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_given_up() {
    // Nobody accepts, and the queue of those who wait is full: what comes now is neither taken nor refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue has no end");
    }
    let settings = SenderSettings { connect_timeout: Duration::from_millis(200), ..SenderSettings::default() };
    let sender = Sender::new(loopback(), settings).unwrap();
    let result = sender.send(post(format!("http://{address}/")), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no connection could be made within 200 ms"));
    assert!(result.duration >= Duration::from_millis(200) && result.duration < Duration::from_secs(5));
}

#[tokio::test]
async fn a_stalled_tls_handshake_is_given_up() {
    let receiver = Receiver::start(|mut talk| async move { talk.hold().await }).await;
    let settings = SenderSettings {
        resolve_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(100),
        ..SenderSettings::default()
    };
    let sender = Sender::new(loopback(), settings).unwrap();
    let result = sender.send(post(format!("https://127.0.0.1:{}/", receiver.port)), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no connection could be made within 300 ms"));
    receiver.all_closed().await;
}
