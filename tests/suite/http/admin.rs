//! Administration: validation names the field, lists go page by page, secrets are shown once.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_and_not_repeated() {
    let world = World::start().await;
    let other = world.service.admin("POST", "/v1/admin/operators").json(&json!({"name": "Other"})).send().await;
    let other = text(&other.expect(201), "id");
    let program = |fields: Value| {
        let mut body = json!({
            "operator_id": world.operator, "name": "P", "currency": "EUR",
            "destination_url": "https://a.example.com/{click_id}"
        });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("programs", body)
    };
    let rate = |amount: &str| json!({"goal": "lead", "amount": amount, "currency": "EUR"});
    let version = format!("plans/{}/versions", world.plan);
    let version = |rates: Value| (version.as_str(), json!({"terms": {"model": "fixed", "rates": rates}}));
    let cases: Vec<((&str, Value), &str)> = vec![
        (("operators", json!({})), "name"),
        (("operators", json!({"name": ""})), "name"),
        (("operators", json!({"name": "evil\n"})), "name"),
        (("operators", json!({"name": "x", "evil": 1})), "evil"),
        (program(json!({"currency": "evil"})), "currency"),
        (program(json!({"destination_url": "ftp://evil/{click_id}"})), "destination_url"),
        (program(json!({"attribution_window_days": 0})), "attribution_window_days"),
        (program(json!({"attribution_window_days": "evil"})), "attribution_window_days"),
        (program(json!({"operator_id": "evil"})), "operator_id"),
        (program(json!({"operator_id": other, "default_plan_id": world.plan})), "default_plan_id"),
        (("goals", json!({"program_id": world.program, "name": "x", "policy": "evil"})), "policy"),
        (("goals", json!({"program_id": world.program, "name": "x", "min_click_seconds": -1})), "min_click_seconds"),
        (("goals", json!({"program_id": world.program, "name": "x", "default_status": "reversed"})), "default_status"),
        (version(json!([])), "terms"),
        (version(json!([rate("1"), rate("2")])), "terms"),
        (version(json!([rate("evil")])), "terms"),
        (("keys", json!({"name": "x", "role": "evil"})), "role"),
        (("keys", json!({"name": "x", "role": "operator"})), "source_id"),
        (("keys", json!({"name": "x", "role": "affiliate"})), "affiliate_id"),
        (("keys", json!({"name": "x", "role": "admin", "source_id": world.source})), "role"),
        (("keys", json!({"name": "x", "role": "admin", "rate_per_minute": 0})), "rate_per_minute"),
        (("keys", json!({"name": "x", "role": "admin", "ip_allowlist": ["evil"]})), "ip_allowlist.0"),
        (("endpoints", json!({"url": "http://127.0.0.1:9/"})), "affiliate_id"),
        (("endpoints", json!({"affiliate_id": world.affiliate, "url": "http://10.0.0.1/evil"})), "url"),
        (("endpoints", json!({"affiliate_id": world.affiliate, "url": "evil"})), "url"),
        (
            (
                "endpoints",
                json!({"affiliate_id": world.affiliate, "url": "http://127.0.0.1:9/", "event_types": ["evil"]}),
            ),
            "event_types.0",
        ),
    ];
    for ((path, body), field) in cases {
        let reply = world.service.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await;
        let problem = reply.problem(422, "validation");
        assert_eq!(problem["field"], field, "{body}: {problem}");
        let mut said = problem.clone();
        said["field"] = "".into();
        assert!(!said.to_string().contains("evil"), "{said}");
    }
    let broken = world.service.admin("POST", "/v1/admin/operators").header("Content-Type", "application/json");
    broken.clone().body("{").send().await.problem(400, "malformed");
    broken.body(r#"{"name":"a","name":"b"}"#).send().await.problem(400, "duplicate_parameter");
    let untyped = world.service.admin("POST", "/v1/admin/operators").body(r#"{"name":"a"}"#).send().await;
    untyped.problem(415, "unsupported_media_type");
    let goal = json!({"program_id": world.program, "name": "lead"});
    let twice = world.service.admin("POST", "/v1/admin/goals").json(&goal).send().await;
    twice.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_page_by_page_and_say_what_they_do_not_know() {
    let world = World::start().await;
    for name in ["b", "c", "d", "e"] {
        let made = world.service.admin("POST", "/v1/admin/affiliates").json(&json!({"name": name})).send().await;
        made.expect(201);
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.look(&format!("affiliates?limit=2{cursor}")).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|row| text(row, "name")));
        assert!(names.len() <= 5, "pages do not repeat: {names:?}");
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    names.sort();
    assert_eq!(names, ["Blog", "b", "c", "d", "e"]);
    for (query, field) in [("limit=0", "limit"), ("cursor=x", "cursor"), ("program_id=x", "program_id"), ("x=1", "x")] {
        let reply = world.service.admin("GET", &format!("/v1/admin/goals?{query}")).send().await;
        assert_eq!(reply.problem(422, "validation")["field"], field);
    }
    let none = world.look(&format!("goals?program_id=prg_{}", "0".repeat(32))).await;
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once() {
    let world = World::start().await;
    for list in ["keys", "endpoints", "sources"] {
        let shown = world.look(list).await.to_string();
        assert!(!shown.contains("whsec_") && !shown.contains("pbk_"), "{shown}");
    }
    let target = format!("/v1/admin/endpoints/{}/secrets", world.endpoint);
    let made = world.service.admin("POST", &target).json(&json!({})).send().await.expect(201);
    assert!(text(&made, "secret").starts_with("whsec_"));
    let long = world.service.admin("POST", &target).json(&json!({"overlap_hours": 9999})).send().await;
    assert_eq!(long.problem(422, "validation")["field"], "overlap_hours");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_beats_the_programs_plan() {
    let world = World::start().await;
    world.import_click("c1").await;
    let make = async |path: &str, body: Value| {
        world.service.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await.expect(201)
    };
    let plan = text(&make("plans", json!({"operator_id": world.operator, "name": "Better"})).await, "id");
    let rates = json!([{"goal": "lead", "amount": "9.00", "currency": "EUR"}]);
    let version = json!({"valid_from": "2020-01-01T00:00:00Z", "terms": {"model": "fixed", "rates": rates}});
    make(&format!("plans/{plan}/versions"), version).await;
    let agreed = |plan: &str| json!({"affiliate_id": world.affiliate, "program_id": world.program, "plan_id": plan});
    let first = make("agreements", agreed(&world.plan)).await;
    let second = make("agreements", agreed(&plan)).await;
    assert_eq!(first["id"], second["id"], "there is one for an affiliate in a program");
    assert_eq!(world.look("agreements").await["items"], json!([second]));
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    call.send().await.expect(200);
    assert_eq!(world.look("commissions").await["items"][0]["amount"], "9.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_shows_its_attempts_and_can_be_sent_again() {
    let world = World::start().await;
    world.import_click("c1").await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    call.send().await.expect(200);
    let delivery = text(&world.look("deliveries?limit=1").await["items"][0], "id");
    let target = format!("deliveries/{delivery}");
    eventually("an attempt has failed", async || world.look(&target).await["attempts"][0]["outcome"] == "failed").await;
    let seen = world.look(&target).await;
    assert_eq!((&seen["state"], &seen["epoch"]), (&"pending".into(), &1.into()), "{seen}");
    assert!(text(&seen, "body").contains("conversion_id"), "{seen}");
    let replay = world.service.admin("POST", &format!("/v1/admin/{target}/replay"));
    let begun = replay.send().await.expect(202);
    assert_eq!((&begun["id"], &begun["epoch"]), (&delivery.as_str().into(), &2.into()));
    eventually("it is attempted in the new epoch", async || {
        let seen = world.look(&target).await;
        seen["attempts"].as_array().unwrap().iter().any(|attempt| attempt["epoch"] == 2)
    })
    .await;
    let unknown = format!("/v1/admin/deliveries/dl_{}/replay", "0".repeat(32));
    world.service.admin("POST", &unknown).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_sees_only_their_own() {
    let world = World::start().await;
    world.import_click("c1").await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    let receipt = text(&call.send().await.expect(200), "receipt_id");
    let other = world.service.admin("POST", "/v1/admin/operators").json(&json!({"name": "Other"})).send().await;
    let source = text(&other.expect(201)["canonical_source"], "id");
    let key = world.operator_key(json!({"source_id": source})).await;
    let own = format!("/v1/receipts/{receipt}");
    world.service.call("GET", &own).key(&world.key).send().await.expect(200);
    world.service.call("GET", &own).key(&key).send().await.problem(404, "not_found");
    let none = world.service.call("GET", "/v1/receipts").key(&key).send().await.expect(200);
    assert_eq!(none["items"], json!([]));

    let rival = world.service.admin("POST", "/v1/admin/affiliates").json(&json!({"name": "Rival"})).send().await;
    let rival = json!({"name": "rival", "role": "affiliate", "affiliate_id": rival.expect(201)["id"]});
    let rival = text(&world.service.admin("POST", "/v1/admin/keys").json(&rival).send().await.expect(201), "key");
    for list in ["conversions", "commissions", "deliveries"] {
        let target = format!("/v1/affiliate/{list}");
        let mine = world.service.call("GET", &target).key(&world.affiliate_key).send().await.expect(200);
        assert!(!mine["items"].as_array().unwrap().is_empty(), "{list}");
        let none = world.service.call("GET", &target).key(&rival).send().await.expect(200);
        assert_eq!(none["items"], json!([]), "{list}");
    }
}
