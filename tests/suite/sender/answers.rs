//! What an answer, or none, comes to.

use std::sync::Arc;
use std::time::Duration;

use postback::delivery::sender::{OutboundRequest, Sender, SenderSettings};
use postback::domain::delivery::AttemptOutcome;
use rustls::RootCertStore;
use tokio::net::TcpSocket;

use super::receiver::Receiver;
use super::{FAILED, NAME, OK, Prepared, Silent, loopback, now, post, resolving, said, sender, trusting};

#[tokio::test]
async fn a_2xx_delivers_the_request_as_it_was_given() {
    let receiver = Receiver::answering(OK).await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, result.status), (AttemptOutcome::Delivered, Some(200)));
    assert_eq!((result.body_start.as_deref(), result.error), (Some("ok"), None));
    assert!(result.duration > Duration::ZERO);

    let requests = receiver.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!((lines.remove(0), body), ("POST /in?token=t HTTP/1.1", "{\"type\":\"test\"}"));
    lines.sort_unstable();
    let agent = format!("user-agent: postback/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: 127.0.0.1:{}", receiver.port);
    let expected = [
        "accept-encoding: identity",
        "content-length: 15",
        "content-type: application/json",
        &host,
        &agent,
        "webhook-id: evt_1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn other_answers_fail_with_their_status() {
    for (status, line) in [(500, "500 Oops"), (404, "404 Not Found"), (410, "410 Gone"), (304, "304 Not Modified")] {
        let receiver = Receiver::answering(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")).await;
        let result = sender().send(post(receiver.url()), now()).await;
        assert_eq!((result.outcome, result.status, &result.body_start), (FAILED, Some(status), &None));
        assert_eq!(said(&result), format!("the receiver answered {status}"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Receiver::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", other.url());
        let receiver = Receiver::answering(answer).await;
        let result = sender().send(post(receiver.url()), now()).await;
        assert_eq!((result.outcome, result.status), (FAILED, Some(status)));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_hundred_redirects_cost_one_request() {
    let receiver = Receiver::start(|mut talk| async move {
        let mut hops = 0;
        while hops < 100 && talk.next_request().await {
            hops += 1;
            let answer = format!("HTTP/1.1 307 Again\r\nlocation: /hop/{hops}\r\ncontent-length: 0\r\n\r\n");
            talk.write(answer.as_bytes()).await;
        }
    })
    .await;
    let result = sender().send(post(receiver.url()), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the receiver answered 307"));
    assert_eq!((receiver.connections(), receiver.requests().len()), (1, 1));
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (status, value, asked) in [
        (429, "7", Some(7)),
        (503, "120", Some(120)),
        (503, "999999999", Some(86_400)),
        (429, "soon", None),
        (500, "120", None),
    ] {
        let answer = format!("HTTP/1.1 {status} Wait\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let result = sender().send(post(receiver.url()), now()).await;
        let retry_after = asked.map(Duration::from_secs);
        assert_eq!(result.outcome, AttemptOutcome::Failed { retry_after }, "{status} {value}");
    }

    let date = "Sat, 31 Jan 2026 12:10:00 GMT";
    let receiver =
        Receiver::answering(format!("HTTP/1.1 503 Wait\r\nretry-after: {date}\r\ncontent-length: 0\r\n\r\n")).await;
    let result = sender().send(post(receiver.url()), now()).await;
    // Counted from the answer, not from the start of the attempt.
    let retry_after =
        Some(Duration::from_secs(600) - Duration::from_micros(u64::try_from(result.duration.as_micros()).unwrap()));
    assert_eq!(result.outcome, AttemptOutcome::Failed { retry_after });
}

#[tokio::test]
async fn what_is_no_answer_is_told_in_words() {
    let closing = Receiver::start(|mut talk| async move {
        talk.next_request().await;
    })
    .await;
    let result = sender().send(post(closing.url()), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the connection was closed before an answer came"));

    let babbling = Receiver::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let result = sender().send(post(babbling.url()), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the receiver's answer was not valid HTTP"));

    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let result = sender().send(post(format!("http://{}/", deaf.local_addr().unwrap())), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the connection was refused"));

    let result = resolving(loopback(), Prepared::new(&[])).send(post(format!("https://{NAME}/")), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the name could not be resolved"));

    let settings = SenderSettings { resolve_timeout: Duration::from_millis(200), ..SenderSettings::default() };
    let sender = Sender::with_parts(loopback(), settings, Arc::new(Silent), trusting(RootCertStore::empty()));
    let result = sender.send(post(format!("https://{NAME}/")), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "the name could not be resolved within 200 ms"));
}

#[tokio::test]
async fn a_header_that_http_forbids_is_not_sent() {
    let receiver = Receiver::answering(OK).await;
    let headers = vec![("webhook-id", "evt_1\r\nx-smuggled: 1".to_owned())];
    let result = sender().send(OutboundRequest { headers, ..post(receiver.url()) }, now()).await;
    assert_eq!(result.outcome, FAILED);
    assert_eq!(said(&result), "the request could not be made: HTTP does not allow this value of webhook-id");
    assert_eq!(receiver.connections(), 0);
}
