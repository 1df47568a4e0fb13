//! Conversions of all programs.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::Conversion;
use crate::domain::ids::{AffiliateId, ConversionId, OperatorId, ProgramId, SourceId};
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

/// One conversion.
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
