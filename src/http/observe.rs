//! Around every request: its id, the limits of its head, the shape of errors, one log line, and metrics.
//!
//! A request's id is what the caller sent in `X-Request-Id`, if that is a plain token, else a new one. The log line
//! names the route's pattern, never the path: paths, queries, headers and bodies may hold what nobody should read.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use uuid::Uuid;

use super::connection::Turn;
use super::context::Context;
use super::problem::Problem;
use crate::domain::ids::{KeyId, RequestId};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Code;
use crate::intake::rate::Allowance;

/// The header that carries the id of a request in both directions.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a caller.
const MAX_REQUEST_ID_BYTES: usize = 64;
/// The longest address with its query.
const MAX_URI_BYTES: usize = 8 * 1024;
/// The largest head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most headers.
const MAX_HEADERS: usize = 64;
/// What requests that match no route are counted under.
const UNMATCHED: &str = "unmatched";

/// What is known about a request while it is handled. Handlers add the key.
#[derive(Clone, Debug)]
pub struct Facts(Rc<Known>);

#[derive(Debug)]
struct Known {
    id: RequestId,
    shown: String,
    key_id: Cell<Option<KeyId>>,
    allowance: Cell<Option<Allowance>>,
}

impl Facts {
    fn of(request: &ServiceRequest, now: Timestamp) -> Self {
        let sent = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_token(id));
        // Ours, and those of most proxies, are UUIDs in one spelling or another.
        let hex = |text: &str| Uuid::try_parse(text.strip_prefix("req_").unwrap_or(text)).ok();
        let id = sent.and_then(hex).map_or_else(|| RequestId::new(now), RequestId::from_uuid);
        let shown = sent.map_or_else(|| id.to_string(), str::to_owned);
        Self(Rc::new(Known { id, shown, key_id: Cell::new(None), allowance: Cell::new(None) }))
    }

    /// Those of a request that is being handled.
    #[must_use]
    pub fn get(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// The request's id, as it is stored.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.0.id
    }

    /// Notes whose request it is.
    pub fn set_key(&self, id: KeyId) {
        self.0.key_id.set(Some(id));
    }

    /// Notes what is left of the key's minute.
    pub fn set_allowance(&self, allowance: Allowance) {
        self.0.allowance.set(Some(allowance));
    }
}

/// Whether a caller's id may be shown: letters, digits, `-`, `_` and `.`.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_REQUEST_ID_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

/// The middleware around the whole application.
///
/// # Errors
/// None of ours: handlers' errors are responses by the time they come here.
pub async fn observe(
    context: web::Data<Context>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let facts = Facts::of(&request, context.parts().clock.now());
    request.extensions_mut().insert(facts.clone());
    let turn = request.conn_data::<Turn>().cloned();
    turn.iter().for_each(Turn::begin);
    let answered = match judge_head(&request) {
        Err(problem) => request.into_response(problem.respond(&facts.0.shown)),
        Ok(()) => shaped(next.call(request).await?.map_into_boxed_body(), &facts),
    };
    let answered = with_headers(answered, &facts);
    report(&answered, &facts, &context, begun);
    // What was refused may have been refused before its body was read.
    let unread =
        answered.status().as_u16() >= 400 && answered.request().headers().contains_key(header::TRANSFER_ENCODING);
    turn.iter().for_each(|turn| turn.end(unread));
    Ok(answered)
}

/// The limits of a head that actix does not judge (RELIABILITY section 5).
fn judge_head(request: &ServiceRequest) -> Result<(), Problem> {
    let address_bytes = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address_bytes > MAX_URI_BYTES {
        return Err(Problem::of(Code::UriTooLong));
    }
    let headers = request.headers();
    // Each line has a colon, a space and a line end besides.
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_HEADERS || address_bytes.saturating_add(bytes) > MAX_HEAD_BYTES {
        return Err(Problem::of(Code::HeadersTooLarge));
    }
    Ok(())
}

/// The response with its error, if it is one, as a problem document.
fn shaped(response: ServiceResponse, facts: &Facts) -> ServiceResponse {
    let problem = match response.response().error() {
        Some(error) => match error.as_error::<Problem>() {
            Some(problem) => problem.clone(),
            None => foreign(response.status().as_u16()),
        },
        None if response.status().is_client_error() || response.status().is_server_error() => {
            if response.headers().contains_key(header::CONTENT_TYPE) {
                return response;
            }
            foreign(response.status().as_u16())
        }
        None => return response,
    };
    response.into_response(problem.respond(&facts.0.shown))
}

/// What actix refused by itself.
fn foreign(status: u16) -> Problem {
    Problem::of(match status {
        404 => Code::NotFound,
        405 => Code::BadMethod,
        408 => Code::RequestTimeout,
        413 => Code::PayloadTooLarge,
        414 => Code::UriTooLong,
        415 => Code::UnsupportedMediaType,
        431 => Code::HeadersTooLarge,
        400..500 => Code::Malformed,
        _ => Code::Unavailable,
    })
}

fn with_headers(mut response: ServiceResponse, facts: &Facts) -> ServiceResponse {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&facts.0.shown) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let told = HeaderName::from_static("ratelimit");
    if let (Some(allowance), false) = (facts.0.allowance.get(), headers.contains_key(&told)) {
        let policy = format!("\"key\";q={};w=60", allowance.per_minute);
        let left = format!("\"key\";r={}", allowance.remaining);
        if let (Ok(policy), Ok(left)) = (HeaderValue::from_str(&policy), HeaderValue::from_str(&left)) {
            headers.insert(HeaderName::from_static("ratelimit-policy"), policy);
            headers.insert(told, left);
        }
    }
    response
}

/// One log line, and the metrics of the route.
fn report(response: &ServiceResponse, facts: &Facts, context: &Context, begun: Instant) {
    let (duration, status) = (begun.elapsed(), response.status().as_u16());
    let request = response.request();
    let pattern = request.match_pattern();
    let route = pattern.as_deref().unwrap_or(UNMATCHED);
    context.parts().metrics.http_request(route, status, duration);
    let ours = facts.0.id.to_string();
    tracing::info!(
        request_id = facts.0.shown,
        stored_id = (ours != facts.0.shown).then_some(ours),
        method = known(request.method()),
        route,
        status,
        duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        key_id = facts.0.key_id.get().map(|id| id.to_string()),
        "request"
    );
}

/// The method's name; one that a client made up is not told.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "another",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        assert!(is_token("abc-123_4.5") && is_token("0af7651916cd43dd8448eb211c80319c"));
        for bad in ["", "a b", "a\"b", "é", &"a".repeat(65)] {
            assert!(!is_token(bad), "{bad}");
        }
    }

    #[test]
    fn what_actix_refuses_gets_a_code() {
        assert_eq!(foreign(400).code(), Code::Malformed);
        assert_eq!(foreign(404).code(), Code::NotFound);
        assert_eq!(foreign(500).code(), Code::Unavailable);
    }
}
