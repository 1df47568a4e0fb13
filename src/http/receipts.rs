//! `/v1/receipts`: an operator looks at what it sent and what became of it.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::context::Context;
use super::extract::{OperatorKey, PathId};
use super::page::{ListQuery, Listed, PageParams, list};
use super::problem::{Problem, Problems};
use super::views::Receipt;
use crate::domain::ids::ReceiptId;
use crate::store::Store;

/// The operator's receipts, newest first.
#[utoipa::path(
    tag = "intake",
    params(
        PageParams,
        ("verdict" = Option<String>, Query, description = "accepted, duplicate, updated, parked or rejected."),
    ),
    responses(
        (status = 200, body = Listed<Receipt>),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/receipts")]
pub async fn list_own_receipts(
    key: OperatorKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["verdict"])?;
    query.filter.operator_id = Some(key.operator_id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.receipts(&filter, page).await };
    list::<Receipt, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One of the operator's receipts, with every verdict on it.
#[utoipa::path(
    tag = "intake",
    params(("id" = ReceiptId, Path)),
    responses(
        (status = 200, body = Receipt),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/receipts/{id}")]
pub async fn get_own_receipt(
    key: OperatorKey,
    id: PathId<ReceiptId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.receipt(id.0).await }).await?;
    let own = found.filter(|receipt| receipt.operator_id == key.operator_id).ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(Receipt::from(own)))
}
