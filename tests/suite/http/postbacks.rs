//! Postbacks: the verdicts, that equal ones are booked once, and that nothing is lost while its click is unknown.

use serde_json::json;

use super::world::{World, text};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_get_and_a_post_are_accepted_and_pay_what_the_plan_says() {
    let world = World::start().await;
    world.import_click("c1").await;
    let get = "/v1/postbacks?click_id=c1&goal=lead&event_id=e1&utm=x";
    let reply = world.service.call("GET", get).key(&world.key).send().await;
    let verdict = reply.expect(200);
    assert_eq!(verdict["verdict"], "accepted");
    assert_eq!(verdict["warnings"], json!([{"code": "unknown_field", "field": "utm"}]));
    assert!(text(&verdict, "receipt_id").starts_with("rc_") && reply.header("x-request-id").is_some());
    assert!(reply.header("ratelimit").is_some());

    let sale = json!({"click_id": "c1", "goal": "sale", "event_id": "e2", "amount": 119.99, "currency": "EUR"});
    let post = world.service.call("POST", "/v1/postbacks").header("X-Api-Key", &world.key).json(&sale);
    let verdict = post.send().await.expect(200);
    let conversion = text(&verdict, "conversion_id");
    let again = post.send().await.expect(200);
    assert_eq!((&again["verdict"], text(&again, "conversion_id")), (&"duplicate".into(), conversion.clone()));
    let form = world.service.call("POST", "/v1/postbacks").key(&world.key);
    let form = form.form("click_id=c1&goal=sale&event_id=e2&amount=99.99&currency=EUR").send().await.expect(200);
    assert_eq!((&form["verdict"], text(&form, "conversion_id")), (&"updated".into(), conversion.clone()));

    let seen = world.look(&format!("conversions/{conversion}")).await;
    assert_eq!((&seen["amount"], &seen["status"]), (&"99.99".into(), &"approved".into()), "{seen}");
    assert_eq!(text(&seen, "affiliate_id"), world.affiliate);
    let commissions = world.look(&format!("commissions?conversion_id={conversion}")).await;
    let commission = &commissions["items"][0];
    assert_eq!((&commission["amount"], &commission["state"]), (&"7.50".into(), &"available".into()), "{commission}");
    assert_eq!(commission["explanation"]["model"], "fixed");
    let receipt = text(&again, "receipt_id");
    assert_eq!(world.look(&format!("receipts/{receipt}")).await["verdict"], "duplicate");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_equal_postbacks_at_once_one_is_accepted() {
    let world = World::start().await;
    world.import_click("c1").await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead&event_id=e1").key(&world.key);
    let sending: Vec<_> = (0..64)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move { call.send().await.expect(200) })
        })
        .collect();
    let mut verdicts = Vec::new();
    for sent in sending {
        verdicts.push(sent.await.unwrap());
    }
    let accepted = verdicts.iter().filter(|verdict| verdict["verdict"] == "accepted").count();
    let duplicate = verdicts.iter().filter(|verdict| verdict["verdict"] == "duplicate").count();
    assert_eq!((accepted, duplicate), (1, 63));
    assert!(verdicts.iter().all(|verdict| verdict["conversion_id"] == verdicts[0]["conversion_id"]));
    assert_eq!(world.look("conversions").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_click_parks_the_postback_until_it_is_imported() {
    let world = World::start().await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=later&goal=lead&event_id=e1").key(&world.key);
    let parked = call.send().await.expect(200);
    assert_eq!((&parked["verdict"], &parked["code"]), (&"parked".into(), &"unknown_click".into()));
    assert!(parked["detail"].is_string() && parked.get("conversion_id").is_none(), "{parked}");
    world.import_click("later").await;
    let receipt = format!("receipts/{}", text(&parked, "receipt_id"));
    eventually("the parked postback is applied", async || world.look(&receipt).await["verdict"] == "accepted").await;
    let conversions = world.look("conversions?click_id=later").await;
    assert_eq!(conversions["items"].as_array().unwrap().len(), 1, "{conversions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_is_refused_with_the_first_ones_id() {
    let world = World::start().await;
    world.import_click("c1").await;
    world.import_click("c2").await;
    let sent =
        async |query: &str| world.service.call("GET", &format!("/v1/postbacks?{query}")).key(&world.key).send().await;
    let first = sent("click_id=c1&goal=sale&event_id=e1").await.expect(200);
    let other = sent("click_id=c2&goal=sale&event_id=e1").await.problem(409, "conflicting_revision");
    assert_eq!(other["conversion_id"], first["conversion_id"]);
    assert_eq!(other["verdict"], "rejected");
    let unknown = sent("click_id=c1&goal=nonsense&event_id=e2").await.problem(422, "unknown_goal");
    assert_eq!(unknown["field"], "goal");
    let receipt = world.look(&format!("receipts/{}", text(&unknown, "receipt_id"))).await;
    assert_eq!((&receipt["verdict"], &receipt["code"]), (&"rejected".into(), &"unknown_goal".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_or_an_operator_that_is_switched_off_may_not_send() {
    let world = World::start().await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    world.change_source(json!({"status": "inactive"})).await;
    let problem = call.send().await.problem(403, "source_disabled");
    assert!(problem["receipt_id"].is_string(), "it can be replayed: {problem}");
    world.change_source(json!({"status": "active"})).await;
    call.send().await.expect(200);
    let operator = format!("/v1/admin/operators/{}", world.operator);
    world.service.admin("PATCH", &operator).json(&json!({"status": "inactive"})).send().await.expect(200);
    call.send().await.problem(403, "source_disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_answered_503() {
    let world = World::start().await;
    world.service.state.store.close().await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&goal=lead").key(&world.key);
    let reply = call.send().await;
    reply.problem(503, "unavailable");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    let clicks = json!([{"click_id": "c1", "link": world.link}]);
    let clicks = world.service.call("POST", "/v1/clicks").key(&world.key).json(&clicks).send().await;
    clicks.problem(503, "unavailable");
    world.service.admin("GET", "/v1/admin/receipts").send().await.problem(503, "unavailable");
    let ready = world.service.call("GET", "/readyz").send().await.expect(503);
    assert_eq!((&ready["ready"], &ready["database"]), (&false.into(), &false.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_mistakes_are_kept_in_receipts_without_the_secrets() {
    let world = World::start().await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&amount=1e3&token=hushhush").key(&world.key);
    let problem = call.send().await.problem(422, "bad_amount");
    assert_eq!(problem["field"], "amount");
    let receipt = world.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!(receipt["query"], "click_id=c1&amount=1e3&token=redacted");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_receipts_are_bounded_for_each_key() {
    let world = World::with(&[("intake.rejected_receipts_per_minute", "2")]).await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&amount=x").key(&world.key);
    for kept in [true, true, false, false] {
        let problem = call.send().await.problem(422, "bad_amount");
        assert_eq!(problem.get("receipt_id").is_some(), kept, "{problem}");
    }
    let receipts = world.service.call("GET", "/v1/receipts?verdict=rejected").key(&world.key).send().await.expect(200);
    assert_eq!(receipts["items"].as_array().unwrap().len(), 2);
}
