//! Bad input at the door (RELIABILITY section 5): what HTTP itself refuses, and the limits.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::client::exchange;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_limit_a_type_and_no_compression() {
    let world = World::start().await;
    let call = world.service.call("POST", "/v1/postbacks").key(&world.key);
    let long = "x".repeat(65 * 1024);
    call.clone().form(&long).send().await.problem(413, "payload_too_large");
    let chunked = format!(
        "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        world.key,
        long.len()
    );
    exchange(world.service.address, chunked.as_bytes()).await.problem(413, "payload_too_large");
    let packed = call.clone().header("Content-Encoding", "gzip").json(&json!({"click_id": "c1"})).send().await;
    packed.problem(415, "unsupported_media_type");
    call.clone().body("click_id=c1").send().await.problem(415, "unsupported_media_type");
    let text = call.clone().header("Content-Type", "text/plain").body("click_id=c1").send().await;
    text.problem(415, "unsupported_media_type");
    let with_body = world.service.call("GET", "/v1/postbacks?click_id=c1").key(&world.key).body("x").send().await;
    with_body.problem(400, "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_read_strictly() {
    let world = World::start().await;
    for (query, status, code, field) in [
        ("click_id=a&click_id=b", 400, "duplicate_parameter", Some("click_id")),
        ("click_id=%FF", 400, "encoding", Some("click_id")),
        ("click_id=%ZZ", 400, "encoding", Some("click_id")),
        ("click_id=a%00", 400, "character", Some("click_id")),
        ("click_id=a%0d%0a", 400, "character", Some("click_id")),
        ("click_id={clickid}", 422, "unexpanded_macro", Some("click_id")),
        ("click_id=", 422, "id_format", Some("click_id")),
        ("click_id=a&amount=1,000", 422, "bad_amount", Some("amount")),
        ("click_id=a&currency=eur", 422, "bad_currency", Some("currency")),
        ("click_id=a&status=evil", 422, "bad_status", Some("status")),
        ("click_id=a&occurred_at=2999-01-01T00:00:00Z", 422, "bad_timestamp", Some("occurred_at")),
        ("click_id=a&payout=5", 422, "override_not_permitted", Some("payout")),
        ("goal=lead", 422, "missing_field", Some("click_id")),
    ] {
        let call = world.service.call("GET", &format!("/v1/postbacks?{query}")).key(&world.key);
        let problem = call.send().await.problem(status, code);
        assert_eq!(problem["field"].as_str(), field, "{query}: {problem}");
        assert!(problem["receipt_id"].is_string(), "{query} is kept: {problem}");
        assert!(!problem.to_string().contains("evil"), "{problem}");
    }
    let post = world.service.call("POST", "/v1/postbacks").key(&world.key).header("Content-Type", "application/json");
    for (body, code) in [
        ("{", "malformed"),
        ("\u{feff}{}", "malformed"),
        (r#"{"click_id":"a"} x"#, "malformed"),
        (r#"{"click_id":"a","click_id":"b"}"#, "duplicate_parameter"),
    ] {
        post.clone().body(body).send().await.problem(400, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let world = World::start().await;
    let address = world.service.address;
    let long = world.service.call("GET", &format!("/livez?x={}", "y".repeat(9_000))).send().await;
    long.problem(414, "uri_too_long");
    let mut many = world.service.call("GET", "/livez");
    for number in 0..70 {
        many = many.header(&format!("X-{number}"), "y");
    }
    many.send().await.problem(431, "headers_too_large");
    let wide = world.service.call("GET", "/livez").header("X-Wide", &"y".repeat(17_000)).send().await;
    wide.problem(431, "headers_too_large");
    let smuggled =
        b"POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc";
    assert_eq!(exchange(address, smuggled).await.status, 400);
    let twice = b"POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd";
    assert_eq!(exchange(address, twice).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_client_is_given_up() {
    let world = World::with(&[("server.head_timeout", "300ms"), ("server.body_timeout", "300ms")]).await;
    let stalled_body = format!(
        "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        world.key
    );
    exchange(world.service.address, stalled_body.as_bytes()).await.problem(408, "request_timeout");
    let stalled_head = b"GET /livez HTTP/1.1\r\nHost: x\r\n";
    assert_eq!(exchange(world.service.address, stalled_head).await.status, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_harm() {
    let world = World::start().await;
    world.import_click("c1").await;
    for number in 0..50 {
        let request = format!(
            "GET /v1/postbacks?click_id=c1&goal=sale&event_id=e{number} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\n\r\n",
            world.key
        );
        let mut stream = TcpStream::connect(world.service.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
    }
    for number in 0..50 {
        let target = format!("/v1/postbacks?click_id=c1&goal=sale&event_id=e{number}");
        let verdict = world.service.call("GET", &target).key(&world.key).send().await.expect(200);
        assert!(verdict["verdict"] == "accepted" || verdict["verdict"] == "duplicate", "{verdict}");
    }
    assert_eq!(world.look("conversions?limit=200").await["items"].as_array().unwrap().len(), 50);
}
