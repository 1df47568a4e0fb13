//! Receipts of all operators, and how one is judged again.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};

use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list, only_flag};
use super::super::problem::{Problem, Problems};
use super::super::views::{JudgedReceipt, Receipt};
use crate::domain::ids::{ConversionId, OperatorId, ReceiptId, SourceId};
use crate::domain::replay::Person;
use crate::domain::verdict::Code;
use crate::replay::ReceiptReplay;
use crate::store::Store;

/// All receipts, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("operator_id" = Option<OperatorId>, Query), ("source_id" = Option<SourceId>, Query), ("conversion_id" = Option<ConversionId>, Query), ("verdict" = Option<String>, Query)),
    responses((status = 200, body = Listed<Receipt>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/receipts")]
pub async fn list_receipts(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "source_id", "conversion_id", "verdict"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.receipts(&filter, page).await };
    list::<Receipt, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One receipt.
#[utoipa::path(
    tag = "admin",
    params(("id" = ReceiptId, Path)),
    responses((status = 200, body = Receipt), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/receipts/{id}")]
pub async fn get_receipt(
    _admin: AdminKey,
    id: PathId<ReceiptId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.receipt(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Receipt::from(found.ok_or_else(Problem::not_found)?)))
}

/// Judges a rejected or parked receipt again, by today's configuration, as of the time at which it arrived: it books what
/// its first arrival would have, once. Whoever asks vouches for it: signature, time and address are not judged again. The
/// receipt stays as it is; the verdict is added to it, with who asked. 409 where it is booked, or known, already.
#[utoipa::path(
    tag = "admin",
    params(("id" = ReceiptId, Path), ("dry_run" = Option<bool>, Query, description = "Only says what would become of it, and changes nothing.")),
    responses((status = 200, body = JudgedReceipt, description = "It was judged, be it rejected again."), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/receipts/{id}/replay")]
pub async fn replay_receipt(
    admin: AdminKey,
    id: PathId<ReceiptId>,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let dry_run = only_flag(request.query_string(), "dry_run")?;
    let (replays, by) = (context.parts().replays.clone(), Person::Key(admin.key_id));
    match context.apart(async move { replays.receipt(id.0, by, dry_run).await }).await?? {
        ReceiptReplay::Judged(judged) => Ok(HttpResponse::Ok().json(JudgedReceipt::of(*judged, dry_run))),
        ReceiptReplay::BookedBefore => {
            Err(Problem::of(Code::Conflict).saying("This receipt is booked or known already; look at its verdicts."))
        }
    }
}
