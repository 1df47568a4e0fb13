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
    let terms = |model: &str, rates: Value| (version.as_str(), json!({"terms": {"model": model, "rates": rates}}));
    let version = |rates: Value| terms("fixed", rates);
    let percent = |fields: Value| terms("percent", json!([fields]));
    let fx_rate = |fields: Value| {
        let mut body = json!({"base": "EUR", "quote": "USD", "rate": "1.1", "source": "bank"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("fx-rates", body)
    };
    let endpoint = |fields: Value| {
        let mut body = json!({"affiliate_id": world.affiliate, "url": "http://127.0.0.1:9/"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("endpoints", body)
    };
    let simulate = format!("plans/{}/simulate", world.plan);
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
        (
            ("goals", json!({"program_id": world.program, "name": "x", "commission_hold_days": -1})),
            "commission_hold_days",
        ),
        (program(json!({"commission_hold_days": 3651})), "commission_hold_days"),
        (("affiliates", json!({"name": "x", "settlement_currency": "evil"})), "settlement_currency"),
        (fx_rate(json!({"rate": "0"})), "rate"),
        (fx_rate(json!({"rate": 1.5})), "rate"),
        (fx_rate(json!({"quote": "EUR"})), "quote"),
        (fx_rate(json!({"source": ""})), "source"),
        (version(json!([])), "terms"),
        (version(json!([rate("1"), rate("2")])), "terms"),
        (version(json!([rate("evil")])), "terms"),
        (terms("percent", json!([])), "terms"),
        (percent(json!({"goal": "sale", "percent": "1e1"})), "terms"),
        (percent(json!({"goal": "sale", "percent": "1000.1"})), "terms"),
        (percent(json!({"goal": "sale", "percent": "10", "months": 0})), "terms"),
        (percent(json!({"goal": "sale", "percent": "10", "evil": 1})), "terms"),
        ((simulate.as_str(), json!({"goal": "sale", "currency": "evil"})), "currency"),
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
        (endpoint(json!({"kind": "evil"})), "kind"),
        (endpoint(json!({"goals": [""]})), "goals.0"),
        (endpoint(json!({"statuses": ["evil"]})), "statuses.0"),
        (endpoint(json!({"expected_status": 199})), "expected_status"),
        (endpoint(json!({"kind": "postback", "url": "http://127.0.0.1:9/?c={evil evil}"})), "url"),
        (endpoint(json!({"kind": "postback", "url": "http://{sub1}.evil.example/"})), "url"),
        (endpoint(json!({"kind": "postback", "url": "http://10.0.0.1/{sub1}"})), "url"),
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
async fn a_postback_has_macros_and_no_secret() {
    let world = World::start().await;
    let postback = |url: &str| json!({"affiliate_id": world.affiliate, "kind": "postback", "url": url});
    let make = async |body: Value| world.service.admin("POST", "/v1/admin/endpoints").json(&body).send().await;
    let unknown = make(postback("http://127.0.0.1:9/?c={clickid}")).await;
    let problem = unknown.problem(422, "validation");
    assert!(text(&problem, "detail").contains("{clickid} is no macro: take {click_id}"), "{problem}");

    let url = "http://127.0.0.1:9/?c={click_id}&s={sub1}";
    let made = make(json!({
        "affiliate_id": world.affiliate, "kind": "postback", "url": url, "goals": ["lead"], "statuses": ["approved"],
        "expected_status": 204
    }));
    let made = made.await.expect(201);
    assert_eq!((&made["kind"], &made["url"], made.get("secret")), (&json!("postback"), &json!(url), None), "{made}");
    assert_eq!((&made["goals"], &made["statuses"]), (&json!(["lead"]), &json!(["approved"])));
    let own = format!("/v1/admin/endpoints/{}", text(&made, "id"));
    let secret = world.service.admin("POST", &format!("{own}/secrets")).json(&json!({})).send().await;
    secret.problem(409, "conflict");

    let change = async |body: Value| world.service.admin("PATCH", &own).json(&body).send().await;
    let kept = change(json!({"goals": []})).await.expect(200);
    assert_eq!((&kept["goals"], &kept["expected_status"]), (&json!([]), &json!(204)), "what is left out stays");
    assert_eq!(change(json!({"expected_status": null})).await.expect(200)["expected_status"], Value::Null);
    let refused = change(json!({"url": "http://127.0.0.1:9/?c={nope}"})).await.problem(422, "validation");
    assert_eq!(refused["field"], "url");
    assert_eq!(change(json!({"kind": "webhook"})).await.problem(422, "validation")["field"], "kind");
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
async fn a_plan_says_what_a_conversion_would_earn() {
    let world = World::start().await;
    let plan = format!("/v1/admin/plans/{}", world.plan);
    let rates = json!([{"goal": "sale", "percent": "12.5", "months": 12}]);
    let version = json!({"valid_from": "2026-01-01T00:00:00Z", "terms": {"model": "percent", "rates": rates}});
    let made = world.service.admin("POST", &format!("{plan}/versions")).json(&version).send().await.expect(201);
    assert_eq!(made["terms"], json!({"model": "percent", "rates": rates, "rounding": "half_up"}));
    let simulate = async |fields: Value| {
        let call = world.service.admin("POST", &format!("{plan}/simulate")).json(&fields);
        call.send().await.expect(200)
    };
    let sale = json!({"goal": "sale", "amount": "119.99", "currency": "EUR", "occurred_at": "2026-02-01T00:00:00Z"});
    let earns = simulate(sale.clone()).await;
    assert_eq!((&earns["amount"], &earns["currency"]), (&json!("15.00"), &json!("EUR")), "{earns}");
    assert_eq!(earns["explanation"]["plan_version_id"], made["id"]);
    assert_eq!(earns["steps"][1], "119.99 EUR × 12.5 % = 14.99875 EUR", "{earns}");
    for (change, reason) in [
        (json!({"amount": null}), "no_amount"),
        (json!({"goal": "lead"}), "goal_not_in_plan"),
        (json!({"first_at": "2025-02-01T00:00:00Z"}), "recurring_over"),
        (json!({"occurred_at": "2019-01-01T00:00:00Z"}), "no_plan_version"),
    ] {
        let mut asked = sale.clone();
        asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let earns = simulate(asked).await;
        assert_eq!((&earns["no_commission"], &earns["amount"]), (&json!(reason), &Value::Null), "{earns}");
    }
    assert_eq!(world.look("commissions").await["items"], json!([]), "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commission_waits_for_its_rate_and_is_held_then() {
    let world = World::with(&[("commissions.settle_every", "100ms")]).await;
    world.import_click("c1").await;
    let patch = async |path: String, change: Value| {
        world.service.admin("PATCH", &format!("/v1/admin/{path}")).json(&change).send().await.expect(200)
    };
    let affiliate = patch(format!("affiliates/{}", world.affiliate), json!({"settlement_currency": "USD"})).await;
    assert_eq!((&affiliate["settlement_currency"], &affiliate["name"]), (&json!("USD"), &json!("Blog")));
    patch(format!("programs/{}", world.program), json!({"commission_hold_days": 14})).await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    call.send().await.expect(200);
    let commission = &world.look("commissions").await["items"][0];
    let seen = (&commission["state"], &commission["awaits"], &commission["amount"], &commission["currency"]);
    assert_eq!(seen, (&json!("awaiting_fx"), &json!("USD"), &json!("5.00"), &json!("EUR")));

    let rate = json!({
        "base": "EUR", "quote": "USD", "rate": "1.100000000001", "valid_from": "2020-01-01T00:00:00Z", "source": "bank"
    });
    let made = world.service.admin("POST", "/v1/admin/fx-rates").json(&rate).send().await.expect(201);
    assert_eq!(made["rate"], "1.100000000001");
    assert_eq!(world.look("fx-rates").await["items"], json!([made]));
    let target = format!("commissions/{}", text(commission, "id"));
    eventually("the rate books it", async || world.look(&target).await["state"] == "on_hold").await;
    let held = world.look(&target).await;
    assert_eq!((&held["amount"], &held["currency"], &held["booked"]), (&json!("5.50"), &json!("USD"), &json!("5.50")));
    assert!(held["hold_until"].is_string() && held["awaits"].is_null(), "{held}");
    let explained = world.look(&format!("{target}/explain")).await;
    assert_eq!(explained["explanation"]["exchange"]["fx_rate_id"], made["id"], "{explained}");
    assert_eq!(explained["steps"].as_array().unwrap().len(), 3, "{explained}");
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
    let commission = text(&world.look("commissions").await["items"][0], "id");
    let explain = format!("/v1/affiliate/commissions/{commission}/explain");
    let mine = world.service.call("GET", &explain).key(&world.affiliate_key).send().await.expect(200);
    assert_eq!(mine, world.look(&format!("commissions/{commission}/explain")).await);
    let steps = ["the plan pays 5 EUR for each lead", "rounded half up to 2 decimals: 5.00 EUR"];
    assert_eq!(mine["steps"], json!(steps), "{mine}");
    world.service.call("GET", &explain).key(&rival).send().await.problem(404, "not_found");
    for list in ["conversions", "commissions", "deliveries"] {
        let target = format!("/v1/affiliate/{list}");
        let mine = world.service.call("GET", &target).key(&world.affiliate_key).send().await.expect(200);
        assert!(!mine["items"].as_array().unwrap().is_empty(), "{list}");
        let none = world.service.call("GET", &target).key(&rival).send().await.expect(200);
        assert_eq!(none["items"], json!([]), "{list}");
    }
}
