//! Whether payouts and the books agree: a payout is the sum of its items, each entry is paid once, what is booked is
//! what the state says, and a payable account holds exactly what is unpaid.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::Row;

use super::super::super::dialect::{DbConnection, DbRow};
use super::super::from_name;
use super::{Findings, decimal, list, micros};
use crate::domain::ids::{AffiliateId, LedgerEntryId, LedgerTransactionId, OperatorId, PayoutId};
use crate::domain::ledger::Account;
use crate::domain::payout::PayoutState;
use crate::store::StoreError;

/// All checks of payouts.
pub async fn verify(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    payouts_are_their_items(connection, findings).await?;
    items_are_entries(connection, findings).await?;
    payouts_are_booked(connection, findings).await?;
    payouts_follow_their_steps(connection, findings).await?;
    payables_are_unpaid(connection, findings).await
}

/// Amount and parts are sums of the items, and all items are given back or none.
async fn payouts_are_their_items(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT p.id, p.amount AS total, p.items, p.state, i.operator_id, i.amount, i.entry_id, \
         CASE WHEN i.released_at IS NULL THEN 0 ELSE 1 END AS released \
         FROM payouts p LEFT JOIN payout_items i ON i.payout_id = p.id ORDER BY p.id";
    let parts = "SELECT operator_id, amount FROM payout_shares WHERE payout_id = $1 ORDER BY operator_id";
    let mut sums: Vec<Sum> = Vec::new();
    let mut rows = sqlx::query(select).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let id: PayoutId = row.try_get("id")?;
        if sums.last().is_none_or(|sum| sum.id != id) {
            sums.push(Sum::of(&row)?);
        }
        if let Some(sum) = sums.last_mut() {
            sum.take(&row)?;
        }
    }
    drop(rows);
    for sum in sums {
        if findings.are_enough() {
            return Ok(());
        }
        let rows = sqlx::query(parts).bind(sum.id).fetch_all(&mut *connection).await?;
        let part = |row: &DbRow| Ok((row.try_get("operator_id")?, micros(row, "amount")?));
        let shares = rows.iter().map(part).collect::<Result<BTreeMap<OperatorId, i128>, StoreError>>()?;
        sum.judge(&shares, findings)?;
    }
    Ok(())
}

/// What one payout says, and what its items say.
struct Sum {
    id: PayoutId,
    state: PayoutState,
    total: i128,
    count: i64,
    items: i64,
    released: i64,
    by_operator: BTreeMap<OperatorId, i128>,
}

impl Sum {
    fn of(row: &DbRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("id")?,
            state: from_name(row, "state")?,
            total: micros(row, "total")?,
            count: row.try_get("items")?,
            items: 0,
            released: 0,
            by_operator: BTreeMap::new(),
        })
    }

    fn take(&mut self, row: &DbRow) -> Result<(), StoreError> {
        if row.try_get::<Option<LedgerEntryId>, _>("entry_id")?.is_none() {
            return Ok(());
        }
        self.items += 1;
        self.released += i64::from(row.try_get::<i32, _>("released")?);
        *self.by_operator.entry(row.try_get("operator_id")?).or_default() += micros(row, "amount")?;
        Ok(())
    }

    fn judge(&self, shares: &BTreeMap<OperatorId, i128>, findings: &mut Findings) -> Result<(), StoreError> {
        let Self { id, total, .. } = self;
        let sum: i128 = self.by_operator.values().sum();
        if sum != *total || self.items != self.count || *total <= 0 {
            let (count, items) = (self.count, self.items);
            let text = format!("{id} is {} of {count}, its {items} items come to {}", decimal(*total)?, decimal(sum)?);
            findings.add("payout_is_its_items", text);
        }
        if *shares != self.by_operator {
            findings.add("payout_is_its_shares", format!("{id} does not fall to operators as its items do"));
        }
        let expected = if self.state.gave_back() { self.items } else { 0 };
        if self.released != expected {
            let (state, released) = (self.state.as_str(), self.released);
            findings.add("payout_holds_its_items", format!("{id} is {state} and gave back {released} items"));
        }
        Ok(())
    }
}

/// Each item is an entry of the affiliate's payable account, of a commission, and is paid by one payout only.
async fn items_are_entries(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let twice = "SELECT entry_id FROM payout_items WHERE released_at IS NULL GROUP BY entry_id HAVING count(*) > 1";
    list(connection, twice, findings, "entry_is_paid_once", |row| {
        Ok(format!("{} is paid by several payouts", row.try_get::<LedgerEntryId, _>("entry_id")?))
    })
    .await?;
    let select = "SELECT i.payout_id, i.entry_id, i.amount, i.operator_id, p.affiliate_id, p.currency, e.account, \
         e.amount AS entry_amount, e.currency AS entry_currency, c.operator_id AS earned_from \
         FROM payout_items i LEFT JOIN payouts p ON p.id = i.payout_id LEFT JOIN ledger_entries e ON e.id = i.entry_id \
         LEFT JOIN ledger_transactions t ON t.id = e.transaction_id \
         LEFT JOIN commissions c ON c.id = t.commission_id AND c.id = i.commission_id";
    let mut rows = sqlx::query(select).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        if findings.are_enough() {
            break;
        }
        if !is_entry(&row)? {
            let (payout, entry): (PayoutId, LedgerEntryId) = (row.try_get("payout_id")?, row.try_get("entry_id")?);
            findings.add("item_is_an_entry", format!("{payout} pays {entry}, which is not as the item says"));
        }
    }
    Ok(())
}

fn is_entry(row: &DbRow) -> Result<bool, StoreError> {
    let affiliate: Option<AffiliateId> = row.try_get("affiliate_id")?;
    let account: Option<String> = row.try_get("account")?;
    if account.is_none() || account != affiliate.map(|id| Account::Payable(id).to_string()) {
        return Ok(false);
    }
    let (currency, of_entry): (Option<String>, Option<String>) =
        (row.try_get("currency")?, row.try_get("entry_currency")?);
    let (operator, earned_from): (OperatorId, Option<OperatorId>) =
        (row.try_get("operator_id")?, row.try_get("earned_from")?);
    let amounts = micros(row, "amount")? == -micros(row, "entry_amount")?;
    Ok(currency == of_entry && earned_from == Some(operator) && amounts)
}

/// What is booked for a payout is what its state says; so the clearing account holds what is under way.
async fn payouts_are_booked(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let loose = "SELECT t.id FROM ledger_transactions t LEFT JOIN payouts p ON p.id = t.payout_id \
         WHERE t.payout_id IS NOT NULL AND p.id IS NULL";
    list(connection, loose, findings, "transaction_has_payout", |row| {
        Ok(format!("{} books a payout that does not exist", row.try_get::<LedgerTransactionId, _>("id")?))
    })
    .await?;
    let mut expected: BTreeMap<PayoutId, BTreeMap<String, i128>> = BTreeMap::new();
    let select = "SELECT p.id, p.affiliate_id, p.amount, p.currency, p.state, s.operator_id, s.amount AS part \
         FROM payouts p LEFT JOIN payout_shares s ON s.payout_id = p.id AND p.state = 'completed' \
         WHERE p.state NOT IN ('returned', 'canceled')";
    let mut rows = sqlx::query(select).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let lies = expected.entry(row.try_get("id")?).or_default();
        let (state, currency): (PayoutState, String) = (from_name(&row, "state")?, row.try_get("currency")?);
        let mut put = |account: Account, amount: i128| lies.insert(format!("{account} in {currency}"), amount);
        put(Account::Payable(row.try_get("affiliate_id")?), micros(&row, "amount")?);
        if state.is_under_way() {
            put(Account::Clearing, -micros(&row, "amount")?);
        } else if let Some(operator) = row.try_get("operator_id")? {
            put(Account::Settled(operator), -micros(&row, "part")?);
        }
    }
    drop(rows);
    let mut booked: BTreeMap<PayoutId, BTreeMap<String, i128>> = BTreeMap::new();
    let select = "SELECT t.payout_id, e.account, e.currency, e.amount FROM ledger_transactions t \
         JOIN ledger_entries e ON e.transaction_id = t.id JOIN payouts p ON p.id = t.payout_id";
    let mut rows = sqlx::query(select).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let account = format!("{} in {}", row.try_get::<String, _>("account")?, row.try_get::<String, _>("currency")?);
        let lies = booked.entry(row.try_get("payout_id")?).or_default();
        *lies.entry(account).or_default() += micros(&row, "amount")?;
    }
    for lies in expected.values_mut().chain(booked.values_mut()) {
        lies.retain(|_, amount| *amount != 0);
    }
    expected.retain(|_, lies| !lies.is_empty());
    booked.retain(|_, lies| !lies.is_empty());
    let wrong = expected.keys().chain(booked.keys()).filter(|id| expected.get(id) != booked.get(id));
    let wrong: std::collections::BTreeSet<&PayoutId> = wrong.collect();
    for id in wrong {
        findings.add("payout_is_booked", format!("what is booked for {id} is not what its state says"));
    }
    Ok(())
}

/// The last step is where a payout stands, and each revision has its step.
async fn payouts_follow_their_steps(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT p.id FROM payouts p LEFT JOIN payout_steps s \
         ON s.payout_id = p.id AND s.revision = p.revision AND s.state = p.state \
         WHERE s.payout_id IS NULL OR p.revision <> (SELECT count(*) FROM payout_steps a WHERE a.payout_id = p.id)";
    list(connection, select, findings, "payout_follows_its_steps", |row| {
        Ok(format!("{} does not stand where its steps led", row.try_get::<PayoutId, _>("id")?))
    })
    .await
}

/// What lies in one payable account in one currency.
#[derive(Default)]
struct Payable {
    /// All of it, as the books have it: a credit is negative.
    balance: i128,
    /// What commissions brought, without what was paid out.
    earned: i128,
    /// What of that no payout holds.
    unpaid: i128,
}

/// A payable account holds exactly the entries that are not paid. It is below nothing only as a debt: what was earned
/// is never negative, so the debt is at most what was paid out before.
async fn payables_are_unpaid(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT e.account, e.currency, e.amount, t.payout_id, i.payout_id AS paid_by FROM ledger_entries e \
         LEFT JOIN ledger_transactions t ON t.id = e.transaction_id \
         LEFT JOIN payout_items i ON i.entry_id = e.id AND i.released_at IS NULL \
         WHERE e.account LIKE '%:payable' ORDER BY e.account, e.currency";
    let mut rows = sqlx::query(select).fetch(connection);
    let mut current: Option<((String, String), Payable)> = None;
    while let Some(row) = rows.try_next().await? {
        let key: (String, String) = (row.try_get("account")?, row.try_get("currency")?);
        if current.as_ref().is_none_or(|(known, _)| *known != key) {
            judge_payable(current.replace((key, Payable::default())), findings)?;
        }
        let Some((_, payable)) = &mut current else { continue };
        let amount = micros(&row, "amount")?;
        payable.balance += amount;
        if row.try_get::<Option<PayoutId>, _>("payout_id")?.is_none() {
            payable.earned += amount;
            let paid: Option<PayoutId> = row.try_get("paid_by")?;
            payable.unpaid += if paid.is_none() { amount } else { 0 };
        }
    }
    judge_payable(current, findings)
}

fn judge_payable(payable: Option<((String, String), Payable)>, findings: &mut Findings) -> Result<(), StoreError> {
    let Some(((account, currency), Payable { balance, earned, unpaid })) = payable else { return Ok(()) };
    if balance != unpaid {
        let text =
            format!("{account} holds {} {currency}, its unpaid entries {}", decimal(-balance)?, decimal(-unpaid)?);
        findings.add("payable_is_unpaid", text);
    }
    if earned > 0 {
        let text = format!("{account}: {} {currency} more was taken back than was ever earned", decimal(earned)?);
        findings.add("payable_is_not_negative", text);
    }
    Ok(())
}
