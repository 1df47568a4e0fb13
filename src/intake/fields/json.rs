//! A JSON object: scalars, and one level of free fields as `"sub": {"name": "value"}`.
//!
//! Numbers are kept as they were written, so that an amount never passes through a float. Every object at every depth
//! is checked for a key twice, since two readers of such a document would disagree about what it says.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Field, macros, refuse_control_characters, refuse_duplicates};
use crate::domain::verdict::{Code, Rejection};

/// How deep objects and arrays may nest.
const MAX_DEPTH: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The key whose object holds free fields.
const SUB: &str = "sub";

/// Reads the fields in order; `null` is a field that was not sent.
pub(super) fn read(body: &[u8]) -> Result<Vec<Field>, Rejection> {
    if body.starts_with(BYTE_ORDER_MARK) {
        return Err(Rejection::new(Code::Malformed).because("The JSON begins with a byte order mark."));
    }
    let text = std::str::from_utf8(body).map_err(|_| Code::Encoding)?;
    refuse_depth_and_control(text)?;
    let entries = Entries::of(text)?;
    refuse_nested_duplicates(text)?;
    let mut fields = Vec::with_capacity(entries.0.len());
    for (name, raw) in entries.0 {
        if name == SUB && raw.get().starts_with('{') {
            for (sub_name, raw) in Entries::of(raw.get())?.0 {
                push_scalar(&mut fields, format!("{SUB}.{sub_name}"), raw)?;
            }
        } else {
            push_scalar(&mut fields, name, raw)?;
        }
    }
    Ok(fields)
}

/// The keys and unread values of one object, in order, repeated keys included.
pub(super) struct Entries<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Entries<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, Rejection> {
        serde_json::from_str(text)
            .map_err(|_| Rejection::new(Code::Malformed).because("The body is not one well-formed JSON object."))
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Refuses nesting over the limit, before anything recurses over it, and raw control characters in strings.
fn refuse_depth_and_control(text: &str) -> Result<(), Rejection> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            0..=0x1f if in_string => return Err(Code::Character.into()),
            b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Rejection::new(Code::Malformed).because("The JSON nests deeper than 64 levels."));
        }
    }
    Ok(())
}

/// Refuses an object with a key twice, here or anywhere inside. The depth is bounded by then.
fn refuse_nested_duplicates(text: &str) -> Result<(), Rejection> {
    let inner: Vec<&RawValue> = if text.trim_start().starts_with('{') {
        let entries = Entries::of(text)?;
        refuse_duplicates(entries.0.iter().map(|(name, _)| name.as_str()))?;
        entries.0.into_iter().map(|(_, raw)| raw).collect()
    } else if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| Code::Malformed)?
    } else {
        return Ok(());
    };
    inner.into_iter().try_for_each(|raw| refuse_nested_duplicates(raw.get()))
}

fn push_scalar(fields: &mut Vec<Field>, name: String, raw: &RawValue) -> Result<(), Rejection> {
    let literal = raw.get();
    let value = match literal.bytes().next() {
        Some(b'n') => return Ok(()),
        Some(b'"') => serde_json::from_str(literal).map_err(|_| Rejection::of_field(Code::Malformed, &name))?,
        Some(b'{' | b'[') => {
            return Err(Rejection::of_field(Code::Malformed, &name).because("Values are texts, numbers or booleans."));
        }
        _ => literal.to_owned(),
    };
    if name.is_empty() {
        return Err(Rejection::new(Code::Malformed).because("A parameter has no name."));
    }
    refuse_control_characters(&name, &value)?;
    if macros::is_unexpanded(&value) {
        return Err(Rejection::of_field(Code::UnexpandedMacro, &name));
    }
    fields.push(Field { name, value });
    Ok(())
}
