//! Alerts that are open, and those that were.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use crate::alerts::tell;
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::alerts::AlertView;

/// One opening of an alert.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub struct AlertBody {
    id: AlertId,
    /// Its stable name.
    #[schema(example = "queue_depth")]
    name: String,
    /// `open` or `closed`.
    #[schema(value_type = String, example = "open")]
    state: &'static str,
    /// What it is about, such as a source; empty where there is only one.
    subject: String,
    /// The value when it was last seen to hold; what it counts is in the operations guide.
    value: i64,
    opened_at: Timestamp,
    /// When it closed; null while it is open.
    closed_at: Option<Timestamp>,
    /// What a person should do.
    #[schema(value_type = String)]
    advice: &'static str,
}

impl From<AlertView> for AlertBody {
    fn from(view: AlertView) -> Self {
        Self {
            id: view.id,
            state: if view.closed_at.is_some() { "closed" } else { "open" },
            advice: tell::advice(&view.name),
            name: view.name,
            subject: view.subject,
            value: view.value,
            opened_at: view.opened_at,
            closed_at: view.closed_at,
        }
    }
}

/// Alerts, those that are open and those that were, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("state" = Option<String>, Query, description = "open or closed.")),
    responses((status = 200, body = Listed<AlertBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/alerts")]
pub async fn list_alerts(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["state"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.alerts(&filter, page).await };
    list::<AlertBody, _, _>(&context, query, ask, |view| view.id.uuid()).await
}
