//! Values that cannot be booked: 422 with the name of the field, in a query, a form and JSON alike.

use serde_json::{Value, json};

use super::super::client::Call;
use super::super::world::{Setup, text};
use super::{get, percent, post, post_json, refused_and_kept, rows};

rows! { ids_empty_or_too_long amounts currencies times }

/// The same field in the three forms, of an event of a click and a goal that exist.
fn in_every_form(setup: &Setup, name: &str, value: &str) -> [Call; 3] {
    let mut fields = json!({"click_id": "c1", "goal": "sale", "event_id": "e1"});
    fields[name] = value.into();
    let pairs: Vec<String> = fields
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!("{name}={}", percent(value.as_str().unwrap())))
        .collect();
    let query = pairs.join("&");
    [get(setup, &query), post(setup).form(&query), post_json(setup, fields.to_string())]
}

async fn refuses(setup: &Setup, name: &str, values: &[&str], code: &str) {
    for value in values {
        for call in in_every_form(setup, name, value) {
            let problem = refused_and_kept(setup, &call, 422, code).await;
            assert_eq!(problem["field"], name, "{value}");
            let said = problem["detail"].to_string() + &problem["fix"].to_string();
            assert!(value.trim().len() < 4 || !said.contains(value), "an echo of {value}: {said}");
        }
    }
}

async fn ids_empty_or_too_long(setup: &Setup) {
    let (long, wide) = ("x".repeat(256), "\u{1f4b6}".repeat(256));
    for name in ["click_id", "event_id", "goal", "customer_id", "original_event_id"] {
        refuses(setup, name, &["", &long, &wide], "id_format").await;
    }
    let just = "\u{1f4b6}".repeat(255);
    for (number, call) in in_every_form(setup, "event_id", &just).iter().enumerate() {
        let verdict = call.send().await.expect(200);
        assert_eq!(verdict["verdict"], if number == 0 { "accepted" } else { "duplicate" }, "{verdict}");
    }
}

async fn amounts(setup: &Setup) {
    let bad = [
        "NaN",
        "inf",
        "Infinity",
        "1e3",
        "1E3",
        "+5",
        " 5",
        "5 ",
        "-5",
        "1,000",
        "1,5",
        "1.000,00",
        "1_000",
        "\u{ff11}\u{ff12}",
        "\u{661}\u{662}",
        "0x10",
        "1.0000001",
        "0.0000001",
        "100000000000.000001",
        "100000000001",
        "99999999999999999999999999999999",
        "",
        ".",
        ".5",
        "5.",
        "1.2.3",
        "--5",
        "5-",
        "$5",
        "5 EUR",
        "\u{2212}5",
        "true",
    ];
    refuses(setup, "amount", &bad, "bad_amount").await;
    // As JSON numbers, by their literal text.
    for literal in ["1e3", "1E0", "-5", "1.0000001", "100000000001", "1e999", "0.1e1", "5.0e0"] {
        let body = format!(r#"{{"click_id":"c1","goal":"sale","event_id":"bad","amount":{literal}}}"#);
        let problem = refused_and_kept(setup, &post_json(setup, body), 422, "bad_amount").await;
        assert_eq!(problem["field"], "amount", "{literal}");
    }
    // A float could tell none of these from its neighbours.
    for literal in ["99999999999.999999", "0.000001", "12.10", "100000000000", "0.300000"] {
        let body = format!(r#"{{"click_id":"c1","goal":"sale","event_id":"{literal}","amount":{literal}}}"#);
        let verdict = post_json(setup, body).send().await.expect(200);
        let conversion = setup.look(&format!("conversions/{}", text(&verdict, "conversion_id"))).await;
        let shown = conversion["amount"].as_str().unwrap();
        let trimmed = |text: &str| match text.split_once('.') {
            Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => text.to_owned(),
        };
        assert_eq!(trimmed(shown), trimmed(literal), "{conversion}");
    }
    for payout in ["5", "x"] {
        for call in in_every_form(setup, "payout", payout) {
            refused_and_kept(setup, &call, 422, "override_not_permitted").await;
        }
    }
}

async fn currencies(setup: &Setup) {
    let bad = [
        "eur",
        "Eur",
        "ZZZ",
        "XXX",
        "XAU",
        "",
        "\u{20ac}",
        "EURO",
        "EUR ",
        " EUR",
        "978",
        "E\u{fc}R",
        "\u{ff25}\u{ff35}\u{ff32}",
    ];
    refuses(setup, "currency", &bad, "bad_currency").await;
    let bad = ["", "Approved", "APPROVED", "1", "declined", "approved "];
    refuses(setup, "status", &bad, "bad_status").await;
}

async fn times(setup: &Setup) {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let tomorrow = (now + 24 * 3_600 + 120).to_string();
    let bad = [
        "2999-01-01T00:00:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31",
        "2026-01-31 12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00+99:00",
        "1969-12-31T23:59:59Z",
        "31.01.2026",
        "yesterday",
        "now",
        "",
        "-1",
        "12",
        "1e9",
        &tomorrow,
        "99999999999999999999",
    ];
    refuses(setup, "occurred_at", &bad, "bad_timestamp").await;
    refuses(setup, "updated_at", &bad, "bad_timestamp").await;
    for good in [
        (now + 24 * 3_600 - 120).to_string(),
        now.to_string(),
        format!("{now}123"),
        "2026-01-31T12:00:00.5+01:00".into(),
    ] {
        for call in in_every_form(setup, "updated_at", &good) {
            let verdict: Value = call.header("X-Sent", &good).send().await.expect(200);
            assert!(verdict["receipt_id"].is_string(), "{good}: {verdict}");
        }
    }
}
