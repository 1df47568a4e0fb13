//! What cannot be read as what it claims to be: 400, in a query, a form and JSON alike.

use serde_json::{Value, json};

use super::super::world::Setup;
use super::{get, percent, post, post_json, refused, refused_and_kept, rows};

rows! { broken_json a_parameter_twice broken_encoding control_characters }

async fn broken_json(setup: &Setup) {
    let nested = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    for body in [
        "",
        "{",
        "[]",
        "null",
        "3",
        r#""evil0dd""#,
        r#"{"click_id":"c1","goal":"lead"}x"#,
        r#"{"click_id":"c1","goal":"lead"}{}"#,
        "{\"click_id\":\"c1\",\"goal\":\"lead\"}\u{feff}",
        "\u{feff}{\"click_id\":\"c1\",\"goal\":\"lead\"}",
        r#"{"click_id":"c1",}"#,
        r#"{"click_id":'evil0dd'}"#,
        r#"{click_id:"evil0dd"}"#,
        r#"{"click_id":"c1","amount":01}"#,
        r#"{"click_id":"c1","amount":NaN}"#,
        r#"{"click_id":"c1","amount":0x10}"#,
        r#"{"click_id":"c1","amount":+5}"#,
        r#"{"click_id":"c1","amount":.5}"#,
        r#"{"click_id":"c1" /* evil0dd */}"#,
        r#"{"click_id":"\ud800"}"#,
        r#"{"click_id":"\x41"}"#,
        r#"{"click_id":["evil0dd"]}"#,
        r#"{"click_id":{"evil0dd":1}}"#,
        r#"{"":"evil0dd"}"#,
        &nested(64),
        &nested(65),
        &nested(30_000),
        &"{\"x\":".repeat(10_000),
    ] {
        refused_and_kept(setup, &post_json(setup, body), 400, "malformed").await;
    }
    let admin = setup.admin("POST", "/v1/admin/operators").header("Content-Type", "application/json");
    for body in ["", "{", "\u{feff}{}", r#"{"name":"evil0dd"}x"#] {
        refused(&admin.clone().body(body).send().await, 400, "malformed");
    }
}

async fn a_parameter_twice(setup: &Setup) {
    for query in [
        "click_id=c1&click_id=c1",
        "click_id=c1&goal=lead&goal=evil0dd",
        "click_id=c1&x=1&x=2",
        "a=1&%61=1",
        "ts=1&ts=1",
    ] {
        refused_and_kept(setup, &get(setup, query), 400, "duplicate_parameter").await;
        refused_and_kept(setup, &post(setup).form(query), 400, "duplicate_parameter").await;
    }
    for body in [
        r#"{"click_id":"c1","click_id":"c1"}"#,
        r#"{"click_id":"c1","\u0063lick_id":"evil0dd"}"#,
        r#"{"click_id":null,"click_id":"c1"}"#,
        r#"{"click_id":"c1","sub":{"a":"1","a":"2"}}"#,
        r#"{"click_id":"c1","sub.a":"1","sub":{"a":"2"}}"#,
        r#"{"click_id":"c1","x":{"y":[{"z":1,"z":2}]}}"#,
    ] {
        refused_and_kept(setup, &post_json(setup, body), 400, "duplicate_parameter").await;
    }
    let in_both = setup.call("POST", "/v1/postbacks?click_id=c1").key(&setup.key).json(&json!({"click_id": "c1"}));
    refused_and_kept(setup, &in_both, 400, "duplicate_parameter").await;
    let admin = setup.admin("POST", "/v1/admin/operators").header("Content-Type", "application/json");
    refused(&admin.body(r#"{"name":"a","name":"evil0dd"}"#).send().await, 400, "duplicate_parameter");
    let listed = setup.admin("GET", "/v1/admin/receipts?limit=1&limit=1").send().await;
    refused(&listed, 400, "duplicate_parameter");
}

/// What looks like a macro is told as one, so that the sender knows what to mend.
async fn broken_encoding(setup: &Setup) {
    for bad in ["%FF", "%C0%AF", "%ZZ", "%", "a%", "%4", "%ED%A0%80", "%F8%88%80%80%80", "%C3", "%u0041", "evil0dd%GG"]
    {
        for name in ["click_id", "goal", "event_id", "x"] {
            let query = format!("{name}={bad}");
            let problem = refused_and_kept(setup, &get(setup, &query), 400, "encoding").await;
            assert_eq!(problem["field"], name);
            refused_and_kept(setup, &post(setup).form(&query), 400, "encoding").await;
        }
        refused_and_kept(setup, &get(setup, &format!("{bad}=c1")), 400, "encoding").await;
    }
    let latin1 = [br#"{"click_id":""#.as_slice(), b"\xfcevil0dd\"}"].concat();
    refused_and_kept(setup, &post_json(setup, latin1), 400, "encoding").await;
    for bad in
        ["{clickid}", "#reqid#", "[ORDER_ID]", "%TRANSACTION_ID%", "%EVIL0DD%", "REPLACE", "${evil0dd}", "x-{evil0dd}"]
    {
        // A fragment would not be sent, were it not encoded.
        let sent = bad.replace('#', "%23");
        let problem = refused_and_kept(setup, &get(setup, &format!("click_id={sent}")), 422, "unexpanded_macro").await;
        assert_eq!(problem["field"], "click_id");
        refused_and_kept(setup, &post(setup).form(&format!("click_id={sent}")), 422, "unexpanded_macro").await;
        refused_and_kept(setup, &post_json(setup, json!({"click_id": bad}).to_string()), 422, "unexpanded_macro").await;
    }
    refused(&setup.admin("GET", "/v1/admin/receipts?verdict=%FF").send().await, 400, "encoding");
}

/// Of all that may come in, nothing gets to the store that PostgreSQL could not keep.
async fn control_characters(setup: &Setup) {
    for bad in ["\0", "c1\0", "a\r\nb", "a\rb", "a\nb", "\t", "\u{1b}[31m", "\u{7f}", "\u{85}", "evil0dd\0"] {
        for name in
            ["click_id", "event_id", "goal", "customer_id", "original_event_id", "sub1", "coupon", "reason", "x"]
        {
            let query = format!("{name}={}", percent(bad));
            let problem = refused_and_kept(setup, &get(setup, &query), 400, "character").await;
            assert_eq!(problem["field"], name);
            refused_and_kept(setup, &post(setup).form(&query), 400, "character").await;
            refused_and_kept(setup, &post_json(setup, json!({name: bad}).to_string()), 400, "character").await;
        }
        refused_and_kept(setup, &get(setup, &format!("{}=c1", percent(bad))), 400, "character").await;
        refused_and_kept(setup, &post_json(setup, json!({"sub": {bad: "x"}}).to_string()), 400, "character").await;
    }
    refused_and_kept(setup, &post_json(setup, "{\"click_id\":\"a\0b\"}"), 400, "character").await;
    elsewhere(setup).await;
}

async fn elsewhere(setup: &Setup) {
    let rows = json!([
        {"click_id": "evil0dd\0", "link": setup.link},
        {"click_id": "n1", "link": setup.link, "sub_ids": {"sub1": "evil0dd\0"}},
        {"click_id": "n2", "link": setup.link, "sub_ids": {"sub1\0": "evil0dd"}},
    ]);
    let clicks = setup.call("POST", "/v1/clicks").key(&setup.key).json(&rows).send().await.expect(200);
    let results: Vec<&Value> = clicks["results"].as_array().unwrap().iter().map(|row| &row["result"]).collect();
    assert_eq!(results, ["rejected", "rejected", "rejected"], "{clicks}");
    for (path, body) in [
        ("operators", json!({"name": "evil0dd\0"})),
        ("affiliates", json!({"name": "a\r\nb"})),
        ("goals", json!({"program_id": setup.program, "name": "evil0dd\0"})),
        ("endpoints", json!({"affiliate_id": setup.affiliate, "url": "http://127.0.0.1:9/evil0dd\0"})),
        ("links", json!({"program_id": "evil0dd\0", "affiliate_id": setup.affiliate})),
    ] {
        let reply = setup.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await;
        refused(&reply, 422, "validation");
    }
    for filter in
        ["receipts?verdict", "conversions?click_id", "conversions?event_id", "deliveries?state", "receipts?cursor"]
    {
        let reply = setup.admin("GET", &format!("/v1/admin/{filter}=evil0dd%00")).send().await;
        refused(&reply, 400, "character");
    }
    refused(&setup.admin("GET", "/v1/admin/receipts/evil0dd%00").send().await, 404, "not_found");
    refused(&setup.call("GET", "/c/evil0dd%00").send().await, 404, "not_found");
    let visitor = setup.call("GET", &format!("/c/{}?sub1=a%00b&s2=%FF", setup.link)).header("User-Agent", "a\tb");
    assert_eq!(visitor.send().await.status, 302, "nothing that a link carries can fail a visitor");
}
