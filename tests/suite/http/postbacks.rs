//! Postbacks: the verdicts, that equal ones are booked once, and that nothing is lost while its click is unknown.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::world::{World, text};
use crate::support::engines::{Kind, on_both_engines};
use crate::support::eventually;

on_both_engines! {
    a_get_and_a_post_are_accepted_and_pay_what_the_plan_says,
    of_64_equal_postbacks_at_once_one_is_accepted,
    an_unknown_click_parks_the_postback_until_it_is_imported,
    what_contradicts_is_refused_with_the_first_ones_id,
    a_source_or_an_operator_that_is_switched_off_may_not_send,
    secrets_and_mistakes_are_kept_in_receipts_without_the_secrets,
    rejected_receipts_are_bounded_for_each_key,
    a_client_that_goes_away_leaves_no_harm,
}

async fn a_get_and_a_post_are_accepted_and_pay_what_the_plan_says(engine: Kind) {
    let world = World::on(engine, &[]).await;
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

async fn of_64_equal_postbacks_at_once_one_is_accepted(engine: Kind) {
    let world = World::on(engine, &[]).await;
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

async fn an_unknown_click_parks_the_postback_until_it_is_imported(engine: Kind) {
    let world = World::on(engine, &[]).await;
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

async fn what_contradicts_is_refused_with_the_first_ones_id(engine: Kind) {
    let world = World::on(engine, &[]).await;
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

async fn a_source_or_an_operator_that_is_switched_off_may_not_send(engine: Kind) {
    let world = World::on(engine, &[]).await;
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

async fn secrets_and_mistakes_are_kept_in_receipts_without_the_secrets(engine: Kind) {
    let world = World::on(engine, &[]).await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&amount=1e3&token=hushhush").key(&world.key);
    let problem = call.send().await.problem(422, "bad_amount");
    assert_eq!(problem["field"], "amount");
    let receipt = world.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!(receipt["query"], "click_id=c1&amount=1e3&token=redacted");
}

async fn rejected_receipts_are_bounded_for_each_key(engine: Kind) {
    let world = World::on(engine, &[("intake.rejected_receipts_per_minute", "2")]).await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&amount=x").key(&world.key);
    for kept in [true, true, false, false] {
        let problem = call.send().await.problem(422, "bad_amount");
        assert_eq!(problem.get("receipt_id").is_some(), kept, "{problem}");
    }
    let receipts = world.service.call("GET", "/v1/receipts?verdict=rejected").key(&world.key).send().await.expect(200);
    assert_eq!(receipts["items"].as_array().unwrap().len(), 2);
}

async fn a_client_that_goes_away_leaves_no_harm(engine: Kind) {
    let world = World::on(engine, &[]).await;
    world.import_click("c1").await;
    for number in 0..50 {
        let request = format!(
            "GET /v1/postbacks?click_id=c1&goal=sale&event_id=e{number} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\n\r\n",
            world.key
        );
        let mut stream = TcpStream::connect(world.service.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
    }
    for number in 0..50 {
        let target = format!("/v1/postbacks?click_id=c1&goal=sale&event_id=e{number}");
        let verdict = world.service.call("GET", &target).key(&world.key).send().await.expect(200);
        assert!(verdict["verdict"] == "accepted" || verdict["verdict"] == "duplicate", "{verdict}");
    }
    assert_eq!(world.look("conversions?limit=200").await["items"].as_array().unwrap().len(), 50);
}
