//! The recorder's transaction: load, claim keys, judge (in `domain::booking`), write.

mod clicks;
mod keys;
mod parked;
mod write;

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row;

use self::clicks::{ClickKey, click_key, load_clicks, wanted_clicks};
use super::super::dialect::{self, DbConnection, Engine};
use super::to_json;
use crate::domain::booking::Booking;
use crate::domain::catalog::Catalog;
use crate::domain::ids::{ReceiptId, VerdictId};
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

    async fn parked_ready(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let ready = "SELECT wait_key, min(received_at) AS first FROM ( \
             SELECT p.wait_key, p.received_at FROM parked p JOIN clicks c \
             ON c.operator_id = p.operator_id AND c.click_id = p.click_id WHERE p.reason = 'unknown_click' UNION ALL \
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
}

impl Engine {
    /// One transaction: see `domain::booking` for the order of its steps.
    async fn record(
        &self,
        arrivals: &[Arrival],
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin().await?;
        let connection = &mut *transaction;
        if configuration_version(connection).await? != catalog.version() {
            return Err(StoreError::StaleConfiguration);
        }
        let clicks =
            load_clicks(connection, wanted_clicks(arrivals.iter().map(|arrival| &arrival.item), catalog)).await?;
        let mut booking = Booking::new(catalog, terms.now, clicks);
        let arrived = arrivals.iter().map(|arrival| booking.prepare(arrival.item.clone())).collect();
        let prepared = parked::join_parked(connection, arrived, wait_keys, &mut booking).await?;

        let taken = keys::take_keys(connection, &prepared, &mut booking).await?;
        let outcomes = booking.apply_all(&prepared);
        keys::settle_keys(connection, taken, &booking).await?;
        let recorded = write::write(connection, arrivals, outcomes, &booking, terms, catalog).await?;
        crate::fail::point("record.before_commit").await;
        transaction.commit().await?;
        crate::fail::point("record.after_commit").await;
        Ok(recorded)
    }
}

async fn configuration_version(connection: &mut DbConnection) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT version FROM config_version WHERE id = 1").fetch_one(connection).await?;
    Ok(row.try_get("version")?)
}
