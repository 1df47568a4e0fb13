//! Customers: whom they are bound to, and whom they were bound to before.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{ChangeReason, affiliate};
use crate::domain::customer::{Binding, BoundBy};
use crate::domain::ids::{AffiliateId, CustomerId, OperatorId, ProgramId};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Code;
use crate::store::Store;
use crate::store::reading::{CustomerView, PastBinding};

/// An operator's customer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Customer {
    id: CustomerId,
    operator_id: OperatorId,
    /// The operator's own id of it.
    customer_id: String,
    #[serde(flatten)]
    binding: CustomerBinding,
    /// Counts its bindings, from 1.
    revision: i32,
    created_at: Timestamp,
    /// Bindings that another one replaced, oldest first; only where one customer is asked for.
    past_bindings: Vec<PastCustomerBinding>,
}

/// Whom a customer is bound to.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerBinding {
    program_id: ProgramId,
    affiliate_id: AffiliateId,
    /// Its first click.
    click_id: Option<String>,
    bound_at: Timestamp,
    /// What bound it: `{"by": "postback", "receipt_id"}`, `{"by": "import", "key_id"}` or
    /// `{"by": "admin", "key_id", "reason"}`.
    #[schema(value_type = Object)]
    bound_by: BoundBy,
}

/// A binding that another one replaced.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastCustomerBinding {
    revision: i32,
    #[serde(flatten)]
    binding: CustomerBinding,
    superseded_at: Timestamp,
}

impl From<Binding> for CustomerBinding {
    fn from(row: Binding) -> Self {
        Self {
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            click_id: row.click_id,
            bound_at: row.bound_at,
            bound_by: row.bound_by,
        }
    }
}

impl From<CustomerView> for Customer {
    fn from(row: CustomerView) -> Self {
        let past = |past: PastBinding| PastCustomerBinding {
            revision: past.revision,
            binding: past.binding.into(),
            superseded_at: past.superseded_at,
        };
        Self {
            id: row.id,
            operator_id: row.operator_id,
            customer_id: row.customer_id,
            binding: row.binding.into(),
            revision: row.revision,
            created_at: row.created_at,
            past_bindings: row.past.into_iter().map(past).collect(),
        }
    }
}

/// Whom a customer is to be bound to instead.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    affiliate_id: AffiliateId,
    /// Why; kept with the binding.
    reason: ChangeReason,
}

/// All customers, newest first.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query),
        ("customer_id" = Option<String>, Query)
    ),
    responses((status = 200, body = Listed<Customer>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/customers")]
pub async fn list_customers(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "affiliate_id", "customer_id"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.customers(&filter, page).await };
    list::<Customer, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// One customer with its past bindings.
#[utoipa::path(
    tag = "admin",
    params(("id" = CustomerId, Path)),
    responses((status = 200, body = Customer), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/customers/{id}")]
pub async fn get_customer(
    _admin: AdminKey,
    id: PathId<CustomerId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.customer(id.0).await }).await?;
    Ok(HttpResponse::Ok().json(Customer::from(found.ok_or_else(Problem::not_found)?)))
}

/// Binds a customer to another affiliate from now on. What is booked stays; the binding before is kept.
#[utoipa::path(
    tag = "admin",
    params(("id" = CustomerId, Path)),
    request_body = NewBinding,
    responses((status = 200, body = Customer), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/customers/{id}/binding")]
pub async fn rebind_customer(
    admin: AdminKey,
    id: PathId<CustomerId>,
    body: Json<NewBinding>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let affiliate_id = affiliate(&catalog, body.0.affiliate_id)?.id;
    let known = context.ask(move |store| async move { store.customer(id.0).await }).await?;
    let known = known.ok_or_else(Problem::not_found)?;
    let bound_by = BoundBy::Admin { key_id: admin.key_id, reason: body.0.reason.0 };
    let binding = Binding { affiliate_id, bound_at: now, bound_by, ..known.binding };
    let (id, revision) = (known.id, known.revision);
    let rebound = context.ask(move |store| async move {
        let done = store.rebind_customer(id, revision, &binding).await?;
        if done { store.customer(id).await } else { Ok(None) }
    });
    Ok(HttpResponse::Ok().json(Customer::from(rebound.await?.ok_or_else(|| Problem::of(Code::Conflict))?)))
}
