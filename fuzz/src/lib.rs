//! The rooms of the service that read what strangers send, compiled without the rest: they are pure, so what is fuzzed
//! is built in a minute and every branch that the fuzzer sees is one of ours.
//!
//! Each target asks more than "does it panic": what is taken must mean the same when it is written anew, and what must
//! be refused must be.

#![warn(missing_docs)]

// Links to the service's own sources.
pub mod delivery;
pub mod domain;
pub mod intake;

use domain::request::{Headers, RawRequest};
use domain::time::Timestamp;
use domain::verdict::Rejection;
use intake::fields::{Fields, read};

/// What every target takes for now: 2026-01-01T00:00:00Z.
pub const NOW_SECONDS: i64 = 1_767_225_600;

/// The same as a [`Timestamp`].
pub fn now() -> Timestamp {
    Timestamp::from_micros(NOW_SECONDS * 1_000_000)
}

/// Reads a GET with this query.
pub fn get(raw_query: &[u8]) -> Result<Fields, Rejection> {
    read(&RawRequest { method: "GET", raw_query, headers: Headers(&[]), body: b"" })
}

/// Reads a POST with this query and body.
pub fn post(media_type: &str, raw_query: &[u8], body: &[u8]) -> Result<Fields, Rejection> {
    let headers = [("content-type", media_type.as_bytes())];
    read(&RawRequest { method: "POST", raw_query, headers: Headers(&headers), body })
}

/// Every byte as an escape.
pub fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What was taken, written anew as a query.
pub fn as_query(fields: &Fields) -> String {
    let pairs: Vec<String> =
        fields.list.iter().map(|field| format!("{}={}", percent(&field.name), percent(&field.value))).collect();
    pairs.join("&")
}

/// What was taken holds no control character and no name twice, and means the same when it is written anew in any form.
pub fn check_fields(fields: &Fields) {
    for field in &fields.list {
        assert!(!field.name.is_empty());
        assert!(!field.name.chars().chain(field.value.chars()).any(char::is_control));
        assert_eq!(fields.list.iter().filter(|other| other.name == field.name).count(), 1);
    }
    let query = as_query(fields);
    assert_eq!(get(query.as_bytes()).as_ref().map(|again| &again.list), Ok(&fields.list));
    let form = post("application/x-www-form-urlencoded", b"", query.as_bytes());
    assert_eq!(form.as_ref().map(|again| &again.list), Ok(&fields.list));
    let object: serde_json::Map<String, serde_json::Value> =
        fields.list.iter().map(|field| (field.name.clone(), field.value.clone().into())).collect();
    let mut sorted = fields.list.clone();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let json = post("application/json", b"", serde_json::Value::Object(object).to_string().as_bytes());
    assert_eq!(json.map(|again| again.list), Ok(sorted));
}

/// A refusal has a status of the catalogue and repeats no value.
pub fn check_refusal(rejection: &Rejection) {
    assert!((400..=422).contains(&rejection.code.http_status()));
    assert!(rejection.field.as_deref().is_none_or(|name| name.len() <= 64 && name.is_ascii()));
}
