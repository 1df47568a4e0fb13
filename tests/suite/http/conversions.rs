//! Conversions that change without a postback, and tests by source, key and field.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::support::eventually;

async fn sent(world: &World, key: &str, query: &str) -> Value {
    let target = format!("/v1/postbacks?{query}");
    world.service.call("GET", &target).key(key).send().await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_changes_a_status_and_says_why() {
    let world = World::start().await;
    world.import_click("c1").await;
    let verdict = sent(&world, &world.key, "click_id=c1&goal=sale&event_id=e1&amount=100&status=rejected").await;
    let id = text(&verdict, "conversion_id");
    let change = world.service.admin("POST", &format!("/v1/admin/conversions/{id}/status"));
    for (body, field) in [
        (json!({"status": "approved"}), "reason"),
        (json!({"status": "approved", "reason": ""}), "reason"),
        (json!({"status": "evil", "reason": "x"}), "status"),
    ] {
        assert_eq!(change.clone().json(&body).send().await.problem(422, "validation")["field"], field);
    }
    let body = json!({"status": "approved", "reason": "it was a mistake"});
    let shown = change.clone().json(&body).send().await.expect(200);
    assert_eq!((&shown["status"], &shown["revision"]), (&"approved".into(), &json!(2)), "{shown}");
    assert_eq!(shown["changed_by"]["reason"], "it was a mistake");
    assert!(text(&shown["changed_by"], "key_id").starts_with("key_"));
    assert_eq!(shown["past_revisions"][0]["changed_by"], json!({"by": "sender"}));
    assert!(shown["booked_period"].is_string() && shown["received_at"].is_string() && shown["occurred_at"].is_string());
    assert_eq!(change.clone().json(&body).send().await.expect(200)["revision"], 2, "there already");
    let back = json!({"status": "pending", "reason": "x"});
    change.json(&back).send().await.problem(409, "illegal_transition");
    let nobody = format!("/v1/admin/conversions/cv_{}/status", "0".repeat(32));
    world.service.admin("POST", &nobody).json(&body).send().await.problem(404, "not_found");
    let commissions = world.look(&format!("commissions?conversion_id={id}")).await;
    assert_eq!(commissions["items"][0]["state"], "available", "{commissions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_itself() {
    let world = World::with(&[("delivery.sweep_every", "50ms")]).await;
    world.import_click("c1").await;
    let goal = json!({"program_id": world.program, "name": "ftd", "default_status": "hold", "hold_days": 0});
    let make = world.service.admin("POST", "/v1/admin/goals");
    assert_eq!(make.clone().json(&goal).send().await.expect(201)["hold_days"], 0);
    let long = json!({"program_id": world.program, "name": "x", "hold_days": 366});
    assert_eq!(make.json(&long).send().await.problem(422, "validation")["field"], "hold_days");
    let verdict = sent(&world, &world.key, "click_id=c1&goal=ftd&event_id=e1").await;
    let path = format!("conversions/{}", text(&verdict, "conversion_id"));
    eventually("the hold is over", async || world.look(&path).await["status"] == "approved").await;
    assert_eq!(world.look(&path).await["changed_by"], json!({"by": "hold_over"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_come_from_a_field_a_key_or_a_source() {
    let world = World::start().await;
    world.import_click("c1").await;
    let trial_key = world.operator_key(json!({"test": true})).await;
    let event = "click_id=c1&goal=lead&event_id=e1";
    let by_field = sent(&world, &world.key, &format!("{event}&test=1")).await;
    let by_key = sent(&world, &trial_key, event).await;
    assert_eq!((&by_field["verdict"], &by_key["verdict"]), (&"accepted".into(), &"duplicate".into()));
    assert_eq!(by_field["conversion_id"], by_key["conversion_id"]);
    world.change_source(json!({"test": true})).await;
    let by_source = sent(&world, &world.key, event).await;
    assert_eq!(by_source["conversion_id"], by_key["conversion_id"]);
    world.change_source(json!({"test": false})).await;
    assert_eq!(world.look("commissions").await["items"], json!([]), "a test earns nothing");
    let real = sent(&world, &world.key, event).await;
    assert_eq!(real["verdict"], "accepted", "a test takes no real key");
    let shown = world.look(&format!("conversions/{}", text(&by_key, "conversion_id"))).await;
    assert_eq!((&shown["test"], &shown["no_commission"]), (&true.into(), &"test".into()));
    let admins = json!({"name": "x", "role": "admin", "test": true});
    let refused = world.service.admin("POST", "/v1/admin/keys").json(&admins).send().await;
    assert_eq!(refused.problem(422, "validation")["field"], "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_amount_needs_a_source_that_means_refunds_by_it() {
    let world = World::start().await;
    world.import_click("c1").await;
    let sale = sent(&world, &world.key, "click_id=c1&goal=sale&event_id=e1&amount=100").await;
    let less = world.service.call("GET", "/v1/postbacks?event_id=e1&amount=-40").key(&world.key);
    assert_eq!(less.send().await.problem(422, "bad_amount")["field"], "amount");
    world.change_source(json!({"negative_is_refund": true})).await;
    assert_eq!(less.send().await.expect(200)["verdict"], "updated");
    let refund = "event_id=r1&original_event_id=e1&amount=10";
    assert_eq!(sent(&world, &world.key, refund).await["verdict"], "updated");
    let shown = world.look(&format!("conversions/{}", text(&sale, "conversion_id"))).await;
    assert_eq!(shown["amount"], "50.00");
    let refunds = json!([{"event_id": "e1", "amount": "40.00"}, {"event_id": "r1", "amount": "10.00"}]);
    assert_eq!(shown["refunds"], refunds);
}
