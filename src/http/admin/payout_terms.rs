//! Payout terms: when and from how much on an affiliate is paid without being asked.

use actix_web::{HttpResponse, get, put, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::problem::{Problem, Problems};
use super::super::views::{PayoutTerms, PayoutTermsList};
use crate::domain::ids::AffiliateId;
use crate::domain::money::{Amount, Currency};
use crate::domain::payout::terms::{self, Period};
use crate::domain::verdict::{Code, Rejection};

/// Terms to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPayoutTerms {
    currency: Currency,
    /// From how much on there is a payout; less is carried on to the next period.
    minimum: Amount,
    /// A payout falls due on Mondays or on the first day of the month, at 0:00 UTC.
    period: Period,
    /// Whether payouts are made without being asked for.
    enabled: bool,
}

/// Sets the terms of an affiliate in a currency. A payout that has fallen due stays due, unless the period changes.
#[utoipa::path(
    tag = "admin",
    params(("id" = AffiliateId, Path)),
    request_body = NewPayoutTerms,
    responses((status = 200, body = PayoutTerms), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[put("/v1/admin/affiliates/{id}/payout-terms")]
pub async fn put_payout_terms(
    admin: AdminKey,
    id: PathId<AffiliateId>,
    body: Json<NewPayoutTerms>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (new, now) = (body.0, context.parts().clock.now());
    if new.minimum.is_negative() {
        return Err(Rejection::of_field(Code::BadAmount, "minimum").into());
    }
    let terms = terms::PayoutTerms {
        affiliate_id: context.catalog().affiliate(id.0).ok_or_else(Problem::not_found)?.id,
        currency: new.currency,
        minimum: new.minimum,
        period: new.period,
        enabled: new.enabled,
        next_due_at: new.period.end(now),
        last_due_at: None,
        last_outcome: None,
        updated_by: admin.key_id,
        updated_at: now,
    };
    let set = context.ask(move |store| async move { store.put_payout_terms(&terms).await }).await?;
    Ok(HttpResponse::Ok().json(PayoutTerms::from(set)))
}

/// The terms of an affiliate, one for each currency.
#[utoipa::path(
    tag = "admin",
    params(("id" = AffiliateId, Path)),
    responses((status = 200, body = PayoutTermsList), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/affiliates/{id}/payout-terms")]
pub async fn list_payout_terms(
    _admin: AdminKey,
    id: PathId<AffiliateId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    context.catalog().affiliate(id.0).ok_or_else(Problem::not_found)?;
    let rows = context.ask(move |store| async move { store.payout_terms(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(PayoutTermsList { items: rows.into_iter().map(PayoutTerms::from).collect() }))
}
