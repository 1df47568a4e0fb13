//! Sources, and the secrets that their requests are signed with.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, NewSecret, created, operator, shown};
use crate::domain::catalog::{Source, SourceSecret, Status};
use crate::domain::ids::{OperatorId, SourceId, SourceSecretId};
use crate::domain::signature::{InboundScheme, SigningSecret};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// A source to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    operator_id: OperatorId,
    name: Name,
    /// How requests are signed; not at all, if it is left out.
    #[serde(default)]
    signature_scheme: InboundScheme,
    /// Whether the sender may set the payout by itself.
    #[serde(default)]
    payout_override: bool,
    /// Whether a negative amount means a refund of so much; else it is refused.
    #[serde(default)]
    negative_is_refund: bool,
    /// Whether all that comes through it is a test.
    #[serde(default)]
    test: bool,
}

/// What is to change of a source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    name: Option<Name>,
    signature_scheme: Option<InboundScheme>,
    payout_override: Option<bool>,
    negative_is_refund: Option<bool>,
    test: Option<bool>,
    /// An inactive source may not send.
    status: Option<Status>,
}

/// One inbound connection of an operator.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub struct SourceBody {
    id: SourceId,
    operator_id: OperatorId,
    name: String,
    signature_scheme: InboundScheme,
    payout_override: bool,
    negative_is_refund: bool,
    test: bool,
    status: Status,
    created_at: Timestamp,
}

/// A new secret of a source. It is not shown again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedSourceSecret {
    id: SourceSecretId,
    source_id: SourceId,
    /// The secret: sign with it as the source's scheme says.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
    created_at: Timestamp,
}

impl From<Source> for SourceBody {
    fn from(row: Source) -> Self {
        Self {
            id: row.id,
            operator_id: row.operator_id,
            name: row.name,
            signature_scheme: row.signature_scheme,
            payout_override: row.payout_override,
            negative_is_refund: row.negative_is_refund,
            test: row.test,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

/// Makes a source.
#[utoipa::path(
    tag = "admin",
    request_body = NewSource,
    responses((status = 201, body = SourceBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/sources")]
pub async fn create_source(
    _admin: AdminKey,
    body: Json<NewSource>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let source = Source {
        id: SourceId::new(now),
        operator_id: operator(&context.catalog(), body.0.operator_id)?.id,
        name: body.0.name.0,
        signature_scheme: body.0.signature_scheme,
        payout_override: body.0.payout_override,
        negative_is_refund: body.0.negative_is_refund,
        test: body.0.test,
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Source(source.clone())]).await?;
    Ok(created(SourceBody::from(source)))
}

/// All sources, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("status" = Option<Status>, Query)),
    responses((status = 200, body = Listed<SourceBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/sources")]
pub async fn list_sources(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "status"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.sources(&filter, page).await };
    list::<SourceBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Changes how a source's requests are signed and what it may do, or switches it off and on.
#[utoipa::path(
    tag = "admin",
    params(("id" = SourceId, Path)),
    request_body = SourceChange,
    responses((status = 200, body = SourceBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/sources/{id}")]
pub async fn change_source(
    _admin: AdminKey,
    id: PathId<SourceId>,
    body: Json<SourceChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (mut row, change) = (context.catalog().source(id.0).cloned().ok_or_else(Problem::not_found)?, body.0);
    row.name = change.name.map_or(row.name, |name| name.0);
    row.signature_scheme = change.signature_scheme.unwrap_or(row.signature_scheme);
    row.payout_override = change.payout_override.unwrap_or(row.payout_override);
    row.negative_is_refund = change.negative_is_refund.unwrap_or(row.negative_is_refund);
    row.test = change.test.unwrap_or(row.test);
    row.status = change.status.unwrap_or(row.status);
    context.put(vec![Entry::Source(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(SourceBody::from(row)))
}

/// Makes a new secret for a source. The old ones stay valid for a while, so that the sender can change over.
#[utoipa::path(
    tag = "admin",
    params(("id" = SourceId, Path)),
    request_body = NewSecret,
    responses((status = 201, body = CreatedSourceSecret), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/sources/{id}/secrets")]
pub async fn create_source_secret(
    _admin: AdminKey,
    id: PathId<SourceId>,
    body: Json<NewSecret>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let source_id = catalog.source(id.0).ok_or_else(Problem::not_found)?.id;
    let ends_at = now.plus(body.0.overlap()?);
    let secret = SigningSecret::generate();
    let new = SourceSecret {
        id: SourceSecretId::new(now),
        source_id,
        secret: secret.clone(),
        created_at: now,
        expires_at: None,
    };
    let old = catalog.source_secret_rows(source_id).iter().filter(|row| row.expires_at.is_none_or(|end| end > ends_at));
    let old = old.cloned().map(|row| Entry::SourceSecret(SourceSecret { expires_at: Some(ends_at), ..row }));
    context.put(old.chain([Entry::SourceSecret(new.clone())]).collect()).await?;
    Ok(created(CreatedSourceSecret { id: new.id, source_id, secret: shown(&secret), created_at: now }))
}
