//! Plans, and the immutable versions of their terms.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, created, operator};
use crate::domain::catalog::Plan;
use crate::domain::ids::{OperatorId, PlanId, PlanVersionId};
use crate::domain::plan::{PlanVersion, Terms};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// A plan to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    operator_id: OperatorId,
    name: Name,
}

/// A name for a row of versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanBody {
    id: PlanId,
    operator_id: OperatorId,
    name: String,
    created_at: Timestamp,
}

/// A version to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlanVersion {
    /// From when it applies; from now on, if it is left out.
    valid_from: Option<Timestamp>,
    terms: Terms,
}

/// One immutable version of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanVersion)]
pub struct PlanVersionBody {
    id: PlanVersionId,
    plan_id: PlanId,
    /// From when it applies, until the next version's.
    valid_from: Timestamp,
    terms: Terms,
}

impl From<Plan> for PlanBody {
    fn from(row: Plan) -> Self {
        Self { id: row.id, operator_id: row.operator_id, name: row.name, created_at: row.created_at }
    }
}

impl From<PlanVersion> for PlanVersionBody {
    fn from(row: PlanVersion) -> Self {
        Self { id: row.id, plan_id: row.plan_id, valid_from: row.valid_from, terms: row.terms }
    }
}

/// Makes a plan. It pays nothing until it has a version.
#[utoipa::path(
    tag = "admin",
    request_body = NewPlan,
    responses((status = 201, body = PlanBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/plans")]
pub async fn create_plan(
    _admin: AdminKey,
    body: Json<NewPlan>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let operator_id = operator(&context.catalog(), body.0.operator_id)?.id;
    let plan = Plan { id: PlanId::new(now), operator_id, name: body.0.name.0, created_at: now };
    context.put(vec![Entry::Plan(plan.clone())]).await?;
    Ok(created(PlanBody::from(plan)))
}

/// All plans, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query)),
    responses((status = 200, body = Listed<PlanBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/plans")]
pub async fn list_plans(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.plans(&filter, page).await };
    list::<PlanBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Makes a version of a plan. It is never changed; of two with the same `valid_from` the later one corrects the other.
#[utoipa::path(
    tag = "admin",
    params(("id" = PlanId, Path)),
    request_body = NewPlanVersion,
    responses((status = 201, body = PlanVersionBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/plans/{id}/versions")]
pub async fn create_plan_version(
    _admin: AdminKey,
    id: PathId<PlanId>,
    body: Json<NewPlanVersion>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let now = context.parts().clock.now();
    let plan_id = context.catalog().plan(id.0).ok_or_else(Problem::not_found)?.id;
    body.0.terms.check().map_err(|_| {
        Problem::of_field("terms", "A fixed plan has at least one rate, one for each goal, none of them negative.")
    })?;
    let version = PlanVersion {
        id: PlanVersionId::new(now),
        plan_id,
        valid_from: body.0.valid_from.unwrap_or(now),
        terms: body.0.terms,
    };
    context.put(vec![Entry::PlanVersion { version: version.clone(), created_at: now }]).await?;
    Ok(created(PlanVersionBody::from(version)))
}

/// The versions of a plan, newest first.
#[utoipa::path(
    tag = "admin",
    params(("id" = PlanId, Path), PageParams),
    responses((status = 200, body = Listed<PlanVersionBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/plans/{id}/versions")]
pub async fn list_plan_versions(
    _admin: AdminKey,
    id: PathId<PlanId>,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let mut query = ListQuery::read(request.query_string(), &[])?;
    query.filter.plan_id = Some(context.catalog().plan(id.0).ok_or_else(Problem::not_found)?.id);
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.plan_versions(&filter, page).await };
    list::<PlanVersionBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}
