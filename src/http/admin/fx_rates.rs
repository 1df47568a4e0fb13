//! Exchange rates, by which commissions become the currency that their affiliates are paid in.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, created};
use crate::domain::exchange::ExchangeRate;
use crate::domain::ids::FxRateId;
use crate::domain::money::Currency;
use crate::domain::rates::FxRate;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// An exchange rate to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFxRate {
    /// The currency that is converted.
    base: Currency,
    /// The currency that it becomes.
    quote: Currency,
    /// What one unit of `base` is worth in `quote`.
    rate: FxRate,
    /// From when it applies, until the next rate of the same two; from now on, if it is left out.
    valid_from: Option<Timestamp>,
    /// Where it was taken from, such as a central bank.
    source: Name,
}

/// What one unit of a currency is worth in another, from a time on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FxRateRow)]
pub struct FxRateBody {
    id: FxRateId,
    base: Currency,
    quote: Currency,
    rate: FxRate,
    valid_from: Timestamp,
    source: String,
    created_at: Timestamp,
}

impl From<ExchangeRate> for FxRateBody {
    fn from(row: ExchangeRate) -> Self {
        let ExchangeRate { id, base, quote, rate, valid_from, source, created_at } = row;
        Self { id, base, quote, rate, valid_from, source, created_at }
    }
}

/// Makes an exchange rate. It is never changed: of two with the same time the later one corrects the other, for what is
/// converted from then on. Commissions that waited for it are booked within seconds.
#[utoipa::path(
    tag = "admin",
    request_body = NewFxRate,
    responses((status = 201, body = FxRateBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/fx-rates")]
pub async fn create_fx_rate(
    _admin: AdminKey,
    body: Json<NewFxRate>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (new, now) = (body.0, context.parts().clock.now());
    if new.base == new.quote {
        return Err(Problem::of_field("quote", "A rate is between two currencies; one is always worth itself."));
    }
    let rate = ExchangeRate {
        id: FxRateId::new(now),
        base: new.base,
        quote: new.quote,
        rate: new.rate,
        valid_from: new.valid_from.unwrap_or(now),
        source: new.source.0,
        created_at: now,
    };
    context.put(vec![Entry::FxRate(rate.clone())]).await?;
    Ok(created(FxRateBody::from(rate)))
}

/// All exchange rates, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams),
    responses((status = 200, body = Listed<FxRateBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/fx-rates")]
pub async fn list_fx_rates(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &[])?;
    let ask = |store: Arc<dyn Store>, _filter, page| async move { store.fx_rates(page).await };
    list::<FxRateBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}
