//! `/v1/affiliate`: an affiliate looks at its own conversions, commissions, deliveries and payouts.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::context::Context;
use super::extract::{AffiliateKey, PathId};
use super::page::{ListQuery, Listed, PageParams, list};
use super::problem::{Problem, Problems};
use super::views::{Commission, Delivery, Explained, OwnConversion, OwnPayout};
use crate::domain::commission::CommissionStanding;
use crate::domain::ids::CommissionId;
use crate::domain::payout::PayoutState;
use crate::store::Store;
use crate::store::reading::DeliveryView;

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
    params(PageParams, ("state" = Option<CommissionStanding>, Query), ("conversion_id" = Option<String>, Query)),
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

/// How the amount of one of the affiliate's commissions came about, step by step.
#[utoipa::path(
    tag = "affiliate",
    params(("id" = CommissionId, Path)),
    responses(
        (status = 200, body = Explained),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/commissions/{id}/explain")]
pub async fn explain_own_commission(
    key: AffiliateKey,
    id: PathId<CommissionId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.commission(id.0).await }).await?;
    let own = found.filter(|commission| commission.affiliate_id == key.affiliate_id);
    Ok(HttpResponse::Ok().json(Explained::from(own.ok_or_else(Problem::not_found)?)))
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
    let ask = |store: Arc<dyn Store>, filter, page| async move {
        // What our people note about a delivery is for them.
        let ours = |row| DeliveryView { acknowledgement: None, ..row };
        Ok(store.deliveries(&filter, page).await?.into_iter().map(ours).collect())
    };
    list::<Delivery, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// The affiliate's payouts, newest first.
#[utoipa::path(
    tag = "affiliate",
    params(PageParams, ("state" = Option<PayoutState>, Query)),
    responses(
        (status = 200, body = Listed<OwnPayout>),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/affiliate/payouts")]
pub async fn list_own_payouts(
    key: AffiliateKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &["state"])?;
    query.filter.affiliate_id = Some(key.affiliate_id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.payouts(&filter, page).await };
    list::<OwnPayout, _, _>(&context, query, ask, |row| row.id.uuid()).await
}
