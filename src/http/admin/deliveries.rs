//! Deliveries to all endpoints, with their attempts, and how one is sent again or let be.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::{Acknowledgement, Delivery};
use crate::domain::ids::{AffiliateId, DeliveryId, EndpointId, OperatorId};
use crate::domain::replay::{Note, Person};
use crate::domain::verdict::Code;
use crate::store::Store;
use crate::store::deliveries::Replay;
use crate::store::replays::Acknowledged;

/// What the list can be narrowed to.
const LISTED_BY: &[&str] = &["operator_id", "affiliate_id", "endpoint_id", "state", "acknowledged"];

/// That a dead delivery is let be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAcknowledgement {
    /// Why, for whoever looks later: 1 to 1 000 characters.
    #[schema(value_type = String, min_length = 1, max_length = 1000, example = "The affiliate has closed down.")]
    note: Note,
}

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
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("affiliate_id" = Option<AffiliateId>, Query), ("endpoint_id" = Option<EndpointId>, Query), ("state" = Option<String>, Query), ("acknowledged" = Option<bool>, Query, description = "Whether a person lets it be; `state=dead&acknowledged=false` is what waits for a person.")),
    responses((status = 200, body = Listed<Delivery>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/deliveries")]
pub async fn list_deliveries(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), LISTED_BY)?;
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
    let replays = context.parts().replays.clone();
    match context.apart(async move { replays.delivery(id.0).await }).await?? {
        Replay::Begun(hint) => Ok(HttpResponse::Accepted().json(Replayed { id: hint.delivery_id, epoch: hint.epoch })),
        Replay::Leased => Err(Problem::of(Code::Conflict).saying("An attempt runs now; ask again when it has ended.")),
    }
}

/// Lets a dead delivery be: it no longer waits for a person, and can still be replayed. Again changes nothing. 409 where it
/// is not dead.
#[utoipa::path(
    tag = "admin",
    params(("id" = DeliveryId, Path)),
    request_body = NewAcknowledgement,
    responses((status = 200, body = Acknowledgement, description = "The acknowledgement in force: the first one."), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/deliveries/{id}/acknowledge")]
pub async fn acknowledge_delivery(
    admin: AdminKey,
    id: PathId<DeliveryId>,
    body: Json<NewAcknowledgement>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (now, by) = (context.parts().clock.now(), Person::Key(admin.key_id));
    let done = context.ask(move |store| async move { store.acknowledge(id.0, &body.0.note, by, now).await }).await?;
    match done {
        Acknowledged::Is(stands) => Ok(HttpResponse::Ok().json(Acknowledgement::from(stands))),
        Acknowledged::NotDead(_) => {
            Err(Problem::of(Code::Conflict).saying("Only a dead delivery is let be; look at its state."))
        }
    }
}
