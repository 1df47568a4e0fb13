//! Agreements: an affiliate's own plan in a program.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::page::{ListQuery, Listed, PageParams};
use super::super::problem::{Problem, Problems};
use super::{affiliate, created, plan, program};
use crate::domain::catalog::Agreement;
use crate::domain::ids::{AffiliateId, AgreementId, PlanId, ProgramId};
use crate::domain::time::Timestamp;
use crate::store::configuration::Entry;

/// An agreement to be made, or to be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgreement {
    affiliate_id: AffiliateId,
    program_id: ProgramId,
    /// The plan that beats the program's default.
    plan_id: PlanId,
}

/// An affiliate's own plan in a program.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agreement)]
pub struct AgreementBody {
    id: AgreementId,
    affiliate_id: AffiliateId,
    program_id: ProgramId,
    plan_id: PlanId,
    created_at: Timestamp,
}

impl From<Agreement> for AgreementBody {
    fn from(row: Agreement) -> Self {
        Self {
            id: row.id,
            affiliate_id: row.affiliate_id,
            program_id: row.program_id,
            plan_id: row.plan_id,
            created_at: row.created_at,
        }
    }
}

/// Gives an affiliate a plan of its own in a program; where there is an agreement already, its plan changes.
#[utoipa::path(
    tag = "admin",
    request_body = NewAgreement,
    responses((status = 201, body = AgreementBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/agreements")]
pub async fn create_agreement(
    _admin: AdminKey,
    body: Json<NewAgreement>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, new, now) = (context.catalog(), body.0, context.parts().clock.now());
    let affiliate_id = affiliate(&catalog, new.affiliate_id)?.id;
    let program = program(&catalog, new.program_id)?;
    let plan_id = plan(&catalog, "plan_id", new.plan_id, program.operator_id)?.id;
    let known = catalog.agreement(affiliate_id, program.id).cloned();
    let fresh = Agreement { id: AgreementId::new(now), affiliate_id, program_id: program.id, plan_id, created_at: now };
    let agreement = Agreement { plan_id, ..known.unwrap_or(fresh) };
    context.put(vec![Entry::Agreement(agreement.clone())]).await?;
    Ok(created(AgreementBody::from(agreement)))
}

/// All agreements, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("affiliate_id" = Option<AffiliateId>, Query), ("program_id" = Option<ProgramId>, Query)),
    responses((status = 200, body = Listed<AgreementBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/agreements")]
pub async fn list_agreements(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["affiliate_id", "program_id"])?;
    let (filter, page, catalog) = (&query.filter, query.page(), context.catalog());
    let id = |row: &Agreement| -> Uuid { row.id.uuid() };
    let wanted = |row: &&Agreement| {
        filter.affiliate_id.is_none_or(|affiliate| row.affiliate_id == affiliate)
            && filter.program_id.is_none_or(|program| row.program_id == program)
            && page.before.is_none_or(|before| id(row) < before)
    };
    // They are all in memory, and few.
    let mut rows: Vec<Agreement> = catalog.agreements().filter(wanted).cloned().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    rows.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
    Ok(HttpResponse::Ok().json(query.listed::<_, AgreementBody>(rows, id)))
}
