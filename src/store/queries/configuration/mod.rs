//! The configuration: written row by row under one new version, read as deltas in one snapshot.

mod put;
mod secrets;

use async_trait::async_trait;
use sqlx::{Database, Row};

use super::super::dialect::{Db, DbConnection, DbRow, Engine};
use super::{nouns, whole_rows};
use crate::domain::catalog::CatalogDelta;
use crate::domain::secret::MasterKey;
use crate::store::StoreError;
use crate::store::configuration::{Configuration, Entry};

/// A statement with its values.
type Statement = sqlx::query::Query<'static, Db, <Db as Database>::Arguments>;

#[async_trait]
impl Configuration for Engine {
    async fn put(&self, entries: &[Entry]) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        // First of all: the row lock puts writers in order, so a later version is never seen before an earlier one.
        let raise = "UPDATE config_version SET version = version + 1 WHERE id = 1 RETURNING version";
        let version: i64 = sqlx::query(raise).fetch_one(&mut *transaction).await?.try_get("version")?;
        for entry in entries {
            let written = put::statement(entry, version, &self.master_key)?.execute(&mut *transaction).await?;
            // The row is there under the same id and belongs to another: nothing was replaced.
            if written.rows_affected() == 0 {
                return Err(StoreError::Exists);
            }
        }
        transaction.commit().await?;
        Ok(version)
    }

    async fn configuration_version(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT version FROM config_version WHERE id = 1").fetch_one(&self.reader).await?;
        Ok(row.try_get("version")?)
    }

    async fn load(&self, since: i64) -> Result<CatalogDelta, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        let delta = read_delta(&mut snapshot, since, &self.master_key).await?;
        snapshot.rollback().await?;
        Ok(delta)
    }
}

async fn read_delta(connection: &mut DbConnection, since: i64, key: &MasterKey) -> Result<CatalogDelta, StoreError> {
    let row = sqlx::query("SELECT version FROM config_version WHERE id = 1").fetch_one(&mut *connection).await?;
    let version = row.try_get("version")?;
    // Orders: where it matters, the one in which rows were made; a row that was changed keeps its place.
    let mut newer = Newer { connection, since };
    Ok(CatalogDelta {
        version,
        operators: newer.rows("SELECT * FROM operators WHERE version > $1", nouns::operator).await?,
        sources: newer.rows("SELECT * FROM sources WHERE version > $1", nouns::source).await?,
        source_secrets: newer
            .rows("SELECT * FROM source_secrets WHERE version > $1 ORDER BY created_at, id", |row| {
                secrets::source_secret(row, key)
            })
            .await?,
        programs: newer.rows("SELECT * FROM programs WHERE version > $1", nouns::program).await?,
        goals: newer.rows("SELECT * FROM goals WHERE version > $1", nouns::goal).await?,
        plans: newer.rows("SELECT * FROM plans WHERE version > $1", nouns::plan).await?,
        plan_versions: newer
            .rows(
                "SELECT * FROM plan_versions WHERE version > $1 ORDER BY version, created_at, id",
                nouns::plan_version,
            )
            .await?,
        affiliates: newer.rows("SELECT * FROM affiliates WHERE version > $1", nouns::affiliate).await?,
        agreements: newer.rows("SELECT * FROM agreements WHERE version > $1", nouns::agreement).await?,
        links: newer.rows("SELECT * FROM links WHERE version > $1", nouns::link).await?,
        coupons: newer.rows("SELECT * FROM coupons WHERE version > $1", nouns::coupon).await?,
        keys: newer.rows("SELECT * FROM api_keys WHERE version > $1", nouns::key).await?,
        endpoints: newer
            .rows("SELECT * FROM endpoints WHERE version > $1 ORDER BY created_at, id", nouns::endpoint)
            .await?,
        endpoint_secrets: newer
            .rows("SELECT * FROM endpoint_secrets WHERE version > $1 ORDER BY created_at, id", |row| {
                secrets::endpoint_secret(row, key)
            })
            .await?,
        mac_keys: newer.rows("SELECT * FROM mac_keys WHERE version > $1", |row| secrets::mac_key(row, key)).await?,
        fx_rates: newer
            .rows("SELECT * FROM fx_rates WHERE version > $1 ORDER BY version, created_at, id", nouns::fx_rate)
            .await?,
    })
}

/// Reads the rows after one version.
struct Newer<'c> {
    connection: &'c mut DbConnection,
    since: i64,
}

impl Newer<'_> {
    async fn rows<T>(
        &mut self,
        select: &'static str,
        read: impl Fn(&DbRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = whole_rows(select).bind(self.since).fetch_all(&mut *self.connection).await?;
        rows.iter().map(read).collect()
    }
}
