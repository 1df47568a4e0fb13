//! Coupons: codes that say who sent a buyer where neither a customer nor a click does.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams};
use super::super::problem::{Problem, Problems};
use super::{affiliate, created, program};
use crate::domain::catalog::{Coupon, Status};
use crate::domain::ids::{AffiliateId, CouponId, OperatorId, ProgramId};
use crate::domain::postback::Identifier;
use crate::domain::time::Timestamp;
use crate::store::configuration::Entry;

/// A coupon to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCoupon {
    program_id: ProgramId,
    affiliate_id: AffiliateId,
    /// The code, exactly as postbacks carry it; one of its kind for the operator.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "ZOE10")]
    code: Identifier,
}

/// What is to change of a coupon.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CouponChange {
    /// An inactive coupon says nothing.
    status: Status,
}

/// A code that says who sent a buyer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupon)]
pub struct CouponBody {
    id: CouponId,
    operator_id: OperatorId,
    program_id: ProgramId,
    affiliate_id: AffiliateId,
    code: String,
    status: Status,
    created_at: Timestamp,
}

impl From<Coupon> for CouponBody {
    fn from(row: Coupon) -> Self {
        Self {
            id: row.id,
            operator_id: row.operator_id,
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            code: row.code,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

/// Makes a coupon.
#[utoipa::path(
    tag = "admin",
    request_body = NewCoupon,
    responses((status = 201, body = CouponBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/coupons")]
pub async fn create_coupon(
    _admin: AdminKey,
    body: Json<NewCoupon>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, new, now) = (context.catalog(), body.0, context.parts().clock.now());
    let program = program(&catalog, new.program_id)?;
    let coupon = Coupon {
        id: CouponId::new(now),
        operator_id: program.operator_id,
        program_id: program.id,
        affiliate_id: affiliate(&catalog, new.affiliate_id)?.id,
        code: new.code.as_str().to_owned(),
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Coupon(coupon.clone())]).await?;
    Ok(created(CouponBody::from(coupon)))
}

/// All coupons, newest first.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("program_id" = Option<ProgramId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query)
    ),
    responses((status = 200, body = Listed<CouponBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/coupons")]
pub async fn list_coupons(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "program_id", "affiliate_id"])?;
    let (filter, page, catalog) = (&query.filter, query.page(), context.catalog());
    let id = |row: &Coupon| -> Uuid { row.id.uuid() };
    let wanted = |row: &&Coupon| {
        filter.operator_id.is_none_or(|operator| row.operator_id == operator)
            && filter.program_id.is_none_or(|program| row.program_id == program)
            && filter.affiliate_id.is_none_or(|affiliate| row.affiliate_id == affiliate)
            && page.before.is_none_or(|before| id(row) < before)
    };
    // They are all in memory.
    let mut rows: Vec<Coupon> = catalog.coupons().filter(wanted).cloned().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    rows.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
    Ok(HttpResponse::Ok().json(query.listed::<_, CouponBody>(rows, id)))
}

/// Switches a coupon off and on.
#[utoipa::path(
    tag = "admin",
    params(("id" = CouponId, Path)),
    request_body = CouponChange,
    responses((status = 200, body = CouponBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/coupons/{id}")]
pub async fn change_coupon(
    _admin: AdminKey,
    id: PathId<CouponId>,
    body: Json<CouponChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let catalog = context.catalog();
    let row = catalog.coupons().find(|row| row.id == id.0).ok_or_else(Problem::not_found)?;
    let row = Coupon { status: body.0.status, ..row.clone() };
    context.put(vec![Entry::Coupon(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(CouponBody::from(row)))
}
