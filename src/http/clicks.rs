//! `/v1/clicks`: an operator tells us of clicks that another tracker saw.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{self, BodyLimits};
use super::context::Context;
use super::extract::OperatorKey;
use super::problem::{Problem, Problems};
use crate::domain::catalog::Catalog;
use crate::domain::click::LinkCode;
use crate::domain::ids::{AffiliateId, LinkId, OperatorId, ProgramId};
use crate::domain::postback::Identifier;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection};
use crate::store::recording::NewClick;

/// The most rows in one request.
const MAX_ROWS: usize = 1000;
/// The longest body.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most characters of a sub-id.
const MAX_SUB_CHARS: usize = 255;
/// The highest number of a sub-id.
const MAX_SUB_NUMBER: u8 = 30;

/// A click that another tracker saw: into a link of ours, or for an affiliate of a program.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedClick {
    /// The click's id, 1 to 255 characters; what postbacks will refer to.
    #[schema(value_type = String, example = "c-4711")]
    click_id: Identifier,
    /// The link that was followed; or else `program_id` and `affiliate_id`.
    link: Option<LinkCode>,
    program_id: Option<ProgramId>,
    affiliate_id: Option<AffiliateId>,
    /// When; now, if it is left out.
    occurred_at: Option<Timestamp>,
    /// The affiliate's own ids, `sub1` to `sub30`.
    #[serde(default)]
    sub_ids: BTreeMap<String, String>,
}

/// Clicks, as an object; a bare array is taken too.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedClicks {
    /// Up to 1000 clicks.
    #[schema(value_type = Vec<ImportedClick>)]
    clicks: Vec<Box<RawValue>>,
}

/// What became of each click, in the order in which they came.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClickResults {
    results: Vec<ImportResult>,
}

/// What became of one imported row.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportResult {
    /// `recorded`, `known` (it was there before and stays as it is) or `rejected`.
    #[schema(value_type = String, example = "recorded")]
    result: &'static str,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Imports clicks of another tracker. When this answers 200, every recorded click is stored.
#[utoipa::path(
    tag = "intake",
    request_body = ImportedClicks,
    responses(
        (status = 200, body = ClickResults),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/clicks")]
pub async fn import_clicks(
    key: OperatorKey,
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let object = |bytes: &[u8]| Ok(body::parse::<ImportedClicks>(bytes)?.clicks);
    let rows = read_rows(&request, payload, &context, "clicks", object).await?;
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let read: Vec<Result<NewClick, Rejection>> =
        rows.iter().map(|row| click(row.get(), &catalog, key.operator_id, now)).collect();
    let clicks: Vec<NewClick> = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
    let writer = context.parts().clicks.clone();
    let mut written = context.apart(async move { writer.write(clicks).await }).await??.into_iter();
    // The writer has answered for each good row.
    let results = read.into_iter().map(|row| result(row.map(|_| written.next().unwrap_or(false)))).collect();
    Ok(HttpResponse::Ok().json(ClickResults { results }))
}

/// Reads the rows of an import; see [`rows`].
pub(super) async fn read_rows(
    request: &HttpRequest,
    payload: web::Payload,
    context: &Context,
    field: &str,
    object: impl Fn(&[u8]) -> Result<Vec<Box<RawValue>>, Rejection>,
) -> Result<Vec<Box<RawValue>>, Problem> {
    body::require_json(request)?;
    let limits = BodyLimits { max_bytes: MAX_BODY_BYTES, deadline: context.parts().settings.server.body_timeout };
    let bytes = body::read(request, payload, limits).await?;
    Ok(rows(field, &bytes, object)?)
}

/// The rows of an import: a bare array, or an object that `object` reads. `field` names them there.
fn rows(
    field: &str,
    bytes: &[u8],
    object: impl Fn(&[u8]) -> Result<Vec<Box<RawValue>>, Rejection>,
) -> Result<Vec<Box<RawValue>>, Rejection> {
    let is_array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let rows = if is_array { body::parse(bytes)? } else { object(bytes)? };
    if rows.len() > MAX_ROWS {
        return Err(Rejection::of_field(Code::Validation, field).because("One request has at most 1000 rows."));
    }
    Ok(rows)
}

fn click(row: &str, catalog: &Catalog, operator_id: OperatorId, now: Timestamp) -> Result<NewClick, Rejection> {
    let row: ImportedClick = body::parse(row.as_bytes())?;
    let (program_id, affiliate_id, link_id) =
        target((row.link, row.program_id, row.affiliate_id), catalog, operator_id)?;
    let clicked_at = row.occurred_at.unwrap_or(now);
    if clicked_at > now {
        return Err(Rejection::of_field(Code::BadTimestamp, "occurred_at").because("A click lies in the past."));
    }
    let good = |(name, value): (&String, &String)| {
        is_sub_name(name) && value.chars().count() <= MAX_SUB_CHARS && !value.chars().any(char::is_control)
    };
    if !row.sub_ids.iter().all(good) {
        let refused = Rejection::of_field(Code::Validation, "sub_ids");
        return Err(
            refused.because("Sub-ids are sub1 to sub30, with at most 255 characters and no control characters.")
        );
    }
    Ok(NewClick {
        operator_id,
        click_id: row.click_id.as_str().to_owned(),
        program_id,
        affiliate_id,
        link_id,
        clicked_at,
        received_at: now,
        subs: row.sub_ids,
        ip_hash: None,
        user_agent: None,
    })
}

/// The program, the affiliate and the link that a row names, all of them this operator's or its guests.
pub(super) fn target(
    named: (Option<LinkCode>, Option<ProgramId>, Option<AffiliateId>),
    catalog: &Catalog,
    operator_id: OperatorId,
) -> Result<(ProgramId, AffiliateId, Option<LinkId>), Rejection> {
    let own = |id: ProgramId| catalog.program(id).filter(|program| program.operator_id == operator_id);
    let unknown = |field| Rejection::of_field(Code::Validation, field).because("It names nothing of this operator's.");
    match named {
        (Some(code), None, None) => {
            let link = catalog.link(code).filter(|link| own(link.program_id).is_some()).ok_or(unknown("link"))?;
            Ok((link.program_id, link.affiliate_id, Some(link.id)))
        }
        (None, Some(program_id), Some(affiliate_id)) => {
            own(program_id).ok_or(unknown("program_id"))?;
            catalog.affiliate(affiliate_id).ok_or(unknown("affiliate_id"))?;
            Ok((program_id, affiliate_id, None))
        }
        _ => Err(Rejection::of_field(Code::MissingField, "link")
            .because("Name either the link, or the program and the affiliate.")),
    }
}

fn is_sub_name(name: &str) -> bool {
    let number =
        name.strip_prefix("sub").and_then(|digits| digits.parse::<u8>().ok().filter(|n| digits == n.to_string()));
    number.is_some_and(|number| (1..=MAX_SUB_NUMBER).contains(&number))
}

/// The answer for one row: whether it was new, or why it was rejected.
pub(super) fn result(row: Result<bool, Rejection>) -> ImportResult {
    let plain = |result| ImportResult { result, code: None, field: None, detail: None };
    match row {
        Ok(new) => plain(if new { "recorded" } else { "known" }),
        Err(rejection) => ImportResult {
            code: Some(rejection.code),
            detail: Some(rejection.detail.map_or_else(|| rejection.code.sentence().to_owned(), Into::into)),
            field: rejection.field,
            ..plain("rejected")
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_and_an_object_are_the_same() {
        let rows = |bytes: &[u8]| rows("clicks", bytes, |bytes| Ok(body::parse::<ImportedClicks>(bytes)?.clicks));
        assert_eq!(rows(br#" [{"a":1},2]"#).unwrap().len(), 2);
        assert_eq!(rows(br#"{"clicks":[{"a":1}]}"#).unwrap().len(), 1);
        assert_eq!(rows(b"3").unwrap_err().code, Code::Validation);
        assert_eq!(rows(b"[").unwrap_err().code, Code::Malformed);
        let many = format!("[{}1]", "1,".repeat(MAX_ROWS));
        assert_eq!(rows(many.as_bytes()).unwrap_err().field.as_deref(), Some("clicks"));
    }

    #[test]
    fn sub_names() {
        assert!(is_sub_name("sub1") && is_sub_name("sub30"));
        for bad in ["sub", "sub0", "sub31", "sub01", "s1", "sub-1"] {
            assert!(!is_sub_name(bad), "{bad}");
        }
    }
}
