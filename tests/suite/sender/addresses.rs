//! Which addresses are dialled, and which never.

use postback::delivery::connector::DialError;
use postback::delivery::egress::{Denied, EgressPolicy, UrlError};
use postback::delivery::sender::{Sender, SenderSettings};
use postback::domain::delivery::AttemptOutcome;
use tokio::net::{TcpListener, TcpStream};

use super::receiver::Receiver;
use super::{FAILED, NAME, OK, Prepared, allowing, loopback, now, post, resolving, said};

/// Part of each sentence with which a URL is refused before anything is dialled.
const REFUSALS: [&str; 3] = ["address is not public", "must be a public name", "must begin with https://"];

#[tokio::test]
async fn without_allowed_ranges_loopback_is_refused_in_every_spelling() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = Sender::new(EgressPolicy::default(), SenderSettings::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "0",
        "localhost",
        "localhost.",
        "LocalHost",
        "a.localhost",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    ] {
        for scheme in ["http", "https"] {
            let result = sender.send(post(format!("{scheme}://{host}:{port}/")), now()).await;
            assert_eq!((result.outcome, result.status), (FAILED, None), "{scheme} {host}");
            let why = said(&result);
            assert!(REFUSALS.iter().any(|known| why.contains(known)), "{scheme} {host}: {why}");
        }
    }
    let named = resolving(EgressPolicy::default(), Prepared::new(&[&["127.0.0.1"]]));
    let result = named.send(post(format!("https://{NAME}:{port}/")), now()).await;
    assert_eq!(said(&result), "the address is not public (loopback)");

    // The first connection that arrives is our own: nobody dialled before.
    let own = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.port(), own.local_addr().unwrap().port());
}

#[tokio::test]
async fn a_name_with_one_private_address_is_refused() {
    let receiver = Receiver::answering(OK).await;
    let policy = || allowing(&["127.0.0.1/32"]);
    for answer in [&["127.0.0.1", "10.0.0.1"], &["10.0.0.1", "127.0.0.1"], &["127.0.0.1", "::ffff:10.0.0.1"]] {
        let sender = resolving(policy(), Prepared::new(&[answer]));
        let result = sender.send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
        assert_eq!(said(&result), "the address is not public (private network)");
    }
    // One address is exempt, one is public: http is right for the first and wrong for the second.
    let sender = resolving(policy(), Prepared::new(&[&["127.0.0.1", "8.8.8.8"]]));
    let result = sender.send(post(format!("http://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!(said(&result), "the URL must begin with https://");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_was_judged_is_what_is_dialled() {
    let receiver = Receiver::start(|mut talk| async move {
        talk.next_request().await;
        talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let resolver = Prepared::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let sender = resolving(allowing(&["127.0.0.1/32"]), resolver.clone());
    let url = format!("http://{NAME}:{}/", receiver.port);

    let result = sender.send(post(&url), now()).await;
    assert_eq!((result.outcome, resolver.calls()), (AttemptOutcome::Delivered, 1), "asked once, judged, dialled");
    assert!(receiver.requests()[0].contains(&format!("host: {NAME}:{}\r\n", receiver.port)));

    let result = sender.send(post(&url), now()).await;
    assert_eq!((said(&result), resolver.calls()), ("the address is not public (loopback)", 2), "judged at every dial");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let receiver = Receiver::answering(OK).await;
    let sender = resolving(loopback(), Prepared::new(&[&["127.0.0.3", "127.0.0.1"]]));
    let result = sender.send(post(format!("http://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!((result.outcome, receiver.connections()), (AttemptOutcome::Delivered, 1));
}

#[tokio::test]
async fn registration_judges_the_text_and_the_addresses() {
    let sender = resolving(EgressPolicy::default(), Prepared::new(&[&["8.8.8.8"], &["8.8.8.8", "10.0.0.1"]]));
    let url = format!("https://{NAME}/in");
    assert_eq!(sender.check_url(&url).await.unwrap().to_string(), url);
    let denied = Denied { kind: "private network" };
    let refused = sender.check_url(&url).await;
    assert!(matches!(refused, Err(DialError::NotAllowed(UrlError::Address(why))) if why == denied));
    let refused = sender.check_url("http://hooks.example.com/").await;
    assert!(matches!(refused, Err(DialError::NotAllowed(UrlError::Scheme))));
}
