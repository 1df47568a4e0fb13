//! Keys: who is let in, from where, how often.

use serde_json::json;

use super::world::{World, text};
use crate::support::eventually;

const TARGET: &str = "/v1/postbacks?click_id=c1&goal=lead";

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_key_gets_the_same_answer() {
    let world = World::start().await;
    let revoked = world.operator_key(json!({"name": "revoked"})).await;
    let keys = world.look("keys").await;
    let row = keys["items"].as_array().unwrap().iter().find(|row| row["name"] == "revoked").unwrap();
    let target = format!("/v1/admin/keys/{}", text(row, "id"));
    let answer = world.service.admin("DELETE", &target).send().await.expect(200);
    assert!(answer["revoked_at"].is_string());
    assert_eq!(world.service.admin("DELETE", &target).send().await.expect(200), answer, "to revoke again is nothing");
    let expired = world.operator_key(json!({"expires_at": "2020-01-01T00:00:00Z"})).await;
    let wrong = format!("{}{}", &world.key[..world.key.len() - 43], &revoked[revoked.len() - 43..]);
    let of = async |value: &str| world.service.call("GET", TARGET).header("Authorization", value).send().await;
    let mut answers = vec![world.service.call("GET", TARGET).send().await];
    for key in [&revoked, &expired, &wrong, "pbk_0123456789abcdef_x", "x"] {
        answers.push(of(&format!("Bearer {key}")).await);
    }
    answers.push(of(&format!("Basic {}", world.key)).await);
    answers.push(world.service.call("GET", TARGET).key(&world.key).header("X-Api-Key", &world.key).send().await);
    let query = format!("{TARGET}&api_key={}", world.key);
    answers.push(world.service.call("GET", &query).send().await);
    let mut bodies = Vec::new();
    for answer in &answers {
        let mut problem = answer.problem(401, "unauthenticated");
        problem["request_id"] = "".into();
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        bodies.push(problem);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    let kept = world.look("receipts").await;
    assert_eq!(kept["items"].as_array().unwrap().len(), 0, "nothing is kept of strangers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_outside_the_allowlist_is_denied_and_kept() {
    let world = World::start().await;
    let key = world.operator_key(json!({"ip_allowlist": ["192.0.2.0/24"]})).await;
    let call = world.service.call("GET", TARGET).key(&key);
    let problem = call.clone().header("X-Forwarded-For", "192.0.2.7").send().await.problem(403, "ip_denied");
    let receipt = world.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!((&receipt["peer"], &receipt["code"]), (&"127.0.0.1".into(), &"ip_denied".into()));
    let elsewhere = world.service.call("GET", "/v1/receipts").key(&key).send().await;
    elsewhere.problem(403, "ip_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_speaks_for_its_client() {
    let world = World::with(&[("server.trusted_proxies", "127.0.0.0/8")]).await;
    let key = world.operator_key(json!({"ip_allowlist": ["192.0.2.0/24"]})).await;
    let call = world.service.call("GET", TARGET).key(&key);
    call.clone().header("X-Forwarded-For", "192.0.2.7").send().await.expect(200);
    let claimed = call.header("X-Forwarded-For", "192.0.2.7, 198.51.100.1").send().await;
    claimed.problem(403, "ip_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_means_wait_and_then_it_works() {
    let world = World::start().await;
    let key = world.operator_key(json!({"rate_per_minute": 60})).await;
    let call = world.service.call("GET", "/v1/receipts").key(&key);
    let mut limited = None;
    for _ in 0..70 {
        let reply = call.send().await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
        reply.expect(200);
    }
    let limited = limited.expect("the rate is 60 a minute");
    limited.problem(429, "rate_limited");
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(limited.header("ratelimit-policy"), Some("\"key\";q=60;w=60"));
    assert!(limited.header("ratelimit").unwrap().starts_with("\"key\";r=0;t="));
    world.service.call("GET", "/v1/receipts").key(&world.key).send().await.expect(200);
    eventually("the key works again", async || call.send().await.status == 200).await;
}
