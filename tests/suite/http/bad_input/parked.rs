//! A click that is not known, or is another operator's: nobody learns which.

use serde_json::{Value, json};

use super::super::client::Reply;
use super::super::world::{Setup, text};
use super::{EVIL, rows, silent};

rows! { unknown_click_or_another_operators }

async fn unknown_click_or_another_operators(setup: &Setup) {
    let make = async |path: &str, body: Value| {
        setup.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await.expect(201)
    };
    let other = make("operators", json!({"name": "Other"})).await;
    let (operator, source) = (text(&other, "id"), text(&other["canonical_source"], "id"));
    let url = "https://other.example.com/{click_id}";
    let program = json!({"operator_id": operator, "name": "Slots", "currency": "EUR", "destination_url": url});
    let program = text(&make("programs", program).await, "id");
    let key = text(&make("keys", json!({"name": "other", "role": "operator", "source_id": source})).await, "key");
    let click = json!([{"click_id": "theirs", "program_id": program, "affiliate_id": setup.affiliate}]);
    let made = setup.call("POST", "/v1/clicks").key(&key).json(&click).send().await.expect(200);
    assert_eq!(made["results"][0]["result"], "recorded");
    let link = text(&make("links", json!({"program_id": program, "affiliate_id": setup.affiliate})).await, "code");
    let visit = setup.call("GET", &format!("/c/{link}")).send().await;
    let own = visit.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    let forged = format!("{}{}", &own[..39], if own.ends_with('a') { 'b' } else { 'a' });
    let sent = async |click: &str| {
        let target = format!("/v1/postbacks?click_id={click}&goal=lead&event_id=parked-{click}");
        let reply = setup.call("GET", &target).key(&setup.key).header("X-Request-Id", "the-same").send().await;
        silent(&reply);
        (reply.expect(200), reply)
    };
    let (mut unknown, first) = sent(&format!("{EVIL}-nobodys")).await;
    assert_eq!((&unknown["verdict"], &unknown["code"]), (&"parked".into(), &"unknown_click".into()), "{unknown}");
    unknown["receipt_id"].take();
    for click in ["theirs", &own, &forged] {
        let (mut theirs, reply) = sent(click).await;
        theirs["receipt_id"].take();
        assert_eq!(theirs, unknown, "{click}");
        assert_eq!((reply.body.len(), constant(&reply)), (first.body.len(), constant(&first)), "{click}");
    }
}

/// The headers that should not tell one answer from another.
fn constant(reply: &Reply) -> Vec<&(String, String)> {
    let mut constant: Vec<_> = reply.headers.iter().filter(|(name, _)| name != "date" && name != "ratelimit").collect();
    constant.sort();
    constant
}
