//! Finds placeholders that the sending system did not replace: `{clickid}`, `#reqid#`, `[ORDER_ID]`,
//! `%TRANSACTION_ID%`, `<order>`, `${x}`, `{{x}}`, `REPLACE` (DOMAIN 2.2).
//!
//! Booking one would be worse than refusing it: every event would have the same id, and all but the first would be
//! taken for duplicates. Braces, and capitals in brackets, are found anywhere in a value; the other forms, which also
//! occur in honest text, only as the whole of it.

use uuid::Uuid;

/// The longest name of a macro.
const MAX_NAME_CHARS: usize = 64;
/// The shortest name in brackets inside a longer value.
const MIN_CAPITALS_NAME_CHARS: usize = 3;
/// The shortest name between percent signs inside a longer value; two characters may be half an escape.
const MIN_PERCENT_NAME_CHARS: usize = 3;

/// Whether `value` is a placeholder or has one in it.
pub(super) fn is_unexpanded(value: &str) -> bool {
    value == "REPLACE"
        || [('#', '#'), ('[', ']'), ('<', '>'), ('%', '%')].iter().any(|(open, close)| {
            value.strip_prefix(*open).and_then(|rest| rest.strip_suffix(*close)).is_some_and(is_spaced_name)
        })
        || has_enclosed(value, '{', '}', |inner| is_name(inner) && Uuid::try_parse(inner).is_err())
        || has_enclosed(value, '[', ']', |inner| {
            inner.len() >= MIN_CAPITALS_NAME_CHARS
                && is_name(inner)
                && !inner.bytes().any(|byte| byte.is_ascii_lowercase())
        })
}

/// Whether there is `%NAME%` in a raw value that is not valid percent-encoding.
pub(super) fn has_percent_macro(raw: &str) -> bool {
    has_enclosed(raw, '%', '%', |inner| is_name(inner) && inner.len() >= MIN_PERCENT_NAME_CHARS)
}

/// Whether anything between an `open` and the next `close` is as `wanted`.
fn has_enclosed(value: &str, open: char, close: char, wanted: impl Fn(&str) -> bool) -> bool {
    value.match_indices(open).any(|(at, _)| {
        let rest = value.get(at..).and_then(|rest| rest.strip_prefix(open)).unwrap_or_default();
        rest.split_once(close).is_some_and(|(inner, _)| wanted(inner))
    })
}

/// A name as macros have them: it begins with a letter or an underscore.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    begins && text.len() <= MAX_NAME_CHARS && text.bytes().all(inner)
}

/// The same with single words between spaces: `<your click id>`.
fn is_spaced_name(text: &str) -> bool {
    is_name(&text.replace([' ', '+'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found() {
        for found in [
            "{clickid}",
            "order-{order_id}",
            "${click_id}",
            "{{click.id}}",
            "#reqid#",
            "[ORDER_ID]",
            "x-[ORDER_ID]",
            "[order_id]",
            "%TRANSACTION_ID%",
            "%id%",
            "<order>",
            "<your click id>",
            "REPLACE",
        ] {
            assert!(is_unexpanded(found), "{found}");
        }
        assert!(has_percent_macro("a%TRANSACTION_ID%b"));
    }

    #[test]
    fn honest_values_are_not() {
        for honest in [
            "",
            "abc",
            "{}",
            "{0}",
            "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
            "{A0000000-4f89-11d3-9a0c-0305e82c3301}",
            "[{\"t\":\"10\",\"cc\":\"5\"}]",
            "order #12 of #13",
            "#12345",
            "items[a]",
            "a < b > c",
            "REPLACEMENT",
            "100%",
            "ü%",
        ] {
            assert!(!is_unexpanded(honest), "{honest}");
        }
        assert!(!has_percent_macro("%C3%BC"));
        assert!(!has_percent_macro("%ZZ%"));
    }
}
