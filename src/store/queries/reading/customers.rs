//! Customers with their bindings.

use sqlx::Row;

use super::super::super::dialect::{DbRow, Engine};
use super::super::{from_json, whole_rows};
use super::Select;
use crate::domain::customer::Binding;
use crate::domain::ids::CustomerId;
use crate::store::StoreError;
use crate::store::reading::{CustomerView, Filter, Page, PastBinding};

const CUSTOMERS: &str = "SELECT * FROM customers WHERE true";

pub async fn customers(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<CustomerView>, StoreError> {
    let select = Select::of(CUSTOMERS).only("operator_id", filter.operator_id);
    let select = select.only("affiliate_id", filter.affiliate_id).only("customer_id", filter.customer_id.clone());
    select.page(engine, "id", page, customer_view).await
}

pub async fn customer(engine: &Engine, id: CustomerId) -> Result<Option<CustomerView>, StoreError> {
    let Some(mut view) = Select::of(CUSTOMERS).one(engine, "id", id.uuid(), customer_view).await? else {
        return Ok(None);
    };
    let select = "SELECT * FROM customer_bindings WHERE customer = $1 ORDER BY revision";
    let rows = whole_rows(select).bind(id).fetch_all(&engine.reader).await?;
    view.past = rows.iter().map(past_binding).collect::<Result<_, _>>()?;
    Ok(Some(view))
}

fn customer_view(row: &DbRow) -> Result<CustomerView, StoreError> {
    Ok(CustomerView {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        customer_id: row.try_get("customer_id")?,
        binding: binding(row)?,
        revision: row.try_get("revision")?,
        created_at: row.try_get("created_at")?,
        past: Vec::new(),
    })
}

fn past_binding(row: &DbRow) -> Result<PastBinding, StoreError> {
    Ok(PastBinding {
        revision: row.try_get("revision")?,
        binding: binding(row)?,
        superseded_at: row.try_get("superseded_at")?,
    })
}

fn binding(row: &DbRow) -> Result<Binding, StoreError> {
    Ok(Binding {
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        click_id: row.try_get("click_id")?,
        bound_at: row.try_get("bound_at")?,
        bound_by: from_json(row, "bound_by")?,
    })
}
