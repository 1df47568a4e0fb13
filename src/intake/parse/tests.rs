//! The rows of RELIABILITY section 5 that are about values.

use proptest::prelude::*;

use super::super::fields::{Field, read_json_object};
use super::*;

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-31T12:00:00Z").unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| Field { name: (*name).into(), value: (*value).into() };
    Fields { list: pairs.iter().map(field).collect(), warnings: Vec::new() }
}

fn parse_with(pairs: &[(&str, &str)], permissions: Permissions) -> Result<Parsed, Rejection> {
    parse(&fields(pairs), &Mapping::canonical(), permissions, now())
}

fn refusal(name: &str, value: &str) -> Code {
    let pairs = [("click_id", "c1"), (name, value)];
    let pairs = if name == "click_id" { &pairs[1..] } else { &pairs };
    let rejection = parse_with(pairs, Permissions { override_payout: true, ..Permissions::default() }).unwrap_err();
    assert_eq!(rejection.field.as_deref(), Some(name), "{value}");
    let shown = serde_json::to_string(&rejection).unwrap();
    assert!(value.len() < 5 || !shown.contains(value), "no echo: {shown}");
    rejection.code
}

fn accepted(name: &str, value: &str) -> Postback {
    let parsed = parse_with(
        &[("event_id", "e1"), (name, value)],
        Permissions { override_payout: true, ..Permissions::default() },
    )
    .unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.postback
}

#[test]
fn everything_canonical() {
    let body = br#"{"click_id":"c1","event_id":"e1","goal":"sale","amount":12.50,"currency":"EUR","payout":"3",
        "status":"approved","customer_id":"p1","occurred_at":"2026-01-31T10:00:00+01:00","coupon":"X","reason":"ok",
        "test":true,"version":2,"updated_at":1769850000,"original_event_id":"e0","sub1":"a","sub":{"b":"c"}}"#;
    let fields = read_json_object(body).unwrap();
    let parsed =
        parse(&fields, &Mapping::canonical(), Permissions { override_payout: true, ..Permissions::default() }, now())
            .unwrap();
    assert_eq!(parsed.warnings, []);
    let expected = serde_json::json!({
        "click_id": "c1", "event_id": "e1", "goal": "sale", "amount": "12.5", "currency": "EUR", "payout": "3",
        "status": "approved", "customer_id": "p1", "occurred_at": "2026-01-31T09:00:00.000000Z", "coupon": "X",
        "reason": "ok", "test": true, "version": 2, "updated_at": "2026-01-31T09:00:00.000000Z",
        "original_event_id": "e0", "subs": {"sub1": "a", "sub.b": "c"}
    });
    assert_eq!(serde_json::to_value(&parsed.postback).unwrap(), expected);
}

#[test]
fn ids() {
    for name in ["click_id", "event_id", "goal", "customer_id", "original_event_id"] {
        assert_eq!(refusal(name, ""), Code::IdFormat);
        assert_eq!(refusal(name, &"x".repeat(256)), Code::IdFormat);
    }
    assert_eq!(refusal("coupon", &"x".repeat(256)), Code::IdFormat);
    assert_eq!(accepted("coupon", "").coupon, None);
    assert_eq!(accepted("click_id", &"ü".repeat(255)).click_id.unwrap().as_str(), "ü".repeat(255));
}

#[test]
fn amounts() {
    for bad in
        ["NaN", "1e3", "+5", " 5", "1,000", "１２", "0x10", "1.0000001", "100000000001", "", "-5", "true", "1e999"]
    {
        assert_eq!(refusal("amount", bad), Code::BadAmount, "{bad}");
        assert_eq!(refusal("payout", bad), Code::BadAmount, "{bad}");
    }
    assert_eq!(accepted("amount", "0").amount, Some(Amount::ZERO));
    let negative = parse_with(&[("click_id", "c1"), ("amount", "-5")], Permissions::default()).unwrap_err();
    assert!(negative.detail.unwrap().contains("reversed"), "says how to refund");
    let may = Permissions { negative_amount: true, ..Permissions::default() };
    let refund = parse_with(&[("click_id", "c1"), ("amount", "-5")], may).unwrap().postback;
    assert_eq!(refund.amount, Some("-5".parse().unwrap()));
    let payout = Permissions { override_payout: true, ..may };
    let payout = parse_with(&[("click_id", "c1"), ("payout", "-5")], payout).unwrap_err();
    assert_eq!(payout.code, Code::BadAmount, "a payout is never negative");
}

#[test]
fn payouts_need_the_permission() {
    let pairs = [("click_id", "c1"), ("payout", "5")];
    let rejection = parse_with(&pairs, Permissions::default()).unwrap_err();
    assert_eq!((rejection.code, rejection.field.as_deref()), (Code::OverrideNotPermitted, Some("payout")));
    assert!(
        parse_with(&pairs, Permissions { override_payout: true, ..Permissions::default() })
            .unwrap()
            .postback
            .payout
            .is_some()
    );
}

#[test]
fn currencies_and_statuses() {
    for bad in ["eur", "ZZZ", "", "€", "EUR "] {
        assert_eq!(refusal("currency", bad), Code::BadCurrency, "{bad}");
    }
    for bad in ["", "Approved", "1", "declined"] {
        assert_eq!(refusal("status", bad), Code::BadStatus, "{bad}");
    }
    for status in ConversionStatus::ALL {
        assert_eq!(accepted("status", status.as_str()).status, Some(status));
    }
}

#[test]
fn times() {
    for name in ["occurred_at", "updated_at"] {
        for bad in [
            "2026-01-31T12:00:00",
            "2026-01-31",
            "2026-02-01T12:00:01Z",
            "1769947201",
            "176994720",
            "17699472000",
            "9999999999999",
            "-176985000",
            "2026-01-31T12:00:00 02:00",
            "yesterday",
            "",
        ] {
            assert_eq!(refusal(name, bad), Code::BadTimestamp, "{bad}");
        }
    }
    assert_eq!(accepted("occurred_at", "1769947200").occurred_at, Some(now().plus(MAX_AHEAD)), "just so");
    let millis = accepted("occurred_at", "1769860800123").occurred_at.unwrap();
    assert_eq!(millis.to_string(), "2026-01-31T12:00:00.123000Z");
}

#[test]
fn tests_and_versions() {
    for (text, expected) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(accepted("test", text).test, expected);
    }
    for bad in ["", "yes", "TRUE", "2"] {
        assert_eq!(refusal("test", bad), Code::Malformed, "{bad}");
    }
    assert_eq!(accepted("version", "9223372036854775807").version, Some(i64::MAX));
    for bad in ["", "-1", "+1", "1.0", "9223372036854775808"] {
        assert_eq!(refusal("version", bad), Code::Malformed, "{bad}");
    }
}

#[test]
fn free_fields() {
    let postback = parse_with(
        &[("click_id", "c"), ("sub1", "a"), ("sub30", "b"), ("sub.x", "c"), ("sub2", "")],
        Permissions::default(),
    );
    let names: Vec<_> = postback.unwrap().postback.subs.into_keys().collect();
    assert_eq!(names, ["sub.x", "sub1", "sub30"]);
    assert_eq!(refusal("sub1", &"x".repeat(1025)), Code::Malformed);
    assert_eq!(refusal("reason", &"x".repeat(1025)), Code::Malformed);
    let names: Vec<String> = (0..51).map(|number| format!("sub.{number}")).collect();
    let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    pairs.push(("click_id", "c"));
    assert_eq!(parse_with(&pairs, Permissions::default()).unwrap_err().code, Code::Malformed);
    pairs.remove(0);
    assert_eq!(parse_with(&pairs, Permissions::default()).unwrap().postback.subs.len(), 50);
}

#[test]
fn unknown_fields_are_taken_with_a_warning() {
    let odd = ["sub0", "sub31", "sub01", "sub+1", "sub.", "subs", "Click_id", "<b>"];
    let mut pairs: Vec<(&str, &str)> = odd.iter().map(|name| (*name, "x")).collect();
    pairs.push(("click_id", "c"));
    let parsed = parse_with(&pairs, Permissions::default()).unwrap();
    assert_eq!(parsed.postback, Postback { click_id: Some("c".parse().unwrap()), ..Postback::default() });
    let named: Vec<_> = parsed.warnings.iter().map(|warning| warning.field.as_deref()).collect();
    let plain = ["sub0", "sub31", "sub01", "sub.", "subs", "Click_id"];
    assert!(plain.iter().all(|name| named.contains(&Some(name))), "{named:?}");
    assert_eq!(named.iter().filter(|name| name.is_none()).count(), 2, "odd names are not shown");

    let names: Vec<String> = (0..100).map(|number| format!("x{number}")).collect();
    let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    pairs.push(("click_id", "c"));
    assert_eq!(parse_with(&pairs, Permissions::default()).unwrap().warnings.len(), MAX_WARNINGS);
}

#[test]
fn something_must_be_named() {
    let rejection = parse_with(&[("goal", "sale"), ("amount", "5")], Permissions::default()).unwrap_err();
    assert_eq!((rejection.code, rejection.field.as_deref()), (Code::MissingField, Some("click_id")));
    for name in ["click_id", "customer_id", "event_id", "original_event_id"] {
        assert!(parse_with(&[(name, "x")], Permissions::default()).is_ok(), "{name}");
    }
}

#[test]
fn a_mapping_is_data() {
    let mut mapping = Mapping::canonical();
    mapping.roles.insert(Role::ClickId, vec!["clickid".into(), "cid".into()]);
    mapping.statuses = [("1".to_owned(), ConversionStatus::Approved)].into();
    let json = serde_json::to_string(&mapping).unwrap();
    assert_eq!(serde_json::from_str::<Mapping>(&json).unwrap(), mapping);
    let parsed = |pairs| parse(&fields(pairs), &mapping, Permissions::default(), now());
    let postback = parsed(&[("clickid", ""), ("cid", "c2"), ("status", "1")]).unwrap().postback;
    assert_eq!(postback.click_id.unwrap().as_str(), "c2", "the first that is not empty");
    assert_eq!(postback.status, Some(ConversionStatus::Approved));
    let empty = parsed(&[("cid", ""), ("clickid", "")]).unwrap_err();
    assert_eq!((empty.code, empty.field.as_deref()), (Code::IdFormat, Some("clickid")));
    assert_eq!(parsed(&[("goal", "x")]).unwrap_err().field.as_deref(), Some("clickid"));
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_it_takes_can_be_stored(
        pairs in proptest::collection::vec((proptest::sample::select(Role::ALL.to_vec()), "\\PC{0,12}|[0-9.]{1,14}|true"), 0..8)
    ) {
        let unique: BTreeMap<_, _> = pairs.into_iter().collect();
        let pairs: Vec<(&str, &str)> = unique.iter().map(|(role, value)| (role.as_str(), value.as_str())).collect();
        if let Ok(parsed) = parse_with(&pairs, Permissions { override_payout: true, ..Permissions::default() }) {
            let json = serde_json::to_string(&parsed.postback).unwrap();
            prop_assert_eq!(serde_json::from_str::<Postback>(&json).unwrap(), parsed.postback);
        }
    }
}
