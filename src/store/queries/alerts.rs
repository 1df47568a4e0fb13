//! Alerts: a partial unique index lets one opening of a name stand at a time.

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::Engine;
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alerts::{Alerts, Untold};

#[async_trait]
impl Alerts for Engine {
    async fn open_alert(&self, name: &str, value: i64, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let insert = "INSERT INTO alerts (id, name, value, opened_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert).bind(AlertId::new(now)).bind(name).bind(value).bind(now);
        let opened = insert.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(opened == 1)
    }

    async fn close_alert(&self, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let update = sqlx::query("UPDATE alerts SET closed_at = $2 WHERE name = $1 AND closed_at IS NULL");
        let closed = update.bind(name).bind(now).execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(closed == 1)
    }

    async fn open_alerts(&self) -> Result<Vec<String>, StoreError> {
        let select = "SELECT name FROM alerts WHERE closed_at IS NULL ORDER BY name";
        let rows = sqlx::query(select).fetch_all(&self.reader).await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    async fn untold_alerts(&self, limit: i64) -> Result<Vec<Untold>, StoreError> {
        let select = "SELECT id, name, value, opened_at, closed_at FROM ( \
             SELECT id, name, value, opened_at, NULL AS closed_at, opened_at AS happened_at, 1 AS step \
             FROM alerts WHERE open_notified_at IS NULL UNION ALL \
             SELECT id, name, value, opened_at, closed_at, closed_at AS happened_at, 2 AS step \
             FROM alerts WHERE closed_at IS NOT NULL AND close_notified_at IS NULL) AS untold \
             ORDER BY happened_at, step LIMIT $1";
        let rows = sqlx::query(select).bind(limit).fetch_all(&self.reader).await?;
        let untold = rows.iter().map(|row| {
            Ok(Untold {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                value: row.try_get("value")?,
                opened_at: row.try_get("opened_at")?,
                closed_at: row.try_get("closed_at")?,
            })
        });
        untold.collect()
    }

    async fn alert_told(&self, id: AlertId, closing: bool, now: Timestamp) -> Result<(), StoreError> {
        let update = if closing {
            "UPDATE alerts SET close_notified_at = $2 WHERE id = $1 AND close_notified_at IS NULL"
        } else {
            "UPDATE alerts SET open_notified_at = $2 WHERE id = $1 AND open_notified_at IS NULL"
        };
        let mut transaction = self.begin().await?;
        sqlx::query(update).bind(id).bind(now).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}
