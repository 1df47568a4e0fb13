//! Takes secrets out of what is kept in a receipt, and leaves every other byte as it came.
//!
//! A receipt must be replayable, so nothing else is changed; a replay does not verify a signature again, whoever asks for
//! it vouches for the receipt. What cannot be read well enough to find the secrets in it is withheld as a whole.

use serde_json::value::RawValue;

use super::fields::{MediaType, before_currency_entity};
use crate::domain::encoding::lenient_percent_decode;

/// Parameters whose values are never kept; names are compared without case.
const SECRET_NAMES: [&str; 10] = [
    "signature",
    "api_key",
    "apikey",
    "key",
    "token",
    "access_token",
    "secret",
    "security_token",
    "verification_token",
    "secure",
];
/// What stands where a secret was.
const REDACTED: &str = "redacted";
/// What is kept of a body that cannot be searched, or was not read to its end. Nothing takes it for a body: it is no JSON,
/// and as a form its escape is broken, so that a replay is refused too.
pub const WITHHELD: &[u8] = b"withheld: unreadable (%)";

fn is_secret(name: &[u8]) -> bool {
    // `&token=` pasted through HTML arrives as `&amp;token=`.
    let name = name.strip_prefix(b"amp;").unwrap_or(name);
    SECRET_NAMES.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
}

/// A raw query string or form body with the values of secret parameters replaced.
#[must_use]
pub fn redact_query(raw: &[u8]) -> Vec<u8> {
    let segments = raw.split(|byte| *byte == b'&').map(|segment| {
        // The currency that HTML has glued to a pair is a parameter of its own, which a replay needs.
        let pair = before_currency_entity(segment);
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let has_value = name.len() < pair.len();
        if has_value && is_secret(&lenient_percent_decode(name)) {
            [name, b"=", REDACTED.as_bytes(), segment.get(pair.len()..).unwrap_or_default()].concat()
        } else {
            segment.to_vec()
        }
    });
    segments.collect::<Vec<_>>().join(&b'&')
}

/// A body with the values of secret parameters replaced, at any depth of JSON. A body of another kind, or broken
/// JSON, is withheld; neither could be replayed anyway.
#[must_use]
pub fn redact_body(media_type: Option<MediaType>, body: &[u8]) -> Vec<u8> {
    match media_type {
        _ if body.is_empty() => Vec::new(),
        Some(MediaType::Form) => redact_query(body),
        Some(MediaType::Json) => redact_json(body).unwrap_or_else(|| WITHHELD.to_vec()),
        None => WITHHELD.to_vec(),
    }
}

fn redact_json(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut secrets = Vec::new();
    find_secrets(serde_json::from_str(text).ok()?, 0, &mut secrets)?;
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for raw in secrets {
        // `raw` is a part of `text`, so its place is the distance of the two.
        let start = raw.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        redacted.push_str(text.get(copied..start)?);
        redacted.push_str(&format!("\"{REDACTED}\""));
        copied = start.checked_add(raw.len())?;
    }
    redacted.push_str(text.get(copied..)?);
    Some(redacted.into_bytes())
}

/// How deep is searched: as deep as a body may nest.
const MAX_DEPTH: usize = 64;

/// The texts of all secret values in `raw`, in order; `None` when it is too deep or broken.
fn find_secrets<'a>(raw: &'a RawValue, depth: usize, found: &mut Vec<&'a str>) -> Option<()> {
    let text = raw.get();
    if depth > MAX_DEPTH {
        return None;
    }
    if text.starts_with('{') {
        for (name, value) in super::fields::json_entries(text)? {
            if is_secret(name.as_bytes()) {
                found.push(value.get());
            } else {
                find_secrets(value, depth.saturating_add(1), found)?;
            }
        }
    } else if text.starts_with('[') {
        for value in serde_json::from_str::<Vec<&RawValue>>(text).ok()? {
            find_secrets(value, depth.saturating_add(1), found)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(raw: &str) -> String {
        String::from_utf8(redact_query(raw.as_bytes())).unwrap()
    }

    fn json(raw: &str) -> String {
        String::from_utf8(redact_body(Some(MediaType::Json), raw.as_bytes())).unwrap()
    }

    #[test]
    fn queries_lose_their_secrets_and_nothing_else() {
        assert_eq!(query("a=1&&signature=abc&b=%ZZ&signature"), "a=1&&signature=redacted&b=%ZZ&signature");
        assert_eq!(
            query("TOKEN=x=y&%74oken=x&security_token="),
            "TOKEN=redacted&%74oken=redacted&security_token=redacted"
        );
        assert_eq!(query("a=1&amp;token=x"), "a=1&amp;token=redacted");
        assert_eq!(query("tokens=1&monkey=2"), "tokens=1&monkey=2");
        assert_eq!(query("token=x¤cy=EUR&b=1"), "token=redacted¤cy=EUR&b=1");
        assert_eq!(query("a=1&key=x%C2%A4cy=EUR"), "a=1&key=redacted%C2%A4cy=EUR");
        assert_eq!(redact_query(b"a=\xff&key=\xff"), b"a=\xff&key=redacted");
        assert_eq!(redact_body(Some(MediaType::Form), b"key=1"), b"key=redacted");
    }

    #[test]
    fn json_keeps_its_bytes() {
        let raw = "{ \"amount\" : 10.10,\n\"token\":\"x\\\"y\", \"sub\": {\"Secret\": {\"a\": [1]}, \"k\": \"token\"}, \"l\": [{\"key\":1}] }";
        let expected = "{ \"amount\" : 10.10,\n\"token\":\"redacted\", \"sub\": {\"Secret\": \"redacted\", \"k\": \"token\"}, \"l\": [{\"key\":\"redacted\"}] }";
        assert_eq!(json(raw), expected);
        assert_eq!(json(r#"{"\u0074oken": 1, "token": 2}"#), r#"{"\u0074oken": "redacted", "token": "redacted"}"#);
    }

    #[test]
    fn what_cannot_be_searched_is_withheld() {
        for broken in [r#"{"token": "abc""#, "{'token': 'abc'}", "token=abc", &"[".repeat(100_000)] {
            assert_eq!(json(broken).as_bytes(), WITHHELD);
        }
        let deep = format!("{}{{\"token\":1}}{}", "[".repeat(70), "]".repeat(70));
        assert_eq!(json(&deep).as_bytes(), WITHHELD);
        assert_eq!(redact_body(None, b"token=abc"), WITHHELD);
        assert_eq!(redact_body(Some(MediaType::Json), b"\xff"), WITHHELD);
        assert_eq!(redact_body(None, b""), b"");
    }

    proptest! {
        #[test]
        fn no_secret_value_stays(value in "[a-z0-9]{12,40}", before in "[a-z=%]{0,9}", after in "[a-z=&%]{0,9}") {
            let redacted = query(&format!("{before}&api_key={value}&{after}"));
            prop_assert!(!redacted.contains(&value));
        }
    }
}
