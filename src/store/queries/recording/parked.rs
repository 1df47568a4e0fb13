//! What is parked, put with what arrived.

use std::collections::BTreeSet;

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow};
use super::super::{from_json, from_name};
use super::clicks::{load_clicks, wanted_clicks};
use super::customers::{load_customers, wanted_customers};
use crate::domain::booking::{Booking, Item, Prepared};
use crate::domain::ids::ReceiptId;
use crate::domain::postback::Postback;
use crate::domain::time::Timestamp;
use crate::domain::verdict::ParkReason;
use crate::store::StoreError;
use crate::store::rows::Rows;

/// When a postback was received, and its receipt where two came in the same instant.
type Received = (Timestamp, ReceiptId);

/// A parked postback with the reason why it waited.
struct Waiting {
    item: Item,
    reason: ParkReason,
}

/// Puts what is parked with what arrived: whatever waits for these keys, for a click or event among the arrivals, or
/// for an event among what was just found. What waited for its click or its customer goes before the arrivals, what waited for an
/// event goes after them, each in the order received.
pub async fn join_parked(
    connection: &mut DbConnection,
    arrived: Vec<Prepared>,
    wait_keys: &[String],
    booking: &mut Booking<'_>,
) -> Result<Vec<Prepared>, StoreError> {
    let mut asked = BTreeSet::new();
    let mut wanted: BTreeSet<String> = wait_keys.iter().cloned().collect();
    wanted.extend(arrived.iter().flat_map(Prepared::brings));
    let mut found: Vec<(Received, ParkReason, Prepared)> = Vec::new();
    while !wanted.is_empty() {
        let rows = load_parked(connection, &wanted).await?;
        let clicks = wanted_clicks(rows.iter().map(|waiting| &waiting.item), booking.catalog());
        booking.clicks_known(load_clicks(connection, clicks).await?);
        let customers = wanted_customers(rows.iter().map(|waiting| &waiting.item), booking.catalog());
        booking.customers_known(load_customers(connection, customers).await?);
        asked.append(&mut wanted);
        for Waiting { item, reason } in rows {
            let received = (item.received_at, item.receipt_id);
            let prepared = booking.prepare(item);
            wanted.extend(prepared.brings().filter(|key| !asked.contains(key)));
            found.push((received, reason, prepared));
        }
    }
    found.sort_by_key(|(received, ..)| *received);
    let (before, after): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, reason, _)| *reason != ParkReason::OriginalMissing);
    let parked = |(.., prepared): (Received, ParkReason, Prepared)| prepared;
    Ok(before.into_iter().map(parked).chain(arrived).chain(after.into_iter().map(parked)).collect())
}

async fn load_parked(connection: &mut DbConnection, wanted: &BTreeSet<String>) -> Result<Vec<Waiting>, StoreError> {
    let keys: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let select = format!(
        "SELECT p.receipt_id, p.source_id, p.received_at, p.reason, p.postback FROM parked p \
         WHERE p.wait_key IN (SELECT v.wait FROM {{rows}}) ORDER BY p.received_at, p.receipt_id {}",
        dialect::FOR_UPDATE
    );
    let rows = Rows::of(&keys).col("wait", |key| *key);
    let found = dialect::fetch_rows(connection, &select, rows).await?;
    found.iter().map(waiting).collect()
}

fn waiting(row: &DbRow) -> Result<Waiting, StoreError> {
    let item = Item {
        receipt_id: row.try_get("receipt_id")?,
        source_id: row.try_get("source_id")?,
        received_at: row.try_get("received_at")?,
        said: Ok(from_json::<Postback>(row, "postback")?),
        parked: true,
    };
    Ok(Waiting { item, reason: from_name(row, "reason")? })
}
