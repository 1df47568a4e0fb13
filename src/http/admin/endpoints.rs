//! Endpoints: subscribers' addresses, and what they are told there. An address is judged when it is registered, and again
//! at each attempt.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{NewSecret, affiliate, created, operator, shown};
use crate::delivery::disabling::Disabler;
use crate::domain::catalog::{Catalog, EndpointSecret, Owner};
use crate::domain::endpoint::{Endpoint, EndpointKind, EndpointStatus, Subscription};
use crate::domain::event::EventType;
use crate::domain::ids::{AffiliateId, EndpointId, EndpointSecretId, OperatorId};
use crate::domain::macros::Template;
use crate::domain::postback::{ConversionStatus, Identifier};
use crate::domain::signature::SigningSecret;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Code;
use crate::store::Store;
use crate::store::configuration::Entry;

/// An endpoint to be made: an affiliate's or an operator's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    affiliate_id: Option<AffiliateId>,
    operator_id: Option<OperatorId>,
    /// A webhook is a signed POST, a postback an unsigned GET with macros.
    #[serde(default)]
    kind: EndpointKind,
    /// Of a postback with macros such as `{click_id}` in its path and query.
    #[schema(example = "https://hooks.example.com/postback")]
    url: String,
    /// Which events it wants; empty means all.
    #[serde(default)]
    event_types: Vec<EventType>,
    /// Of which goals, by their names; empty means all. What concerns no goal is not sent where one is named.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["sale"]))]
    goals: Vec<Identifier>,
    /// At which statuses of the conversion; empty means all. What concerns no conversion is not sent where one is named.
    #[serde(default)]
    statuses: Vec<ConversionStatus>,
    /// The only status that says that a message was taken; without it any 2xx does. Redirects are never followed.
    #[schema(minimum = 200, maximum = 399)]
    expected_status: Option<u16>,
}

/// What is to change of an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChange {
    url: Option<String>,
    event_types: Option<Vec<EventType>>,
    #[schema(value_type = Option<Vec<String>>)]
    goals: Option<Vec<Identifier>>,
    statuses: Option<Vec<ConversionStatus>>,
    /// `null` means any 2xx again.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 200, maximum = 399)]
    expected_status: Option<Option<u16>>,
    /// What an endpoint that is not active would get is held until it is.
    status: Option<EndpointStatus>,
}

/// Tells a field that is null from one that is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u16>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// A subscriber's address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub struct EndpointBody {
    id: EndpointId,
    affiliate_id: Option<AffiliateId>,
    operator_id: Option<OperatorId>,
    kind: EndpointKind,
    url: String,
    event_types: Vec<EventType>,
    #[schema(value_type = Vec<String>)]
    goals: Vec<Identifier>,
    statuses: Vec<ConversionStatus>,
    expected_status: Option<u16>,
    status: EndpointStatus,
    /// Why it is not active.
    status_reason: Option<String>,
    created_at: Timestamp,
}

/// An endpoint that was made; a webhook with its first secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedEndpoint {
    #[serde(flatten)]
    endpoint: EndpointBody,
    /// What its messages are signed with (Standard Webhooks). It is not shown again. A postback has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
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
            kind: row.kind,
            url: row.url,
            event_types: row.subscription.event_types,
            goals: row.subscription.goals,
            statuses: row.subscription.statuses,
            expected_status: row.expected_status,
            status: row.status,
            status_reason: row.status_reason,
            created_at: row.created_at,
        }
    }
}

fn owner(catalog: &Catalog, new: &NewEndpoint) -> Result<Owner, Problem> {
    match (new.affiliate_id, new.operator_id) {
        (Some(id), None) => Ok(Owner::Affiliate(affiliate(catalog, id)?.id)),
        (None, Some(id)) => Ok(Owner::Operator(operator(catalog, id)?.id)),
        _ => Err(Problem::of_field("affiliate_id", "An endpoint belongs to an affiliate or to an operator.")),
    }
}

/// The address, if we are willing to send there; of a postback if its macros are known and none leads elsewhere.
async fn judged(context: &Context, kind: EndpointKind, url: String) -> Result<String, Problem> {
    let sender = context.parts().sender.clone();
    let refused = |error: &dyn std::fmt::Display| Problem::of_field("url", format!("Not accepted: {error}."));
    let called = match kind {
        EndpointKind::Webhook => url.clone(),
        EndpointKind::Postback => Template::parse(&url).map_err(|error| refused(&error))?.sample(),
    };
    let checked = context.apart(async move { sender.check_url(&called).await.map(|_| url) });
    checked.await?.map_err(|error| refused(&error).reason(error.slug()))
}

fn expected(status: Option<u16>) -> Result<Option<u16>, Problem> {
    match status {
        Some(status) if !(200..400).contains(&status) => {
            Err(Problem::of_field("expected_status", "An expected status is one from 200 to 399."))
        }
        fits => Ok(fits),
    }
}

fn disabler(context: &Context) -> Disabler {
    let parts = context.parts();
    Disabler {
        store: parts.store.clone(),
        catalog: Arc::clone(&parts.catalog),
        relay: parts.relay.clone(),
        clock: parts.clock.clone(),
        republish_after: parts.settings.delivery.republish_after,
    }
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

/// Makes an endpoint; a webhook gets a secret.
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
    let (new, now) = (body.0, context.parts().clock.now());
    let endpoint = Endpoint {
        id: EndpointId::new(now),
        owner: owner(&context.catalog(), &new)?,
        kind: new.kind,
        url: judged(&context, new.kind, new.url).await?,
        subscription: Subscription { event_types: new.event_types, goals: new.goals, statuses: new.statuses },
        expected_status: expected(new.expected_status)?,
        status: EndpointStatus::Active,
        status_reason: None,
        created_at: now,
    };
    let secret = (endpoint.kind == EndpointKind::Webhook).then(|| new_secret(endpoint.id, now));
    let text = secret.as_ref().map(|secret| shown(&secret.secret));
    let rows = [Some(Entry::Endpoint(endpoint.clone())), secret.map(Entry::EndpointSecret)];
    context.put(rows.into_iter().flatten().collect()).await?;
    Ok(created(CreatedEndpoint { endpoint: endpoint.into(), secret: text }))
}

/// All endpoints, newest first.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query),
        ("status" = Option<EndpointStatus>, Query)
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

/// Changes an endpoint's address and what it wants, pauses it, disables it, or makes it active again. What waits for it is
/// held meanwhile.
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
    let change = body.0;
    if let Some(url) = change.url {
        row.url = judged(&context, row.kind, url).await?;
    }
    let Subscription { event_types, goals, statuses } = row.subscription;
    row.subscription = Subscription {
        event_types: change.event_types.unwrap_or(event_types),
        goals: change.goals.unwrap_or(goals),
        statuses: change.statuses.unwrap_or(statuses),
    };
    row.expected_status = expected(change.expected_status.unwrap_or(row.expected_status))?;
    let disabled = change.status == Some(EndpointStatus::Disabled);
    // To disable is more than to write the row: the owner's other endpoints are told.
    if let Some(status) = change.status.filter(|_| !disabled) {
        (row.status, row.status_reason) = (status, None);
    }
    let id = row.id;
    let mut catalog = context.put(vec![Entry::Endpoint(row.clone())]).await?;
    if disabled {
        let disabler = disabler(&context);
        context.apart(async move { disabler.by_a_person(&row).await }).await??;
        catalog = context.catalog();
    }
    let row = Endpoint::clone(catalog.endpoint(id).ok_or_else(Problem::not_found)?);
    Ok(HttpResponse::Ok().json(EndpointBody::from(row)))
}

/// Makes a new secret for a webhook. The old ones sign too for a while, so that the receiver can change over.
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
    let endpoint = catalog.endpoint(id.0).ok_or_else(Problem::not_found)?;
    if endpoint.kind == EndpointKind::Postback {
        return Err(Problem::of(Code::Conflict).saying("A postback is not signed, so it has no secret."));
    }
    let endpoint_id = endpoint.id;
    let ends_at = now.plus(body.0.overlap()?);
    let new = new_secret(endpoint_id, now);
    let rows = catalog.endpoint_secret_rows(endpoint_id).iter();
    let old = rows.filter(|row| row.expires_at.is_none_or(|end| end > ends_at)).cloned();
    let old = old.map(|row| Entry::EndpointSecret(EndpointSecret { expires_at: Some(ends_at), ..row }));
    context.put(old.chain([Entry::EndpointSecret(new.clone())]).collect()).await?;
    Ok(created(CreatedEndpointSecret { id: new.id, endpoint_id, secret: shown(&new.secret), created_at: now }))
}
