//! Receipts of all operators.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::Receipt;
use crate::domain::ids::{ConversionId, OperatorId, ReceiptId, SourceId};
use crate::store::Store;

/// All receipts, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("source_id" = Option<SourceId>, Query), ("conversion_id" = Option<ConversionId>, Query), ("verdict" = Option<String>, Query)),
    responses((status = 200, body = Listed<Receipt>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/receipts")]
pub async fn list_receipts(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "source_id", "conversion_id", "verdict"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.receipts(&filter, page).await };
    list::<Receipt, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One receipt.
#[utoipa::path(
    tag = "admin",
    params(("id" = ReceiptId, Path)),
    responses((status = 200, body = Receipt), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/receipts/{id}")]
pub async fn get_receipt(
    _admin: AdminKey,
    id: PathId<ReceiptId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.receipt(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Receipt::from(found.ok_or_else(Problem::not_found)?)))
}
