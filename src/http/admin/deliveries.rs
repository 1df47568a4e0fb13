//! Deliveries to all endpoints, with their attempts, and how one is sent again.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::Delivery;
use crate::domain::ids::{AffiliateId, DeliveryId, EndpointId, OperatorId};
use crate::domain::verdict::Code;
use crate::store::Store;
use crate::store::deliveries::Replay;

/// A delivery that is sent again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    id: DeliveryId,
    /// Which life it is in now.
    epoch: i32,
}

/// All deliveries, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("affiliate_id" = Option<AffiliateId>, Query), ("endpoint_id" = Option<EndpointId>, Query), ("state" = Option<String>, Query)),
    responses((status = 200, body = Listed<Delivery>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/deliveries")]
pub async fn list_deliveries(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "affiliate_id", "endpoint_id", "state"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.deliveries(&filter, page).await };
    list::<Delivery, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One delivery with its message and its attempts.
#[utoipa::path(
    tag = "admin",
    params(("id" = DeliveryId, Path)),
    responses((status = 200, body = Delivery), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/deliveries/{id}")]
pub async fn get_delivery(
    _admin: AdminKey,
    id: PathId<DeliveryId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.delivery(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Delivery::from(found.ok_or_else(Problem::not_found)?)))
}

/// Sends a delivery again, whatever became of it: a new epoch with the same `webhook-id`. 409 while an attempt runs.
#[utoipa::path(
    tag = "admin",
    params(("id" = DeliveryId, Path)),
    responses((status = 202, body = Replayed, description = "It is sent as soon as its endpoint has a free slot."), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/deliveries/{id}/replay")]
pub async fn replay_delivery(
    _admin: AdminKey,
    id: PathId<DeliveryId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (now, republish_after) = (context.parts().clock.now(), context.parts().settings.delivery.republish_after);
    let begun = context.ask(move |store| async move { store.replay(id.0, now, republish_after).await }).await?;
    match begun {
        Replay::Begun(hint) => {
            context.parts().relay.announce(vec![hint]);
            Ok(HttpResponse::Accepted().json(Replayed { id: hint.delivery_id, epoch: hint.epoch }))
        }
        Replay::Leased => Err(Problem::of(Code::Conflict).saying("An attempt runs now; ask again when it has ended.")),
    }
}
