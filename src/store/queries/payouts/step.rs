//! A step of a payout: judged on the locked row, written against the state that was judged.

use sqlx::Row;

use super::super::super::dialect::{DbConnection, FOR_UPDATE};
use super::{Trace, leave, rows, shares};
use crate::domain::catalog::Catalog;
use crate::domain::ids::PayoutId;
use crate::domain::payout::{Payout, Reference, Refusal};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::outbox::OutboxTerms;
use crate::store::payouts::{TakeStep, Taken};

/// Takes a step. Unless it answers [`Taken::Done`] what it wrote must be rolled back.
pub async fn step(
    connection: &mut DbConnection,
    take: &TakeStep,
    catalog: &Catalog,
    terms: OutboxTerms,
) -> Result<Taken, StoreError> {
    let before = locked(connection, take.id).await?;
    let after = match before.after(&take.step, take.by, take.one_person_up_to, terms.now) {
        Ok(Some(after)) => after,
        Ok(None) => return Ok(Taken::Already(before)),
        Err(refusal) => return Ok(Taken::Refused(refusal)),
    };
    if let Some(reference) = take.step.reference()
        && !take_reference(connection, after.id, reference).await?
    {
        return Ok(Taken::Refused(Refusal::ReferenceTaken));
    }
    update(connection, &before, &after).await?;
    if after.state.gave_back() {
        release(connection, &after, terms.now).await?;
    }
    let shares = shares(connection, after.id).await?;
    let trace =
        Trace { from: Some(before.state), payout: &after, shares: &shares, step: Some(&take.step), by: Some(take.by) };
    let told = leave(connection, trace, catalog, terms).await?;
    Ok(Taken::Done(after, told))
}

async fn locked(connection: &mut DbConnection, id: PayoutId) -> Result<Payout, StoreError> {
    let select = format!("SELECT * FROM payouts WHERE id = $1 {FOR_UPDATE}");
    let row = sqlx::query(sqlx::AssertSqlSafe(select)).bind(id).fetch_optional(connection).await?;
    rows::payout(&row.ok_or(StoreError::NotFound("payout"))?)
}

/// Whether the reference is this payout's: new, or its own from an earlier try.
async fn take_reference(
    connection: &mut DbConnection,
    id: PayoutId,
    reference: &Reference,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO payout_references (reference, payout_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(reference.as_str().to_owned()).bind(id);
    if insert.execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(true);
    }
    let select = sqlx::query("SELECT payout_id FROM payout_references WHERE reference = $1");
    let owner: PayoutId =
        select.bind(reference.as_str().to_owned()).fetch_one(connection).await?.try_get("payout_id")?;
    Ok(owner == id)
}

async fn update(connection: &mut DbConnection, before: &Payout, after: &Payout) -> Result<(), StoreError> {
    let update = "UPDATE payouts SET state = $4, revision = $5, reference = $6, updated_at = $7 \
         WHERE id = $1 AND state = $2 AND revision = $3";
    let updated = sqlx::query(update)
        .bind(before.id)
        .bind(before.state.as_str())
        .bind(before.revision)
        .bind(after.state.as_str())
        .bind(after.revision)
        .bind(after.reference.as_ref().map(|reference| reference.as_str().to_owned()))
        .bind(after.updated_at)
        .execute(connection)
        .await?;
    hold_to(updated.rows_affected() == 1, "a payout moved under its lock")
}

/// Gives the entries back, so that another payout may pay them.
async fn release(connection: &mut DbConnection, payout: &Payout, now: Timestamp) -> Result<(), StoreError> {
    let update = "UPDATE payout_items SET released_at = $2 WHERE payout_id = $1 AND released_at IS NULL";
    let released = sqlx::query(update).bind(payout.id).bind(now).execute(connection).await?.rows_affected();
    hold_to(i64::try_from(released) == Ok(payout.items), "a payout has not the items that it was made of")
}

fn hold_to(holds: bool, otherwise: &str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(StoreError::Corrupt(otherwise.to_owned())) }
}
