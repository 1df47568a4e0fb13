//! Plans, the immutable versions of their terms, and what a conversion would earn by them.

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
use crate::domain::commission::{self, Facts, NoCommission};
use crate::domain::explanation::Explanation;
use crate::domain::ids::{OperatorId, PlanId, PlanVersionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::plan::{PlanVersion, Terms};
use crate::domain::postback::Identifier;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// What terms must be.
const TERMS: &str = "Terms have at least one rate and one for each goal; an amount is not negative, and a percentage \
    recurs for 1 to 1200 months or is given no months.";

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

/// A conversion that has not happened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// The goal's name.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "sale")]
    goal: Identifier,
    /// Its amount, if it has one.
    amount: Option<Amount>,
    /// Its currency.
    currency: Currency,
    /// When it happens; now, if it is left out.
    occurred_at: Option<Timestamp>,
    /// When the customer's first conversion of the goal happened; this one, if it is left out.
    first_at: Option<Timestamp>,
}

/// What a conversion would earn.
#[derive(Debug, Serialize, ToSchema)]
pub struct Simulated {
    #[schema(example = "15.00")]
    amount: Option<String>,
    currency: Option<Currency>,
    /// Why it would earn nothing, if it would not.
    no_commission: Option<NoCommission>,
    /// How the amount comes about, as it would be stored.
    #[schema(value_type = Option<Object>)]
    explanation: Option<Explanation>,
    /// The computation, step by step.
    steps: Vec<String>,
}

impl From<Result<Explanation, NoCommission>> for Simulated {
    fn from(computed: Result<Explanation, NoCommission>) -> Self {
        let (explanation, no_commission) = (computed.as_ref().ok().cloned(), computed.err());
        Self {
            amount: explanation.as_ref().map(|explained| explained.result.amount_text()),
            currency: explanation.as_ref().map(|explained| explained.result.currency),
            no_commission,
            steps: explanation.as_ref().map(Explanation::steps).unwrap_or_default(),
            explanation,
        }
    }
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
    body.0.terms.check().map_err(|_| Problem::of_field("terms", TERMS))?;
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

/// Computes what a conversion would earn by a plan. Nothing is stored.
#[utoipa::path(
    tag = "admin",
    params(("id" = PlanId, Path)),
    request_body = Simulation,
    responses((status = 200, body = Simulated), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/plans/{id}/simulate")]
pub async fn simulate_plan(
    _admin: AdminKey,
    id: PathId<PlanId>,
    body: Json<Simulation>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, asked) = (context.catalog(), body.0);
    let plan_id = catalog.plan(id.0).ok_or_else(Problem::not_found)?.id;
    let occurred_at = asked.occurred_at.unwrap_or_else(|| context.parts().clock.now());
    let facts = Facts {
        goal: asked.goal.as_str(),
        occurred_at,
        currency: asked.currency,
        amount: asked.amount,
        payout: None,
        first_at: asked.first_at.unwrap_or(occurred_at),
    };
    let computed = catalog.plan_version(plan_id, occurred_at).map(|version| commission::compute(version, facts));
    let computed = computed.unwrap_or(Ok(Err(NoCommission::NoPlanVersion)));
    let too_large = |_| Problem::of_field("amount", "What it would earn is more than an amount can be.");
    Ok(HttpResponse::Ok().json(Simulated::from(computed.map_err(too_large)?)))
}
