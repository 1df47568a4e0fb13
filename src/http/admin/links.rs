//! Tracking links of affiliates.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::AdminKey;
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{affiliate, created, program};
use crate::domain::catalog::{Link, Status};
use crate::domain::click::LinkCode;
use crate::domain::ids::{AffiliateId, LinkId, OperatorId, ProgramId};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    program_id: ProgramId,
    affiliate_id: AffiliateId,
}

/// What is to change of a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkChange {
    /// An inactive link redirects nobody.
    status: Status,
}

/// A tracking link of one affiliate in one program.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub struct LinkBody {
    id: LinkId,
    code: LinkCode,
    /// What visitors follow, from the root of this service.
    #[schema(example = "/c/abcd2345")]
    path: String,
    program_id: ProgramId,
    affiliate_id: AffiliateId,
    status: Status,
    created_at: Timestamp,
}

impl From<Link> for LinkBody {
    fn from(row: Link) -> Self {
        Self {
            id: row.id,
            code: row.code,
            path: format!("/c/{}", row.code),
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            status: row.status,
            created_at: row.created_at,
        }
    }
}

/// Makes a link.
#[utoipa::path(
    tag = "admin",
    request_body = NewLink,
    responses((status = 201, body = LinkBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/links")]
pub async fn create_link(
    _admin: AdminKey,
    body: Json<NewLink>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let link = Link {
        id: LinkId::new(now),
        code: LinkCode::generate(),
        program_id: program(&catalog, body.0.program_id)?.id,
        affiliate_id: affiliate(&catalog, body.0.affiliate_id)?.id,
        status: Status::Active,
        created_at: now,
    };
    context.put(vec![Entry::Link(link.clone())]).await?;
    Ok(created(LinkBody::from(link)))
}

/// All links, newest first.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("program_id" = Option<ProgramId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query),
        ("status" = Option<Status>, Query)
    ),
    responses((status = 200, body = Listed<LinkBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/links")]
pub async fn list_links(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let filters = ["operator_id", "program_id", "affiliate_id", "status"];
    let query = ListQuery::read(request.query_string(), &filters)?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.links(&filter, page).await };
    list::<LinkBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Switches a link off and on.
#[utoipa::path(
    tag = "admin",
    params(("code" = LinkCode, Path)),
    request_body = LinkChange,
    responses((status = 200, body = LinkBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[patch("/v1/admin/links/{code}")]
pub async fn change_link(
    _admin: AdminKey,
    code: web::Path<String>,
    body: Json<LinkChange>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let catalog = context.catalog();
    let row = LinkCode::parse(&code).and_then(|code| catalog.link(code)).ok_or_else(Problem::not_found)?;
    let row = Link { status: body.0.status, ..row.clone() };
    context.put(vec![Entry::Link(row.clone())]).await?;
    Ok(HttpResponse::Ok().json(LinkBody::from(row)))
}
