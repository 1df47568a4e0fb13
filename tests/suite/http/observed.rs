//! What operations see: health, metrics, request ids.

use super::Service;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let service = Service::start().await;
    assert_eq!(service.call("GET", "/livez").send().await.text(), "alive\n");
    let ready = service.call("GET", "/readyz").send().await.expect(200);
    assert_eq!((&ready["ready"], &ready["engine"]), (&true.into(), &"sqlite".into()));
    assert_eq!(ready["queue"]["kind"], "embedded", "{ready}");
    service.call("GET", "/v1/postbacks").send().await.problem(401, "unauthenticated");
    service.call("GET", "/nowhere").send().await.problem(404, "not_found");
    let metrics = service.call("GET", "/metrics").send().await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "postback_unauthenticated_total 1",
        "postback_http_requests_total{route=\"/v1/postbacks\",status=\"401\"} 1",
        "postback_http_requests_total{route=\"unmatched\",status=\"404\"} 1",
    ] {
        assert!(metrics.text().lines().any(|given| given == line), "missing: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_id_is_taken_over() {
    let service = Service::start().await;
    let with = async |id: &str| {
        let reply = service.call("GET", "/livez").header("X-Request-Id", id).send().await;
        reply.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(with("abc-123").await, "abc-123");
    for odd in ["a b", "<script>", &"x".repeat(65)] {
        assert!(with(odd).await.starts_with("req_"), "{odd}");
    }
}
