//! Bodies: read against a deadline, counted byte by byte, and JSON that names the field at fault.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::extract::{context_of, header_pairs};
use super::problem::Problem;
use crate::domain::request::Headers;
use crate::domain::verdict::{Code, Rejection};
use crate::intake::fields::{MediaType, media_type};

/// What one body may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// How long it may be.
    pub max_bytes: usize,
    /// How long it may take to arrive.
    pub deadline: Duration,
}

/// Reads a body.
///
/// # Errors
/// `unsupported_media_type` for a compressed one, `payload_too_large` as soon as that is known, `request_timeout`,
/// `malformed` where it breaks off. What was read by then is dropped.
pub async fn read(request: &HttpRequest, payload: web::Payload, limits: BodyLimits) -> Result<Bytes, Rejection> {
    let encoded = |value: &header::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.headers().get_all(header::CONTENT_ENCODING).any(encoded) {
        return Err(Code::UnsupportedMediaType.into());
    }
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX) > limits.max_bytes) {
        return Err(Code::PayloadTooLarge.into());
    }
    let whole = gather(payload, limits.max_bytes);
    tokio::time::timeout(limits.deadline, whole).await.map_err(|_| Rejection::new(Code::RequestTimeout))?
}

async fn gather(mut payload: web::Payload, max_bytes: usize) -> Result<Bytes, Rejection> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Rejection::new(Code::Malformed).because("The body broke off."))?;
        if whole.len().saturating_add(chunk.len()) > max_bytes {
            return Err(Code::PayloadTooLarge.into());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A JSON body of an administrative request.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload).into_inner());
        Box::pin(async move {
            let payload = payload.map_err(|_| Problem::of(Code::Malformed))?;
            let settings = &context_of(&request)?.parts().settings.server;
            let limits = BodyLimits { max_bytes: settings.max_body.get(), deadline: settings.body_timeout };
            require_json(&request)?;
            let bytes = read(&request, payload, limits).await?;
            Ok(Self(parse(&bytes)?))
        })
    }
}

/// Refuses a body that does not say that it is JSON.
///
/// # Errors
/// `unsupported_media_type`.
pub fn require_json(request: &HttpRequest) -> Result<(), Rejection> {
    match media_type(Headers(&header_pairs(request)))? {
        Some(MediaType::Json) => Ok(()),
        _ => Err(Rejection::new(Code::UnsupportedMediaType).because("Send application/json in UTF-8.")),
    }
}

/// Reads JSON.
///
/// # Errors
/// `malformed` for what is no JSON, `duplicate_parameter`, or `validation` with the field and what was expected.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Rejection> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| refusal(&error))?;
    reader.end().map_err(|_| Rejection::from(Code::Malformed))?;
    Ok(value)
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> Rejection {
    if !error.inner().is_data() {
        return Code::Malformed.into();
    }
    let message = error.inner().to_string();
    // serde writes "missing field `x`" at the object that lacks it.
    let quoted = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let path = error.path().to_string();
    let parent = if path == "." { String::new() } else { format!("{path}.") };
    if let Some(name) = quoted("missing field `") {
        let refused = Rejection::of_field(Code::Validation, &plain(&format!("{parent}{name}")));
        return refused.because("The field is missing.");
    }
    if let Some(name) = quoted("duplicate field `") {
        return Rejection::of_field(Code::DuplicateParameter, &plain(&format!("{parent}{name}")));
    }
    let of_all = Rejection::new(Code::Validation);
    let refused = if path == "." { of_all } else { Rejection::of_field(Code::Validation, &plain(&path)) };
    Rejection { detail: Some(expectation(&message).into()), ..refused }
}

/// `rates[0].amount` as `rates.0.amount`.
fn plain(path: &str) -> String {
    path.replace('[', ".").replace(']', "")
}

/// What was expected, from a message of serde's. What was found is in front of it, and is not repeated.
fn expectation(message: &str) -> String {
    let message = message.rfind(" at line ").and_then(|end| message.get(..end)).unwrap_or(message);
    if message.starts_with("unknown field") {
        return "There is no such field.".to_owned();
    }
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        return format!("Expected {}.", expected.replace('`', ""));
    }
    // What is left are sentences of our own types, which never repeat what they read.
    match ["invalid", "unknown", "missing", "duplicate"].iter().any(|start| message.starts_with(start)) {
        true => "Another form is needed.".to_owned(),
        false => format!("{message}."),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::ids::ProgramId;
    use crate::domain::money::Amount;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by nobody but serde")]
    struct Order {
        program_id: ProgramId,
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by nobody but serde")]
    struct Line {
        amount: Amount,
    }

    fn refused(json: &str) -> (Code, String, String) {
        let rejection = parse::<Order>(json.as_bytes()).unwrap_err();
        (rejection.code, rejection.field.unwrap_or_default(), rejection.detail.unwrap_or_default().into_owned())
    }

    #[test]
    fn the_field_at_fault_is_named_and_nothing_is_repeated() {
        let id = format!("\"prg_{}\"", "0".repeat(32));
        for (json, field, detail) in [
            (r#"{"program_id":"evil","lines":[]}"#.into(), "program_id", "expected an id of the form prg_ followed by"),
            (format!(r#"{{"program_id":{id},"lines":[{{"amount":"evil"}}]}}"#), "lines.0.amount", "an amount is"),
            (format!(r#"{{"program_id":{id},"lines":["evil, expected evil"]}}"#), "lines.0", "Expected struct Line"),
            (format!(r#"{{"program_id":{id}}}"#), "lines", "The field is missing"),
            (format!(r#"{{"program_id":{id},"lines":[],"evil":1}}"#), "evil", "There is no such field"),
        ] {
            let (code, named, said) = refused(&json);
            assert_eq!((code, named.as_str()), (Code::Validation, field), "{json}");
            assert!(said.starts_with(detail), "{said}");
            assert!(!said.contains("evil"), "{said}");
        }
        let twice = format!(r#"{{"program_id":{id},"program_id":{id},"lines":[]}}"#);
        assert_eq!(refused(&twice).0, Code::DuplicateParameter);
        for broken in ["", "{", "[1]x", "\u{feff}{}", "{} {}"] {
            let code = parse::<serde_json::Value>(broken.as_bytes()).unwrap_err().code;
            assert_eq!(code, Code::Malformed, "{broken}");
        }
    }
}
