//! What admins do about what failed, through the API alone.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::support::eventually;

/// A service whose deliveries die at the first failure; nobody listens at the world's endpoint.
async fn dying(settings: &[(&str, &str)]) -> World {
    World::with(&[&[("delivery.max_attempts", "1")], settings].concat()).await
}

/// Has a lead booked; its three deliveries die.
async fn dead(world: &World, click: &str) -> Vec<Value> {
    let before = items(world, "deliveries?state=dead&limit=200").await.len();
    world.import_click(click).await;
    let target = format!("/v1/postbacks?click_id={click}&goal=lead&event_id={click}");
    world.service.call("GET", &target).key(&world.key).send().await.expect(200);
    eventually("three more are dead", async || {
        items(world, "deliveries?state=dead&limit=200").await.len() == before + 3
    })
    .await;
    items(world, "deliveries?state=dead&limit=200").await
}

async fn items(world: &World, list: &str) -> Vec<Value> {
    world.look(list).await["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_is_acknowledged_with_a_note() {
    let world = dying(&[]).await;
    let id = text(&dead(&world, "c1").await[0], "id");
    let target = format!("/v1/admin/deliveries/{id}/acknowledge");
    let wish = |note: Value| world.service.admin("POST", &target).json(&json!({ "note": note }));
    assert_eq!(wish(json!(" ")).send().await.problem(422, "validation")["field"], "note");
    wish(json!("x".repeat(1_001))).send().await.problem(422, "validation");
    let made = wish(json!("The blog has closed down.")).send().await.expect(200);
    assert_eq!(made["note"], "The blog has closed down.");
    assert!(text(&made, "by").starts_with("key_"), "{made}");
    assert_eq!(wish(json!("Something else.")).send().await.expect(200), made, "the first one stands");

    assert_eq!(world.look(&format!("deliveries/{id}")).await["acknowledgement"], made);
    assert_eq!(items(&world, "deliveries?state=dead&acknowledged=true").await.len(), 1);
    assert_eq!(items(&world, "deliveries?state=dead&acknowledged=false").await.len(), 2);
    let odd = world.service.admin("GET", "/v1/admin/deliveries?acknowledged=maybe").send().await;
    assert_eq!(odd.problem(422, "validation")["field"], "acknowledged");
    let own = world.service.call("GET", "/v1/affiliate/deliveries").key(&world.affiliate_key).send().await.expect(200);
    assert!(
        own["items"].as_array().unwrap().iter().all(|delivery| delivery["acknowledgement"] == Value::Null),
        "{own}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_dead_is_not_acknowledged() {
    let world = World::start().await;
    world.import_click("c1").await;
    world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key).send().await.expect(200);
    let id = text(&items(&world, "deliveries").await[0], "id");
    let call = world.service.admin("POST", &format!("/v1/admin/deliveries/{id}/acknowledge"));
    call.json(&json!({"note": "why"})).send().await.problem(409, "conflict");
}

/// Makes a replay of many, and waits for its end.
async fn replayed(world: &World, wish: Value) -> Value {
    let made = world.service.admin("POST", "/v1/admin/replays").json(&wish).send().await.expect(202);
    let id = text(&made, "id");
    eventually("the replay is done", async || world.look(&format!("replays/{id}")).await["state"] == "done").await;
    world.look(&format!("replays/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deliveries_are_replayed_by_a_filter_after_a_dry_run() {
    let world = dying(&[]).await;
    dead(&world, "c1").await;
    let left = dead(&world, "c2").await;
    let acknowledge = format!("/v1/admin/deliveries/{}/acknowledge", text(&left[0], "id"));
    world.service.admin("POST", &acknowledge).json(&json!({"note": "let be"})).send().await.expect(200);
    let wish = |dry_run: bool| {
        let filter = json!({"endpoint_id": world.endpoint, "dead_reason": "attempts_exhausted"});
        json!({"kind": "deliveries", "filter": filter, "rate": 1000, "dry_run": dry_run})
    };
    let dry = world.service.admin("POST", "/v1/admin/replays").json(&wish(true)).send().await.expect(200);
    assert_eq!((&dry["matched"], &dry["dry_run"]), (&json!(5), &json!(true)), "{dry}");
    assert_eq!(dry["deliveries"].as_array().unwrap().len(), 5);
    assert_eq!(items(&world, "replays").await.len(), 0);
    assert!(items(&world, "deliveries?limit=200").await.iter().all(|delivery| delivery["epoch"] == 1));

    let done = replayed(&world, wish(false)).await;
    assert_eq!((&done["matched"], &done["replayed"], &done["skipped"]), (&json!(5), &json!(5), &json!({})), "{done}");
    assert_eq!(done["filter"]["endpoint_id"], world.endpoint.as_str());
    assert!(text(&done, "created_by").starts_with("key_"), "{done}");
    let epochs: Vec<Value> =
        items(&world, "deliveries?limit=200").await.iter().map(|delivery| delivery["epoch"].clone()).collect();
    assert_eq!(epochs.iter().filter(|epoch| **epoch == 2).count(), 5, "{epochs:?}");
    assert_eq!(items(&world, "replays?state=done").await.len(), 1);
    let late = format!("/v1/admin/replays/{}/cancel", text(&done, "id"));
    world.service.admin("POST", &late).send().await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_replay_is_canceled() {
    let world = dying(&[]).await;
    dead(&world, "c1").await;
    let wish = json!({"kind": "deliveries", "rate": 1});
    let made = world.service.admin("POST", "/v1/admin/replays").json(&wish).send().await.expect(202);
    let cancel = format!("/v1/admin/replays/{}/cancel", text(&made, "id"));
    let canceled = world.service.admin("POST", &cancel).send().await.expect(200);
    assert_eq!(canceled["state"], "canceled", "at one a second three take longer than this test");
    assert!(text(&canceled, "canceled_by").starts_with("key_"));
    assert_eq!(world.service.admin("POST", &cancel).send().await.expect(200), canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_makes_no_sense_is_refused_with_its_field() {
    let world = World::start().await;
    for (wish, field) in [
        (json!({"kind": "deliveries", "rate": 0}), "rate"),
        (json!({"kind": "deliveries", "filter": {"state": "delivered"}}), "filter.from"),
        (json!({"kind": "deliveries", "filter": {"code": "bad_amount"}}), "filter.code"),
        (json!({"kind": "receipts", "filter": {"state": "dead"}}), "filter.state"),
        (
            json!({"kind": "receipts", "filter": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}),
            "filter.to",
        ),
    ] {
        let problem = world.service.admin("POST", "/v1/admin/replays").json(&wish).send().await;
        assert_eq!(problem.problem(422, "validation")["field"], field, "{wish}");
    }
    for wish in [json!({}), json!({"kind": "payouts"}), json!({"kind": "receipts", "filter": {"code": "nonsense"}})] {
        world.service.admin("POST", "/v1/admin/replays").json(&wish).send().await.problem(422, "validation");
    }
}

/// Fires a postback with this query, and answers the receipt of its refusal.
async fn refused(world: &World, query: &str, status: u16) -> String {
    let reply = world.service.call("GET", &format!("/v1/postbacks?{query}")).key(&world.key).send().await;
    text(&reply.expect(status), "receipt_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_receipt_is_judged_again_once_its_cause_is_mended() {
    let world = World::start().await;
    world.import_click("c1").await;
    let id = refused(&world, "click_id=c1&goal=vip&event_id=e1&amount=20", 422).await;
    let replay = |query: &str| world.service.admin("POST", &format!("/v1/admin/receipts/{id}/replay{query}"));
    let still = replay("").send().await.expect(200);
    assert_eq!((&still["verdict"], &still["code"]), (&json!("rejected"), &json!("unknown_goal")), "{still}");
    assert!(still["detail"].is_string());
    let vip = json!({"program_id": world.program, "name": "vip"});
    world.service.admin("POST", "/v1/admin/goals").json(&vip).send().await.expect(201);

    let dry = replay("?dry_run=true").send().await.expect(200);
    assert_eq!((&dry["verdict"], &dry["dry_run"]), (&json!("accepted"), &json!(true)));
    assert_eq!((&dry["conversion"]["id"], &dry["conversion"]["amount"]), (&Value::Null, &json!("20.00")), "{dry}");
    assert_eq!(items(&world, "conversions").await.len(), 0, "nothing was kept");
    assert_eq!(replay("?dry=true").send().await.problem(422, "validation")["field"], "dry");

    let judged = replay("").send().await.expect(200);
    assert_eq!(judged["verdict"], "accepted");
    let conversion = world.look(&format!("conversions/{}", text(&judged["conversion"], "id"))).await;
    assert_eq!(conversion["receipt_id"], id.as_str());
    replay("").send().await.problem(409, "conflict");
    let receipt = world.look(&format!("receipts/{id}")).await;
    let later = receipt["later_verdicts"].as_array().unwrap();
    assert_eq!(later.iter().map(|one| one["verdict"].clone()).collect::<Vec<_>>(), ["rejected", "accepted"]);
    assert!(later.iter().all(|one| text(one, "replayed_by").starts_with("key_")), "{receipt}");
    assert_eq!((&receipt["verdict"], &receipt["code"]), (&json!("accepted"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_receipts_are_judged_again_and_whoever_asks_vouches_for_them() {
    let world = World::start().await;
    let secret = format!("/v1/admin/sources/{}/secrets", world.source);
    world.service.admin("POST", &secret).json(&json!({})).send().await.expect(201);
    world.change_source(json!({"signature_scheme": "query"})).await;
    for click in ["c1", "c2", "c3"] {
        world.import_click(click).await;
        refused(&world, &format!("click_id={click}&goal=lead&event_id={click}"), 401).await;
    }
    refused(&world, "goal=lead&amount=x", 401).await;
    let wish = |dry_run: bool| {
        let filter = json!({"source_id": world.source, "code": "signature_missing"});
        json!({"kind": "receipts", "filter": filter, "rate": 1000, "dry_run": dry_run})
    };
    let dry = world.service.admin("POST", "/v1/admin/replays").json(&wish(true)).send().await.expect(200);
    assert_eq!((&dry["matched"], &dry["verdicts"]), (&json!(4), &json!({"accepted": 3, "rejected": 1})), "{dry}");
    assert_eq!(items(&world, "conversions").await.len(), 0);

    let done = replayed(&world, wish(false)).await;
    assert_eq!(done["verdicts"], json!({"accepted": 3, "rejected": 1}), "{done}");
    assert_eq!((&done["matched"], &done["replayed"], &done["kind"]), (&json!(4), &json!(4), &json!("receipts")));
    assert_eq!(items(&world, "conversions").await.len(), 3);
    let accepted = &items(&world, "receipts?verdict=accepted").await[0];
    let receipt = world.look(&format!("receipts/{}", text(accepted, "id"))).await;
    assert_eq!(receipt["later_verdicts"][0]["replay_id"], done["id"]);
    // Told as if they had just been booked, and booked once.
    eventually("each is told", async || items(&world, "deliveries?limit=200").await.len() == 9).await;
    let again = replayed(&world, wish(false)).await;
    assert_eq!(again["matched"], 0, "the one that is still wrong is now refused for its amount");
    let wrong = replayed(&world, json!({"kind": "receipts", "filter": {"code": "bad_amount"}})).await;
    assert_eq!(wrong["verdicts"], json!({"rejected": 1}));
}
