//! Customers and coupons: imported by the operator, looked at and bound anew by admins.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_of_each_customer_what_became_of_it_and_wakes_what_waits() {
    let world = World::start().await;
    world.import_click("c1").await;
    let event = "/v1/postbacks?customer_id=k1&goal=sale&event_id=e1";
    let parked = world.service.call("GET", event).key(&world.key).send().await.expect(200);
    assert_eq!((&parked["verdict"], &parked["code"]), (&"parked".into(), &"unknown_customer".into()));

    let rows = json!([
        {"customer_id": "k1", "click_id": "c1"},
        {"customer_id": "k2", "link": world.link},
        {"customer_id": "k3", "program_id": world.program, "affiliate_id": world.affiliate},
        {"customer_id": "k1", "link": world.link},
        {"customer_id": "k4", "click_id": "nobody"},
        {"customer_id": "k5", "click_id": "c1", "link": world.link},
        {"customer_id": "k6"},
        {"customer_id": ""},
        {"customer_id": "k7", "link": world.link, "occurred_at": "2999-01-01T00:00:00Z"},
    ]);
    let import = world.service.call("POST", "/v1/customers").key(&world.key);
    let reply = import.clone().json(&json!({"customers": rows})).send().await.expect(200);
    let results: Vec<(Value, Value)> = reply["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["result"].clone(), row.get("field").cloned().unwrap_or_default()))
        .collect();
    let expected = [
        ("recorded", None),
        ("recorded", None),
        ("recorded", None),
        ("known", None),
        ("rejected", Some("click_id")),
        ("rejected", Some("click_id")),
        ("rejected", Some("link")),
        ("rejected", Some("customer_id")),
        ("rejected", Some("occurred_at")),
    ];
    assert_eq!(results, expected.map(|(result, field)| (json!(result), json!(field))), "{reply}");
    let receipt = format!("receipts/{}", text(&parked, "receipt_id"));
    eventually("the parked postback is applied", async || world.look(&receipt).await["verdict"] == "accepted").await;
    import.json(&json!([{"customer_id": "k1"}, 1])).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_the_binding_and_may_replace_it() {
    let world = World::start().await;
    world.import_click("c1").await;
    let event = "/v1/postbacks?click_id=c1&customer_id=k1&goal=lead&event_id=e1";
    world.service.call("GET", event).key(&world.key).send().await.expect(200);
    let listed = world.look(&format!("customers?operator_id={}&customer_id=k1", world.operator)).await;
    let customer = &listed["items"][0];
    assert_eq!((&customer["click_id"], &customer["bound_by"]["by"]), (&"c1".into(), &"postback".into()), "{customer}");
    assert_eq!(world.look("customers?customer_id=k2").await["items"], json!([]));

    let other = world.service.admin("POST", "/v1/admin/affiliates").json(&json!({"name": "Other"})).send().await;
    let other = text(&other.expect(201), "id");
    let path = format!("customers/{}", text(customer, "id"));
    let rebind = world.service.admin("POST", &format!("/v1/admin/{path}/binding"));
    for (body, field) in [
        (json!({"affiliate_id": other}), "reason"),
        (json!({"affiliate_id": other, "reason": " "}), "reason"),
        (json!({"affiliate_id": format!("aff_{}", "0".repeat(32)), "reason": "x"}), "affiliate_id"),
    ] {
        let problem = rebind.clone().json(&body).send().await.problem(422, "validation");
        assert_eq!(problem["field"], field);
    }
    rebind.json(&json!({"affiliate_id": other, "reason": "wrong link"})).send().await.expect(200);
    let customer = world.look(&path).await;
    assert_eq!((&customer["affiliate_id"], &customer["revision"]), (&json!(other), &json!(2)), "{customer}");
    assert_eq!(customer["bound_by"]["reason"], "wrong link");
    assert_eq!(customer["past_bindings"][0]["affiliate_id"], json!(world.affiliate));
    // The click says otherwise: the answer warns, and the receipt says whom each of them named.
    let event = "/v1/postbacks?click_id=c1&customer_id=k1&goal=sale&event_id=e2";
    let verdict = world.service.call("GET", event).key(&world.key).send().await.expect(200);
    assert_eq!(verdict["warnings"], json!([{"code": "attribution_disagreement"}]));
    let receipt = world.look(&format!("receipts/{}", text(&verdict, "receipt_id"))).await;
    let expected = json!({"attributed_by": "customer", "customer": other, "click": world.affiliate});
    assert_eq!(receipt["disagreement"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_one_of_its_kind_and_can_be_switched_off() {
    let world = World::start().await;
    let coupon = json!({"program_id": world.program, "affiliate_id": world.affiliate, "code": "ZOE10"});
    let make = world.service.admin("POST", "/v1/admin/coupons").json(&coupon);
    let made = make.send().await.expect(201);
    make.send().await.problem(409, "conflict");
    let event = async |id: &str| {
        let target = format!("/v1/postbacks?coupon=ZOE10&goal=sale&event_id={id}");
        world.service.call("GET", &target).key(&world.key).send().await
    };
    assert_eq!(event("e1").await.expect(200)["verdict"], "accepted");
    let off = world.service.admin("PATCH", &format!("/v1/admin/coupons/{}", text(&made, "id")));
    off.json(&json!({"status": "inactive"})).send().await.expect(200);
    event("e2").await.problem(422, "missing_field");
    let listed = world.look(&format!("coupons?affiliate_id={}", world.affiliate)).await;
    assert_eq!((&listed["items"][0]["code"], &listed["items"][0]["status"]), (&"ZOE10".into(), &"inactive".into()));
    assert_eq!(world.look(&format!("coupons?program_id=prg_{}", "0".repeat(32))).await["items"], json!([]));
}
