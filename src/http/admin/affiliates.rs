//! Affiliates: the partners who send traffic and are paid.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, created};
use crate::domain::catalog::{Affiliate, Status};
use crate::domain::ids::AffiliateId;
use crate::domain::money::Currency;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// An affiliate to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAffiliate {
    name: Name,
    /// The currency that it is paid in; without one it is paid in the currency in which it earns.
    settlement_currency: Option<Currency>,
}

/// What is to change of an affiliate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AffiliateChange {
    name: Option<Name>,
    /// Holds for conversions that are new from now on.
    settlement_currency: Option<Currency>,
    /// An inactive affiliate earns nothing from new conversions.
    status: Option<Status>,
}

/// A partner who sends traffic and is paid.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Affiliate)]
pub struct AffiliateBody {
    id: AffiliateId,
    name: String,
    settlement_currency: Option<Currency>,
    status: Status,
    created_at: Timestamp,
}

impl From<Affiliate> for AffiliateBody {
    fn from(row: Affiliate) -> Self {
        Self {
            id: row.id,
            name: row.name,
            settlement_currency: row.settlement_currency,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

/// Makes an affiliate.
#[utoipa::path(
    tag = "admin",
    request_body = NewAffiliate,
    responses((status = 201, body = AffiliateBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/affiliates")]
pub async fn create_affiliate(
    _admin: AdminKey,
    body: Json<NewAffiliate>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let affiliate = Affiliate {
        id: AffiliateId::new(now),
        name: body.0.name.0,
        settlement_currency: body.0.settlement_currency,
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Affiliate(affiliate.clone())]).await?;
    Ok(created(AffiliateBody::from(affiliate)))
}

/// All affiliates, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams),
    responses((status = 200, body = Listed<AffiliateBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/affiliates")]
pub async fn list_affiliates(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &[])?;
    let ask = |store: Arc<dyn Store>, _filter, page| async move { store.affiliates(page).await };
    list::<AffiliateBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Changes an affiliate's name or the currency that it is paid in, or switches it off and on.
#[utoipa::path(
    tag = "admin",
    params(("id" = AffiliateId, Path)),
    request_body = AffiliateChange,
    responses((status = 200, body = AffiliateBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/affiliates/{id}")]
pub async fn change_affiliate(
    _admin: AdminKey,
    id: PathId<AffiliateId>,
    body: Json<AffiliateChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut row = context.catalog().affiliate(id.0).cloned().ok_or_else(Problem::not_found)?;
    row.name = body.0.name.map_or(row.name, |name| name.0);
    row.settlement_currency = body.0.settlement_currency.or(row.settlement_currency);
    row.status = body.0.status.unwrap_or(row.status);
    context.put(vec![Entry::Affiliate(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(AffiliateBody::from(row)))
}
