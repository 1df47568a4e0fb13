//! Endpoints: subscribers' addresses. An address is judged when it is registered, and again at each attempt.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{NewSecret, created, operator, shown};
use crate::domain::catalog::{Catalog, Endpoint, EndpointSecret, Owner, Status};
use crate::domain::event::EventType;
use crate::domain::ids::{AffiliateId, EndpointId, EndpointSecretId, OperatorId};
use crate::domain::signature::SigningSecret;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// An endpoint to be made: an affiliate's or an operator's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    affiliate_id: Option<AffiliateId>,
    operator_id: Option<OperatorId>,
    #[schema(example = "https://hooks.example.com/postback")]
    url: String,
    /// Which events it wants; empty means all.
    #[serde(default)]
    event_types: Vec<EventType>,
}

/// What is to change of an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChange {
    url: Option<String>,
    event_types: Option<Vec<EventType>>,
    /// New events are not sent to an inactive endpoint.
    status: Option<Status>,
}

/// A subscriber's address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub struct EndpointBody {
    id: EndpointId,
    affiliate_id: Option<AffiliateId>,
    operator_id: Option<OperatorId>,
    url: String,
    event_types: Vec<EventType>,
    status: Status,
    created_at: Timestamp,
}

/// An endpoint that was made, with its first secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedEndpoint {
    #[serde(flatten)]
    endpoint: EndpointBody,
    /// What its messages are signed with (Standard Webhooks). It is not shown again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// A new secret of an endpoint. It is not shown again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedEndpointSecret {
    id: EndpointSecretId,
    endpoint_id: EndpointId,
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
    created_at: Timestamp,
}

impl From<Endpoint> for EndpointBody {
    fn from(row: Endpoint) -> Self {
        let (affiliate_id, operator_id) = match row.owner {
            Owner::Affiliate(id) => (Some(id), None),
            Owner::Operator(id) => (None, Some(id)),
        };
        Self {
            id: row.id,
            affiliate_id,
            operator_id,
            url: row.url,
            event_types: row.event_types,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

fn owner(catalog: &Catalog, new: &NewEndpoint) -> Result<Owner, Problem> {
    match (new.affiliate_id, new.operator_id) {
        (Some(id), None) => {
            let affiliate = catalog.affiliate(id);
            let affiliate =
                affiliate.ok_or_else(|| Problem::of_field("affiliate_id", "There is no such affiliate."))?;
            Ok(Owner::Affiliate(affiliate.id))
        }
        (None, Some(id)) => Ok(Owner::Operator(operator(catalog, id)?.id)),
        _ => Err(Problem::of_field("affiliate_id", "An endpoint belongs to an affiliate or to an operator.")),
    }
}

/// The address, if we are willing to send there.
async fn judged(context: &Context, url: String) -> Result<String, Problem> {
    let sender = context.parts().sender.clone();
    let refused = |error: &dyn std::fmt::Display| Problem::of_field("url", format!("Not accepted: {error}."));
    context.apart(async move { sender.check_url(&url).await.map(|_| url) }).await?.map_err(|error| refused(&error))
}

fn new_secret(endpoint_id: EndpointId, now: Timestamp) -> EndpointSecret {
    EndpointSecret {
        id: EndpointSecretId::new(now),
        endpoint_id,
        secret: SigningSecret::generate(),
        created_at: now,
        expires_at: None,
    }
}

/// Makes an endpoint with a secret.
#[utoipa::path(
    tag = "admin",
    request_body = NewEndpoint,
    responses((status = 201, body = CreatedEndpoint), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/endpoints")]
pub async fn create_endpoint(
    _admin: AdminKey,
    body: Json<NewEndpoint>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let endpoint = Endpoint {
        id: EndpointId::new(now),
        owner: owner(&context.catalog(), &body.0)?,
        url: judged(&context, body.0.url).await?,
        event_types: body.0.event_types,
        status: Status::Active,
        created_at: now,
    };
    let secret = new_secret(endpoint.id, now);
    let text = shown(&secret.secret);
    context.put(vec![Entry::Endpoint(endpoint.clone()), Entry::EndpointSecret(secret)]).await?;
    Ok(created(CreatedEndpoint { endpoint: endpoint.into(), secret: text }))
}

/// All endpoints, newest first.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query),
        ("status" = Option<Status>, Query)
    ),
    responses((status = 200, body = Listed<EndpointBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/endpoints")]
pub async fn list_endpoints(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "affiliate_id", "status"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.endpoints(&filter, page).await };
    list::<EndpointBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Changes an endpoint's address and events, or switches it off and on.
#[utoipa::path(
    tag = "admin",
    params(("id" = EndpointId, Path)),
    request_body = EndpointChange,
    responses((status = 200, body = EndpointBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/endpoints/{id}")]
pub async fn change_endpoint(
    _admin: AdminKey,
    id: PathId<EndpointId>,
    body: Json<EndpointChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut row = Endpoint::clone(context.catalog().endpoint(id.0).ok_or_else(Problem::not_found)?);
    if let Some(url) = body.0.url {
        row.url = judged(&context, url).await?;
    }
    row.event_types = body.0.event_types.unwrap_or(row.event_types);
    row.status = body.0.status.unwrap_or(row.status);
    context.put(vec![Entry::Endpoint(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(EndpointBody::from(row)))
}

/// Makes a new secret for an endpoint. The old ones sign too for a while, so that the receiver can change over.
#[utoipa::path(
    tag = "admin",
    params(("id" = EndpointId, Path)),
    request_body = NewSecret,
    responses((status = 201, body = CreatedEndpointSecret), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/endpoints/{id}/secrets")]
pub async fn create_endpoint_secret(
    _admin: AdminKey,
    id: PathId<EndpointId>,
    body: Json<NewSecret>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let endpoint_id = catalog.endpoint(id.0).ok_or_else(Problem::not_found)?.id;
    let ends_at = now.plus(body.0.overlap()?);
    let new = new_secret(endpoint_id, now);
    let rows = catalog.endpoint_secret_rows(endpoint_id).iter();
    let old = rows.filter(|row| row.expires_at.is_none_or(|end| end > ends_at)).cloned();
    let old = old.map(|row| Entry::EndpointSecret(EndpointSecret { expires_at: Some(ends_at), ..row }));
    context.put(old.chain([Entry::EndpointSecret(new.clone())]).collect()).await?;
    Ok(created(CreatedEndpointSecret { id: new.id, endpoint_id, secret: shown(&new.secret), created_at: now }))
}
