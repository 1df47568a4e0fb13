//! Every route of the document × every role: 401 without a key, 403 with another's, and in with the right one.

use serde_json::{Value, json};

use super::world::{World, text};

/// One operation of the document.
pub struct Operation {
    pub method: String,
    pub path: String,
    pub tag: String,
    pub secured: bool,
}

/// All operations of the document.
pub fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(postback::http::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                tag: text(&json!({"tag": operation["tags"][0]}), "tag"),
                secured: operation.get("security").is_some(),
            });
        }
    }
    assert!(operations.len() > 50, "the document has all routes");
    operations
}

/// The path with ids of things that exist.
async fn filled(world: &World, path: &str) -> String {
    let newest = async |list: &str| text(&world.look(&format!("{list}?limit=1")).await["items"][0], "id");
    let noun = path.strip_prefix("/v1/admin/").unwrap_or_default().split('/').next().unwrap_or_default();
    let id = match noun {
        _ if !path.contains("{id}") => String::new(),
        _ if path.starts_with("/v1/affiliate/commissions/") => newest("commissions").await,
        "" => newest("receipts").await,
        list => newest(list).await,
    };
    path.replace("{id}", &id).replace("{code}", &world.link).replace("{link}", &world.link)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_its_own_role_only() {
    let world = World::start().await;
    world.import_click("c1").await;
    let call = world.service.call("GET", "/v1/postbacks?click_id=c1&customer_id=k1&goal=lead").key(&world.key);
    call.send().await.expect(200);
    let coupon = json!({"program_id": world.program, "affiliate_id": world.affiliate, "code": "C1"});
    world.service.admin("POST", "/v1/admin/coupons").json(&coupon).send().await.expect(201);
    // A replay of many to look at.
    let nothing = json!({"kind": "deliveries", "filter": {"event_type": "commission.reversed"}});
    world.service.admin("POST", "/v1/admin/replays").json(&nothing).send().await.expect(202);
    let wish = json!({"affiliate_id": world.affiliate, "currency": "EUR"});
    let wish = world.service.admin("POST", "/v1/admin/payouts").header("Idempotency-Key", "k1").json(&wish);
    wish.send().await.expect(201);
    let keys = [
        ("admin", Some(&world.service.admin_key)),
        ("intake", Some(&world.key)),
        ("affiliate", Some(&world.affiliate_key)),
        ("nobody", None),
    ];
    // The newest key is the one that is revoked on the way.
    world.operator_key(json!({"name": "spare"})).await;
    for operation in &operations() {
        let path = filled(&world, &operation.path).await;
        let is_open = matches!(operation.tag.as_str(), "visitors" | "operations");
        assert_eq!(operation.secured, !is_open, "{} {}", operation.method, operation.path);
        for (role, key) in keys {
            let mut call = world.service.call(&operation.method, &path);
            if let Some(key) = key {
                call = call.key(key);
            }
            if matches!(operation.method.as_str(), "POST" | "PATCH" | "PUT") {
                call = call.json(&json!({}));
            }
            let reply = call.send().await;
            let what = format!("{} {} as {role}: {} {}", operation.method, path, reply.status, reply.text());
            match (is_open, role) {
                (false, "nobody") => assert_eq!(reply.problem(401, "unauthenticated")["field"], Value::Null, "{what}"),
                (false, role) if role != operation.tag => drop(reply.problem(403, "scope")),
                _ if operation.method == "GET" && operation.path != "/v1/postbacks" => {
                    assert!(matches!(reply.status, 200 | 302), "{what}");
                }
                _ => assert!(matches!(reply.status, 200..300 | 409 | 422), "{what}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_404_whoever_asks() {
    let world = World::start().await;
    let zeros = "0".repeat(32);
    for (method, target) in [
        ("PATCH", format!("operators/op_{zeros}")),
        ("PATCH", format!("sources/src_{zeros}")),
        ("PATCH", format!("programs/prg_{zeros}")),
        ("PATCH", format!("affiliates/aff_{zeros}")),
        ("PATCH", format!("endpoints/ep_{zeros}")),
        ("GET", format!("customers/cus_{zeros}")),
        ("POST", format!("sources/src_{zeros}/secrets")),
        ("POST", format!("endpoints/ep_{zeros}/secrets")),
        ("DELETE", format!("keys/key_{zeros}")),
        ("GET", format!("plans/plan_{zeros}/versions")),
        ("GET", format!("receipts/rc_{zeros}")),
        ("GET", format!("conversions/cv_{zeros}")),
        ("GET", format!("commissions/com_{zeros}")),
        ("GET", format!("commissions/com_{zeros}/explain")),
        ("GET", format!("deliveries/dl_{zeros}")),
        ("GET", format!("payouts/po_{zeros}")),
        ("POST", format!("payouts/po_{zeros}/approve")),
        ("GET", format!("affiliates/aff_{zeros}/payout-terms")),
        ("POST", format!("deliveries/dl_{zeros}/replay")),
        ("POST", format!("receipts/rc_{zeros}/replay")),
        ("GET", format!("replays/rpl_{zeros}")),
        ("POST", format!("replays/rpl_{zeros}/cancel")),
        ("GET", "deliveries/evil".to_owned()),
        ("GET", format!("deliveries/cv_{zeros}")),
    ] {
        let call = world.service.admin(method, &format!("/v1/admin/{target}"));
        let call = if method == "GET" || method == "DELETE" { call } else { call.json(&json!({})) };
        call.send().await.problem(404, "not_found");
    }
}
