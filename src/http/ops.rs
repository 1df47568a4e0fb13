//! For those who run the service: alive, ready, and what it counts.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::context::Context;
use super::problem::{Problem, Problems};
use crate::domain::verdict::Code;

/// How ready the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether postbacks can be taken in now.
    ready: bool,
    /// Whether the database takes writes: a probe of it succeeds, and the latest postbacks could be stored.
    database: bool,
    /// Which database: `sqlite` or `postgres`.
    #[schema(value_type = String, example = "sqlite")]
    engine: &'static str,
    /// The version of the configuration in force.
    configuration_version: i64,
    /// How the queue is. It does not decide: with the broker down postbacks are still taken in.
    #[schema(value_type = Object)]
    queue: crate::queue::QueueHealth,
    /// Whether due deliveries go to this instance's workers without the queue, since it has been out of order for long.
    past_the_queue: bool,
}

/// Whether the process answers at all.
#[utoipa::path(tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
#[get("/livez")]
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

/// Whether postbacks can be taken in: the database takes writes and the configuration is loaded.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "Not ready."))
)]
#[get("/readyz")]
pub async fn readyz(context: web::Data<Context>) -> HttpResponse {
    let parts = context.parts();
    let database = context.takes_writes().await;
    let readiness = Readiness {
        ready: database,
        database,
        engine: parts.store.engine(),
        configuration_version: context.catalog().version(),
        queue: parts.relay.health(),
        past_the_queue: parts.relay.is_past_the_queue(),
    };
    let mut response = if database { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(readiness)
}

/// Metrics in Prometheus' text format.
#[utoipa::path(
    tag = "operations",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        Problems
    )
)]
#[get("/metrics")]
pub async fn metrics(context: web::Data<Context>) -> Result<HttpResponse, Problem> {
    let text = context.parts().metrics.render().map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::of(Code::Unavailable)
    })?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
