use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::super::encoding::lenient_percent_decode;
use super::*;

/// A commission's message with everything in it.
fn commission() -> Value {
    json!({
        "type": "commission.approved",
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "data": {
            "commission_id": "com_1", "conversion_id": "cnv_1", "program_id": "prg_1", "affiliate_id": "aff_1",
            "click_id": "c 1", "event_id": "order/7", "goal": "first deposit", "state": "available",
            "amount": "5.00", "currency": "EUR",
            "conversion_status": "approved", "conversion_amount": "100.00", "conversion_currency": "EUR",
            "coupon": "50%", "sub_ids": { "sub1": "a&b=c", "sub30": "ü" },
        },
    })
}

fn expanded(template: &str, message: &Value) -> String {
    Template::parse(template).unwrap().expand(message)
}

fn value(name: &str, message: &Value) -> String {
    let called = expanded(&format!("https://t.example/?v={{{name}}}"), message);
    let encoded = called.strip_prefix("https://t.example/?v=").unwrap();
    String::from_utf8(lenient_percent_decode(encoded.as_bytes())).unwrap()
}

#[test]
fn every_macro_has_its_value() {
    for (name, expected) in [
        ("click_id", "c 1"),
        ("sub1", "a&b=c"),
        ("sub2", ""),
        ("sub30", "ü"),
        ("conversion_id", "cnv_1"),
        ("event_id", "order/7"),
        ("goal", "first deposit"),
        ("status", "approved"),
        ("amount", "100.00"),
        ("payout", "5.00"),
        ("currency", "EUR"),
        ("program_id", "prg_1"),
        ("affiliate_id", "aff_1"),
        ("timestamp", "1769860800"),
        ("coupon", "50%"),
        ("test", "0"),
    ] {
        assert_eq!(value(name, &commission()), expected, "{name}");
    }
    for (name, _) in NAMED {
        assert_eq!(value(name, &Value::Null), if name == "test" { "0" } else { "" }, "{name} is missing");
    }
}

#[test]
fn amounts_never_stand_beside_the_currency_of_another() {
    let mut message = commission();
    message["data"]["conversion_currency"] = "USD".into();
    assert_eq!((value("amount", &message), value("payout", &message)), (String::new(), "5.00".to_owned()));
    let conversion = json!({
        "type": "conversion.recorded",
        "data": { "conversion_id": "cnv_1", "amount": "100.00", "currency": "USD", "status": "pending" },
        "test": true,
    });
    let of_conversion = |name| value(name, &conversion);
    assert_eq!((of_conversion("amount"), of_conversion("payout")), ("100.00".to_owned(), String::new()));
    assert_eq!((of_conversion("currency"), of_conversion("status")), ("USD".to_owned(), "pending".to_owned()));
    assert_eq!(of_conversion("test"), "1");
    let payout = json!({ "type": "payout.sent", "data": { "amount": "50.00", "currency": "EUR", "state": "sent" } });
    let of_payout = |name| value(name, &payout);
    assert_eq!((of_payout("amount"), of_payout("payout")), (String::new(), "50.00".to_owned()));
    assert_eq!(of_payout("status"), "sent");
}

#[test]
fn values_are_encoded_wherever_they_stand() {
    let template = "https://t.example/{event_id}/in?cid={click_id}&s={sub1}&{sub30}=1#top";
    assert_eq!(expanded(template, &commission()), "https://t.example/order%2F7/in?cid=c%201&s=a%26b%3Dc&%C3%BC=1#top");
    assert_eq!(Template::parse(template).unwrap().sample(), "https://t.example/x/in?cid=x&s=x&x=1#top");
    assert_eq!(expanded("https://t.example", &commission()), "https://t.example");
}

#[test]
fn what_is_no_template_is_refused_with_its_reason() {
    let unknown = |name: &str| TemplateError::Unknown(ShownName(Some(name.to_owned())));
    let hidden = TemplateError::Unknown(ShownName(None));
    for (text, error) in [
        ("https://t.example/?c={clickid}", unknown("clickid")),
        ("https://t.example/?c={CLICK_ID}", unknown("CLICK_ID")),
        ("https://t.example/?c={sub0}", unknown("sub0")),
        ("https://t.example/?c={sub31}", unknown("sub31")),
        ("https://t.example/?c={sub01}", unknown("sub01")),
        ("https://t.example/?c={sub+1}", hidden.clone()),
        ("https://t.example/?c={}", hidden.clone()),
        ("https://t.example/?c={ click_id }", hidden.clone()),
        ("https://t.example/?c={{click_id}}", hidden),
        ("https://t.example/?c={click_id", TemplateError::Brace),
        ("https://t.example/?c=click_id}", TemplateError::Brace),
        ("{sub1}://t.example/", TemplateError::Place),
        ("{sub1}", TemplateError::Place),
        ("https://{sub1}/", TemplateError::Place),
        ("https://{sub1}.t.example/", TemplateError::Place),
        ("https://t.example{sub1}/", TemplateError::Place),
        ("https://t.example:{sub1}/", TemplateError::Place),
        ("https://{sub1}@t.example/", TemplateError::Place),
        ("https:///{sub1}/", TemplateError::Place),
        ("https:{sub1}/", TemplateError::Place),
        ("https://t.example/#{sub1}", TemplateError::Place),
        ("https://t.example/.{sub1}/", TemplateError::Dots),
        ("https://t.example/a/{sub1}%2E?x", TemplateError::Dots),
        ("https://t.example/a/%{sub1}%{sub2}/b", TemplateError::Escape),
        ("https://t.example/a?c=%2{sub1}", TemplateError::Escape),
        ("https://t.example/a?c=%{sub1}6", TemplateError::Escape),
    ] {
        assert_eq!(Template::parse(text), Err(error), "{text}");
    }
    let long = format!("https://t.example/{}", "a".repeat(MAX_TEMPLATE_BYTES));
    assert_eq!(Template::parse(&long), Err(TemplateError::TooLong));
    let sentence = unknown("clickid").to_string();
    assert!(sentence.starts_with("{clickid} is no macro: take {click_id}, {sub1} to {sub30}"), "{sentence}");
}

#[test]
fn dots_climb_no_path() {
    for (value, called) in [("..", "https://t.example/a//b"), (".", "https://t.example/a//b")] {
        let message = json!({ "data": { "sub_ids": { "sub1": value } } });
        assert_eq!(expanded("https://t.example/a/{sub1}/b", &message), called);
        let beside = format!("https://t.example/a/v{value}/b");
        assert_eq!(expanded("https://t.example/a/v{sub1}/b", &message), beside);
    }
}

#[test]
fn a_value_completes_no_escape() {
    let message = json!({ "data": { "sub_ids": { "sub1": "2e" } } });
    assert_eq!(expanded("https://t.example/%25{sub1}%41{sub1}", &message), "https://t.example/%252e%412e");
}

/// Anything that a value could try: delimiters, dots, braces, other planes of Unicode.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[/?#&=%.:@{}\\\\ +a]{0,12}",
        any::<String>(),
        Just("..".to_owned()),
        Just("%2e%2e/%2e%2e".to_owned()),
        Just("@evil.example/".to_owned()),
    ]
}

fn message(values: [&str; 3]) -> Value {
    let [click_id, sub1, goal] = values;
    json!({ "type": "conversion.recorded", "data": { "click_id": click_id, "goal": goal, "sub_ids": { "sub1": sub1 } } })
}

proptest! {
    #[test]
    fn parameters_round_trip_and_none_is_added(click in hostile(), sub in hostile(), goal in hostile()) {
        let template = "https://t.example:8443/in?c={click_id}&fixed=1&s=a{sub1}z&{goal}=g";
        let url = Url::parse(&expanded(template, &message([&click, &sub, &goal]))).unwrap();
        let read: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        prop_assert_eq!(read, [pair("c", &click), pair("fixed", "1"), pair("s", &format!("a{sub}z")), pair(&goal, "g")]);
        prop_assert_eq!(url.fragment(), None);
    }

    #[test]
    fn nothing_changes_where_the_call_goes(click in hostile(), sub in hostile(), goal in hostile()) {
        let template = "https://t.example:8443/{click_id}/in/{sub1}{goal}/v-{goal}?q={sub1}";
        let called = expanded(template, &message([&click, &sub, &goal]));
        let url = Url::parse(&called).unwrap();
        prop_assert_eq!((url.scheme(), url.host_str(), url.port()), ("https", Some("t.example"), Some(8443)));
        prop_assert_eq!((url.username(), url.password()), ("", None));
        let segments: Vec<Vec<u8>> =
            url.path_segments().unwrap().map(|segment| lenient_percent_decode(segment.as_bytes())).collect();
        let kept = |value: String| if matches!(value.as_str(), "." | "..") { Vec::new() } else { value.into_bytes() };
        let expected = [kept(click), b"in".to_vec(), kept(format!("{sub}{goal}")), format!("v-{goal}").into_bytes()];
        prop_assert_eq!(segments, expected);
        prop_assert_eq!(url.as_str(), called, "what is called is what was made");
    }

    #[test]
    fn what_is_taken_for_a_template_leads_to_one_host(text in "https?:[/\\\\]{0,3}[a-z@:.{}]{0,6}[/?#]?(\\{sub1\\}|[a-z./%2e{}?#&=]){0,8}") {
        let Ok(template) = Template::parse(&text) else { return Ok(()) };
        let origin = |url: &str| Url::parse(url).ok().map(|url| {
            (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.username().to_owned())
        });
        let with = |value: &str| origin(&template.expand(&message(["", value, ""])));
        let sample = origin(&template.sample());
        for value in ["", "..", "@evil.example", "//evil.example", ":81", "\\evil"] {
            prop_assert_eq!(with(value), sample.clone(), "{} with {}", text, value);
        }
    }
}
