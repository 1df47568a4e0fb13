//! The books, asked whether they are sound. Every check streams its rows and sums in code as wide integers, so
//! memory stays flat and no sum overflows; all of them look at one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::Row;

use super::super::dialect::{DbConnection, DbRow, Engine};
use super::nouns::currency;
use super::{from_name, from_name_opt};
use crate::domain::commission::CommissionState;
use crate::domain::ids::{AffiliateId, CommissionId, ConversionId, LedgerTransactionId, OperatorId};
use crate::domain::ledger::{commission_expense, payable};
use crate::domain::money::{Amount, Currency, MAX_DECIMALS};
use crate::domain::postback::ConversionStatus;
use crate::store::StoreError;
use crate::store::ledger::{Balance, Finding, Ledger};

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
        commissions_are_booked(&mut snapshot, &mut findings).await?;
        payables_are_owed(&mut snapshot, &mut findings).await?;
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
         WHERE c.id IS NULL";
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

/// Each commission stands where its conversion does, and the books hold exactly what it says is booked.
async fn commissions_are_booked(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT c.id, c.operator_id, c.affiliate_id, c.amount, c.currency, c.booked, c.state, v.status, \
         t.id AS posting_id, t.kind, e.account, e.amount AS entry_amount, e.currency AS entry_currency \
         FROM commissions c LEFT JOIN conversions v ON v.id = c.conversion_id \
         LEFT JOIN ledger_transactions t ON t.commission_id = c.id \
         LEFT JOIN ledger_entries e ON e.transaction_id = t.id ORDER BY c.id";
    let mut rows = sqlx::query(select).fetch(connection);
    let mut current: Option<Books> = None;
    while let Some(row) = rows.try_next().await? {
        let id: CommissionId = row.try_get("id")?;
        if current.as_ref().is_none_or(|books| books.id != id) {
            if let Some(books) = current.take() {
                books.judge(findings)?;
            }
            current = Some(Books::of(&row)?);
        }
        if let Some(books) = &mut current {
            books.take_entry(&row, findings)?;
        }
        if findings.are_enough() {
            return Ok(());
        }
    }
    current.map_or(Ok(()), |books| books.judge(findings))
}

/// What one commission says, and what its entries say.
struct Books {
    id: CommissionId,
    operator_id: OperatorId,
    affiliate_id: AffiliateId,
    currency: Currency,
    amount: i128,
    booked: i128,
    state: CommissionState,
    status: Option<ConversionStatus>,
    /// What the entries credit to the affiliate, all together.
    credited: i128,
    /// What the reversals among them take back.
    taken_back: i128,
    reversals: BTreeSet<LedgerTransactionId>,
}

impl Books {
    fn of(row: &DbRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("id")?,
            operator_id: row.try_get("operator_id")?,
            affiliate_id: row.try_get("affiliate_id")?,
            currency: currency(row, "currency")?,
            amount: micros(row, "amount")?,
            booked: micros(row, "booked")?,
            state: from_name(row, "state")?,
            status: from_name_opt(row, "status")?,
            credited: 0,
            taken_back: 0,
            reversals: BTreeSet::new(),
        })
    }

    fn take_entry(&mut self, row: &DbRow, findings: &mut Findings) -> Result<(), StoreError> {
        let (Some(posting), Some(account)) = (
            row.try_get::<Option<LedgerTransactionId>, _>("posting_id")?,
            row.try_get::<Option<String>, _>("account")?,
        ) else {
            return Ok(());
        };
        let (amount, code): (_, String) = (micros(row, "entry_amount")?, row.try_get("entry_currency")?);
        if code != self.currency.code() {
            findings.add("entry_has_commission_currency", format!("{posting} of {} has {code}", self.id));
        }
        if account == payable(self.affiliate_id) {
            self.credited -= amount;
            if row.try_get::<String, _>("kind")? == "reversal" {
                self.taken_back += amount;
                self.reversals.insert(posting);
            }
        } else if account != commission_expense(self.operator_id) {
            findings.add("entry_has_commission_account", format!("{posting} of {} touches {account}", self.id));
        }
        Ok(())
    }

    fn judge(self, findings: &mut Findings) -> Result<(), StoreError> {
        let Self { id, credited, booked, .. } = self;
        if credited != booked {
            let text = format!("{id} says {} and the books say {}", decimal(booked)?, decimal(credited)?);
            findings.add("commission_is_booked", text);
        }
        let expected = match self.status {
            None => {
                findings.add("commission_has_conversion", format!("{id} has none"));
                return Ok(());
            }
            Some(ConversionStatus::Approved) => (CommissionState::Available, self.amount),
            Some(ConversionStatus::Pending | ConversionStatus::Hold) => (CommissionState::Pending, 0),
            Some(ConversionStatus::Rejected) => (CommissionState::Void, 0),
            Some(ConversionStatus::Reversed) => (CommissionState::Reversed, 0),
        };
        if (self.state, booked) != expected {
            let status = self.status.map_or("nothing", ConversionStatus::as_str);
            let text = format!("{id} is {:?} with {} booked, its conversion {status}", self.state, decimal(booked)?);
            findings.add("commission_follows_conversion", text);
        }
        if self.reversals.len() > 1 {
            findings.add("reversed_at_most_once", format!("{id} was reversed {} times", self.reversals.len()));
        }
        // What was ever credited, less what was taken back, is never below nothing.
        if credited < 0 {
            let text = format!("{id}: {} was taken back, more than was booked", decimal(self.taken_back)?);
            findings.add("reversed_at_most_booked", text);
        }
        Ok(())
    }
}

/// No affiliate owes us: debt has to be flagged, and nothing flags it yet.
async fn payables_are_owed(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    each_balance(connection, "affiliate:", |balance| {
        if balance.account.ends_with(":payable") && balance.amount > Decimal::ZERO && !findings.are_enough() {
            let Balance { account, currency, amount } = balance;
            findings.add("payable_is_not_negative", format!("{account} is {amount} {currency} below nothing"));
        }
    })
    .await
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
