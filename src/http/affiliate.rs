//! `/v1/affiliate`: an affiliate looks at its own conversions, commissions and deliveries.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::extract::AffiliateKey;
use super::page::{ListQuery, Listed, PageParams};
use super::problem::{Problem, ProblemDocument};
use super::context::Context;
use super::views::{Commission, Delivery, OwnConversion};

/// The affiliate's conversions, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("status" = Option<String>, Query), ("click_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<OwnConversion>),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/conversions")]
pub async fn list_own_conversions(
    key: AffiliateKey,
    request: HttpRequest,
    state: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["status", "click_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let (filter, page) = (query.filter.clone(), query.page());
    let rows = state.ask(|store| async move { store.conversions(&filter, page).await }).await?;
    Ok(HttpResponse::Ok().json(query.listed::<_, OwnConversion>(rows, |row| row.id.uuid())))
}

/// The affiliate's commissions with their explanations, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("state" = Option<String>, Query), ("conversion_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<Commission>),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/commissions")]
pub async fn list_own_commissions(
    key: AffiliateKey,
    request: HttpRequest,
    state: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["state", "conversion_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let (filter, page) = (query.filter.clone(), query.page());
    let rows = state.ask(|store| async move { store.commissions(&filter, page).await }).await?;
    Ok(HttpResponse::Ok().json(query.listed::<_, Commission>(rows, |row| row.id.uuid())))
}

/// Deliveries to the affiliate's endpoints, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("state" = Option<String>, Query), ("endpoint_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<Delivery>),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/deliveries")]
pub async fn list_own_deliveries(
    key: AffiliateKey,
    request: HttpRequest,
    state: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["state", "endpoint_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let (filter, page) = (query.filter.clone(), query.page());
    let rows = state.ask(|store| async move { store.deliveries(&filter, page).await }).await?;
    Ok(HttpResponse::Ok().json(query.listed::<_, Delivery>(rows, |row| row.id.uuid())))
}
