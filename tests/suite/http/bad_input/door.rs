//! What is refused before anybody asks who is calling.

use super::super::client::exchange;
use super::super::world::Setup;
use super::{EVIL, newest_receipt, refused, rows, silent};

rows! { two_lengths_or_no_host head_over_16_kib_or_64_headers uri_over_8_kib other_methods }

/// 400, and the connection is closed: what comes after it is not taken for another request.
async fn two_lengths_or_no_host(setup: &Setup) {
    let before = newest_receipt(setup).await;
    let key = &setup.key;
    let hidden = format!("GET /v1/postbacks?click_id=c1&goal=lead HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\n\r\n");
    let chunks = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for framing in [
        "Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n".to_owned(),
        format!("Host: x\r\nContent-Length: 3\r\nContent-Length: {}\r\n", chunks.len()),
        "Host: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n".to_owned(),
        "Host: x\r\nContent-Length: 3, 3\r\n".to_owned(),
        "Host: x\r\nContent-Length: +3\r\n".to_owned(),
        "Host: x\r\nContent-Length: -3\r\n".to_owned(),
        "Host: x\r\nContent-Length: 0x3\r\n".to_owned(),
        "Host: x\r\nContent-Length: 99999999999999999999\r\n".to_owned(),
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Host: x\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Host: x\r\nTransfer-Encoding : chunked\r\n".to_owned(),
        "Host: x\r\n Content-Length: 3\r\n".to_owned(),
        format!("Content-Length: {}\r\n", chunks.len()),
        format!("Host: x\r\nHost: y\r\nContent-Length: {}\r\n", chunks.len()),
    ] {
        let request = format!(
            "POST /v1/postbacks?{EVIL} HTTP/1.1\r\nX-Api-Key: {key}\r\nContent-Type: application/json\r\n{framing}\r\n{chunks}"
        );
        let reply = exchange(setup.address, request.as_bytes()).await;
        assert_eq!(reply.status, 400, "{framing:?}");
        assert!(reply.body.is_empty(), "the parser's own answer has no body: {framing:?}");
    }
    for line in
        ["GET /livez", "GET /livez HTTP/3.0", "GET  /livez HTTP/1.1", "G\0T /livez HTTP/1.1", "GET /li\0vez HTTP/1.1"]
    {
        let reply = exchange(setup.address, format!("{line}\r\nHost: x\r\n\r\n{hidden}").as_bytes()).await;
        assert_eq!(reply.status, 400, "{line:?}");
    }
    assert_eq!(newest_receipt(setup).await, before, "nobody's request was heard");
}

async fn head_over_16_kib_or_64_headers(setup: &Setup) {
    let with_headers = |count: usize| {
        // Host and Connection are there already.
        (2..count).fold(setup.call("GET", "/livez"), |call, number| call.header(&format!("X-{number}"), EVIL))
    };
    assert_eq!(with_headers(64).send().await.status, 200);
    for count in [65, 90] {
        refused(&with_headers(count).send().await, 431, "headers_too_large");
    }
    let with_bytes = |bytes: usize| setup.call("GET", "/livez").header("X-Long", &EVIL.repeat(bytes / EVIL.len()));
    assert_eq!(with_bytes(16_000).send().await.status, 200);
    for bytes in [16 * 1024 + 7, 100_000] {
        refused(&with_bytes(bytes).send().await, 431, "headers_too_large");
    }
    let in_the_query = setup.call("GET", &format!("/livez?{}", "x".repeat(8_000))).header("X-Long", &"y".repeat(8_500));
    refused(&in_the_query.send().await, 431, "headers_too_large");
    // Beyond these the parser answers by itself, without a body.
    for beyond in [with_headers(200), with_bytes(300_000)] {
        assert_eq!(beyond.send().await.status, 431);
    }
}

async fn uri_over_8_kib(setup: &Setup) {
    let of = |bytes: usize| {
        let target = format!("/livez?{EVIL}=");
        setup.call("GET", &format!("{target}{}", "x".repeat(bytes - target.len())))
    };
    assert_eq!(of(8 * 1024).send().await.status, 200);
    for bytes in [8 * 1024 + 1, 15_000, 60_000] {
        refused(&of(bytes).send().await, 414, "uri_too_long");
    }
    // The parser takes no address over 64 KiB.
    assert_eq!(of(70_000).send().await.status, 400);
}

async fn other_methods(setup: &Setup) {
    for (target, allowed) in [
        ("/v1/postbacks", "GET, POST"),
        ("/v1/clicks", "POST"),
        ("/v1/receipts", "GET"),
        ("/c/aaaaaaaa", "GET"),
        ("/livez", "GET"),
    ] {
        for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", EVIL, "HEAD"] {
            let reply = setup.call(method, &format!("{target}?{EVIL}")).key(&setup.key).send().await;
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {target}: {}", reply.status);
            if method == "HEAD" {
                assert!(reply.status == 405 && reply.body.is_empty(), "an answer to HEAD has no body");
                silent(&reply);
            } else {
                refused(&reply, 405, "bad_method");
            }
        }
    }
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    let reply = exchange(setup.address, connect).await;
    assert!(matches!(reply.status, 400 | 404 | 405), "nobody is connected anywhere: {}", reply.status);
}
