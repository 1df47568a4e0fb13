//! Conversions of all programs.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::Conversion;
use super::ChangeReason;
use crate::domain::booking::OwnChange;
use crate::domain::ids::{AffiliateId, ConversionId, OperatorId, ProgramId, SourceId};
use crate::domain::postback::ConversionStatus;
use crate::store::Store;

/// All conversions, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("source_id" = Option<SourceId>, Query), ("program_id" = Option<ProgramId>, Query), ("affiliate_id" = Option<AffiliateId>, Query), ("click_id" = Option<String>, Query), ("event_id" = Option<String>, Query), ("status" = Option<String>, Query)),
    responses((status = 200, body = Listed<Conversion>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/conversions")]
pub async fn list_conversions(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(
        request.query_string(),
        &["operator_id", "source_id", "program_id", "affiliate_id", "click_id", "event_id", "status"],
    )?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.conversions(&filter, page).await };
    list::<Conversion, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One conversion, with the states that revisions replaced.
#[utoipa::path(
    tag = "admin",
    params(("id" = ConversionId, Path)),
    responses((status = 200, body = Conversion), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/conversions/{id}")]
pub async fn get_conversion(
    _admin: AdminKey,
    id: PathId<ConversionId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.conversion(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Conversion::from(found.ok_or_else(Problem::not_found)?)))
}

/// Where a conversion is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusChange {
    status: ConversionStatus,
    /// Why; kept with the revision, with the key that asked.
    reason: ChangeReason,
}

/// Sends a conversion to another status; the commission and the books follow. Only an admin may approve what was rejected,
/// or what was reversed (a won chargeback). Where it stands there already nothing changes.
#[utoipa::path(
    tag = "admin",
    params(("id" = ConversionId, Path)),
    request_body = StatusChange,
    responses((status = 200, body = Conversion), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/conversions/{id}/status")]
pub async fn change_conversion_status(
    admin: AdminKey,
    id: PathId<ConversionId>,
    body: Json<StatusChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let change = OwnChange::Status { to: body.0.status, key_id: admin.key_id, reason: body.0.reason.0 };
    let booker = context.parts().booker.clone();
    let changed = context.apart(async move { booker.change_conversion(id.0, &change).await }).await??;
    if let Some(rejection) = changed.refused {
        return Err(rejection.into());
    }
    let found = context.ask(move |store| async move { store.conversion(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Conversion::from(found.ok_or_else(Problem::not_found)?)))
}
