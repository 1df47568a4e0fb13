//! `/v1/receipts`: an operator looks at what it sent and what became of it.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::extract::{OperatorKey, PathId};
use super::page::{ListQuery, Listed, PageParams};
use super::problem::{Problem, ProblemDocument};
use super::context::Context;
use super::views::Receipt;
use crate::domain::ids::ReceiptId;

/// The operator's receipts, newest first.
#[utoipa::path(
    tag = "intake",
    params(
        PageParams,
        ("verdict" = Option<String>, Query, description = "accepted, duplicate, updated, parked or rejected."),
    ),
    responses(
        (status = 200, body = Listed<Receipt>),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/receipts")]
pub async fn list_own_receipts(
    key: OperatorKey,
    request: HttpRequest,
    state: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["verdict"])?;
    query.filter.operator_id = Some(key.operator_id);
    let (filter, page) = (query.filter.clone(), query.page());
    let rows = state.ask(|store| async move { store.receipts(&filter, page).await }).await?;
    Ok(HttpResponse::Ok().json(query.listed::<_, Receipt>(rows, |row| row.id.uuid())))
}

/// One of the operator's receipts, with every verdict on it.
#[utoipa::path(
    tag = "intake",
    params(("id" = ReceiptId, Path)),
    responses(
        (status = 200, body = Receipt),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/receipts/{id}")]
pub async fn get_own_receipt(
    key: OperatorKey,
    id: PathId<ReceiptId>,
    state: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = state.ask(move |store| async move { store.receipt(id.0).await }).await?;
    let own = found.filter(|receipt| receipt.operator_id == key.operator_id).ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(Receipt::from(own)))
}
