//! Commissions, each with its explanation.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::{Commission, Explained};
use crate::domain::commission::CommissionStanding;
use crate::domain::ids::{AffiliateId, CommissionId, ConversionId, OperatorId, ProgramId};
use crate::store::Store;

/// All commissions, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("program_id" = Option<ProgramId>, Query), ("affiliate_id" = Option<AffiliateId>, Query), ("conversion_id" = Option<ConversionId>, Query), ("state" = Option<CommissionStanding>, Query)),
    responses((status = 200, body = Listed<Commission>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/commissions")]
pub async fn list_commissions(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(
        request.query_string(),
        &["operator_id", "program_id", "affiliate_id", "conversion_id", "state"],
    )?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.commissions(&filter, page).await };
    list::<Commission, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One commission.
#[utoipa::path(
    tag = "admin",
    params(("id" = CommissionId, Path)),
    responses((status = 200, body = Commission), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/commissions/{id}")]
pub async fn get_commission(
    _admin: AdminKey,
    id: PathId<CommissionId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.commission(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Commission::from(found.ok_or_else(Problem::not_found)?)))
}

/// How the amount of one commission came about, step by step.
#[utoipa::path(
    tag = "admin",
    params(("id" = CommissionId, Path)),
    responses((status = 200, body = Explained), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/commissions/{id}/explain")]
pub async fn explain_commission(
    _admin: AdminKey,
    id: PathId<CommissionId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.commission(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Explained::from(found.ok_or_else(Problem::not_found)?)))
}
