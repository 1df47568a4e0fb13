//! Terms, and the payouts that fall due by them. Whoever moves the terms on from the due time that was read makes
//! the payout, in the same transaction; everybody else finds them moved.

use super::super::super::dialect::{DbConnection, Engine};
use super::super::{to_name, whole_rows};
use super::create::create;
use super::rows;
use crate::domain::catalog::Catalog;
use crate::domain::ids::AffiliateId;
use crate::domain::payout::NoPayout;
use crate::domain::payout::terms::{DueOutcome, PayoutTerms};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::outbox::{OutboxTerms, Told};
use crate::store::payouts::{Creation, DuePayout, NewPayout};

pub async fn due(engine: &Engine, now: Timestamp, limit: i64) -> Result<Vec<PayoutTerms>, StoreError> {
    let select = "SELECT * FROM payout_terms WHERE enabled AND next_due_at <= $1 \
         ORDER BY next_due_at, affiliate_id, currency LIMIT $2";
    let found = whole_rows(select).bind(now).bind(limit).fetch_all(&engine.reader).await?;
    found.iter().map(rows::terms).collect()
}

pub async fn of_affiliate(engine: &Engine, affiliate: AffiliateId) -> Result<Vec<PayoutTerms>, StoreError> {
    let select = "SELECT * FROM payout_terms WHERE affiliate_id = $1 ORDER BY currency";
    let found = whole_rows(select).bind(affiliate).fetch_all(&engine.reader).await?;
    found.iter().map(rows::terms).collect()
}

pub async fn put(connection: &mut DbConnection, terms: &PayoutTerms) -> Result<PayoutTerms, StoreError> {
    let upsert = "INSERT INTO payout_terms (affiliate_id, currency, minimum, period, enabled, next_due_at, \
         updated_by, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (affiliate_id, currency) DO UPDATE SET minimum = excluded.minimum, enabled = excluded.enabled, \
         next_due_at = CASE WHEN payout_terms.enabled AND payout_terms.period = excluded.period \
         THEN payout_terms.next_due_at ELSE excluded.next_due_at END, period = excluded.period, \
         updated_by = excluded.updated_by, updated_at = excluded.updated_at RETURNING *";
    let row = whole_rows(upsert)
        .bind(terms.affiliate_id)
        .bind(terms.currency.to_string())
        .bind(terms.minimum)
        .bind(to_name(&terms.period))
        .bind(terms.enabled)
        .bind(terms.next_due_at)
        .bind(terms.updated_by)
        .bind(terms.updated_at)
        .fetch_one(connection)
        .await?;
    rows::terms(&row)
}

/// Moves the terms on and makes the payout. What is too little for one is written with the terms and taken back
/// otherwise, so the payout is tried behind a savepoint.
pub async fn create_due(
    connection: &mut DbConnection,
    due: &DuePayout,
    catalog: &Catalog,
    terms: OutboxTerms,
) -> Result<Option<(DueOutcome, Told)>, StoreError> {
    if !move_on(connection, due).await? {
        return Ok(None);
    }
    let DuePayout { terms: PayoutTerms { affiliate_id, currency, minimum, next_due_at, .. }, .. } = due;
    let new = NewPayout {
        affiliate_id: *affiliate_id,
        currency: *currency,
        minimum: Some(*minimum),
        draft: false,
        idempotency_key: format!("schedule:{affiliate_id}:{currency}:{next_due_at}"),
        created_by: None,
    };
    sqlx::query("SAVEPOINT payout").execute(&mut *connection).await?;
    let (outcome, told) = match create(connection, &new, catalog, terms).await? {
        Creation::Made(_, told) => (DueOutcome::Created, told),
        Creation::Known(_) | Creation::OtherWish(_) => (DueOutcome::Created, Told::default()),
        Creation::None(reason, _) => {
            sqlx::query("ROLLBACK TO SAVEPOINT payout").execute(&mut *connection).await?;
            let outcome = match reason {
                NoPayout::Debt => DueOutcome::Debt,
                NoPayout::BelowMinimum => DueOutcome::BelowMinimum,
            };
            (outcome, Told::default())
        }
    };
    let update = "UPDATE payout_terms SET last_outcome = $3 WHERE affiliate_id = $1 AND currency = $2";
    let update = sqlx::query(update).bind(*affiliate_id).bind(currency.to_string()).bind(to_name(&outcome));
    update.execute(connection).await?;
    Ok(Some((outcome, told)))
}

/// Whether this transaction is the one that moves the terms on from the due time that was read.
async fn move_on(connection: &mut DbConnection, due: &DuePayout) -> Result<bool, StoreError> {
    let update = "UPDATE payout_terms SET next_due_at = $4, last_due_at = $3 \
         WHERE affiliate_id = $1 AND currency = $2 AND next_due_at = $3 AND enabled";
    let moved = sqlx::query(update)
        .bind(due.terms.affiliate_id)
        .bind(due.terms.currency.to_string())
        .bind(due.terms.next_due_at)
        .bind(due.next_due_at)
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}
