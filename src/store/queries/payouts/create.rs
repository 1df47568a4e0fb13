//! A payout is made: its key is taken, every unpaid entry becomes an item, and their sum is what is paid.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::Row;

use super::super::super::dialect::{self, DbConnection};
use super::super::whole_rows;
use super::{Trace, leave, rows};
use crate::domain::catalog::Catalog;
use crate::domain::ids::{OperatorId, PayoutId};
use crate::domain::ledger::Account;
use crate::domain::money::{Amount, Money};
use crate::domain::payout::{Payout, PayoutState, Share, judge_balance};
use crate::store::StoreError;
use crate::store::outbox::OutboxTerms;
use crate::store::payouts::{Creation, NewPayout};
use crate::store::rows::Rows;

/// Makes a payout. Unless it answers [`Creation::Made`] what it wrote must be rolled back.
pub async fn create(
    connection: &mut DbConnection,
    new: &NewPayout,
    catalog: &Catalog,
    terms: OutboxTerms,
) -> Result<Creation, StoreError> {
    let id = PayoutId::new(terms.now);
    if !take_key(connection, id, new, terms).await? {
        return known(connection, new).await;
    }
    take_unpaid(connection, id, new).await?;
    let sums = sum_items(connection, id).await?;
    let money = Money { amount: sums.total, currency: new.currency };
    if let Err(reason) = judge_balance(sums.total, minimum(connection, new).await?) {
        return Ok(Creation::None(reason, money));
    }
    let payout = Payout {
        id,
        affiliate_id: new.affiliate_id,
        money,
        items: sums.items,
        state: state(new),
        revision: 1,
        reference: None,
        created_by: new.created_by,
        created_at: terms.now,
        updated_at: terms.now,
    };
    let update = "UPDATE payouts SET amount = $2, items = $3 WHERE id = $1";
    sqlx::query(update).bind(id).bind(money.amount).bind(sums.items).execute(&mut *connection).await?;
    insert_shares(connection, id, &sums.shares).await?;
    let trace = Trace { from: None, payout: &payout, shares: &sums.shares, step: None, by: new.created_by };
    let told = leave(connection, trace, catalog, terms).await?;
    Ok(Creation::Made(payout, told))
}

const fn state(new: &NewPayout) -> PayoutState {
    if new.draft { PayoutState::Draft } else { PayoutState::PendingApproval }
}

/// Takes the idempotency key with the payout's row; whoever comes second waits here for the first and is told no.
async fn take_key(
    connection: &mut DbConnection,
    id: PayoutId,
    new: &NewPayout,
    terms: OutboxTerms,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO payouts (id, affiliate_id, currency, amount, items, state, revision, idempotency_key, \
         created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, 0, $5, 1, $6, $7, $8, $8) \
         ON CONFLICT (idempotency_key) DO NOTHING";
    let inserted = sqlx::query(insert)
        .bind(id)
        .bind(new.affiliate_id)
        .bind(new.currency.to_string())
        .bind(Amount::ZERO)
        .bind(state(new).as_str())
        .bind(new.idempotency_key.clone())
        .bind(new.created_by)
        .bind(terms.now)
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn known(connection: &mut DbConnection, new: &NewPayout) -> Result<Creation, StoreError> {
    let select = "SELECT * FROM payouts WHERE idempotency_key = $1";
    let row = whole_rows(select).bind(new.idempotency_key.clone()).fetch_one(connection).await?;
    let payout = rows::payout(&row)?;
    let same = payout.affiliate_id == new.affiliate_id && payout.money.currency == new.currency;
    Ok(if same { Creation::Known(payout) } else { Creation::OtherWish(payout.id) })
}

/// Makes an item of every unpaid entry: one statement, so all of one moment. The index of items that are not given
/// back refuses an entry that another payout took meanwhile; then all of it is tried again.
async fn take_unpaid(connection: &mut DbConnection, id: PayoutId, new: &NewPayout) -> Result<(), StoreError> {
    let insert = "INSERT INTO payout_items (payout_id, entry_id, commission_id, operator_id, amount) \
         SELECT $1, e.id, c.id, c.operator_id, -e.amount FROM ledger_entries e \
         JOIN ledger_transactions t ON t.id = e.transaction_id JOIN commissions c ON c.id = t.commission_id \
         WHERE e.account = $2 AND e.account LIKE '%:payable' AND e.currency = $3 \
         AND NOT EXISTS (SELECT 1 FROM payout_items i WHERE i.entry_id = e.id AND i.released_at IS NULL) \
         ORDER BY e.id";
    let account = Account::Payable(new.affiliate_id).to_string();
    let taken = sqlx::query(insert).bind(id).bind(account).bind(new.currency.to_string()).execute(connection).await;
    match taken {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::Collision(sqlx::Error::Database(error)))
        }
        other => Ok(other.map(drop)?),
    }
}

/// What the items of a payout come to.
struct Sums {
    items: i64,
    total: Amount,
    shares: Vec<Share>,
}

/// Sums in code, as wide integers, row by row.
async fn sum_items(connection: &mut DbConnection, id: PayoutId) -> Result<Sums, StoreError> {
    let select = "SELECT operator_id, amount FROM payout_items WHERE payout_id = $1";
    let (mut items, mut total, mut parts) = (0, 0, BTreeMap::<OperatorId, i128>::new());
    let mut rows = sqlx::query(select).bind(id).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let amount: Amount = row.try_get("amount")?;
        items += 1;
        total += i128::from(amount.micros());
        *parts.entry(row.try_get("operator_id")?).or_default() += i128::from(amount.micros());
    }
    let share = |(operator_id, micros)| Ok(Share { operator_id, amount: amount_of(micros)? });
    let shares = parts.into_iter().map(share).collect::<Result<_, StoreError>>()?;
    Ok(Sums { items, total: amount_of(total)?, shares })
}

/// A sum as an amount. More than an amount can be is more money than there is.
fn amount_of(micros: i128) -> Result<Amount, StoreError> {
    let amount = i64::try_from(micros).ok().and_then(|micros| Amount::from_micros(micros).ok());
    amount.ok_or_else(|| StoreError::Corrupt(format!("a payout of {micros} millionths is beyond what can be paid")))
}

/// From how much on this payout is made.
async fn minimum(connection: &mut DbConnection, new: &NewPayout) -> Result<Amount, StoreError> {
    if let Some(minimum) = new.minimum {
        return Ok(minimum);
    }
    let select = "SELECT minimum FROM payout_terms WHERE affiliate_id = $1 AND currency = $2";
    let row = sqlx::query(select).bind(new.affiliate_id).bind(new.currency.to_string());
    match row.fetch_optional(connection).await? {
        Some(row) => Ok(row.try_get("minimum")?),
        None => Ok(Amount::ZERO),
    }
}

async fn insert_shares(connection: &mut DbConnection, id: PayoutId, shares: &[Share]) -> Result<(), StoreError> {
    let rows = Rows::of(shares)
        .col("payout_id", move |_| id)
        .col("operator_id", |share| share.operator_id)
        .col("amount", |share| share.amount);
    let insert =
        "INSERT INTO payout_shares (payout_id, operator_id, amount) SELECT payout_id, operator_id, amount FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}
