//! The books, asked whether they are sound. Every check streams its rows and sums in code as wide integers, so
//! memory stays flat and no sum overflows; all of them look at one snapshot.

mod commissions;
mod payouts;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::Row;

use super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::nouns::currency;
use crate::domain::ids::{ConversionId, LedgerTransactionId};
use crate::domain::ledger::Posting;
use crate::domain::money::{Amount, Currency, MAX_DECIMALS};
use crate::store::StoreError;
use crate::store::ledger::{Balance, Finding, Ledger};
use crate::store::rows::Rows;

/// After so many findings the rest would teach nothing.
const MOST_FINDINGS: usize = 1_000;

#[async_trait]
impl Ledger for Engine {
    async fn verify_ledger(&self) -> Result<Vec<Finding>, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        let mut findings = Findings(Vec::new());
        transactions_balance(&mut snapshot, &mut findings).await?;
        transactions_are_whole(&mut snapshot, &mut findings).await?;
        conversions_are_paid(&mut snapshot, &mut findings).await?;
        commissions::are_booked(&mut snapshot, &mut findings).await?;
        payouts::verify(&mut snapshot, &mut findings).await?;
        snapshot.rollback().await?;
        findings.0.truncate(MOST_FINDINGS);
        Ok(findings.0)
    }

    async fn balances(&self, prefix: &str) -> Result<Vec<Balance>, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        let mut balances = Vec::new();
        each_balance(&mut snapshot, prefix, |balance| balances.push(balance)).await?;
        snapshot.rollback().await?;
        Ok(balances)
    }
}

/// Writes transactions with their entries.
pub async fn post(connection: &mut DbConnection, postings: &[Posting]) -> Result<(), StoreError> {
    let rows = Rows::of(postings)
        .col("id", |posting| posting.id)
        .col("kind", |posting| posting.kind.as_str())
        .opt("commission_id", |posting| posting.subject.commission())
        .opt("payout_id", |posting| posting.subject.payout())
        .col("posted_at", |posting| posting.posted_at);
    let insert = "INSERT INTO ledger_transactions (id, kind, commission_id, payout_id, posted_at) \
         SELECT id, kind, commission_id, payout_id, posted_at FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    let entries: Vec<_> =
        postings.iter().flat_map(|posting| posting.entries.iter().map(move |entry| (posting.id, entry))).collect();
    let rows = Rows::of(&entries)
        .col("id", |(_, entry)| entry.id)
        .col("transaction_id", |(transaction, _)| *transaction)
        .col("account", |(_, entry)| entry.account.to_string())
        .col("amount", |(_, entry)| entry.money.amount)
        .col("currency", |(_, entry)| entry.money.currency.to_string());
    let insert = "INSERT INTO ledger_entries (id, transaction_id, account, amount, currency) \
         SELECT id, transaction_id, account, amount, currency FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, detail: String) {
        self.0.push(Finding { check, detail });
    }

    const fn are_enough(&self) -> bool {
        self.0.len() >= MOST_FINDINGS
    }
}

/// Millionths as a decimal number. A sum of fewer than 10^11 entries of at most 10^11 units always fits.
fn decimal(micros: i128) -> Result<Decimal, StoreError> {
    Decimal::try_from_i128_with_scale(micros, MAX_DECIMALS)
        .map(|value| value.normalize())
        .map_err(|error| StoreError::Corrupt(format!("a sum of the ledger: {error}")))
}

fn micros(row: &DbRow, column: &str) -> Result<i128, StoreError> {
    let amount: Amount = row.try_get(column)?;
    Ok(i128::from(amount.micros()))
}

/// Entries balance in each transaction, in one currency, and over all accounts; each has its transaction.
async fn transactions_balance(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT e.transaction_id, e.currency, e.amount, t.id AS known FROM ledger_entries e \
         LEFT JOIN ledger_transactions t ON t.id = e.transaction_id ORDER BY e.transaction_id";
    let mut rows = sqlx::query(select).fetch(connection);
    let mut total: BTreeMap<String, i128> = BTreeMap::new();
    let mut current: Option<(LedgerTransactionId, BTreeMap<String, i128>)> = None;
    while let Some(row) = rows.try_next().await? {
        let id: LedgerTransactionId = row.try_get("transaction_id")?;
        let code: String = row.try_get("currency")?;
        let amount = micros(&row, "amount")?;
        *total.entry(code.clone()).or_default() += amount;
        if current.as_ref().is_none_or(|(known, _)| *known != id) {
            judge_transaction(current.take(), findings)?;
            if row.try_get::<Option<LedgerTransactionId>, _>("known")?.is_none() {
                findings.add("entry_has_transaction", format!("{id} has entries and does not exist"));
            }
        }
        *current.get_or_insert_with(|| (id, BTreeMap::new())).1.entry(code).or_default() += amount;
        if findings.are_enough() {
            return Ok(());
        }
    }
    judge_transaction(current, findings)?;
    for (code, sum) in total.into_iter().filter(|(_, sum)| *sum != 0) {
        findings.add("currency_nets_to_zero", format!("all accounts together hold {} {code}", decimal(sum)?));
    }
    Ok(())
}

fn judge_transaction(
    transaction: Option<(LedgerTransactionId, BTreeMap<String, i128>)>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let Some((id, sums)) = transaction else { return Ok(()) };
    if sums.len() > 1 {
        findings.add("transaction_has_one_currency", format!("{id} has {}", sums.len()));
    }
    for (code, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        findings.add("transaction_balances", format!("{id} is off by {} {code}", decimal(sum)?));
    }
    Ok(())
}

/// Each transaction has entries, and books a commission that exists.
async fn transactions_are_whole(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let empty = "SELECT t.id FROM ledger_transactions t LEFT JOIN ledger_entries e ON e.transaction_id = t.id \
         WHERE e.id IS NULL";
    list(connection, empty, findings, "transaction_has_entries", |row| {
        Ok(format!("{} has none", row.try_get::<LedgerTransactionId, _>("id")?))
    })
    .await?;
    let loose = "SELECT t.id FROM ledger_transactions t LEFT JOIN commissions c ON c.id = t.commission_id \
         WHERE c.id IS NULL AND t.payout_id IS NULL";
    list(connection, loose, findings, "transaction_has_commission", |row| {
        Ok(format!("{} books a commission that does not exist", row.try_get::<LedgerTransactionId, _>("id")?))
    })
    .await
}

/// A conversion that earns has its commission, one that does not has none.
async fn conversions_are_paid(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let unpaid = "SELECT v.id FROM conversions v LEFT JOIN commissions c ON c.conversion_id = v.id \
         WHERE v.status = 'approved' AND NOT v.test AND v.no_commission IS NULL AND c.id IS NULL";
    list(connection, unpaid, findings, "approved_has_commission", |row| {
        Ok(format!("{} is approved and has none", row.try_get::<ConversionId, _>("id")?))
    })
    .await?;
    let paid = "SELECT v.id FROM conversions v JOIN commissions c ON c.conversion_id = v.id \
         WHERE v.no_commission IS NOT NULL OR v.test";
    list(connection, paid, findings, "no_commission_has_none", |row| {
        Ok(format!("{} earns nothing and has a commission", row.try_get::<ConversionId, _>("id")?))
    })
    .await
}

/// Each row of `select` is a finding.
async fn list(
    connection: &mut DbConnection,
    select: &'static str,
    findings: &mut Findings,
    check: &'static str,
    detail: impl Fn(&DbRow) -> Result<String, StoreError>,
) -> Result<(), StoreError> {
    let mut rows = sqlx::query(select).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        if findings.are_enough() {
            break;
        }
        findings.add(check, detail(&row)?);
    }
    Ok(())
}

/// Calls `take` for each account and currency under `prefix`.
async fn each_balance(
    connection: &mut DbConnection,
    prefix: &str,
    mut take: impl FnMut(Balance) + Send,
) -> Result<(), StoreError> {
    let select = "SELECT account, currency, amount FROM ledger_entries WHERE substr(account, 1, length($1)) = $1 \
         ORDER BY account, currency";
    let mut rows = sqlx::query(select).bind(prefix).fetch(connection);
    let mut current: Option<(String, Currency, i128)> = None;
    let balance = |(account, currency, sum)| Ok::<_, StoreError>(Balance { account, currency, amount: decimal(sum)? });
    while let Some(row) = rows.try_next().await? {
        let (account, currency): (String, _) = (row.try_get("account")?, currency(&row, "currency")?);
        let amount = micros(&row, "amount")?;
        match &mut current {
            Some((known, of, sum)) if *known == account && *of == currency => *sum += amount,
            _ => {
                if let Some(done) = current.replace((account, currency, amount)) {
                    take(balance(done)?);
                }
            }
        }
    }
    if let Some(done) = current {
        take(balance(done)?);
    }
    Ok(())
}
