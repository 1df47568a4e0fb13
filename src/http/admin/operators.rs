//! Operators. Each is made with its canonical source.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::sources::SourceBody;
use super::{Name, created};
use crate::domain::catalog::{Operator, Source, Status};
use crate::domain::ids::{OperatorId, SourceId};
use crate::domain::signature::InboundScheme;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// An operator to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    name: Name,
}

/// What is to change of an operator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorChange {
    name: Option<Name>,
    /// An inactive operator's sources may not send.
    status: Option<Status>,
}

/// The advertiser whose servers fire postbacks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operator)]
pub struct OperatorBody {
    id: OperatorId,
    name: String,
    status: Status,
    created_at: Timestamp,
}

/// An operator that was made, with its canonical source.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedOperator {
    #[serde(flatten)]
    operator: OperatorBody,
    canonical_source: SourceBody,
}

impl From<Operator> for OperatorBody {
    fn from(row: Operator) -> Self {
        Self { id: row.id, name: row.name, status: row.status, created_at: row.created_at }
    }
}

/// Makes an operator, and its canonical source, whose requests are not signed until that is changed.
#[utoipa::path(
    tag = "admin",
    request_body = NewOperator,
    responses((status = 201, body = CreatedOperator), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/operators")]
pub async fn create_operator(
    _admin: AdminKey,
    body: Json<NewOperator>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let id = OperatorId::new(now);
    let operator = Operator { id, name: body.0.name.0, status: Status::Active, created_at: now };
    let source = Source {
        id: SourceId::new(now),
        operator_id: id,
        name: "canonical".to_owned(),
        signature_scheme: InboundScheme::None,
        payout_override: false,
        negative_is_refund: false,
        test: false,
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Operator(operator.clone()), Entry::Source(source.clone())]).await?;
    Ok(created(CreatedOperator { operator: operator.into(), canonical_source: source.into() }))
}

/// All operators, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams),
    responses((status = 200, body = Listed<OperatorBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/operators")]
pub async fn list_operators(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &[])?;
    let ask = |store: Arc<dyn Store>, _filter, page| async move { store.operators(page).await };
    list::<OperatorBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Changes an operator's name, or switches it off and on.
#[utoipa::path(
    tag = "admin",
    params(("id" = OperatorId, Path)),
    request_body = OperatorChange,
    responses((status = 200, body = OperatorBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/operators/{id}")]
pub async fn change_operator(
    _admin: AdminKey,
    id: PathId<OperatorId>,
    body: Json<OperatorChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut row = context.catalog().operator(id.0).cloned().ok_or_else(Problem::not_found)?;
    row.name = body.0.name.map_or(row.name, |name| name.0);
    row.status = body.0.status.unwrap_or(row.status);
    context.put(vec![Entry::Operator(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(OperatorBody::from(row)))
}
