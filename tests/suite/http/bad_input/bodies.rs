//! Bodies that are too large, too slow, compressed, or of the wrong kind. Whoever sent them with a valid key finds a
//! receipt; of a body that was not read to its end, nothing is in it.

use std::time::{Duration, Instant};

use postback::config::Settings;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::client::exchange;
use super::super::world::{Setup, text};
use super::{EVIL, post, post_json, refused, refused_and_kept, rows};
use crate::support::soon;

rows! { body_over_64_kib head_or_body_stalls compressed_body wrong_or_missing_media_type }

const LIMIT: usize = 64 * 1024;
/// What a receipt holds in place of a body that could not be read.
const WITHHELD: &str = "withheld: unreadable (%)";

fn chunked(setup: &Setup, content: &str) -> String {
    format!(
        "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{content}",
        setup.key
    )
}

async fn body_over_64_kib(setup: &Setup) {
    let body = |bytes: usize| {
        let body = format!(r#"{{"click_id":"c1","goal":"lead","x":"{EVIL}"#);
        format!("{body}{}\"}}", "x".repeat(bytes - body.len() - 2))
    };
    post_json(setup, body(LIMIT)).send().await.expect(200);
    let problem = refused_and_kept(setup, &post_json(setup, body(LIMIT + 1)), 413, "payload_too_large").await;
    let receipt = setup.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!(receipt["body"], WITHHELD);
    // The connection is closed without reading what is announced.
    let announced = format!(
        "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1099511627776\r\n\r\n{{",
        setup.key
    );
    refused(&exchange(setup.address, announced.as_bytes()).await, 413, "payload_too_large");
    let in_chunks = |bytes: usize| chunked(setup, &format!("{bytes:x}\r\n{}\r\n", body(bytes)));
    refused(&exchange(setup.address, in_chunks(LIMIT + 1).as_bytes()).await, 413, "payload_too_large");
    // Rows come in bodies of up to 1 MiB.
    let clicks = |bytes: usize| format!("{}[]", " ".repeat(bytes - 2));
    let import = |bytes| {
        let call = setup.call("POST", "/v1/clicks").key(&setup.key);
        call.header("Content-Type", "application/json").body(clicks(bytes))
    };
    import(1024 * 1024).send().await.expect(200);
    refused(&import(1024 * 1024 + 1).send().await, 413, "payload_too_large");
}

async fn head_or_body_stalls(setup: &Setup) {
    let defaults = Settings::from_pairs(&[]).unwrap().server;
    assert_eq!((defaults.head_timeout, defaults.body_timeout), (Duration::from_secs(5), Duration::from_secs(10)));
    let stalled = format!("GET /v1/postbacks?{EVIL} HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(exchange(setup.address, stalled.as_bytes()).await.status, 408);
    let stalled = format!(
        "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"{EVIL}",
        setup.key
    );
    let problem = refused(&exchange(setup.address, stalled.as_bytes()).await, 408, "request_timeout");
    assert!(problem["receipt_id"].is_string(), "{problem}");
    // To send a byte now and then does not help: it is the whole body that has a deadline.
    let mut stream = TcpStream::connect(setup.address).await.unwrap();
    let (begun, mut answer) = (Instant::now(), Vec::new());
    stream.write_all(chunked(setup, "").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    soon("a dripping client is given up", async {
        tokio::select! {
            read = reading.read_to_end(&mut answer) => drop(read),
            () = async {
                while writing.write_all(b"1\r\n \r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                std::future::pending().await
            } => {}
        }
    })
    .await;
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408 "), "{}", answer.escape_ascii());
    assert!(begun.elapsed() >= Duration::from_secs(2), "the deadline of these tests");
    a_later_head_stalls(setup).await;
}

/// A connection's second head has as long as its first. In between it may lie idle.
async fn a_later_head_stalls(setup: &Setup) {
    let whole = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    for (first, pause) in [(whole.to_owned(), Duration::from_secs(3)), (format!("{whole}{whole}"), Duration::ZERO)] {
        let mut stream = TcpStream::connect(setup.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let (begun, mut answer) = (Instant::now(), Vec::new());
        while answer.escape_ascii().to_string().matches("alive").count() < first.matches("GET").count() {
            assert!(soon("the first answers", stream.read_buf(&mut answer)).await.unwrap() > 0);
        }
        tokio::time::sleep(pause).await;
        stream.write_all(format!("GET /v1/postbacks?{EVIL} HTTP/1.1\r\nHost: x\r\n").as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        soon("it is given up", stream.read_to_end(&mut rest)).await.unwrap();
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.starts_with("HTTP/1.1 408 ") && rest.matches("HTTP/1.1").count() == 1, "{rest}");
        assert!(begun.elapsed() >= pause + Duration::from_secs(2), "the deadline of these tests");
    }
}

async fn compressed_body(setup: &Setup) {
    let body = json!({"click_id": "c1", "goal": "lead", EVIL: EVIL});
    for encoding in ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, identity", "identity, gzip", "GZIP", EVIL, ""] {
        let call = post(setup).header("Content-Encoding", encoding).json(&body);
        let problem = refused_and_kept(setup, &call, 415, "unsupported_media_type").await;
        let receipt = setup.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
        assert_eq!(receipt["body"], WITHHELD, "{encoding:?}");
    }
    let twice = post(setup).header("Content-Encoding", "identity").header("Content-Encoding", "gzip").json(&body);
    refused(&twice.send().await, 415, "unsupported_media_type");
    post(setup).header("Content-Encoding", "identity").json(&body).send().await.expect(200);
}

async fn wrong_or_missing_media_type(setup: &Setup) {
    let body = r#"{"click_id":"c1","goal":"lead"}"#;
    refused_and_kept(setup, &post(setup).body(body), 415, "unsupported_media_type").await;
    for media_type in [
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/jsonx",
        "application/json+x",
        "application/json; charset=latin1",
        "application/json; charset=utf-8; x=1",
        "application/json, application/json",
        "multipart/form-data; boundary=evil0dd",
        "application/octet-stream",
        EVIL,
        "\u{fc}",
    ] {
        let call = post(setup).header("Content-Type", media_type).body(body);
        refused_and_kept(setup, &call, 415, "unsupported_media_type").await;
    }
    let twice = post(setup).header("Content-Type", "application/json").header("Content-Type", "text/plain").body(body);
    refused_and_kept(setup, &twice, 415, "unsupported_media_type").await;
    let clicks = setup.call("POST", "/v1/clicks").key(&setup.key).header("Content-Type", "text/csv").body("[]");
    refused(&clicks.send().await, 415, "unsupported_media_type");
    let with_body = setup.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&setup.key).body(EVIL);
    refused_and_kept(setup, &with_body, 400, "malformed").await;
}
