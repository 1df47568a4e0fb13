//! First conversions, from which months are counted: each key's row is locked before anything is judged by it.

use std::collections::BTreeSet;

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection};
use super::keys::load_booked;
use crate::domain::booking::{Booking, Prepared};
use crate::domain::ids::ConversionId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::rows::Rows;

/// Locks the rows of the keys that the batch may count under, in sorted order, making those that are missing; and loads
/// the conversions that an earlier first would move.
pub async fn take_recurrences(
    connection: &mut DbConnection,
    prepared: &[Prepared],
    booking: &mut Booking<'_>,
) -> Result<(), StoreError> {
    let wanted = booking.recurrences_wanted(prepared);
    if wanted.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
    // An update that changes nothing: it waits for whoever holds the row, and answers what they wrote.
    let lock = "INSERT INTO recurrences (key) SELECT key FROM {rows} WHERE true \
         ON CONFLICT (key) DO UPDATE SET first_at = recurrences.first_at RETURNING key, first_at";
    let mut moved: Vec<(String, Timestamp)> = Vec::new();
    for row in dialect::fetch_rows(connection, lock, Rows::of(&keys).col("key", |key| *key)).await? {
        let (key, first_at): (String, Option<Timestamp>) = (row.try_get("key")?, row.try_get("first_at")?);
        let earlier = wanted.get(&key).copied().filter(|at| first_at.is_some_and(|first| *at < first));
        moved.extend(earlier.map(|at| (key.clone(), at)));
        booking.recurrence_known(key, first_at);
    }
    let rows = Rows::of(&moved).col("wanted", |(key, _)| key.as_str()).col("since", |(_, at)| *at);
    let select = "SELECT c.id FROM {rows} JOIN conversions c ON c.recurrence = v.wanted AND c.occurred_at >= v.since";
    let found = dialect::fetch_rows(connection, select, rows).await?;
    let ids = found.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<BTreeSet<ConversionId>, StoreError>>()?;
    load_booked(connection, ids.into_iter().collect(), booking).await
}

/// Locks the row that one known conversion counts under, so that it is judged by its first.
pub async fn load_recurrence(
    connection: &mut DbConnection,
    id: ConversionId,
    booking: &mut Booking<'_>,
) -> Result<(), StoreError> {
    let Some(key) = booking.booked(id).and_then(|booked| booked.conversion.recurrence.clone()) else { return Ok(()) };
    let select = format!("SELECT first_at FROM recurrences WHERE key = $1 {}", dialect::FOR_UPDATE);
    let row = sqlx::query(sqlx::AssertSqlSafe(select)).bind(key.clone()).fetch_optional(connection).await?;
    if let Some(row) = row {
        booking.recurrence_known(key, row.try_get("first_at")?);
    }
    Ok(())
}

/// Writes the firsts that moved, and gives back the rows that nothing counts under.
pub async fn settle_recurrences(connection: &mut DbConnection, booking: &Booking<'_>) -> Result<(), StoreError> {
    let (mut moved, mut unused) = (Vec::new(), Vec::new());
    for (key, first_at) in booking.recurrences_moved() {
        match first_at {
            Some(first_at) => moved.push((key, first_at)),
            None => unused.push(key),
        }
    }
    let rows = Rows::of(&moved).col("taken", |(key, _)| *key).col("first", |(_, at)| *at);
    let update = "UPDATE recurrences AS t SET first_at = v.first FROM {rows} WHERE t.key = v.taken";
    dialect::execute_rows(connection, update, rows).await?;
    let rows = Rows::of(&unused).col("unused", |key| *key);
    let delete = "DELETE FROM recurrences WHERE key IN (SELECT v.unused FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    Ok(())
}
