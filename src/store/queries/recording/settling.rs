//! What time and exchange rates do to commissions. A conversion's row is locked before its commission is touched, as
//! the recorder does, so that a refund and a release never act on the same state.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::super::ledger;
use super::super::nouns::currency;
use super::keys::load_booked;
use super::write::write;
use super::{Batch, require_version};
use crate::domain::booking::Booking;
use crate::domain::catalog::Catalog;
use crate::domain::ids::{AffiliateId, CommissionId, ConversionId};
use crate::domain::ledger::{Account, PostingKind, Subject, transfer};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::recording::{RecordTerms, Recorded};
use crate::store::rows::Rows;

/// One transaction: finds commissions that waited for a rate, and books them as an approval would.
pub async fn book_awaiting(
    engine: &Engine,
    catalog: &Catalog,
    limit: i64,
    terms: RecordTerms,
) -> Result<Recorded, StoreError> {
    let mut transaction = engine.begin().await?;
    let connection = &mut *transaction;
    require_version(connection, catalog).await?;
    let ids = convertible(connection, catalog, limit).await?;
    if ids.is_empty() {
        transaction.rollback().await?;
        return Ok(Recorded::default());
    }
    let mut booking = Booking::new(catalog, terms.now, HashMap::new());
    load_booked(connection, ids.into_iter().collect(), &mut booking).await?;
    let settled = booking.book_awaiting();
    let recorded =
        write(connection, Batch { arrivals: &[], wait_keys: &[], again: None }, Vec::new(), &booking, terms).await?;
    transaction.commit().await?;
    Ok(Recorded { settled, ..recorded })
}

/// Conversions whose commissions wait for a rate that is known: they happened when the first one of their two currencies
/// was valid.
async fn convertible(
    connection: &mut DbConnection,
    catalog: &Catalog,
    limit: i64,
) -> Result<BTreeSet<ConversionId>, StoreError> {
    let pairs: Vec<_> = catalog.fx_rates().known_since().collect();
    let rows = Rows::of(&pairs)
        .col("base", |(base, ..)| base.to_string())
        .col("quote", |(_, quote, _)| quote.to_string())
        .col("since", |(.., since)| *since);
    let select = format!(
        "SELECT c.conversion_id FROM {{rows}} JOIN commissions c ON c.currency = v.base AND c.awaits = v.quote \
         JOIN conversions s ON s.id = c.conversion_id WHERE c.state = 'awaiting_fx' AND s.occurred_at >= v.since \
         ORDER BY c.conversion_id LIMIT {limit}"
    );
    let found = dialect::fetch_rows(connection, &select, rows).await?;
    found.iter().map(|row| Ok(row.try_get("conversion_id")?)).collect()
}

/// A commission whose lock period is over.
struct Held {
    id: CommissionId,
    affiliate_id: AffiliateId,
    booked: Money,
}

/// One transaction: moves what was held to where it may be paid.
pub async fn release_held(engine: &Engine, now: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let mut transaction = engine.begin().await?;
    let connection = &mut *transaction;
    let select = format!(
        "SELECT c.id, c.affiliate_id, c.booked, c.currency FROM commissions c \
         JOIN conversions s ON s.id = c.conversion_id WHERE c.state = 'on_hold' AND c.hold_until <= $1 \
         ORDER BY c.hold_until LIMIT $2 {}",
        dialect::SKIP_LOCKED
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(select)).bind(now).bind(limit).fetch_all(&mut *connection).await?;
    let over = rows.iter().map(held).collect::<Result<Vec<Held>, StoreError>>()?;
    let postings: Vec<_> = over
        .iter()
        .filter(|held| !held.booked.amount.is_zero())
        .map(|held| {
            let accounts = [Account::Held(held.affiliate_id), Account::Payable(held.affiliate_id)];
            transfer(PostingKind::Release, Subject::Commission(held.id), accounts, held.booked, now)
        })
        .collect();
    let rows = Rows::of(&over).col("commission", |held| held.id).col("at", |_| now);
    let update = "UPDATE commissions AS t SET state = 'available', revision = t.revision + 1, updated_at = v.at \
         FROM {rows} WHERE t.id = v.commission AND t.state = 'on_hold'";
    let released = dialect::execute_rows(connection, update, rows).await?;
    if usize::try_from(released).ok() != Some(over.len()) {
        return Err(StoreError::Corrupt("a commission left its hold while its row was locked".to_owned()));
    }
    ledger::post(connection, &postings).await?;
    transaction.commit().await?;
    Ok(over.len())
}

fn held(row: &DbRow) -> Result<Held, StoreError> {
    Ok(Held {
        id: row.try_get("id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        booked: Money { amount: row.try_get("booked")?, currency: currency(row, "currency")? },
    })
}
