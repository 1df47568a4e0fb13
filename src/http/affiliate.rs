//! `/v1/affiliate`: an affiliate looks at its own conversions, commissions and deliveries.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::context::Context;
use super::extract::AffiliateKey;
use super::page::{ListQuery, Listed, PageParams, list};
use super::problem::{Problem, Problems};
use super::views::{Commission, Delivery, OwnConversion};
use crate::store::Store;

/// The affiliate's conversions, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("status" = Option<String>, Query), ("click_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<OwnConversion>),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/conversions")]
pub async fn list_own_conversions(
    key: AffiliateKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["status", "click_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.conversions(&filter, page).await };
    list::<OwnConversion, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// The affiliate's commissions with their explanations, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("state" = Option<String>, Query), ("conversion_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<Commission>),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/commissions")]
pub async fn list_own_commissions(
    key: AffiliateKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["state", "conversion_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.commissions(&filter, page).await };
    list::<Commission, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Deliveries to the affiliate's endpoints, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("state" = Option<String>, Query), ("endpoint_id" = Option<String>, Query)),
    responses(
        (status = 200, body = Listed<Delivery>),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/deliveries")]
pub async fn list_own_deliveries(
    key: AffiliateKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["state", "endpoint_id"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.deliveries(&filter, page).await };
    list::<Delivery, _, _>(&context, query, ask, |row| row.id.uuid()).await
}
