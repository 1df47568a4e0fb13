//! Dead deliveries that a person lets be. A row for each life of a delivery that ended so; rows are never changed.

use sqlx::Row;

use super::super::super::dialect::{self, DbRow, Engine};
use super::super::from_name;
use crate::domain::delivery::DeliveryState;
use crate::domain::ids::DeliveryId;
use crate::domain::replay::{Note, Person};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::replays::{Acknowledged, Acknowledgement};

pub async fn acknowledge(
    engine: &Engine,
    delivery_id: DeliveryId,
    note: &Note,
    by: Person,
    now: Timestamp,
) -> Result<Acknowledged, StoreError> {
    let mut transaction = engine.begin().await?;
    let select = format!("SELECT epoch, state FROM deliveries WHERE id = $1 {}", dialect::FOR_UPDATE);
    let found = sqlx::query(sqlx::AssertSqlSafe(select)).bind(delivery_id).fetch_optional(&mut *transaction).await?;
    let row = found.ok_or(StoreError::NotFound("delivery"))?;
    let (epoch, state): (i32, DeliveryState) = (row.try_get("epoch")?, from_name(&row, "state")?);
    if state != DeliveryState::Dead {
        return Ok(Acknowledged::NotDead(state));
    }
    let insert = "INSERT INTO delivery_acknowledgements (delivery_id, epoch, acknowledged_at, acknowledged_by, note) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(delivery_id).bind(epoch).bind(now).bind(by.to_string()).bind(note.as_str());
    insert.execute(&mut *transaction).await?;
    let select = "SELECT acknowledged_at, acknowledged_by, note FROM delivery_acknowledgements \
         WHERE delivery_id = $1 AND epoch = $2";
    let row = sqlx::query(select).bind(delivery_id).bind(epoch).fetch_one(&mut *transaction).await?;
    let stands = acknowledgement(&row)?.ok_or_else(|| StoreError::Corrupt("delivery_acknowledgements".to_owned()))?;
    transaction.commit().await?;
    Ok(Acknowledged::Is(stands))
}

/// The acknowledgement in a row that was joined with one, if there is any.
pub fn acknowledgement(row: &DbRow) -> Result<Option<Acknowledgement>, StoreError> {
    let Some(at) = row.try_get("acknowledged_at")? else { return Ok(None) };
    Ok(Some(Acknowledgement { at, by: person(row, "acknowledged_by")?, note: row.try_get("note")? }))
}

/// Who decided, as it is stored.
pub fn person(row: &DbRow, column: &str) -> Result<Person, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

pub async fn dead_waiting(engine: &Engine) -> Result<i64, StoreError> {
    let select = "SELECT count(*) AS found FROM deliveries d WHERE d.state = 'dead' AND NOT EXISTS \
         (SELECT 1 FROM delivery_acknowledgements a WHERE a.delivery_id = d.id AND a.epoch = d.epoch)";
    Ok(sqlx::query(select).fetch_one(&engine.reader).await?.try_get("found")?)
}
