//! Tracking links and imported clicks.

use serde_json::json;

use super::world::{World, text};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_click_attributes_the_conversion() {
    let world = World::start().await;
    let follow = world.service.call("GET", &format!("/c/{}?sub1=banner%20a&s2=x", world.link));
    let reply = follow.header("User-Agent", "test").send().await;
    assert_eq!((reply.status, reply.header("cache-control")), (302, Some("no-store")));
    let location = reply.header("location").unwrap();
    let click = location.strip_prefix("https://poker.example.com/play?ref=").unwrap().to_owned();
    assert_eq!(click.len(), 40, "{location}");
    let postback = format!("/v1/postbacks?click_id={click}&goal=lead");
    let verdict = world.service.call("GET", &postback).key(&world.key).send().await.expect(200);
    assert_eq!(verdict["verdict"], "accepted");
    let conversion = world.look(&format!("conversions/{}", text(&verdict, "conversion_id"))).await;
    assert_eq!((text(&conversion, "affiliate_id"), text(&conversion, "click_id")), (world.affiliate.clone(), click));
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_ids_come_back_in_the_message() {
    let world = World::start().await;
    let reply = world.service.call("GET", &format!("/c/{}?sub1=banner%20a&s2=x", world.link)).send().await;
    let click = reply.header("location").unwrap().rsplit('=').next().unwrap().to_owned();
    let mut number = 0;
    eventually("the click is stored and its sub-ids are told", async || {
        number += 1;
        let postback = format!("/v1/postbacks?click_id={click}&goal=sale&event_id=e{number}");
        world.service.call("GET", &postback).key(&world.key).send().await.expect(200);
        let deliveries = world.look("deliveries?limit=1").await;
        let id = text(&deliveries["items"][0], "id");
        let body = text(&world.look(&format!("deliveries/{id}")).await, "body");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["data"]["sub_ids"] == json!({"sub1": "banner a", "sub2": "x"})
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_do_not_lead_anywhere_are_404() {
    let world = World::start().await;
    for code in ["aaaaaaaa", "x", "ABCDEFGH"] {
        world.service.call("GET", &format!("/c/{code}")).send().await.problem(404, "not_found");
    }
    let link = format!("/c/{}", world.link);
    let switch = async |target: &str, status: &str| {
        let target = format!("/v1/admin/{target}");
        world.service.admin("PATCH", &target).json(&json!({"status": status})).send().await.expect(200);
    };
    for target in [
        format!("links/{}", world.link),
        format!("programs/{}", world.program),
        format!("operators/{}", world.operator),
    ] {
        switch(&target, "inactive").await;
        world.service.call("GET", &link).send().await.problem(404, "not_found");
        switch(&target, "active").await;
        assert_eq!(world.service.call("GET", &link).send().await.status, 302);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_clicks_are_answered_row_by_row() {
    let world = World::start().await;
    let foreign = world.service.admin("POST", "/v1/admin/operators").json(&json!({"name": "Other"})).send().await;
    let foreign = text(&foreign.expect(201), "id");
    let program = json!({
        "operator_id": foreign, "name": "Slots", "currency": "EUR",
        "destination_url": "https://slots.example.com/{click_id}"
    });
    let program = world.service.admin("POST", "/v1/admin/programs").json(&program).send().await.expect(201);
    let rows = json!({"clicks": [
        {"click_id": "a", "link": world.link, "sub_ids": {"sub1": "x"}},
        {"click_id": "b", "program_id": world.program, "affiliate_id": world.affiliate,
            "occurred_at": "2026-01-31T12:00:00Z"},
        {"click_id": "a", "link": world.link},
        {"click_id": "c", "link": "aaaaaaaa"},
        {"click_id": "d", "program_id": program["id"], "affiliate_id": world.affiliate},
        {"click_id": "e"},
        {"click_id": "", "link": world.link},
        {"click_id": "f", "link": world.link, "sub_ids": {"sub99": "x"}},
        {"click_id": "g", "link": world.link, "occurred_at": "2999-01-01T00:00:00Z"},
        {"click_id": "h", "link": world.link, "nonsense": 1},
        7
    ]});
    let call = world.service.call("POST", "/v1/clicks").key(&world.key).json(&rows);
    let results = call.send().await.expect(200);
    let shown: Vec<_> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["result"].as_str().unwrap(), row["code"].as_str().unwrap_or(""), row["field"].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("recorded", "", ""),
            ("recorded", "", ""),
            ("known", "", ""),
            ("rejected", "validation", "link"),
            ("rejected", "validation", "program_id"),
            ("rejected", "missing_field", "link"),
            ("rejected", "validation", "click_id"),
            ("rejected", "validation", "sub_ids"),
            ("rejected", "bad_timestamp", "occurred_at"),
            ("rejected", "validation", "nonsense"),
            ("rejected", "validation", ""),
        ]
    );
    let again = call.send().await.expect(200);
    assert_eq!((&again["results"][0]["result"], &again["results"][1]["result"]), (&"known".into(), &"known".into()));
    let many: Vec<_> = (0..1001).map(|n| json!({"click_id": n.to_string(), "link": world.link})).collect();
    let many = world.service.call("POST", "/v1/clicks").key(&world.key).json(&many.into()).send().await;
    assert_eq!(many.problem(422, "validation")["field"], "clicks");
    let form = world.service.call("POST", "/v1/clicks").key(&world.key).form("click_id=a").send().await;
    form.problem(415, "unsupported_media_type");
}
