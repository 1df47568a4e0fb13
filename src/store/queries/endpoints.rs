//! Endpoints that are given up, and the deliveries that wait for those that are not active.

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::outbox;
use crate::domain::ids::{DeliveryId, EndpointId};
use crate::domain::outbox::Outbox;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::endpoints::{Disabling, Endpoints, Moved};
use crate::store::outbox::{OutboxTerms, Told};
use crate::store::rows::Rows;

#[async_trait]
impl Endpoints for Engine {
    async fn disable_endpoint(
        &self,
        disabling: Disabling<'_>,
        outbox: &Outbox,
        terms: OutboxTerms,
    ) -> Result<Option<Told>, StoreError> {
        let mut transaction = self.begin().await?;
        // First of all, as with every write of configuration: it puts the writers in order.
        let raise = "UPDATE config_version SET version = version + 1 WHERE id = 1 RETURNING version";
        let version: i64 = sqlx::query(raise).fetch_one(&mut *transaction).await?.try_get("version")?;
        let update = "UPDATE endpoints SET status = 'disabled', status_reason = $2, version = $3 \
             WHERE id = $1 AND status <> 'disabled' AND ($4 IS NULL OR url = $4)";
        let disabled = sqlx::query(update)
            .bind(disabling.endpoint_id)
            .bind(disabling.reason)
            .bind(version)
            .bind(disabling.only_at)
            .execute(&mut *transaction)
            .await?;
        if disabled.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(None);
        }
        let told = outbox::write(&mut transaction, outbox, terms).await?;
        transaction.commit().await?;
        Ok(Some(told))
    }

    async fn hold(&self, now: Timestamp, limit: i64) -> Result<Moved, StoreError> {
        let mut transaction = self.begin().await?;
        let select = "SELECT d.id FROM endpoints e JOIN deliveries d ON d.endpoint_id = e.id \
             WHERE e.status <> 'active' AND d.state = 'pending' AND d.lease_id IS NULL LIMIT $1";
        let found = sqlx::query(select).bind(limit).fetch_all(&mut *transaction).await?;
        let mut waiting =
            found.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<Vec<DeliveryId>, StoreError>>()?;
        waiting.sort();
        let rows = Rows::of(&waiting).col("delivery", |id| *id).col("standing", |_| "pending").col("at", move |_| now);
        let update = "UPDATE deliveries AS t SET state = 'held', held_at = v.at FROM {rows} \
             WHERE t.id = v.delivery AND t.state = v.standing AND t.lease_id IS NULL";
        let deliveries = dialect::execute_rows(&mut transaction, update, rows).await?;
        transaction.commit().await?;
        Ok(Moved { deliveries, more: deliveries > 0 && i64::try_from(found.len()).unwrap_or(i64::MAX) >= limit })
    }

    async fn release(&self, now: Timestamp, per_endpoint: i64) -> Result<Moved, StoreError> {
        let held = "SELECT id FROM deliveries WHERE state = 'held' LIMIT 1";
        if sqlx::query(held).fetch_optional(&self.reader).await?.is_none() {
            return Ok(Moved { deliveries: 0, more: false });
        }
        let mut transaction = self.begin().await?;
        let select = "SELECT e.id FROM endpoints e WHERE e.status = 'active' AND EXISTS \
             (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'held') ORDER BY e.id";
        let active = sqlx::query(select).fetch_all(&mut *transaction).await?;
        let mut moved = Moved { deliveries: 0, more: false };
        for endpoint in &active {
            let released = release_of(&mut transaction, endpoint.try_get("id")?, now, per_endpoint).await?;
            moved.deliveries += released;
            moved.more |= i64::try_from(released).unwrap_or(i64::MAX) >= per_endpoint;
        }
        transaction.commit().await?;
        Ok(moved)
    }
}

/// A held delivery as it goes on.
struct Released {
    id: DeliveryId,
    due: Timestamp,
    first_attempt_at: Option<Timestamp>,
}

async fn release_of(
    connection: &mut DbConnection,
    endpoint: EndpointId,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let select = format!(
        "SELECT id, next_attempt_at, first_attempt_at, held_at FROM deliveries WHERE endpoint_id = $1 \
         AND state = 'held' ORDER BY id LIMIT $2 {}",
        dialect::SKIP_LOCKED
    );
    let select = sqlx::query(sqlx::AssertSqlSafe(select)).bind(endpoint).bind(limit);
    let found = select.fetch_all(&mut *connection).await?;
    let released = found.iter().map(|row| released(row, now)).collect::<Result<Vec<_>, _>>()?;
    let rows = Rows::of(&released)
        .col("delivery", |released| released.id)
        .col("standing", |_| "held")
        .col("due", |released| released.due)
        .opt("first", |released| released.first_attempt_at);
    let update = "UPDATE deliveries AS t SET state = 'pending', held_at = NULL, first_due_at = v.due, \
         next_attempt_at = v.due, republish_at = v.due, republished = 0, first_attempt_at = v.first FROM {rows} \
         WHERE t.id = v.delivery AND t.state = v.standing";
    dialect::execute_rows(connection, update, rows).await.map_err(StoreError::from)
}

fn released(row: &DbRow, now: Timestamp) -> Result<Released, StoreError> {
    let held_at: Option<Timestamp> = row.try_get("held_at")?;
    let first_attempt_at: Option<Timestamp> = row.try_get("first_attempt_at")?;
    let next_attempt_at: Timestamp = row.try_get("next_attempt_at")?;
    let held_for = now.since(held_at.unwrap_or(now));
    Ok(Released {
        id: row.try_get("id")?,
        due: next_attempt_at.max(now),
        first_attempt_at: first_attempt_at.map(|first| first.plus(held_for)),
    })
}
