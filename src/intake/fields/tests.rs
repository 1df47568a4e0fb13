//! The rows of RELIABILITY section 5 that are about reading, for queries, forms and JSON.

use proptest::prelude::*;

use super::*;
use crate::domain::verdict::WarningCode;

fn get(query: &[u8]) -> Result<Fields, Rejection> {
    read(&RawRequest { method: "GET", raw_query: query, headers: Headers(&[]), body: b"" })
}

fn post(content_type: &str, query: &str, body: &[u8]) -> Result<Fields, Rejection> {
    let headers = [("Content-Type", content_type.as_bytes())];
    read(&RawRequest { method: "POST", raw_query: query.as_bytes(), headers: Headers(&headers), body })
}

fn json(body: &str) -> Result<Fields, Rejection> {
    post("application/json", "", body.as_bytes())
}

fn pairs(fields: &Fields) -> Vec<(&str, &str)> {
    fields.list.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect()
}

fn refusal(result: Result<Fields, Rejection>) -> (Code, Option<String>) {
    let rejection = result.unwrap_err();
    (rejection.code, rejection.field)
}

fn named(code: Code, field: &str) -> (Code, Option<String>) {
    (code, Some(field.to_owned()))
}

#[test]
fn a_query_is_read_in_order() {
    let fields =
        get(b"click_id=c1&goal=first+deposit&&reason=50%25%2B&coupon=&sub1=%C3%BC&flag&ts=1&signature=ab").unwrap();
    let expected = [
        ("click_id", "c1"),
        ("goal", "first deposit"),
        ("reason", "50%+"),
        ("coupon", ""),
        ("sub1", "ü"),
        ("flag", ""),
    ];
    assert_eq!(pairs(&fields), expected);
    assert_eq!(fields.warnings, []);
    assert_eq!(fields.value("goal"), Some("first deposit"));
}

#[test]
fn broken_encoding() {
    for bad in ["%FF", "%C0%AF", "%ZZ", "%", "a%", "%4", "%ED%A0%80", "5%25%"] {
        assert_eq!(refusal(get(format!("a=1&event_id={bad}").as_bytes())), named(Code::Encoding, "event_id"), "{bad}");
    }
    assert_eq!(refusal(get(b"event_id=\xff")), named(Code::Encoding, "event_id"));
    assert_eq!(refusal(get(b"%FF=1")).0, Code::Encoding);
}

#[test]
fn control_characters() {
    for bad in ["%00", "a%0D%0Ab", "%09", "%7F", "%C2%85"] {
        assert_eq!(refusal(get(format!("event_id={bad}").as_bytes())), named(Code::Character, "event_id"), "{bad}");
    }
    for bad in [r"\u0000", r"a\nb", r"\u007f", "raw\nline", "raw\0"] {
        assert_eq!(refusal(json(&format!(r#"{{"event_id": "{bad}"}}"#))).0, Code::Character, "{bad:?}");
    }
}

#[test]
fn a_parameter_twice() {
    for bad in ["a=1&a=1", "a=1&b=2&%61=3", "ts=1&ts=2", "signature=1&signature=1"] {
        assert_eq!(refusal(get(bad.as_bytes())).0, Code::DuplicateParameter, "{bad}");
    }
    for bad in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"sub":{"a":1,"a":2}}"#,
        r#"{"sub.a":1,"sub":{"a":2}}"#,
        r#"{"other":{"deep":[1,{"a":1,"a":2}]}}"#,
        r#"{"a":null,"a":1}"#,
    ] {
        assert_eq!(refusal(json(bad)).0, Code::DuplicateParameter, "{bad}");
    }
    assert_eq!(
        refusal(post("application/json", "amount=1", br#"{"amount":1}"#)),
        named(Code::DuplicateParameter, "amount")
    );
}

#[test]
fn unexpanded_macros_name_their_field() {
    let all = [
        "{clickid}",
        "#reqid#",
        "%23reqid%23",
        "[ORDER_ID]",
        "%TRANSACTION_ID%",
        "%AD_ID%",
        "REPLACE",
        "${x}",
        "{{x}}",
        "%3Corder%3E",
        "%7Bclickid%7D",
        "x-{clickid}",
        "x%TRANSACTION_ID%y",
    ];
    for bad in all {
        let result = get(format!("a=1&click_id={bad}&b=2").as_bytes());
        assert_eq!(refusal(result), named(Code::UnexpandedMacro, "click_id"), "{bad}");
    }
    assert_eq!(refusal(json(r#"{"click_id": "{clickid}"}"#)), named(Code::UnexpandedMacro, "click_id"));
    assert!(get(b"sale=%5B%7B%22t%22%3A%2210%22%7D%5D").is_ok(), "JSON in a parameter is no macro");
}

#[test]
fn the_currency_entity_is_understood() {
    let queries: [&[u8]; 5] = [
        "amount=5¤cy=EUR&goal=sale".as_bytes(),
        b"amount=5%C2%A4cy=EUR&goal=sale",
        b"amount=5%c2%a4cy=EUR&goal=sale",
        b"amount=5&%C2%A4cy=EUR&goal=sale",
        "¤cy=EUR&amount=5&goal=sale".as_bytes(),
    ];
    for query in queries {
        let fields = get(query).unwrap();
        assert_eq!((fields.value("currency"), fields.value("amount")), (Some("EUR"), Some("5")));
        assert_eq!(fields.list.len(), 3);
        assert_eq!(fields.warnings, [Warning::of_field(WarningCode::CurrencyEntity, "currency")]);
    }
    assert_eq!(refusal(get("currency=EUR¤cy=USD".as_bytes())), named(Code::DuplicateParameter, "currency"));
}

#[test]
fn json_scalars_keep_their_literal_text() {
    let fields = json(
        r#" {"amount": 10.10, "version": 12345678901234567890, "test": true, "coupon": null, "big": 1e999,
        "goal": "\u00fc\"", "sub": {"a": "b", "n": 0.10, "gone": null}} "#,
    );
    let expected = [
        ("amount", "10.10"),
        ("version", "12345678901234567890"),
        ("test", "true"),
        ("big", "1e999"),
        ("goal", "ü\""),
        ("sub.a", "b"),
        ("sub.n", "0.10"),
    ];
    assert_eq!(pairs(&fields.unwrap()), expected);
    let brackets = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(65));
    assert!(json(&brackets).is_ok(), "brackets in a text do not nest, nor after an escaped quote");
    assert_eq!(pairs(&read_json_object(br#"{"a":"b"}"#).unwrap()), [("a", "b")]);
}

#[test]
fn broken_json() {
    let deep = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    for bad in [
        "",
        "{",
        "[]",
        "1",
        "null",
        r#""a""#,
        r#"{"a":1}x"#,
        r#"{"a":1}{"b":2}"#,
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":NaN}"#,
        r#"{'a':1}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        r#"{"sub":{"a":{"b":1}}}"#,
        r#"{"":1}"#,
        "\u{feff}{}",
        &deep(64),
        &deep(200_000),
    ] {
        assert_eq!(refusal(json(bad)).0, Code::Malformed, "{}", &bad.chars().take(40).collect::<String>());
    }
    assert_eq!(refusal(json(r#"{"a":1,"b":{"c":1}}"#)), named(Code::Malformed, "b"));
    assert_eq!(refusal(post("application/json", "", b"{\"a\":\"\xff\"}")).0, Code::Encoding);
    assert_eq!(refusal(get(b"=1")).0, Code::Malformed);
    let many: Vec<String> = (0..257).map(|number| format!("p{number}=1")).collect();
    assert_eq!(refusal(get(many.join("&").as_bytes())).0, Code::Malformed);
}

#[test]
fn media_types_and_methods() {
    for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert!(post(good, "", b"{}").is_ok(), "{good}");
    }
    let form = post("application/x-www-form-urlencoded", "goal=sale", b"click_id=c1&amount=1+2").unwrap();
    assert_eq!(pairs(&form), [("goal", "sale"), ("click_id", "c1"), ("amount", "1 2")]);
    for bad in ["text/plain", "", "application/json; charset=latin1", "application/json; x=1", "multipart/form-data"] {
        assert_eq!(refusal(post(bad, "", b"{}")).0, Code::UnsupportedMediaType, "{bad}");
    }
    let bare = RawRequest { method: "POST", raw_query: b"click_id=c1", headers: Headers(&[]), body: b"" };
    assert_eq!(pairs(&read(&bare).unwrap()), [("click_id", "c1")], "a POST may carry all in its query");
    assert_eq!(refusal(read(&RawRequest { body: b"{}", ..bare })).0, Code::UnsupportedMediaType);
    assert_eq!(refusal(read(&RawRequest { method: "GET", body: b"{}", ..bare })).0, Code::Malformed);
    assert_eq!(refusal(read(&RawRequest { method: "PUT", ..bare })).0, Code::BadMethod);
    let twice: [(&str, &[u8]); 2] = [("content-type", b"application/json"), ("content-type", b"text/plain")];
    let two = RawRequest { headers: Headers(&twice), body: b"{}", ..bare };
    assert_eq!(refusal(read(&two)).0, Code::UnsupportedMediaType);
}

#[test]
fn refusals_do_not_echo_values_or_odd_names() {
    for query in ["<script>=x%FF", "<script>=1&<script>=2", "a=hunter2%FF"] {
        let shown = serde_json::to_string(&get(query.as_bytes()).unwrap_err()).unwrap();
        assert!(!shown.contains("script") && !shown.contains("hunter2"), "{shown}");
    }
}

/// Encodes every byte, so that nothing depends on what is safe.
fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn percent_encoding_round_trips(value in "\\PC{0,40}") {
        prop_assume!(!value.chars().any(char::is_control) && !macros::is_unexpanded(&value));
        let fields = get(format!("name={}", percent_encode(&value)).as_bytes()).unwrap();
        prop_assert_eq!(fields.value("name"), Some(value.as_str()));
    }

    #[test]
    fn json_text_round_trips(value in "\\PC{0,40}") {
        prop_assume!(!value.chars().any(char::is_control) && !macros::is_unexpanded(&value));
        let fields = json(&serde_json::json!({ "name": value }).to_string()).unwrap();
        prop_assert_eq!(fields.value("name"), Some(value.as_str()));
    }

    /// Two senders' ids stay two: what is taken has exactly the bytes that were sent, in every form.
    #[test]
    fn an_id_keeps_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
        let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!("click_id={encoded}");
        for fields in [get(query.as_bytes()), post("application/x-www-form-urlencoded", "", query.as_bytes())] {
            match fields {
                Ok(fields) => prop_assert_eq!(fields.value("click_id").unwrap().as_bytes(), bytes.as_slice()),
                Err(rejection) => prop_assert!(
                    std::str::from_utf8(&bytes).is_err()
                        || String::from_utf8_lossy(&bytes).chars().any(char::is_control)
                        || rejection.code == Code::UnexpandedMacro
                ),
            }
        }
    }

    /// What is taken means the same when it is written anew, as a query, as a form and as JSON.
    #[test]
    fn what_is_taken_means_the_same_when_written_anew(
        raw in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            r#"[a-c]=[%+0-9a-fA-F]{0,9}(&[a-z.]{1,5}=?[^&\x00-\x1f]{0,9}){0,4}"#.prop_map(String::into_bytes),
        ]
    ) {
        if let Ok(fields) = get(&raw) {
            let pairs: Vec<String> = fields
                .list
                .iter()
                .map(|field| format!("{}={}", percent_encode(&field.name), percent_encode(&field.value)))
                .collect();
            let query = pairs.join("&");
            let object: serde_json::Map<String, serde_json::Value> =
                fields.list.iter().map(|field| (field.name.clone(), field.value.clone().into())).collect();
            prop_assert_eq!(&get(query.as_bytes()).unwrap().list, &fields.list);
            let form = post("application/x-www-form-urlencoded", "", query.as_bytes()).unwrap();
            prop_assert_eq!(&form.list, &fields.list);
            let mut sorted = fields.list.clone();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            let as_json = json(&serde_json::Value::Object(object).to_string()).unwrap();
            prop_assert_eq!(as_json.list, sorted);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let form = post("application/x-www-form-urlencoded", "", &bytes);
        for fields in [get(&bytes), form, post("application/json", "", &bytes)].into_iter().flatten() {
            let clean = |text: &str| !text.chars().any(char::is_control);
            prop_assert!(fields.list.iter().all(|field| clean(&field.name) && clean(&field.value)));
        }
    }

    #[test]
    fn likely_bytes_are_read_or_refused(text in r#"[a=&%{}\[\]"':,+0-9FC\\# ¤cyu]{0,60}"#) {
        for result in [get(text.as_bytes()), json(&text)] {
            if let Err(rejection) = result {
                prop_assert!((400..=422).contains(&rejection.code.http_status()));
            }
        }
    }
}
