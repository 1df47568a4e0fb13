//! Payouts: made, approved, sent, completed; or failed, tried again, given back. Every step says whose key took it.
//! A step that is asked for again after it was taken changes nothing and answers the payout.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, IdempotencyKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::super::views::{Payout, PayoutDetails, PayoutItem};
use super::{affiliate, created};
use crate::domain::ids::{AffiliateId, PayoutId};
use crate::domain::money::{Amount, Currency, Money};
use crate::domain::payout::{NoPayout, PayoutState, Reason, Reference, Refusal, Step};
use crate::domain::verdict::{Code, Rejection};
use crate::store::Store;
use crate::store::payouts::{Creation, NewPayout, Taken};

/// A payout to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayoutWish {
    affiliate_id: AffiliateId,
    currency: Currency,
    /// From how much on it is made; the minimum of the affiliate's payout terms, if it is left out.
    minimum: Option<Amount>,
    /// Whether it waits to be submitted before anybody is told.
    #[serde(default)]
    draft: bool,
}

/// Under which name it was sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    /// The provider's name of the payment. It belongs to this payout for ever.
    reference: Reference,
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// The affiliate is told too.
    reason: Reason,
}

/// Makes a payout of everything that is owed to an affiliate in a currency. The same `Idempotency-Key` answers the same
/// payout, with 200. Nothing is paid below the minimum (`below_minimum`) or while more was taken back than is owed
/// (`debt`); both carry the balance on, and the key is not used up.
#[utoipa::path(
    tag = "admin",
    params(("Idempotency-Key" = String, Header, description = "1 to 200 visible ASCII characters.")),
    request_body = PayoutWish,
    responses((status = 201, body = Payout), (status = 200, body = Payout, description = "It had been made."), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts")]
pub async fn create_payout(
    admin: AdminKey,
    key: IdempotencyKey,
    body: Json<PayoutWish>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let wish = body.0;
    let new = NewPayout {
        affiliate_id: affiliate(&context.catalog(), wish.affiliate_id)?.id,
        currency: wish.currency,
        minimum: wish.minimum,
        draft: wish.draft,
        idempotency_key: key.0,
        created_by: Some(admin.key_id),
    };
    let payouts = context.parts().payouts.clone();
    match context.apart(async move { payouts.create(new).await }).await?? {
        Creation::Made(payout, _) => Ok(created(Payout::from(payout))),
        Creation::Known(payout) => Ok(HttpResponse::Ok().json(Payout::from(payout))),
        Creation::OtherWish(_) => Err(Problem::of(Code::Conflict)
            .saying("This Idempotency-Key stands for a payout of another affiliate or currency.")),
        Creation::None(reason, balance) => Err(not_paid(reason, &balance)),
    }
}

fn not_paid(reason: NoPayout, balance: &Money) -> Problem {
    let code = match reason {
        NoPayout::Debt => Code::Debt,
        NoPayout::BelowMinimum => Code::BelowMinimum,
    };
    let detail = format!("The balance is {} {}; it is carried on.", balance.amount_text(), balance.currency);
    Rejection { detail: Some(detail.into()), ..Rejection::new(code) }.into()
}

/// All payouts, newest first.
#[utoipa::path(
    tag = "admin",
    params(PageParams, ("affiliate_id" = Option<AffiliateId>, Query), ("state" = Option<PayoutState>, Query)),
    responses((status = 200, body = Listed<Payout>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/payouts")]
pub async fn list_payouts(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["affiliate_id", "state"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.payouts(&filter, page).await };
    list::<Payout, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One payout with its operators' parts and its steps.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    responses((status = 200, body = PayoutDetails), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/payouts/{id}")]
pub async fn get_payout(
    _admin: AdminKey,
    id: PathId<PayoutId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.payout(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(PayoutDetails::from(found.ok_or_else(Problem::not_found)?)))
}

/// The ledger entries that a payout pays, newest first.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path), PageParams),
    responses((status = 200, body = Listed<PayoutItem>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/payouts/{id}/items")]
pub async fn list_payout_items(
    _admin: AdminKey,
    id: PathId<PayoutId>,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &[])?;
    let ask = move |store: Arc<dyn Store>, _filter, page| async move { store.payout_items(id.0, page).await };
    list::<PayoutItem, _, _>(&context, query, ask, |row| row.entry_id.uuid()).await
}

/// Sends a draft to approval.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/submit")]
pub async fn submit_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Submit).await
}

/// Approves a payout. Above the setting `payouts.one_person_up_to` the key must be another than the one that made it.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/approve")]
pub async fn approve_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Approve).await
}

/// Says that somebody begins to pay an approved payout, or tries one again that failed. From here on it cannot be
/// canceled.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/process")]
pub async fn process_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Process).await
}

/// Says that an approved payout was handed to whoever moves the money.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    request_body = Sending,
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/send")]
pub async fn send_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    body: Json<Sending>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Send(body.0.reference)).await
}

/// Says that the affiliate has the money. Operators are told what of it is theirs.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/complete")]
pub async fn complete_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Complete).await
}

/// Says that a payout could not be paid. It is then tried again (`process`) or given back (`return`).
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    request_body = Because,
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/fail")]
pub async fn fail_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    body: Json<Because>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Fail(body.0.reason)).await
}

/// Gives a payout back to the affiliate's balance that was sent, has failed, or came back after it had arrived.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    request_body = Because,
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/return")]
pub async fn return_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    body: Json<Because>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Return(body.0.reason)).await
}

/// Gives a payout back to the affiliate's balance before anybody began to pay it.
#[utoipa::path(
    tag = "admin",
    params(("id" = PayoutId, Path)),
    request_body = Because,
    responses((status = 200, body = Payout), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/payouts/{id}/cancel")]
pub async fn cancel_payout(
    admin: AdminKey,
    id: PathId<PayoutId>,
    body: Json<Because>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take(&context, admin, id, Step::Cancel(body.0.reason)).await
}

async fn take(context: &Context, admin: AdminKey, id: PathId<PayoutId>, step: Step) -> Result<HttpResponse, Problem> {
    let payouts = context.parts().payouts.clone();
    match context.apart(async move { payouts.step(id.0, step, admin.key_id).await }).await?? {
        Taken::Done(payout, _) | Taken::Already(payout) => Ok(HttpResponse::Ok().json(Payout::from(payout))),
        Taken::Refused(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotFrom(state) => {
            let detail = format!("The payout is {}; this step does not lead on from there.", state.as_str());
            Rejection { detail: Some(detail.into()), ..Rejection::new(Code::PayoutState) }.into()
        }
        Refusal::SecondPerson => Problem::of(Code::SecondPerson),
        Refusal::ReferenceTaken => Rejection::of_field(Code::ReferenceTaken, "reference").into(),
    }
}
