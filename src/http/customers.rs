//! `/v1/customers`: an operator tells us who sent its customers.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body;
use super::clicks::{ImportResult, read_rows, result, target};
use super::context::Context;
use super::extract::OperatorKey;
use super::problem::{Problem, Problems};
use crate::domain::catalog::Catalog;
use crate::domain::click::LinkCode;
use crate::domain::ids::{AffiliateId, OperatorId, ProgramId};
use crate::domain::postback::Identifier;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection};
use crate::intake::customers::{FirstTouch, Import, Importer};

/// A customer and its first touch: a click, a link, or a program and an affiliate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedCustomer {
    /// The operator's own id of the customer, 1 to 255 characters; what postbacks carry as `customer_id`.
    #[schema(value_type = String, example = "player-77")]
    customer_id: Identifier,
    /// Its first click, which is known; or else `link`; or else `program_id` and `affiliate_id`.
    #[schema(value_type = Option<String>)]
    click_id: Option<Identifier>,
    link: Option<LinkCode>,
    program_id: Option<ProgramId>,
    affiliate_id: Option<AffiliateId>,
    /// When it came; now, if it is left out.
    occurred_at: Option<Timestamp>,
}

/// Customers, as an object; a bare array is taken too.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedCustomers {
    /// Up to 1000 customers.
    #[schema(value_type = Vec<ImportedCustomer>)]
    customers: Vec<Box<RawValue>>,
}

/// What became of each customer, in the order in which they came.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerResults {
    results: Vec<ImportResult>,
}

/// Imports customers with the affiliate who sent them. One that is known stays as it is. When this answers 200, every
/// recorded customer is stored.
#[utoipa::path(
    tag = "intake",
    request_body = ImportedCustomers,
    responses(
        (status = 200, body = CustomerResults),
        Problems
    ),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/customers")]
pub async fn import_customers(
    key: OperatorKey,
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let object = |bytes: &[u8]| Ok(body::parse::<ImportedCustomers>(bytes)?.customers);
    let rows = read_rows(&request, payload, &context, "customers", object).await?;
    let (catalog, now) = (context.catalog(), context.parts().clock.now());
    let read: Vec<Result<Import, Rejection>> =
        rows.iter().map(|row| customer(row.get(), &catalog, key.operator_id, now)).collect();
    let imports: Vec<Import> = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
    let importer = Importer { operator_id: key.operator_id, key_id: key.key_id, now };
    let customers = context.parts().customers.clone();
    let imported = context.apart(async move { customers.import(&catalog, importer, imports).await }).await??;
    let mut imported = imported.into_iter();
    let results = read.into_iter().map(|row| {
        // The use case has answered for each good row.
        result(row.and_then(|_| imported.next().unwrap_or(Err(Code::Unavailable.into()))))
    });
    Ok(HttpResponse::Ok().json(CustomerResults { results: results.collect() }))
}

fn customer(row: &str, catalog: &Catalog, operator_id: OperatorId, now: Timestamp) -> Result<Import, Rejection> {
    let row: ImportedCustomer = body::parse(row.as_bytes())?;
    let first_touch = match row.click_id {
        Some(click) if (row.link, row.program_id, row.affiliate_id) == (None, None, None) => FirstTouch::Click(click),
        Some(_) => {
            return Err(Rejection::of_field(Code::Validation, "click_id").because(
                "A click says whom the customer is bound to; leave the link, the program and the affiliate out.",
            ));
        }
        None => {
            let (program_id, affiliate_id, _) =
                target((row.link, row.program_id, row.affiliate_id), catalog, operator_id)?;
            FirstTouch::Direct(program_id, affiliate_id)
        }
    };
    let bound_at = row.occurred_at.unwrap_or(now);
    if bound_at > now {
        return Err(Rejection::of_field(Code::BadTimestamp, "occurred_at").because("A first touch lies in the past."));
    }
    Ok(Import { customer_id: row.customer_id, first_touch, bound_at })
}
