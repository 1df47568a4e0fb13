//! Errors as RFC 9457 problem documents: every code of the catalogue, in one shape, with the request's id.
//!
//! A handler says what is wrong as a [`Problem`]; [`super::observe`] writes the document, because only there the
//! request's id is known, and turns what actix refuses by itself into the same shape. Nothing here repeats what
//! was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::domain::booking::Outcome;
use crate::domain::ids::{ConversionId, ReceiptId};
use crate::domain::verdict::{Code, Rejection, Verdict};
use crate::intake::rate::Exceeded;
use crate::intake::recorder::Unavailable;
use crate::store::StoreError;

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// How long a sender waits when nothing could be stored and nobody said how long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A refusal on its way to the caller. Boxed, because every handler may return one and few do.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    rejection: Rejection,
    reason: Option<&'static str>,
    receipt_id: Option<ReceiptId>,
    conversion_id: Option<ConversionId>,
    retry_after: Option<Duration>,
    per_minute: Option<u32>,
    allow: Option<String>,
}

impl Problem {
    /// A problem with this code.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Rejection::new(code).into()
    }

    /// A field of the request that is not acceptable, and why; `why` must not repeat the input.
    #[must_use]
    pub fn of_field(field: &str, why: impl Into<Cow<'static, str>>) -> Self {
        Rejection { detail: Some(why.into()), ..Rejection::of_field(Code::Validation, field) }.into()
    }

    /// No such object, or not one of the caller's.
    #[must_use]
    pub fn not_found() -> Self {
        Self::of(Code::NotFound)
    }

    /// The same with a sentence about this case, which must not repeat the input.
    #[must_use]
    pub fn saying(mut self, detail: &'static str) -> Self {
        self.0.rejection = self.0.rejection.because(detail);
        self
    }

    /// The same with a stable word for which rule is broken, where the code covers several.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Another method than those that `allow` lists.
    #[must_use]
    pub fn bad_method(allow: String) -> Self {
        let mut problem = Self::of(Code::BadMethod);
        problem.0.allow = Some(allow);
        problem
    }

    /// What a stored receipt was rejected for.
    #[must_use]
    pub fn of_outcome(outcome: &Outcome, code: Code) -> Self {
        let rejection = outcome.rejection.clone().unwrap_or_else(|| code.into());
        let mut problem = Self::from(Rejection { code, ..rejection });
        problem.0.receipt_id = Some(outcome.receipt_id);
        problem.0.conversion_id = outcome.conversion_id;
        problem
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.0.rejection.code
    }

    /// The whole answer, for the request with this id.
    #[must_use]
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        if let Some(wait) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds(wait)));
        }
        if let Some(per_minute) = self.0.per_minute {
            response.insert_header(("RateLimit-Policy", format!("\"key\";q={per_minute};w=60")));
            let wait = seconds(self.0.retry_after.unwrap_or(RETRY_AFTER));
            response.insert_header(("RateLimit", format!("\"key\";r=0;t={wait}")));
        }
        if self.code() == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if let Some(allow) = &self.0.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        response.content_type(MEDIA_TYPE).json(self.document(request_id))
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after.or_else(|| (self.code() == Code::Unavailable).then_some(RETRY_AFTER))
    }

    fn document(&self, request_id: &str) -> ProblemDocument {
        let code = self.code();
        let detail = self.0.rejection.detail.clone();
        ProblemDocument {
            r#type: format!("/docs/problems#{code}"),
            title: title(code),
            status: code.http_status(),
            code: code.as_str(),
            reason: self.0.reason,
            fix: detail.is_some().then_some(code.sentence()),
            detail: detail.unwrap_or(Cow::Borrowed(code.sentence())),
            field: self.0.rejection.field.clone(),
            request_id: request_id.to_owned(),
            verdict: self.0.receipt_id.map(|_| Verdict::Rejected(code).as_str()),
            receipt_id: self.0.receipt_id,
            conversion_id: self.0.conversion_id,
        }
    }
}

/// The code in words: `bad_amount` is "Bad amount".
#[must_use]
pub fn title(code: Code) -> String {
    let words = code.as_str().replace('_', " ");
    let mut characters = words.chars();
    characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str()).unwrap_or_default()
}

/// Whole seconds, rounded up, at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
}

/// A refusal (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// Where this kind of problem is described, relative to the service.
    #[schema(example = "/docs/problems#bad_amount")]
    pub r#type: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code; what programs act on.
    #[schema(value_type = String, example = "bad_amount")]
    pub code: &'static str,
    /// Which rule is broken, as a stable word, where the code covers several: of an endpoint's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "url_address")]
    pub reason: Option<&'static str>,
    /// What is wrong in this case.
    #[schema(value_type = String)]
    pub detail: Cow<'static, str>,
    /// What would mend it, where `detail` does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fix: Option<&'static str>,
    /// The field or parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The id of the request, as in `X-Request-Id`.
    pub request_id: String,
    /// `rejected`, where a receipt is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub verdict: Option<&'static str>,
    /// The receipt that is kept of this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<ReceiptId>,
    /// The conversion that the request contradicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_id: Option<ConversionId>,
}

/// The problems of a route, for the documentation.
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let document = Ref::from_schema_name("Problem");
        let described = |text: &str| {
            let content = ContentBuilder::new().schema(Some(document.clone())).build();
            ResponseBuilder::new().description(text).content(MEDIA_TYPE, content).build().into()
        };
        let refused = "Refused; the code says why.";
        let unavailable = "Nothing was stored; try again after `Retry-After`.";
        [("4XX".to_owned(), described(refused)), ("503".to_owned(), described(unavailable))].into()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.rejection, f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().http_status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let (reason, receipt_id, conversion_id, retry_after, per_minute, allow) = (None, None, None, None, None, None);
        Self(Box::new(Parts { rejection, reason, receipt_id, conversion_id, retry_after, per_minute, allow }))
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let mut problem = Self::of(Code::Unavailable);
        problem.0.retry_after = Some(unavailable.retry_after);
        problem
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        let mut problem = Self::of(Code::RateLimited);
        problem.0.retry_after = Some(exceeded.retry_after);
        problem.0.per_minute = Some(exceeded.per_minute);
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::not_found(),
            StoreError::Exists => Self::of(Code::Conflict).saying("It exists already; choose another name."),
            StoreError::Unavailable(_)
            | StoreError::Collision(_)
            | StoreError::StaleConfiguration
            | StoreError::Refused(_)
            | StoreError::Corrupt(_) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the store could not answer a request");
                Self::of(Code::Unavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_and_at_least_one() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(20)), 20);
    }

    #[test]
    fn the_document_says_what_is_wrong_and_how_to_mend_it() {
        let plain = Problem::of(Code::BadAmount).document("req_1");
        assert_eq!((plain.title.as_str(), plain.status, plain.fix), ("Bad amount", 422, None));
        assert_eq!(plain.detail, Code::BadAmount.sentence());
        let special = Problem::of_field("url", "It must begin with https.").document("req_1");
        assert_eq!(special.detail, "It must begin with https.");
        assert_eq!((special.field.as_deref(), special.fix), (Some("url"), Some(Code::Validation.sentence())));
    }
}
