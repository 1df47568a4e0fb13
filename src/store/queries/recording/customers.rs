//! Customers that postbacks name: whom they are bound to, and who is bound first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow};
use super::super::{from_json_opt, to_json};
use crate::domain::booking::Item;
use crate::domain::catalog::Catalog;
use crate::domain::customer::{Binding, CustomerFacts, NewCustomer};
use crate::domain::ids::{CustomerId, OperatorId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::rows::Rows;

/// An operator's own id of a customer, in its name.
pub type CustomerKey = (OperatorId, String);

/// The customers that must be looked up.
pub fn wanted_customers<'a>(items: impl Iterator<Item = &'a Item>, catalog: &Catalog) -> Vec<CustomerKey> {
    let wanted = items.filter_map(|item| {
        let source = catalog.source(item.source_id)?;
        let customer = item.said.as_ref().ok()?.customer_id.as_ref()?;
        Some((source.operator_id, customer.as_str().to_owned()))
    });
    wanted.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What is known of these customers. The sub-ids of a first click come with it where it was the same affiliate's.
pub async fn load_customers(
    connection: &mut DbConnection,
    wanted: Vec<CustomerKey>,
) -> Result<HashMap<CustomerKey, CustomerFacts>, StoreError> {
    let rows = Rows::of(&wanted).col("operator", |(operator, _)| *operator).col("customer", |(_, id)| id.as_str());
    let select = "SELECT c.operator_id, c.customer_id, c.program_id, c.affiliate_id, c.click_id, k.subs FROM {rows} \
         JOIN customers c ON c.operator_id = v.operator AND c.customer_id = v.customer \
         LEFT JOIN clicks k ON k.operator_id = c.operator_id AND k.click_id = c.click_id \
         AND k.affiliate_id = c.affiliate_id";
    let found = dialect::fetch_rows(connection, select, rows).await?;
    found.iter().map(|row| Ok((customer_key(row)?, customer_facts(row)?))).collect()
}

fn customer_facts(row: &DbRow) -> Result<CustomerFacts, StoreError> {
    Ok(CustomerFacts {
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        click_id: row.try_get("click_id")?,
        subs: from_json_opt::<BTreeMap<String, String>>(row, "subs")?.unwrap_or_default(),
    })
}

fn customer_key(row: &DbRow) -> Result<CustomerKey, StoreError> {
    Ok((row.try_get("operator_id")?, row.try_get("customer_id")?))
}

/// Inserts customers in sorted order; answers those that were not there.
pub async fn insert_customers(
    connection: &mut DbConnection,
    customers: &[NewCustomer],
    now: Timestamp,
) -> Result<BTreeSet<CustomerKey>, StoreError> {
    let mut sorted: Vec<&NewCustomer> = customers.iter().collect();
    sorted.sort_by(|a, b| (a.operator_id, &a.customer_id).cmp(&(b.operator_id, &b.customer_id)));
    let rows = Rows::of(&sorted)
        .col("id", |new| new.id)
        .col("operator_id", |new| new.operator_id)
        .col("customer_id", |new| new.customer_id.as_str())
        .col("program_id", |new| new.binding.program_id)
        .col("affiliate_id", |new| new.binding.affiliate_id)
        .opt("click_id", |new| new.binding.click_id.as_deref())
        .col("bound_at", |new| new.binding.bound_at)
        .col("bound_by", |new| to_json(&new.binding.bound_by))
        .col("created_at", move |_| now);
    let insert = "INSERT INTO customers (id, operator_id, customer_id, program_id, affiliate_id, click_id, bound_at, \
         bound_by, revision, created_at) SELECT id, operator_id, customer_id, program_id, affiliate_id, click_id, \
         bound_at, bound_by, 1, created_at FROM {rows} WHERE true ON CONFLICT DO NOTHING \
         RETURNING operator_id, customer_id";
    dialect::fetch_rows(connection, insert, rows).await?.iter().map(customer_key).collect()
}

/// Binds what a batch has bound. Where another transaction was first with one of them, this batch has judged by what is
/// no longer so, and starts again.
pub async fn bind_customers(
    connection: &mut DbConnection,
    bound: &[NewCustomer],
    now: Timestamp,
) -> Result<(), StoreError> {
    let new = insert_customers(connection, bound, now).await?;
    if new.len() < bound.len() {
        return Err(StoreError::Collision(sqlx::Error::RowNotFound));
    }
    Ok(())
}

/// Replaces the binding that has this revision; the one before goes into the history. `false` where it has moved on.
pub async fn rebind(
    connection: &mut DbConnection,
    id: CustomerId,
    revision: i32,
    next: &Binding,
) -> Result<bool, StoreError> {
    let keep = "INSERT INTO customer_bindings (customer, revision, program_id, affiliate_id, click_id, bound_at, \
         bound_by, superseded_at) SELECT id, revision, program_id, affiliate_id, click_id, bound_at, bound_by, $3 \
         FROM customers WHERE id = $1 AND revision = $2 ON CONFLICT DO NOTHING";
    let kept = sqlx::query(keep).bind(id).bind(revision).bind(next.bound_at).execute(&mut *connection).await?;
    let update = "UPDATE customers SET program_id = $3, affiliate_id = $4, click_id = $5, bound_at = $6, bound_by = $7, \
         revision = revision + 1 WHERE id = $1 AND revision = $2";
    let updated = sqlx::query(update)
        .bind(id)
        .bind(revision)
        .bind(next.program_id)
        .bind(next.affiliate_id)
        .bind(next.click_id.clone())
        .bind(next.bound_at)
        .bind(to_json(&next.bound_by))
        .execute(&mut *connection)
        .await?;
    Ok((kept.rows_affected(), updated.rows_affected()) == (1, 1))
}
