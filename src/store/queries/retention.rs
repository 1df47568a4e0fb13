//! Deletes what is old in short transactions. Ids begin with their time, so the oldest are found without an index of their
//! own, and each step goes on where the last one ended.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::super::dialect::{self, DbConnection, DbRow, Engine};
use crate::domain::ids::{DeliveryId, EventId, LeaseId, earliest_id};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::retention::{Kept, Prune, Pruned, Retention};
use crate::store::rows::Rows;

#[async_trait]
impl Retention for Engine {
    async fn hold_job(
        &self,
        job: &str,
        holder: LeaseId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let take = "INSERT INTO job_leases (name, holder, lease_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until \
             WHERE job_leases.holder = excluded.holder OR job_leases.lease_until <= $4";
        let take = sqlx::query(take).bind(job).bind(holder).bind(lease_until).bind(now);
        let taken = take.execute(&mut *transaction).await?.rows_affected() > 0;
        transaction.commit().await?;
        Ok(taken)
    }

    async fn release_job(&self, job: &str, holder: LeaseId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let delete = "DELETE FROM job_leases WHERE name = $1 AND holder = $2";
        sqlx::query(delete).bind(job).bind(holder).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn prune(&self, what: Kept, step: Prune) -> Result<Pruned, StoreError> {
        match what {
            Kept::Receipts => self.prune_receipts(step).await,
            Kept::Events => self.prune_events(step).await,
        }
    }
}

impl Engine {
    async fn prune_receipts(&self, step: Prune) -> Result<Pruned, StoreError> {
        let mut transaction = self.begin().await?;
        let after = step.after.unwrap_or(Uuid::nil());
        let select = "SELECT id FROM receipts WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
        let select = sqlx::query(select).bind(after).bind(earliest_id(step.before)).bind(step.limit);
        let found = select.fetch_all(&mut *transaction).await?;
        let Some(last) = found.last() else { return Ok(Pruned { deleted: 0, reached: None }) };
        let last: Uuid = last.try_get("id")?;
        let parked = "NOT EXISTS (SELECT 1 FROM parked p WHERE p.receipt_id = ";
        let verdicts = format!(
            "DELETE FROM receipt_verdicts WHERE receipt_id > $1 AND receipt_id <= $2 AND {parked}receipt_verdicts.receipt_id)"
        );
        sqlx::query(AssertSqlSafe(verdicts)).bind(after).bind(last).execute(&mut *transaction).await?;
        let receipts = format!("DELETE FROM receipts WHERE id > $1 AND id <= $2 AND {parked}receipts.id)");
        let deleted = sqlx::query(AssertSqlSafe(receipts)).bind(after).bind(last).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Pruned { deleted: deleted.rows_affected(), reached: Some(last) })
    }

    async fn prune_events(&self, step: Prune) -> Result<Pruned, StoreError> {
        let mut transaction = self.begin().await?;
        let after = step.after.unwrap_or(Uuid::nil());
        let select = "SELECT id FROM events WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
        let select = sqlx::query(select).bind(after).bind(earliest_id(step.before)).bind(step.limit);
        let found = select.fetch_all(&mut *transaction).await?;
        let mut events =
            found.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<Vec<EventId>, StoreError>>()?;
        let (Some(first), Some(last)) = (events.first().copied(), events.last().copied()) else {
            return Ok(Pruned { deleted: 0, reached: None });
        };
        let mut deliveries = deliveries_made(&mut transaction, first.made_at(), last.made_at()).await?;
        let stay: HashSet<EventId> = deliveries
            .iter()
            .filter(|delivery| delivery.ended_at.is_none_or(|ended| ended >= step.before))
            .map(|delivery| delivery.event_id)
            .collect();
        events.retain(|event| !stay.contains(event));
        let goes: HashSet<EventId> = events.iter().copied().collect();
        deliveries.retain(|delivery| goes.contains(&delivery.event_id));
        for delete in [
            "DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM {rows})",
            "DELETE FROM delivery_acknowledgements WHERE delivery_id IN (SELECT id FROM {rows})",
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM {rows})",
        ] {
            let rows = Rows::of(&deliveries).col("id", |delivery| delivery.id);
            dialect::execute_rows(&mut transaction, delete, rows).await?;
        }
        let rows = Rows::of(&events).col("id", |event| *event);
        let delete = "DELETE FROM events WHERE id IN (SELECT id FROM {rows})";
        let deleted = dialect::execute_rows(&mut transaction, delete, rows).await?;
        transaction.commit().await?;
        Ok(Pruned { deleted, reached: Some(last.uuid()) })
    }
}

/// A delivery, as far as it decides whether its event may go.
struct Old {
    id: DeliveryId,
    event_id: EventId,
    /// When nothing more was to be done about it.
    ended_at: Option<Timestamp>,
}

/// The deliveries that were made from one millisecond to another, locked against being replayed meanwhile. A delivery is made
/// with its event, in the same transaction and at the same time, so these are all of the events of that time.
async fn deliveries_made(
    connection: &mut DbConnection,
    first: Timestamp,
    last: Timestamp,
) -> Result<Vec<Old>, StoreError> {
    let select = format!(
        "SELECT id, event_id, state, settled_at, (SELECT acknowledged_at FROM delivery_acknowledgements a \
         WHERE a.delivery_id = deliveries.id AND a.epoch = deliveries.epoch) AS acknowledged_at \
         FROM deliveries WHERE id >= $1 AND id < $2 {}",
        dialect::FOR_UPDATE
    );
    let until = last.plus(std::time::Duration::from_millis(1));
    let select = sqlx::query(AssertSqlSafe(select)).bind(earliest_id(first)).bind(earliest_id(until));
    select.fetch_all(connection).await?.iter().map(old).collect()
}

fn old(row: &DbRow) -> Result<Old, StoreError> {
    let ended_at = match row.try_get("state")? {
        "delivered" => row.try_get("settled_at")?,
        "dead" => row.try_get("acknowledged_at")?,
        _ => None,
    };
    Ok(Old { id: row.try_get("id")?, event_id: row.try_get("event_id")?, ended_at })
}
