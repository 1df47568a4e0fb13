//! Nothing that was sent, and no secret, is found in what the built program writes, at its most talkative
//! (RELIABILITY section 7), while every row of the table runs against it.

use postback::clock::Clock;
use serde_json::json;

use super::super::world::Setup;
use super::super::{Api, first_key};
use super::{EVIL, SETTINGS};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! { nothing_that_was_sent_is_in_the_log }

/// An admin's key for the service that will be started at `site`.
pub(super) async fn admin_of(site: &Site) -> String {
    let store = site.store().await;
    let key = first_key(&*store, Clock::system().now()).await;
    store.close().await;
    key
}

async fn nothing_that_was_sent_is_in_the_log(stack: Stack) {
    let site = Site::new(stack).await.with("log.filter", "trace,lapin=trace,sqlx=trace,actix_http=trace,hyper=trace");
    let site = SETTINGS.iter().fold(site, |site, (name, value)| site.with(name, value));
    let admin_key = admin_of(&site).await;
    let process = Process::start(&site, None).await;
    let setup = Setup::make(Api { address: process.address, admin_key }).await;
    setup.import_click("c1").await;
    super::door::all(&setup).await;
    super::bodies::all(&setup).await;
    super::callers::all(&setup).await;
    super::signed::all(&setup).await;
    super::content::all(&setup).await;
    super::values::all(&setup).await;
    super::parked::all(&setup).await;
    in_order(&setup).await;
    let metrics = setup.call("GET", "/metrics").send().await;
    assert!(!metrics.text().contains(EVIL));
    let lines: Vec<String> = process.log().iter().map(|line| line.to_string().to_lowercase()).collect();
    let logged = lines.iter().filter(|line| line.contains("\"route\":\"/v1/postbacks\"")).count();
    assert!(logged > 500, "all is logged: {logged} lines of {}", lines.len());
    let secret = |key: &str| key[key.len() - 43..].to_lowercase();
    let forbidden = [
        EVIL.to_owned(),
        secret(&setup.key),
        secret(&setup.admin_key),
        secret(&setup.affiliate_key),
        "whsec_".to_owned(),
        "bearer ".to_owned(),
        "click_id=".to_owned(),
        "signature=".to_owned(),
        "guest:guest".to_owned(),
    ];
    for line in &lines {
        let leak = forbidden.iter().find(|word| line.contains(word.as_str()));
        assert_eq!(leak, None, "{line}");
    }
    assert!(process.terminate().await.success());
}

/// What is in order must not be told either: mail addresses, names, tokens in queries and in endpoints' addresses.
async fn in_order(setup: &Setup) {
    let url = format!("http://127.0.0.1:9/hook?token={EVIL}");
    let endpoint = json!({"affiliate_id": setup.affiliate, "url": url});
    setup.admin("POST", "/v1/admin/endpoints").json(&endpoint).send().await.expect(201);
    setup.admin("POST", "/v1/admin/affiliates").json(&json!({"name": EVIL})).send().await.expect(201);
    let visit = setup.call("GET", &format!("/c/{}?sub1={EVIL}@example.com", setup.link)).header("User-Agent", EVIL);
    let click = visit.send().await.header("location").unwrap().rsplit('=').next().unwrap().to_owned();
    let event = json!({
        "click_id": click, "goal": "sale", "event_id": format!("{EVIL}-1"), "customer_id": format!("{EVIL}@example.com"),
        "sub1": EVIL, "reason": EVIL, "token": EVIL
    });
    let call = setup.call("POST", &format!("/v1/postbacks?utm={EVIL}")).key(&setup.key).header("Cookie", EVIL);
    let verdict = call.json(&event).send().await.expect(200);
    assert_eq!(verdict["verdict"], "accepted", "{verdict}");
    eventually("attempts have failed", async || {
        let listed = setup.look("deliveries?limit=200").await;
        listed["items"].as_array().unwrap().iter().any(|item| item["failures"].as_i64() > Some(0))
    })
    .await;
}
