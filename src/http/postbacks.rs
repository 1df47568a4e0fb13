//! `/v1/postbacks`: an operator's server reports an event and learns the verdict.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{self, BodyLimits};
use super::context::Context;
use super::extract::{caller_of, header_pairs, request_id, take_rate};
use super::problem::{Problem, Problems};
use crate::domain::booking::Outcome;
use crate::domain::ids::{ConversionId, ReceiptId};
use crate::domain::request::{Headers, RawRequest};
use crate::domain::verdict::{Verdict, Warning, WarningCode};
use crate::intake::redact::WITHHELD;
use crate::intake::service::{Answer, Incoming};

/// What became of a postback.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerdictDocument {
    /// `accepted`, `duplicate`, `updated` or `parked`.
    #[schema(value_type = String, example = "accepted")]
    verdict: &'static str,
    /// What a parked postback waits for: `unknown_click`, `unknown_customer` or `original_missing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<&'static str>,
    /// The receipt that is kept of this request.
    receipt_id: ReceiptId,
    /// The conversion that was made, changed or repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion_id: Option<ConversionId>,
    /// What the code means for the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    detail: Option<&'static str>,
    /// What was odd and taken all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningDocument>,
}

/// Something odd about a postback that was taken all the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct WarningDocument {
    code: WarningCode,
    /// The parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// Reports an event in the query string.
///
/// The canonical parameters: `click_id`, `event_id`, `goal`, `amount`, `currency`, `status`, `customer_id`, `coupon`,
/// `occurred_at`, `reason`, `test`, `version`, `updated_at`, `original_event_id` and free fields `sub1` to `sub30`. A
/// refund as an event of its own names its sale by `original_event_id` and has the amount to take off.
#[utoipa::path(
    tag = "intake",
    params(
        ("click_id" = Option<String>, Query, description = "The click that it refers to."),
        ("event_id" = Option<String>, Query, description = "The sender's id of the event."),
        ("goal" = Option<String>, Query, description = "The name of the goal."),
        ("amount" = Option<String>, Query, description = "A plain decimal, such as 12.50."),
        ("currency" = Option<String>, Query, description = "An ISO 4217 code."),
        ("status" = Option<String>, Query, description = "pending, approved, hold, rejected or reversed."),
        ("customer_id" = Option<String>, Query, description = "The operator's own id of its customer."),
        ("original_event_id" = Option<String>, Query, description = "The event that this refund takes a part off."),
    ),
    responses(
        (status = 200, body = VerdictDocument),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/postbacks")]
pub async fn get_postback(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    receive(&request, "GET", payload, &context).await
}

/// Reports an event in the body, as JSON or as a form.
#[utoipa::path(
    tag = "intake",
    request_body(content(
        (Object = "application/json", example = json!({"click_id": "c1", "event_id": "e1", "goal": "sale", "amount": "119.99"})),
        (Object = "application/x-www-form-urlencoded")
    )),
    responses(
        (status = 200, body = VerdictDocument),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/postbacks")]
pub async fn post_postback(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    receive(&request, "POST", payload, &context).await
}

/// Key, address, rate, role, size; then the use case. A request from a denied address is read all the same, because
/// it is kept as a rejected receipt; it uses up nothing of the key's rate. One whose body is not read is kept without it.
async fn receive(
    request: &HttpRequest,
    method: &'static str,
    payload: web::Payload,
    context: &Context,
) -> Result<HttpResponse, Problem> {
    let caller = caller_of(request, context)?;
    let denied = caller.judge_address().err();
    if denied.is_none() {
        take_rate(request, context, &caller)?;
    }
    let (operator_id, source_id) = caller.operator().map_err(|scope| denied.clone().unwrap_or(scope))?;
    let server = &context.parts().settings.server;
    let limits = BodyLimits { max_bytes: server.max_body.get(), deadline: server.body_timeout };
    let (body, unread) = match body::read(request, payload, limits).await {
        Ok(body) => (body, None),
        Err(rejection) => (Bytes::from_static(WITHHELD), Some(rejection)),
    };
    let pairs = header_pairs(request);
    let raw =
        RawRequest { method, raw_query: request.query_string().as_bytes(), headers: Headers(&pairs), body: &body };
    let request_id = request_id(request, context);
    let incoming = Incoming { caller: &caller, operator_id, source_id, request_id, method, raw };
    let answer = match denied.or(unread) {
        Some(rejection) => context.intake().reject(incoming, rejection).await?,
        None => context.intake().receive(incoming).await?,
    };
    verdict(answer)
}

fn verdict(answer: Answer) -> Result<HttpResponse, Problem> {
    let (outcome, warnings) = match answer {
        Answer::Refused(rejection) => return Err(rejection.into()),
        Answer::Recorded { outcome, warnings } => (outcome, warnings),
    };
    match outcome.verdict {
        Verdict::Rejected(code) => Err(Problem::of_outcome(&outcome, code)),
        _ => Ok(HttpResponse::Ok().json(document(&outcome, warnings))),
    }
}

fn document(outcome: &Outcome, warnings: Vec<Warning>) -> VerdictDocument {
    let detail = match outcome.verdict {
        Verdict::Parked(reason) => Some(reason.sentence()),
        Verdict::Accepted | Verdict::Duplicate | Verdict::Updated | Verdict::Rejected(_) => None,
    };
    let mut warnings = warnings;
    warnings.extend(outcome.disagreement.as_ref().map(|_| Warning::new(WarningCode::AttributionDisagreement)));
    let warning = |warning: Warning| WarningDocument { code: warning.code, field: warning.field };
    VerdictDocument {
        verdict: outcome.verdict.as_str(),
        code: outcome.verdict.reason(),
        receipt_id: outcome.receipt_id,
        conversion_id: outcome.conversion_id,
        detail,
        warnings: warnings.into_iter().map(warning).collect(),
    }
}
