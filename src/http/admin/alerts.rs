//! Alerts that are open now.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::problem::{Problem, Problems};

/// What is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAlerts {
    items: Vec<OpenAlert>,
}

/// An alert that is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAlert {
    /// Its stable name.
    #[schema(example = "queue_depth")]
    name: String,
}

/// The alerts that are open now.
#[utoipa::path(
    tag = "admin",
    responses((status = 200, body = OpenAlerts), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/alerts")]
pub async fn list_alerts(_admin: AdminKey, context: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let names = context.ask(|store| async move { store.open_alerts().await }).await?;
    let items = names.into_iter().map(|name| OpenAlert { name }).collect();
    Ok(HttpResponse::Ok().json(OpenAlerts { items }))
}
