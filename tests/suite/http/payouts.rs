//! Payouts over HTTP: from the balance to the affiliate with two people, every refusal with its code, terms, and who
//! sees what.

use serde_json::{Value, json};

use super::client::Reply;
use super::world::{World, text};

impl World {
    async fn earn(&self, clicks: &[&str]) {
        for click in clicks {
            self.import_click(click).await;
            let call = self.service.call("GET", &format!("/v1/postbacks?click_id={click}&goal=lead")).key(&self.key);
            call.send().await.expect(200);
        }
    }

    async fn wish(&self, key: &str, more: Value) -> Reply {
        let mut wish = json!({"affiliate_id": self.affiliate, "currency": "EUR"});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.service.admin("POST", "/v1/admin/payouts").header("Idempotency-Key", key).json(&wish).send().await
    }

    async fn step(&self, payout: &str, step: &str, body: Value) -> Reply {
        self.service.admin("POST", &format!("/v1/admin/payouts/{payout}/{step}")).json(&body).send().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_made_approved_sent_and_completed() {
    let world = World::with(&[("payouts.one_person_up_to", "7.50")]).await;
    world.wish("k1", json!({})).await.problem(422, "below_minimum");
    world.earn(&["c1", "c2"]).await;
    let made = world.wish("k1", json!({})).await.expect(201);
    let id = text(&made, "id");
    assert_eq!((&made["amount"], &made["items"], &made["revision"]), (&json!("10.00"), &json!(2), &json!(1)));
    assert_eq!(world.wish("k1", json!({})).await.expect(200), made, "the same key answers the same payout");
    world.wish("k1", json!({"currency": "USD"})).await.problem(409, "conflict");
    world.step(&id, "approve", json!({})).await.problem(403, "second_person");
    world.step(&id, "send", json!({"reference": "tx-1"})).await.problem(409, "payout_state");
    let second = json!({"name": "second", "role": "admin"});
    let second = world.service.admin("POST", "/v1/admin/keys").json(&second).send().await.expect(201);
    let approve = world.service.call("POST", &format!("/v1/admin/payouts/{id}/approve"));
    let approved = approve.key(&text(&second, "key")).send().await.expect(200);
    assert_eq!(approved["state"], "approved");
    world.step(&id, "process", json!({})).await.expect(200);
    let bad = world.step(&id, "send", json!({"reference": "two words"})).await.problem(422, "validation");
    assert_eq!(bad["field"], "reference");
    world.step(&id, "send", json!({"reference": "tx-1"})).await.expect(200);
    let again = world.step(&id, "send", json!({"reference": "tx-1"})).await.expect(200);
    assert_eq!(again["revision"], 4, "a repeated step changes nothing");
    let stated = world.look("commissions?state=stated").await;
    assert_eq!((stated["items"].as_array().unwrap().len(), &stated["items"][0]["payout_id"]), (2, &json!(id)));
    world.step(&id, "complete", json!({})).await.expect(200);
    assert_eq!(world.look("commissions?state=stated").await["items"], json!([]));
    let own = |target: &str| world.service.call("GET", &format!("/v1/affiliate/{target}")).key(&world.affiliate_key);
    let paid = own("commissions?state=paid").send().await.expect(200)["items"][0].clone();
    assert_eq!((&paid["state"], &paid["paid"], &paid["payout_id"]), (&json!("paid"), &json!("5.00"), &json!(id)));
    let explained = format!("commissions/{}/explain", text(&paid, "id"));
    for explained in [world.look(&explained).await, own(&explained).send().await.expect(200)] {
        assert_eq!((&explained["state"], &explained["payout_id"]), (&json!("paid"), &json!(id)));
    }
    let shown = world.look(&format!("payouts/{id}")).await;
    let keys: Vec<&Value> = shown["steps"].as_array().unwrap().iter().map(|step| &step["key_id"]).collect();
    assert_eq!((keys.len(), keys[1]), (5, &second["id"]));
    assert_eq!(shown["shares"], json!([{"operator_id": world.operator, "amount": "10.00"}]));
    let items = world.look(&format!("payouts/{id}/items?limit=1")).await;
    assert_eq!((&items["items"][0]["amount"], items["next_cursor"].is_string()), (&json!("5.00"), true));

    let own = |key: &str| world.service.call("GET", "/v1/affiliate/payouts").key(key);
    let mine = own(&world.affiliate_key).send().await.expect(200);
    assert_eq!((&mine["items"][0]["id"], &mine["items"][0]["reference"]), (&json!(id), &json!("tx-1")));
    assert_eq!((mine["items"][0].get("created_by"), mine["items"][0].get("shares")), (None, None));
    let rival = world.service.admin("POST", "/v1/admin/affiliates").json(&json!({"name": "Rival"})).send().await;
    let rival = json!({"name": "rival", "role": "affiliate", "affiliate_id": rival.expect(201)["id"]});
    let rival = text(&world.service.admin("POST", "/v1/admin/keys").json(&rival).send().await.expect(201), "key");
    assert_eq!(own(&rival).send().await.expect(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_has_a_code_and_a_way_on() {
    let world = World::start().await;
    world.earn(&["c1"]).await;
    let low = world.wish("k1", json!({"minimum": "5.01"})).await.problem(422, "below_minimum");
    assert!(text(&low, "detail").contains("5.00 EUR"), "{low}");
    let made = world.wish("k1", json!({"draft": true})).await.expect(201);
    let id = text(&made, "id");
    assert_eq!(made["state"], "draft");
    world.step(&id, "submit", json!({})).await.expect(200);
    world.step(&id, "approve", json!({})).await.expect(200);
    world.step(&id, "send", json!({"reference": "tx-1"})).await.expect(200);
    assert_eq!(world.step(&id, "fail", json!({})).await.problem(422, "validation")["field"], "reason");
    world.step(&id, "fail", json!({"reason": "No such account."})).await.expect(200);
    world.step(&id, "process", json!({})).await.expect(200);
    world.step(&id, "cancel", json!({"reason": "x"})).await.problem(409, "payout_state");
    world.step(&id, "fail", json!({"reason": "No such account."})).await.expect(200);
    assert_eq!(world.step(&id, "return", json!({"reason": "Closed."})).await.expect(200)["state"], "returned");
    let next = text(&world.wish("k2", json!({})).await.expect(201), "id");
    world.step(&next, "approve", json!({})).await.expect(200);
    let taken = world.step(&next, "send", json!({"reference": "tx-1"})).await.problem(409, "reference_taken");
    assert_eq!(taken["field"], "reference");
    world.step(&next, "send", json!({"reference": "tx-2"})).await.expect(200);
    let reversed = "/v1/postbacks?click_id=c1&goal=lead&status=reversed";
    world.service.call("GET", reversed).key(&world.key).send().await.expect(200);
    let debt = world.wish("k3", json!({})).await.problem(422, "debt");
    assert!(text(&debt, "detail").contains("-5.00 EUR"), "{debt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_names_its_key_once() {
    let world = World::start().await;
    let wish = json!({"affiliate_id": world.affiliate, "currency": "EUR"});
    let call = || world.service.admin("POST", "/v1/admin/payouts").json(&wish);
    assert_eq!(call().send().await.problem(422, "missing_field")["field"], "Idempotency-Key");
    for bad in ["", "two words", &"x".repeat(201)] {
        let refused = call().header("Idempotency-Key", bad).send().await.problem(422, "validation");
        assert_eq!(refused["field"], "Idempotency-Key", "{bad}");
    }
    let twice = call().header("Idempotency-Key", "a").header("Idempotency-Key", "b").send().await;
    twice.problem(422, "validation");
    let nobody = json!({"affiliate_id": format!("aff_{}", "0".repeat(32)), "currency": "EUR"});
    let call = world.service.admin("POST", "/v1/admin/payouts").header("Idempotency-Key", "a").json(&nobody);
    assert_eq!(call.send().await.problem(422, "validation")["field"], "affiliate_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_set_for_each_currency() {
    let world = World::start().await;
    let target = format!("/v1/admin/affiliates/{}/payout-terms", world.affiliate);
    let put = async |terms: Value| world.service.admin("PUT", &target).json(&terms).send().await;
    let monthly = json!({"currency": "EUR", "minimum": "7", "period": "month", "enabled": false});
    let set = put(monthly.clone()).await.expect(200);
    assert_eq!((&set["minimum"], &set["last_outcome"]), (&json!("7.00"), &Value::Null));
    assert!(text(&set, "next_due_at").contains("-01T00:00:00"), "{set}");
    put(json!({"currency": "USD", "minimum": "0", "period": "week", "enabled": true})).await.expect(200);
    let listed = world.look(&format!("affiliates/{}/payout-terms", world.affiliate)).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let negative = json!({"currency": "EUR", "minimum": "-1", "period": "month", "enabled": true});
    assert_eq!(put(negative).await.problem(422, "bad_amount")["field"], "minimum");
    world.earn(&["c1"]).await;
    world.wish("k1", json!({})).await.problem(422, "below_minimum");
    world.wish("k1", json!({"minimum": "1"})).await.expect(201);
}
