//! `/c/{link}`: a visitor follows an affiliate's link and is sent on with a click id of ours.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};

use super::context::Context;
use super::extract::address_of;
use super::problem::{Problem, Problems};
use crate::domain::verdict::Code;
use crate::intake::visit::{NoVisit, Visitor, visit};

/// Sends a visitor on to the program with a click id.
///
/// `sub1` to `sub30` (also `s1` to `s30`) are remembered with the click. The click is stored without making the
/// visitor wait; its id attributes a conversion even if it never is.
#[utoipa::path(
    tag = "visitors",
    params(
        ("link" = String, Path, description = "The link's code."),
        ("sub1" = Option<String>, Query, description = "The affiliate's own id; up to sub30."),
    ),
    responses(
        (status = 302, description = "To the program's destination."),
        Problems
    )
)]
#[get("/c/{link}")]
pub async fn follow(
    request: HttpRequest,
    link: web::Path<String>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let parts = context.parts();
    let visitor = Visitor {
        address: address_of(&request, &context),
        user_agent: request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()),
        raw_query: request.query_string().as_bytes(),
    };
    let visit = visit(&context.catalog(), &link, visitor, parts.clock.now()).map_err(|error| match error {
        NoVisit::UnknownLink => {
            parts.metrics.click("unknown_link");
            Problem::not_found()
        }
        NoVisit::NoMacKey => {
            tracing::error!(%error, "a visitor could not be sent on");
            Problem::of(Code::Unavailable)
        }
    })?;
    let taken_in = parts.clicks.try_write(visit.click);
    parts.metrics.click(if taken_in { "stored" } else { "dropped" });
    Ok(HttpResponse::Found().insert_header((header::LOCATION, visit.destination)).finish())
}
