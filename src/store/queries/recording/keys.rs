//! Deduplication keys: inserted to decide, followed to what they lead to, given back where nothing came of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow};
use super::super::nouns::{commission, currency};
use super::super::{from_json, from_json_opt, from_name, from_name_opt};
use crate::domain::booking::{Booked, Booking, Prepared};
use crate::domain::conversion::{Conversion, Seen};
use crate::domain::ids::ConversionId;
use crate::store::StoreError;
use crate::store::rows::Rows;

/// Inserts the keys that new conversions would take, in sorted order, and loads what the others lead to.
/// Answers the keys that were inserted, each with the conversion that its row names.
pub async fn take_keys(
    connection: &mut DbConnection,
    prepared: &[Prepared],
    booking: &mut Booking<'_>,
) -> Result<BTreeMap<String, ConversionId>, StoreError> {
    let mut wanted: BTreeMap<&str, ConversionId> = BTreeMap::new();
    for (key, conversion) in prepared.iter().flat_map(Prepared::wanted_keys) {
        wanted.entry(key).or_insert(conversion);
    }
    let wanted: Vec<(&str, ConversionId)> = wanted.into_iter().collect();
    let rows = Rows::of(&wanted).col("key", |(key, _)| *key).col("conversion_id", |(_, id)| *id);
    let insert = "INSERT INTO dedup_keys (key, conversion_id) SELECT key, conversion_id FROM {rows} WHERE true \
         ON CONFLICT DO NOTHING RETURNING key, conversion_id";
    let mut taken = BTreeMap::new();
    for row in dialect::fetch_rows(connection, insert, rows).await? {
        let key: String = row.try_get("key")?;
        booking.key_taken(key.clone());
        taken.insert(key, row.try_get("conversion_id")?);
    }
    let others: BTreeSet<&str> =
        prepared.iter().flat_map(Prepared::known_by).filter(|key| !taken.contains_key(*key)).collect();
    let others: Vec<&str> = others.into_iter().collect();
    let rows = Rows::of(&others).col("wanted", |key| *key);
    let select = "SELECT k.key, k.conversion_id FROM {rows} JOIN dedup_keys k ON k.key = v.wanted";
    let mut known = BTreeSet::new();
    for row in dialect::fetch_rows(connection, select, rows).await? {
        let conversion: ConversionId = row.try_get("conversion_id")?;
        known.insert(conversion);
        booking.key_known(row.try_get("key")?, conversion);
    }
    load_booked(connection, known.into_iter().collect(), booking).await?;
    Ok(taken)
}

/// Locks and loads conversions with their commissions, in sorted order.
pub async fn load_booked(
    connection: &mut DbConnection,
    ids: Vec<ConversionId>,
    booking: &mut Booking<'_>,
) -> Result<(), StoreError> {
    let select = format!(
        "SELECT {CONVERSION}, goal FROM conversions WHERE id IN (SELECT v.conversion FROM {{rows}}) ORDER BY id {}",
        dialect::FOR_UPDATE
    );
    let found = dialect::fetch_rows(connection, &select, Rows::of(&ids).col("conversion", |id| *id)).await?;
    let select = format!("SELECT {COMMISSION} FROM {{rows}} JOIN commissions ON conversion_id = v.conversion");
    let earned = dialect::fetch_rows(connection, &select, Rows::of(&ids).col("conversion", |id| *id)).await?;
    let mut commissions = HashMap::new();
    for row in &earned {
        let commission = commission(row)?;
        commissions.insert(commission.conversion_id, commission);
    }
    for row in &found {
        let conversion = conversion(row)?;
        let commission = commissions.remove(&conversion.id);
        booking.conversion_known(Booked { goal: row.try_get("goal")?, commission, conversion });
    }
    Ok(())
}

/// What [`conversion`] reads.
const CONVERSION: &str = "id, operator_id, source_id, program_id, goal_id, affiliate_id, receipt_id, status, currency, \
     occurred_at, received_at, updated_at, revision, test, content, refunds, hold_until, booked_period, changed_by, \
     click_subs, seen, no_commission, recurrence";
/// What [`commission`] reads.
const COMMISSION: &str = "id, conversion_id, operator_id, program_id, affiliate_id, plan_version_id, amount, currency, \
     awaits, booked, state, hold_until, revision, explanation, created_at, updated_at";

fn conversion(row: &DbRow) -> Result<Conversion, StoreError> {
    let seen: Vec<u8> = row.try_get("seen")?;
    Ok(Conversion {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        source_id: row.try_get("source_id")?,
        program_id: row.try_get("program_id")?,
        goal_id: row.try_get("goal_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        receipt_id: row.try_get("receipt_id")?,
        status: from_name(row, "status")?,
        currency: currency(row, "currency")?,
        occurred_at: row.try_get("occurred_at")?,
        received_at: row.try_get("received_at")?,
        updated_at: row.try_get("updated_at")?,
        revision: row.try_get("revision")?,
        test: row.try_get("test")?,
        content: from_json(row, "content")?,
        refunds: from_json_opt(row, "refunds")?.unwrap_or_default(),
        hold_until: row.try_get("hold_until")?,
        booked_period: row.try_get("booked_period")?,
        changed_by: from_json_opt(row, "changed_by")?.unwrap_or_default(),
        click_subs: from_json(row, "click_subs")?,
        seen: Seen::from_bytes(&seen).ok_or_else(|| StoreError::Corrupt("conversions.seen".to_owned()))?,
        no_commission: from_name_opt(row, "no_commission")?,
        recurrence: row.try_get("recurrence")?,
    })
}

/// Gives back the keys that nothing came of, and corrects those that another item of the batch took.
pub async fn settle_keys(
    connection: &mut DbConnection,
    taken: BTreeMap<String, ConversionId>,
    booking: &Booking<'_>,
) -> Result<(), StoreError> {
    let (mut unused, mut corrected) = (Vec::new(), Vec::new());
    for (key, written) in taken {
        match booking.key_target(&key) {
            None => unused.push(key),
            Some(target) if target != written => corrected.push((key, target)),
            Some(_) => {}
        }
    }
    let rows = Rows::of(&unused).col("unused", |key| key.as_str());
    let delete = "DELETE FROM dedup_keys WHERE key IN (SELECT v.unused FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    let rows = Rows::of(&corrected).col("taken", |(key, _)| key.as_str()).col("target", |(_, id)| *id);
    let update = "UPDATE dedup_keys AS t SET conversion_id = v.target FROM {rows} WHERE t.key = v.taken";
    dialect::execute_rows(connection, update, rows).await?;
    Ok(())
}
