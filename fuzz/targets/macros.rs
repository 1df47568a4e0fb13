//! Macro postbacks: a template, then what stands for its macros, NUL between them. Whatever the values are, the call goes
//! where the template leads, in as many parts as it has, and each value can be read back from it.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use postback_fuzz::NOW_SECONDS;
use postback_fuzz::delivery::egress::{EgressPolicy, TargetUrl, UrlError};
use postback_fuzz::domain::encoding::lenient_percent_decode;
use postback_fuzz::domain::macros::Template;
use serde_json::{Map, Value, json};

/// The macros, each with the field of a message about a commission that stands for it.
const FIELDS: [(&str, &str); 11] = [
    ("click_id", "click_id"),
    ("conversion_id", "conversion_id"),
    ("event_id", "event_id"),
    ("goal", "goal"),
    ("status", "conversion_status"),
    ("amount", "conversion_amount"),
    ("payout", "amount"),
    ("currency", "currency"),
    ("program_id", "program_id"),
    ("affiliate_id", "affiliate_id"),
    ("coupon", "coupon"),
];

/// What was written, or the name of a macro.
enum Part<'a> {
    Written(&'a str),
    Macro(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut pieces = text.split('{');
    let mut parts: Vec<Part<'_>> = pieces.next().map(Part::Written).into_iter().collect();
    for piece in pieces {
        let (name, written) = piece.split_once('}').expect("a template closes its braces");
        parts.extend([Part::Macro(name), Part::Written(written)]);
    }
    parts
}

/// What must be read from a part of the call: what was written there and the values, as they are.
fn meant(parts: &[Part<'_>], values: &BTreeMap<String, String>) -> Vec<u8> {
    let bytes = parts.iter().map(|part| match part {
        Part::Written(text) => lenient_percent_decode(text.as_bytes()),
        Part::Macro(name) => values.get(*name).expect("a macro that exists").clone().into_bytes(),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// How often each character stands there that may mean something in a URL.
fn delimiters<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for found in texts.into_iter().flat_map(str::chars) {
        if !found.is_ascii_alphanumeric() && !"-._~%".contains(found) {
            *counts.entry(found).or_default() += 1;
        }
    }
    counts
}

fn path_and_query(text: &str) -> (&str, &str) {
    let behind = &text[text.find("://").map_or(text.len(), |at| at + 3)..];
    let behind = &behind[behind.find(['/', '?', '#']).unwrap_or(behind.len())..];
    let behind = &behind[..behind.find('#').unwrap_or(behind.len())];
    behind.split_at(behind.find('?').unwrap_or(behind.len()))
}

/// The number of parts of the path, and of the query.
fn shape(target: &TargetUrl) -> (usize, usize) {
    let query = target.uri().query().map_or(0, |query| query.split('&').count());
    (target.uri().path().split('/').count(), query)
}

fuzz_target!(|text: &str| {
    let mut texts = text.split('\0');
    let text = texts.next().unwrap_or_default();
    let given: Vec<&str> = texts.collect();
    let mut given = given.iter().cycle();
    let mut next = || given.next().map_or_else(String::new, |value| (*value).to_owned());
    let Ok(template) = Template::parse(text) else { return };

    let (mut values, mut data, mut subs) = (BTreeMap::new(), Map::new(), Map::new());
    for (name, field) in FIELDS {
        let value = next();
        data.insert(field.to_owned(), value.clone().into());
        values.insert(name.to_owned(), value);
    }
    for name in (1..=30).map(|number| format!("sub{number}")) {
        let value = next();
        subs.insert(name.clone(), value.clone().into());
        values.insert(name, value);
    }
    data.insert("conversion_currency".to_owned(), values["currency"].clone().into());
    data.insert("sub_ids".to_owned(), subs.into());
    values.extend([("timestamp".to_owned(), NOW_SECONDS.to_string()), ("test".to_owned(), "0".to_owned())]);
    let message = json!({ "type": "commission.approved", "timestamp": "2026-01-01T00:00:00Z", "data": data });
    let called = template.expand(&message);

    let written = parts(text).into_iter().filter_map(|part| match part {
        Part::Written(text) => Some(text),
        Part::Macro(_) => None,
    });
    assert_eq!(delimiters([called.as_str()]), delimiters(written), "{called}");
    let ((path, query), (called_path, called_query)) = (path_and_query(text), path_and_query(&called));
    for (segment, called) in path.split('/').zip(called_path.split('/')) {
        let (parts, called) = (parts(segment), lenient_percent_decode(called.as_bytes()));
        let meant = meant(&parts, &values);
        let climbs = parts.len() > 1 && matches!(meant.as_slice(), b"." | b"..");
        assert_eq!(called, if climbs { Vec::new() } else { meant }, "{segment}");
    }
    assert_eq!(lenient_percent_decode(called_query.as_bytes()), meant(&parts(query), &values), "{query}");

    let policy = EgressPolicy::default();
    let Ok(sample) = policy.judge_url(&template.sample()) else { return };
    match policy.judge_url(&called) {
        Ok(target) => {
            assert_eq!((target.host(), target.port()), (sample.host(), sample.port()));
            assert_eq!(shape(&target), shape(&sample), "{called}");
        }
        Err(error) => assert!(matches!(error, UrlError::TooLong(_)), "{called}: {error}"),
    }
    // A message that says nothing: every value is missing.
    assert_eq!(policy.judge_url(&template.expand(&Value::Null)).map(|target| shape(&target)), Ok(shape(&sample)));
});
