//! Programs: offers of operators.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, commission_hold_days, created, operator, plan};
use crate::domain::catalog::{Program, Status};
use crate::domain::customer::AttributionRule;
use crate::domain::ids::{OperatorId, PlanId, ProgramId};
use crate::domain::money::Currency;
use crate::domain::time::Timestamp;
use crate::intake::visit::CLICK_ID_MACRO;
use crate::store::Store;
use crate::store::configuration::Entry;

/// The longest destination.
const MAX_DESTINATION_BYTES: usize = 2048;
/// The longest attribution window.
const MAX_WINDOW_DAYS: i32 = 3650;

/// Where visitors are sent: an http or https address with `{click_id}` behind its host.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, example = "https://shop.example.com/?ref={click_id}")]
pub struct Destination(String);

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_destination(&text) {
            return Ok(Self(text));
        }
        let sentence = "a destination is an http or https address of at most 2048 bytes in ASCII, without a user name, \
             with {click_id} behind its host";
        Err(D::Error::custom(sentence))
    }
}

fn is_destination(text: &str) -> bool {
    let plain = text.len() <= MAX_DESTINATION_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let of = |click_id: &str| Url::parse(&text.replace(CLICK_ID_MACRO, click_id)).ok();
    let (Some(one), Some(other)) = (of("a"), of("b")) else { return false };
    // A click id in the host would send visitors, with what they carry, to whoever owns that name.
    let authority = |url: &Url| (url.host_str().map(str::to_owned), url.port());
    let web = matches!(one.scheme(), "http" | "https") && one.username().is_empty() && one.password().is_none();
    plain && web && text.contains(CLICK_ID_MACRO) && authority(&one) == authority(&other)
}

/// A program to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProgram {
    operator_id: OperatorId,
    name: Name,
    /// The currency of amounts that come without one.
    currency: Currency,
    destination_url: Destination,
    /// How many days after its click a conversion is still attributed to it.
    #[serde(default = "default_window_days")]
    #[schema(default = 30, minimum = 1, maximum = 3650)]
    attribution_window_days: i32,
    /// Whether a customer's binding or the click counts first.
    #[serde(default)]
    attribution: AttributionRule,
    /// The plan for affiliates without an agreement.
    default_plan_id: Option<PlanId>,
    /// For how many days a commission is held after it was booked, before it may be paid.
    #[serde(default)]
    #[schema(default = 0, minimum = 0, maximum = 3650)]
    commission_hold_days: i32,
}

const fn default_window_days() -> i32 {
    30
}

/// What is to change of a program.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgramChange {
    name: Option<Name>,
    destination_url: Option<Destination>,
    #[schema(minimum = 1, maximum = 3650)]
    attribution_window_days: Option<i32>,
    /// Whether a customer's binding or the click counts first.
    attribution: Option<AttributionRule>,
    default_plan_id: Option<PlanId>,
    /// Holds for what is booked from now on.
    #[schema(minimum = 0, maximum = 3650)]
    commission_hold_days: Option<i32>,
    /// An inactive program takes no new conversions and redirects nobody.
    status: Option<Status>,
}

/// An offer of one operator.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Program)]
pub struct ProgramBody {
    id: ProgramId,
    operator_id: OperatorId,
    name: String,
    currency: Currency,
    destination_url: String,
    attribution_window_days: i32,
    attribution: AttributionRule,
    default_plan_id: Option<PlanId>,
    commission_hold_days: i32,
    status: Status,
    created_at: Timestamp,
}

impl From<Program> for ProgramBody {
    fn from(row: Program) -> Self {
        Self {
            id: row.id,
            operator_id: row.operator_id,
            name: row.name,
            currency: row.currency,
            destination_url: row.destination_url,
            attribution_window_days: row.attribution_window_days,
            attribution: row.attribution,
            default_plan_id: row.default_plan_id,
            commission_hold_days: row.commission_hold_days,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

fn window_days(days: i32) -> Result<i32, Problem> {
    let fits = (1..=MAX_WINDOW_DAYS).contains(&days);
    fits.then_some(days).ok_or_else(|| Problem::of_field("attribution_window_days", "A window has 1 to 3650 days."))
}

/// Makes a program.
#[utoipa::path(
    tag = "admin",
    request_body = NewProgram,
    responses((status = 201, body = ProgramBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/programs")]
pub async fn create_program(
    _admin: AdminKey,
    body: Json<NewProgram>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, new, now) = (context.catalog(), body.0, context.parts().clock.now());
    let operator_id = operator(&catalog, new.operator_id)?.id;
    if let Some(id) = new.default_plan_id {
        plan(&catalog, "default_plan_id", id, operator_id)?;
    }
    let program = Program {
        id: ProgramId::new(now),
        operator_id,
        name: new.name.0,
        currency: new.currency,
        destination_url: new.destination_url.0,
        attribution_window_days: window_days(new.attribution_window_days)?,
        attribution: new.attribution,
        default_plan_id: new.default_plan_id,
        commission_hold_days: commission_hold_days(new.commission_hold_days)?,
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Program(program.clone())]).await?;
    Ok(created(ProgramBody::from(program)))
}

/// All programs, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("status" = Option<Status>, Query)),
    responses((status = 200, body = Listed<ProgramBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/programs")]
pub async fn list_programs(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "status"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.programs(&filter, page).await };
    list::<ProgramBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Changes a program, or switches it off and on. Its currency and its operator stay.
#[utoipa::path(
    tag = "admin",
    params(("id" = ProgramId, Path)),
    request_body = ProgramChange,
    responses((status = 200, body = ProgramBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/programs/{id}")]
pub async fn change_program(
    _admin: AdminKey,
    id: PathId<ProgramId>,
    body: Json<ProgramChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, change) = (context.catalog(), body.0);
    let mut row = catalog.program(id.0).cloned().ok_or_else(Problem::not_found)?;
    if let Some(id) = change.default_plan_id {
        row.default_plan_id = Some(plan(&catalog, "default_plan_id", id, row.operator_id)?.id);
    }
    row.name = change.name.map_or(row.name, |name| name.0);
    row.destination_url = change.destination_url.map_or(row.destination_url, |url| url.0);
    row.attribution_window_days = window_days(change.attribution_window_days.unwrap_or(row.attribution_window_days))?;
    row.attribution = change.attribution.unwrap_or(row.attribution);
    row.commission_hold_days = commission_hold_days(change.commission_hold_days.unwrap_or(row.commission_hold_days))?;
    row.status = change.status.unwrap_or(row.status);
    context.put(vec![Entry::Program(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(ProgramBody::from(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for good in ["https://shop.example.com/?ref={click_id}", "http://shop.example.com/{click_id}/x#y"] {
            assert!(is_destination(good), "{good}");
        }
        for bad in [
            "https://shop.example.com/",
            "https://{click_id}.example.com/",
            "https://shop.example.com:{click_id}/",
            "https://u:p@shop.example.com/{click_id}",
            "javascript:alert('{click_id}')",
            "/{click_id}",
            "https://shop.example.com/{click_id}\r\nx: y",
            "https://shop.example.com/ü{click_id}",
        ] {
            assert!(!is_destination(bad), "{bad}");
        }
    }
}
