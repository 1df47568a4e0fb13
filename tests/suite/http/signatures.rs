//! Signed requests that must be taken, made here by other means than the service's own; those that must not are in
//! `bad_input::signed`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::client::{Call, Reply};
use super::world::{World, text};

const QUERY: &str = "click_id=c1&goal=lead";

async fn secret(world: &World, overlap_hours: u64) -> String {
    let target = format!("/v1/admin/sources/{}/secrets", world.source);
    let body = json!({"overlap_hours": overlap_hours});
    text(&world.service.admin("POST", &target).json(&body).send().await.expect(201), "secret")
}

fn now(world: &World) -> i64 {
    world.service.state.clock.now().seconds()
}

fn hex_mac(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn get(world: &World, query: &str) -> Call {
    world.service.call("GET", &format!("/v1/postbacks?{query}")).key(&world.key)
}

async fn by_query(world: &World, secret: &str, time: i64) -> Reply {
    let signed = format!("{QUERY}&ts={time}");
    get(world, &format!("{signed}&signature={}", hex_mac(secret, &signed))).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn query() {
    let world = World::start().await;
    world.change_source(json!({"signature_scheme": "query"})).await;
    let old = secret(&world, 0).await;
    let new = secret(&world, 24).await;
    for secret in [&old, &new] {
        by_query(&world, secret, now(&world)).await.expect(200);
    }
    let newest = secret(&world, 0).await;
    by_query(&world, &newest, now(&world)).await.expect(200);
    for gone in [&old, &new] {
        by_query(&world, gone, now(&world)).await.problem(401, "signature_invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body() {
    let world = World::start().await;
    world.change_source(json!({"signature_scheme": "body"})).await;
    let secret = secret(&world, 0).await;
    let content = r#"{"click_id":"c1","goal":"lead"}"#;
    let (time, call) = (now(&world), world.service.call("POST", "/v1/postbacks").key(&world.key));
    let signed = |content: &str, signature: &str| {
        let call = call.clone().header("Content-Type", "application/json").body(content);
        call.header("X-Signature", &format!("t={time},v1={signature}"))
    };
    let good = hex_mac(&secret, &format!("{time}.{content}"));
    signed(content, &good).send().await.expect(200);
    let other = format!("{},v1={good}", "0".repeat(64));
    signed(content, &other).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard() {
    let world = World::start().await;
    world.change_source(json!({"signature_scheme": "standard"})).await;
    let secret = secret(&world, 0).await;
    let content = r#"{"click_id":"c1","goal":"lead"}"#;
    let webhook = standardwebhooks::Webhook::new(&secret).unwrap();
    let time = now(&world);
    let signature = webhook.sign("msg_1", time, content.as_bytes()).unwrap();
    let call = |id: &str, signature: &str| {
        let call = world.service.call("POST", "/v1/postbacks").key(&world.key);
        let call = call.header("webhook-id", id).header("webhook-timestamp", &time.to_string());
        call.header("webhook-signature", signature).header("Content-Type", "application/json").body(content)
    };
    call("msg_1", &signature).send().await.expect(200);
    call("msg_1", &format!("v1,AAAA {signature}")).send().await.expect(200);
}
