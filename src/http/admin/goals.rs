//! Goals: named steps of programs.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{commission_hold_days, created, program};
use crate::domain::catalog::{Goal, GoalPolicy};
use crate::domain::ids::{GoalId, OperatorId, ProgramId};
use crate::domain::postback::{ConversionStatus, Identifier};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// The longest time that can be asked for between click and conversion: a year.
const MAX_CLICK_SECONDS: i64 = 365 * 86_400;

/// The longest hold, in days.
const MAX_HOLD_DAYS: i32 = 365;

/// A goal to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGoal {
    program_id: ProgramId,
    /// The name that senders use.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "lead")]
    name: Identifier,
    /// How often it counts for one click.
    #[serde(default)]
    policy: GoalPolicy,
    /// The status of a conversion that comes without one.
    #[serde(default = "default_status")]
    default_status: ConversionStatus,
    /// The least number of seconds between click and conversion.
    #[serde(default)]
    #[schema(default = 0, minimum = 0, maximum = 31536000)]
    min_click_seconds: i64,
    /// After how many days on hold a conversion is approved by itself; never, if it is left out.
    #[schema(minimum = 0, maximum = 365)]
    hold_days: Option<i32>,
    /// For how many days a commission is held after it was booked; the program's number, if it is left out.
    #[schema(minimum = 0, maximum = 3650)]
    commission_hold_days: Option<i32>,
}

const fn default_status() -> ConversionStatus {
    ConversionStatus::Approved
}

/// A named step of a program.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Goal)]
pub struct GoalBody {
    id: GoalId,
    program_id: ProgramId,
    name: String,
    policy: GoalPolicy,
    default_status: ConversionStatus,
    min_click_seconds: i64,
    hold_days: Option<i32>,
    /// Where it differs from the program's.
    commission_hold_days: Option<i32>,
    created_at: Timestamp,
}

impl From<Goal> for GoalBody {
    fn from(row: Goal) -> Self {
        Self {
            id: row.id,
            program_id: row.program_id,
            name: row.name,
            policy: row.policy,
            default_status: row.default_status,
            min_click_seconds: row.min_click_seconds,
            hold_days: row.hold_days,
            commission_hold_days: row.commission_hold_days,
            created_at: row.created_at,
        }
    }
}

/// Makes a goal.
#[utoipa::path(
    tag = "admin",
    request_body = NewGoal,
    responses((status = 201, body = GoalBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/goals")]
pub async fn create_goal(
    _admin: AdminKey,
    body: Json<NewGoal>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (new, now) = (body.0, context.parts().clock.now());
    if !(0..=MAX_CLICK_SECONDS).contains(&new.min_click_seconds) {
        return Err(Problem::of_field("min_click_seconds", "It lies between 0 and 31536000 seconds."));
    }
    if new.hold_days.is_some_and(|days| !(0..=MAX_HOLD_DAYS).contains(&days)) {
        return Err(Problem::of_field("hold_days", "A hold lasts 0 to 365 days."));
    }
    if !matches!(new.default_status, ConversionStatus::Pending | ConversionStatus::Approved | ConversionStatus::Hold) {
        return Err(Problem::of_field("default_status", "A conversion begins as pending, approved or hold."));
    }
    let goal = Goal {
        id: GoalId::new(now),
        program_id: program(&context.catalog(), new.program_id)?.id,
        name: new.name.as_str().to_owned(),
        policy: new.policy,
        default_status: new.default_status,
        min_click_seconds: new.min_click_seconds,
        hold_days: new.hold_days,
        commission_hold_days: new.commission_hold_days.map(commission_hold_days).transpose()?,
        created_at: now,
    };
    context.put(vec![Entry::Goal(goal.clone())]).await?;
    Ok(created(GoalBody::from(goal)))
}

/// All goals, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("program_id" = Option<ProgramId>, Query)),
    responses((status = 200, body = Listed<GoalBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/goals")]
pub async fn list_goals(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "program_id"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.goals(&filter, page).await };
    list::<GoalBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}
