//! Reads the parameters of a request out of its raw bytes, strictly.
//!
//! The framework's own parsers are not used: they decode broken bytes lossily, so that two ids become one, and let
//! the last of two equal parameters win. Here every parameter is there once, is UTF-8 without control characters,
//! and is no unexpanded macro; else the request is refused. What the parameters mean is for `parse` to say.

mod form;
mod json;
mod macros;

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::domain::request::{Headers, RawRequest};
use crate::domain::verdict::{Code, Rejection, Warning};

/// The most parameters of one request.
const MAX_FIELDS: usize = 256;
/// Parameters that belong to the signature of a query, not to the postback.
const SIGNATURE_PARAMETERS: [&str; 2] = ["ts", "signature"];

/// One parameter, decoded. A JSON number has its literal text, a JSON boolean is `true` or `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, as sent.
    pub name: String,
    /// The value, as sent.
    pub value: String,
}

/// The parameters of one request in the order in which they came; no name twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The parameters.
    pub list: Vec<Field>,
    /// What was odd about them.
    pub warnings: Vec<Warning>,
}

impl Fields {
    /// The value of the parameter `name`, if it was sent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|field| field.name == name).map(|field| field.value.as_str())
    }
}

/// Reads the parameters of a GET from its query, of a POST from its query and its body together.
///
/// # Errors
/// `bad_method`, `unsupported_media_type`, `malformed`, `encoding`, `character`, `duplicate_parameter` or
/// `unexpanded_macro` (RELIABILITY section 5).
pub fn read(request: &RawRequest<'_>) -> Result<Fields, Rejection> {
    let mut warnings = Vec::new();
    let mut list = form::read(request.raw_query, &mut warnings)?;
    match request.method {
        "GET" if request.body.is_empty() => {}
        "GET" => return Err(Rejection::new(Code::Malformed).because("A GET has no body; use POST, or the query.")),
        "POST" => list.extend(read_body(request, &mut warnings)?),
        _ => return Err(Code::BadMethod.into()),
    }
    finish(list, warnings)
}

/// Reads one JSON object, such as a row of a batch.
///
/// # Errors
/// As [`read`].
pub fn read_json_object(object: &[u8]) -> Result<Fields, Rejection> {
    finish(json::read(object)?, Vec::new())
}

/// What of a segment between two `&` is a pair; the rest is a currency that HTML has glued to it.
pub(super) fn before_currency_entity(segment: &[u8]) -> &[u8] {
    form::split_currency_entity(segment).0
}

/// The keys and unread values of a JSON object, in order, repeated keys included; `None` if it is none.
pub(super) fn json_entries(object: &str) -> Option<Vec<(String, &RawValue)>> {
    json::Entries::of(object).ok().map(|entries| entries.0)
}

fn finish(mut list: Vec<Field>, warnings: Vec<Warning>) -> Result<Fields, Rejection> {
    if list.len() > MAX_FIELDS {
        return Err(Rejection::new(Code::Malformed).because("A request has at most 256 parameters."));
    }
    refuse_duplicates(list.iter().map(|field| field.name.as_str()))?;
    list.retain(|field| !SIGNATURE_PARAMETERS.contains(&field.name.as_str()));
    Ok(Fields { list, warnings })
}

fn read_body(request: &RawRequest<'_>, warnings: &mut Vec<Warning>) -> Result<Vec<Field>, Rejection> {
    match media_type(request.headers)? {
        None if request.body.is_empty() => Ok(Vec::new()),
        None => Err(Code::UnsupportedMediaType.into()),
        Some(MediaType::Json) => json::read(request.body),
        Some(MediaType::Form) => form::read(request.body, warnings),
    }
}

/// The kinds of body that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// What `Content-Type` announces; `None` without the header.
///
/// # Errors
/// `unsupported_media_type` for any other type, two headers, or a character set that is not UTF-8.
pub fn media_type(headers: Headers<'_>) -> Result<Option<MediaType>, Rejection> {
    let unsupported = Rejection::from(Code::UnsupportedMediaType);
    let Some(value) = headers.single("content-type").map_err(|_| unsupported.clone())? else { return Ok(None) };
    let mut parts = value.split(';').map(str::trim);
    let media_type = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/json" => MediaType::Json,
        "application/x-www-form-urlencoded" => MediaType::Form,
        _ => return Err(unsupported),
    };
    let is_utf8 = |part: &str| {
        let (name, charset) = part.split_once('=').unwrap_or((part, ""));
        name.eq_ignore_ascii_case("charset") && charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    if parts.all(|part| part.is_empty() || is_utf8(part)) { Ok(Some(media_type)) } else { Err(unsupported) }
}

/// Refuses a name that comes twice.
fn refuse_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Rejection> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Rejection::of_field(Code::DuplicateParameter, name));
        }
    }
    Ok(())
}

/// Refuses a control character in a name or a value.
fn refuse_control_characters(name: &str, value: &str) -> Result<(), Rejection> {
    if name.chars().chain(value.chars()).any(char::is_control) {
        return Err(Rejection::of_field(Code::Character, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
