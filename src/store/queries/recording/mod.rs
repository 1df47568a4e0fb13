//! The recorder's transaction: load, claim keys, judge (in `domain::booking`), write.

mod again;
mod changes;
mod clicks;
mod customers;
mod keys;
mod parked;
mod recurrences;
mod settling;
mod write;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::{Row, Transaction};

use self::again::Again;
pub use self::again::replay;
use self::clicks::{ClickKey, click_key, load_clicks, wanted_clicks};
use self::customers::{insert_customers, load_customers, wanted_customers};
use super::super::dialect::{self, Db, DbConnection, Engine};
use super::to_json;
use crate::domain::booking::{Booking, ClickFacts, Item, OwnChange};
use crate::domain::catalog::Catalog;
use crate::domain::customer::{Binding, NewCustomer};
use crate::domain::ids::{ConversionId, CustomerId, ReceiptId, VerdictId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::recording::{Arrival, NewClick, RecordTerms, Recorded, Recording};
use crate::store::rows::Rows;

#[async_trait]
impl Recording for Engine {
    async fn record_batch(
        &self,
        arrivals: &[Arrival],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        self.record(arrivals, &[], catalog, terms).await
    }

    async fn apply_parked(
        &self,
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        self.record(&[], wait_keys, catalog, terms).await
    }

    async fn change_conversion(
        &self,
        id: ConversionId,
        change: &OwnChange,
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin_judging(catalog).await?;
        let recorded = changes::change(&mut transaction, id, change, catalog, terms).await?;
        transaction.commit().await?;
        Ok(recorded)
    }

    async fn approve_held(&self, limit: i64, catalog: &Catalog, terms: RecordTerms) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin_judging(catalog).await?;
        let recorded = changes::approve_held(&mut transaction, limit, catalog, terms).await?;
        transaction.commit().await?;
        Ok(recorded)
    }

    async fn book_awaiting(&self, catalog: &Catalog, limit: i64, terms: RecordTerms) -> Result<Recorded, StoreError> {
        settling::book_awaiting(self, catalog, limit, terms).await
    }

    async fn release_held(&self, now: Timestamp, limit: i64) -> Result<usize, StoreError> {
        settling::release_held(self, now, limit).await
    }

    async fn parked_ready(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let ready = "SELECT wait_key, min(received_at) AS first FROM ( \
             SELECT p.wait_key, p.received_at FROM parked p JOIN clicks c \
             ON c.operator_id = p.operator_id AND c.click_id = p.click_id WHERE p.reason = 'unknown_click' UNION ALL \
             SELECT p.wait_key, p.received_at FROM parked p JOIN customers c \
             ON c.operator_id = p.operator_id AND c.customer_id = p.customer_id \
             WHERE p.reason = 'unknown_customer' UNION ALL \
             SELECT p.wait_key, p.received_at FROM parked p JOIN dedup_keys k ON k.key = p.wait_key \
             WHERE p.reason = 'original_missing') AS ready \
             GROUP BY wait_key ORDER BY first LIMIT $1";
        let rows = sqlx::query(ready).bind(limit).fetch_all(&self.reader).await?;
        rows.iter().map(|row| Ok(row.try_get("wait_key")?)).collect()
    }

    async fn expire_parked(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let statement = "DELETE FROM parked WHERE receipt_id IN (SELECT receipt_id FROM parked WHERE expires_at <= $1 LIMIT $2) \
             RETURNING receipt_id, reason";
        let rows = sqlx::query(statement).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        let expired: Vec<(ReceiptId, String)> = rows
            .iter()
            .map(|row| Ok((row.try_get("receipt_id")?, row.try_get("reason")?)))
            .collect::<Result<_, StoreError>>()?;
        let verdicts = Rows::of(&expired)
            .col("id", |_| VerdictId::new(now))
            .col("receipt_id", |(receipt, _)| *receipt)
            .col("decided_at", |_| now)
            .col("verdict", |_| "rejected")
            .col("code", |(_, reason)| reason.as_str());
        let insert = "INSERT INTO receipt_verdicts (id, receipt_id, decided_at, verdict, code) \
             SELECT id, receipt_id, decided_at, verdict, code FROM {rows}";
        dialect::execute_rows(&mut transaction, insert, verdicts).await?;
        transaction.commit().await?;
        Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
    }

    async fn record_clicks(&self, clicks: &[NewClick]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut sorted: Vec<&NewClick> = clicks.iter().collect();
        sorted.sort_by(|a, b| (a.operator_id, &a.click_id).cmp(&(b.operator_id, &b.click_id)));
        let rows = Rows::of(&sorted)
            .col("operator_id", |click| click.operator_id)
            .col("click_id", |click| click.click_id.as_str())
            .col("program_id", |click| click.program_id)
            .col("affiliate_id", |click| click.affiliate_id)
            .opt("link_id", |click| click.link_id)
            .col("clicked_at", |click| click.clicked_at)
            .col("received_at", |click| click.received_at)
            .col("subs", |click| to_json(&click.subs))
            .opt("ip_hash", |click| click.ip_hash.clone())
            .opt("user_agent", |click| click.user_agent.clone());
        let insert = "INSERT INTO clicks (operator_id, click_id, program_id, affiliate_id, link_id, clicked_at, \
             received_at, subs, ip_hash, user_agent) SELECT operator_id, click_id, program_id, affiliate_id, link_id, \
             clicked_at, received_at, subs, ip_hash, user_agent FROM {rows} WHERE true ON CONFLICT DO NOTHING \
             RETURNING operator_id, click_id";
        let inserted = dialect::fetch_rows(&mut transaction, insert, rows).await?;
        let mut new = inserted.iter().map(click_key).collect::<Result<HashSet<ClickKey>, StoreError>>()?;
        transaction.commit().await?;
        Ok(clicks.iter().map(|click| new.remove(&(click.operator_id, click.click_id.clone()))).collect())
    }

    async fn find_clicks(&self, wanted: &[ClickKey]) -> Result<HashMap<ClickKey, ClickFacts>, StoreError> {
        let mut connection = self.reader.acquire().await?;
        load_clicks(&mut connection, wanted.to_vec()).await
    }

    async fn import_customers(&self, customers: &[NewCustomer], now: Timestamp) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut new = insert_customers(&mut transaction, customers, now).await?;
        transaction.commit().await?;
        let is_new = |customer: &NewCustomer| new.remove(&(customer.operator_id, customer.customer_id.clone()));
        Ok(customers.iter().map(is_new).collect())
    }

    async fn rebind_customer(&self, id: CustomerId, revision: i32, next: &Binding) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let done = customers::rebind(&mut transaction, id, revision, next).await?;
        if done {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok(done)
    }
}

impl Engine {
    /// A transaction that judges by `catalog`, which must be the configuration in force.
    async fn begin_judging(&self, catalog: &Catalog) -> Result<Transaction<'static, Db>, StoreError> {
        let mut transaction = self.begin().await?;
        require_version(&mut transaction, catalog).await?;
        Ok(transaction)
    }

    /// One transaction over what arrived, or over what is parked.
    async fn record(
        &self,
        arrivals: &[Arrival],
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin().await?;
        let batch = Batch { arrivals, wait_keys, again: None };
        let (recorded, _) = judge_and_write(&mut transaction, batch, catalog, terms).await?;
        crate::fail::point("record.before_commit").await;
        transaction.commit().await?;
        crate::fail::point("record.after_commit").await;
        Ok(recorded)
    }
}

/// What is judged and written in one transaction.
#[derive(Clone, Copy, Default)]
struct Batch<'a> {
    /// What arrived.
    arrivals: &'a [Arrival],
    /// What is parked under these keys is judged too.
    wait_keys: &'a [String],
    /// What a person has judged again.
    again: Option<&'a Again<'a>>,
}

/// The steps of the transaction; answers the judgement too. See `domain::booking` for their order.
async fn judge_and_write<'c>(
    connection: &mut DbConnection,
    batch: Batch<'_>,
    catalog: &'c Catalog,
    terms: RecordTerms,
) -> Result<(Recorded, Booking<'c>), StoreError> {
    require_version(connection, catalog).await?;
    let replayed: &[Item] = batch.again.map_or(&[], |again| &again.items);
    let items = || batch.arrivals.iter().map(|arrival| &arrival.item).chain(replayed);
    let clicks = load_clicks(connection, wanted_clicks(items(), catalog)).await?;
    let mut booking = Booking::new(catalog, terms.now, clicks);
    booking.customers_known(load_customers(connection, wanted_customers(items(), catalog)).await?);
    booking.replays(replayed.iter().map(|item| item.receipt_id));
    let arrived = items().map(|item| booking.prepare(item.clone())).collect();
    let prepared = parked::join_parked(connection, arrived, batch.wait_keys, &mut booking).await?;

    let taken = keys::take_keys(connection, &prepared, &mut booking).await?;
    recurrences::take_recurrences(connection, &prepared, &mut booking).await?;
    let outcomes = booking.apply_all(&prepared);
    keys::settle_keys(connection, taken, &booking).await?;
    recurrences::settle_recurrences(connection, &booking).await?;
    let recorded = write::write(connection, batch, outcomes, &booking, terms).await?;
    Ok((recorded, booking))
}

/// Whoever judges by a catalog, or tells its endpoints, judges by the one in force.
pub(super) async fn require_version(connection: &mut DbConnection, catalog: &Catalog) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT version FROM config_version WHERE id = 1").fetch_one(connection).await?;
    if row.try_get::<i64, _>("version")? == catalog.version() { Ok(()) } else { Err(StoreError::StaleConfiguration) }
}
