//! Who is calling: keys, their scope, where they are used from and how often.

use serde_json::{Value, json};

use super::super::client::Reply;
use super::super::world::{Setup, text};
use super::{EVIL, newest_receipt, refused, refused_and_kept, rows};
use crate::support::eventually;

rows! { bad_key key_without_the_scope address_not_allowed over_the_rate }

const TARGET: &str = "/v1/postbacks?click_id=c1&goal=lead";

/// Byte for byte the same answer, whatever is wrong with the key; the time is told apart in `intake::access`, where
/// there is no network to hide it.
async fn bad_key(setup: &Setup) {
    let revoked = setup.operator_key(json!({"name": "revoked"})).await;
    let keys = setup.look("keys?limit=200").await;
    let row = keys["items"].as_array().unwrap().iter().find(|row| row["name"] == "revoked").unwrap();
    let target = format!("/v1/admin/keys/{}", text(row, "id"));
    let answer = setup.admin("DELETE", &target).send().await.expect(200);
    assert_eq!(setup.admin("DELETE", &target).send().await.expect(200), answer, "to revoke again is nothing");
    let expired = setup.operator_key(json!({"expires_at": "2020-01-01T00:00:00Z"})).await;
    let secret_of = |key: &str| key[key.len() - 43..].to_owned();
    let wrong = format!("{}{}", &setup.key[..setup.key.len() - 43], secret_of(&revoked));
    let unknown = format!("pbk_0123456789abcdef_{}", secret_of(&setup.key));
    let mut presented: Vec<Vec<(&str, String)>> = vec![vec![]];
    for key in
        [&revoked, &expired, &wrong, &unknown, "pbk_", EVIL, "", &setup.key.to_uppercase(), &format!("{}x", setup.key)]
    {
        presented.push(vec![("Authorization", format!("Bearer {key}"))]);
        presented.push(vec![("X-Api-Key", key.to_owned())]);
    }
    presented.push(vec![("Authorization", format!("Basic {}", setup.key))]);
    presented.push(vec![("Authorization", setup.key.clone())]);
    presented.push(vec![("Authorization", format!("Bearer {} {}", setup.key, setup.key))]);
    presented.push(vec![("Authorization", format!("Bearer {}", setup.key)), ("X-Api-Key", setup.key.clone())]);
    presented.push(vec![("X-Api-Key", setup.key.clone()), ("X-Api-Key", setup.key.clone())]);
    let before = newest_receipt(setup).await;
    let mut first: Option<Reply> = None;
    for headers in presented {
        let call = setup.call("GET", TARGET).header("X-Request-Id", "the-same");
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        let reply = call.send().await;
        refused(&reply, 401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        let first = first.get_or_insert_with(|| without_date(reply.clone()));
        let reply = without_date(reply);
        assert_eq!((&first.headers, &first.body), (&reply.headers, &reply.body));
    }
    // A key in the query is none: addresses end up in logs.
    for name in ["api_key", "key", "token"] {
        let query = setup.call("GET", &format!("{TARGET}&{name}={}", setup.key));
        refused(&query.send().await, 401, "unauthenticated");
    }
    assert_eq!(newest_receipt(setup).await, before, "nothing is kept of strangers");
}

fn without_date(mut reply: Reply) -> Reply {
    reply.headers.retain(|(name, _)| name != "date");
    reply.headers.sort();
    reply
}

async fn key_without_the_scope(setup: &Setup) {
    let before = newest_receipt(setup).await;
    for key in [&setup.affiliate_key, &setup.admin_key] {
        let call = setup.call("GET", &format!("{TARGET}&x={EVIL}")).key(key);
        let problem = refused(&call.send().await, 403, "scope");
        assert_eq!(problem.get("receipt_id"), None, "a receipt belongs to a source, and this key has none");
        refused(&setup.call("POST", "/v1/postbacks").key(key).json(&json!({EVIL: 1})).send().await, 403, "scope");
    }
    for key in [&setup.affiliate_key, &setup.key] {
        refused(&setup.call("GET", "/v1/admin/keys").key(key).send().await, 403, "scope");
    }
    refused(&setup.call("GET", "/v1/affiliate/conversions").key(&setup.key).send().await, 403, "scope");
    assert_eq!(newest_receipt(setup).await, before);
}

/// The peer's address counts, unless the peer is a trusted proxy; 127.0.0.2 is one here.
async fn address_not_allowed(setup: &Setup) {
    let key = setup.operator_key(json!({"ip_allowlist": ["192.0.2.0/24"]})).await;
    let call = setup.call("GET", &format!("{TARGET}&x={EVIL}")).key(&key);
    let problem = refused_and_kept(setup, &call, 403, "ip_denied").await;
    let receipt = setup.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!(receipt["peer"], "127.0.0.1");
    for (name, claim) in [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-For", "192.0.2.7, 127.0.0.2"),
        ("Forwarded", "for=192.0.2.7"),
        ("X-Real-IP", "192.0.2.7"),
        ("True-Client-IP", "192.0.2.7"),
    ] {
        refused_and_kept(setup, &call.clone().header(name, claim), 403, "ip_denied").await;
    }
    let through_proxy = |claims: &[&str]| {
        let call = call.clone().from("127.0.0.2");
        claims.iter().fold(call, |call, claim| call.header("X-Forwarded-For", claim))
    };
    for honest in [&["192.0.2.7"][..], &["203.0.113.9, 192.0.2.7"], &[EVIL, "192.0.2.7"], &["192.0.2.7, 127.0.0.2"]] {
        through_proxy(honest).send().await.expect(200);
    }
    for claimed in [
        &["192.0.2.7, 198.51.100.1"][..],
        &["192.0.2.7", "198.51.100.1"],
        &["192.0.2.7, evil0dd"],
        &["192.0.2.7,"],
        &[],
    ] {
        refused_and_kept(setup, &through_proxy(claimed), 403, "ip_denied").await;
    }
    let unheard = through_proxy(&[]).header("Forwarded", "for=192.0.2.7");
    refused_and_kept(setup, &unheard, 403, "ip_denied").await;
    refused(&setup.call("GET", "/v1/receipts").key(&key).send().await, 403, "ip_denied");
}

async fn over_the_rate(setup: &Setup) {
    let key = setup.operator_key(json!({"rate_per_minute": 60})).await;
    let before = newest_receipt(setup).await;
    let call = setup.call("GET", "/v1/receipts").key(&key);
    let mut limited = None;
    for _ in 0..90 {
        let reply = call.send().await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
        reply.expect(200);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"key\";q=60;w=60"));
        assert!(reply.header("ratelimit").unwrap().starts_with("\"key\";r="));
    }
    let limited = limited.expect("the rate is 60 a minute");
    let problem = refused(&limited, 429, "rate_limited");
    assert_eq!(problem.get("receipt_id"), None, "what came too often is counted, not kept: {problem}");
    let wait: u32 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(limited.header("ratelimit-policy"), Some("\"key\";q=60;w=60"));
    assert_eq!(limited.header("ratelimit"), Some(format!("\"key\";r=0;t={wait}").as_str()));
    let other_key: Value = setup.call("GET", "/v1/receipts").key(&setup.key).send().await.expect(200);
    assert!(other_key["items"].is_array(), "another key has a rate of its own");
    assert_eq!(newest_receipt(setup).await, before);
    eventually("the key works again", async || {
        let reply = call.send().await;
        if reply.status != 200 {
            refused(&reply, 429, "rate_limited");
        }
        reply.status == 200
    })
    .await;
}
