//! Which addresses an endpoint may be registered with: each refusal has a stable reason, and stores nothing.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::support::name_server::{NameServer, Say, found};

const GOOD: &str = "hooks.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_address_answers_its_reason() {
    let names = NameServer::start().await;
    names.says(GOOD, &[found(&["8.8.8.8", "2606:4700:4700::1111"])]);
    names.says("mixed.example.com", &[found(&["8.8.8.8", "10.0.0.1"])]);
    names.says("inner.example.com", &[found(&["fd00::1"])]);
    names.says("mapped.example.com", &[found(&["8.8.8.8", "::ffff:10.0.0.1"])]);
    names.says("broken.example.com", &[Say::Failure]);
    // Only the service's own receiver is exempt, so that the rules for names hold here too.
    let world = World::with(&[("outbound.name_servers", &names.address().to_string())]).await;
    let count = async || world.admin("GET", "/v1/admin/endpoints").send().await.expect(200);
    let before = count().await;
    let long = format!("https://{GOOD}/{}", "a".repeat(2048));
    for (url, reason) in [
        ("https://mixed.example.com/", "url_address"),
        ("https://inner.example.com/", "url_address"),
        ("https://mapped.example.com/", "url_address"),
        ("https://10.0.0.1/", "url_address"),
        ("https://[::ffff:169.254.169.254]/", "url_address"),
        ("https://0xa000001/", "url_address"),
        ("https://broken.example.com/", "url_unresolved"),
        ("https://nobody.example.com/", "url_unresolved"),
        ("http://hooks.example.com/", "url_scheme"),
        ("gopher://hooks.example.com/", "url_scheme"),
        ("https://hooks.example.com:6379/", "url_port"),
        ("https://me:s3cretpw@hooks.example.com/", "url_user_info"),
        ("https://hooks.example.com./", "url_host"),
        ("hooks.example.com", "url_malformed"),
    ] {
        for kind in ["webhook", "postback"] {
            let body = json!({"affiliate_id": world.affiliate, "kind": kind, "url": url});
            let problem =
                world.admin("POST", "/v1/admin/endpoints").json(&body).send().await.problem(422, "validation");
            assert_eq!((&problem["reason"], &problem["field"]), (&json!(reason), &json!("url")), "{kind} {url}");
            let shown = problem.to_string();
            assert!(!shown.contains("10.0.0.1") && !shown.contains("s3cretpw"), "{shown}");
        }
        let own = format!("/v1/admin/endpoints/{}", world.endpoint);
        let problem = world.admin("PATCH", &own).json(&json!({"url": url})).send().await.problem(422, "validation");
        assert_eq!(problem["reason"], reason, "a change to {url}");
    }
    // A postback's address is held to its length as a template, which has no reason of this kind.
    let body = json!({"affiliate_id": world.affiliate, "url": long});
    let problem = world.admin("POST", "/v1/admin/endpoints").json(&body).send().await.problem(422, "validation");
    assert_eq!(problem["reason"], "url_too_long");
    assert_eq!(count().await, before, "nothing was stored or changed");

    let body = json!({"affiliate_id": world.affiliate, "url": format!("https://{GOOD}/in")});
    let made: Value = world.admin("POST", "/v1/admin/endpoints").json(&body).send().await.expect(201);
    assert_eq!(text(&made, "url"), format!("https://{GOOD}/in"));
}
