//! Each commission stands where its conversion does, its amount is the one that its explanation computes, and the books
//! hold exactly what it says is booked, in the account where it stands.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use sqlx::Row;

use super::super::super::dialect::{DbConnection, DbRow};
use super::super::nouns::{currency, currency_opt};
use super::super::{from_name, from_name_opt};
use super::{Findings, decimal, micros};
use crate::domain::commission::CommissionState;
use crate::domain::explanation::Explanation;
use crate::domain::ids::{AffiliateId, CommissionId, LedgerTransactionId, OperatorId};
use crate::domain::ledger::Account;
use crate::domain::money::{Amount, Currency, Money};
use crate::domain::postback::ConversionStatus;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

pub async fn are_booked(connection: &mut DbConnection, findings: &mut Findings) -> Result<(), StoreError> {
    let select = "SELECT c.id, c.operator_id, c.affiliate_id, c.amount, c.currency, c.awaits, c.booked, c.state, \
         c.hold_until, c.explanation, v.status, \
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
    awaits: Option<Currency>,
    amount: Amount,
    booked: i128,
    state: CommissionState,
    hold_until: Option<Timestamp>,
    explanation: String,
    status: Option<ConversionStatus>,
    /// What the entries credit to the affiliate, in each currency: what is held, and what is payable.
    held: BTreeMap<String, i128>,
    payable: BTreeMap<String, i128>,
    /// What the reversals among them take back.
    taken_back: i128,
    reversals: BTreeSet<LedgerTransactionId>,
    /// How often it was booked: an admin may approve anew what was reversed.
    approvals: BTreeSet<LedgerTransactionId>,
}

impl Books {
    fn of(row: &DbRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("id")?,
            operator_id: row.try_get("operator_id")?,
            affiliate_id: row.try_get("affiliate_id")?,
            currency: currency(row, "currency")?,
            awaits: currency_opt(row, "awaits")?,
            amount: row.try_get("amount")?,
            booked: micros(row, "booked")?,
            state: from_name(row, "state")?,
            hold_until: row.try_get("hold_until")?,
            explanation: row.try_get("explanation")?,
            status: from_name_opt(row, "status")?,
            held: BTreeMap::new(),
            payable: BTreeMap::new(),
            taken_back: 0,
            reversals: BTreeSet::new(),
            approvals: BTreeSet::new(),
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
        let balances = if account == Account::Payable(self.affiliate_id).to_string() {
            &mut self.payable
        } else if account == Account::Held(self.affiliate_id).to_string() {
            &mut self.held
        } else {
            if account != Account::CommissionExpense(self.operator_id).to_string() {
                findings.add("entry_has_commission_account", format!("{posting} of {} touches {account}", self.id));
            }
            return Ok(());
        };
        *balances.entry(code).or_default() -= amount;
        match row.try_get::<String, _>("kind")?.as_str() {
            "commission" => {
                self.approvals.insert(posting);
            }
            "reversal" => {
                self.taken_back += amount;
                self.reversals.insert(posting);
            }
            _ => {}
        }
        Ok(())
    }

    fn judge(mut self, findings: &mut Findings) -> Result<(), StoreError> {
        let code = self.currency.code().to_owned();
        let mut of_currency = |balances: fn(&mut Self) -> &mut BTreeMap<String, i128>| {
            balances(&mut self).remove(&code).unwrap_or_default()
        };
        let (held, payable) = (of_currency(|books| &mut books.held), of_currency(|books| &mut books.payable));
        // A commission may have had another currency before; of that nothing is left.
        for (other, sum) in self.held.iter().chain(&self.payable).filter(|(_, sum)| **sum != 0) {
            let text = format!("{} still holds {} {other}", self.id, decimal(*sum)?);
            findings.add("entry_has_commission_currency", text);
        }
        self.judge_amount(held + payable, findings)?;
        let elsewhere = if self.state == CommissionState::OnHold { payable } else { held };
        if elsewhere != 0 {
            let text = format!("{} is {:?}; {} lies in the other account", self.id, self.state, decimal(elsewhere)?);
            findings.add("commission_lies_where_it_stands", text);
        }
        self.judge_state(findings)
    }

    /// What is credited, all together, against what it says is booked and what was taken back.
    fn judge_amount(&self, credited: i128, findings: &mut Findings) -> Result<(), StoreError> {
        let Self { id, booked, .. } = self;
        if credited != *booked {
            let text = format!("{id} says {} and the books say {}", decimal(*booked)?, decimal(credited)?);
            findings.add("commission_is_booked", text);
        }
        if self.reversals.len() > self.approvals.len().max(1) {
            let (times, booked) = (self.reversals.len(), self.approvals.len());
            findings.add("reversed_at_most_once", format!("{id} was reversed {times} times and booked {booked}"));
        }
        // What was ever credited, less what was taken back, is never below nothing.
        if credited < 0 {
            let text = format!("{id}: {} was taken back, more than was booked", decimal(self.taken_back)?);
            findings.add("reversed_at_most_booked", text);
        }
        if !self.is_explained() {
            findings.add("explanation_computes_amount", format!("{id}: its explanation gives another amount"));
        }
        Ok(())
    }

    /// Whether the stored explanation, computed again, gives the stored amount; or says why nothing is earned.
    fn is_explained(&self) -> bool {
        let money = Money { amount: self.amount, currency: self.currency };
        match serde_json::from_str::<Explanation>(&self.explanation) {
            Ok(explained) => {
                explained.result == money
                    && explained.awaits == self.awaits
                    && explained.priced().is_ok_and(|again| again.result == money)
            }
            Err(_) => self.explanation.contains("no_commission") && self.amount.is_zero(),
        }
    }

    fn judge_state(&self, findings: &mut Findings) -> Result<(), StoreError> {
        use CommissionState::{Available, AwaitingFx, OnHold, Pending, Reversed, Void};
        let Self { id, booked, state, .. } = self;
        let amount = i128::from(self.amount.micros());
        let fits = match self.status {
            None => {
                findings.add("commission_has_conversion", format!("{id} has none"));
                return Ok(());
            }
            Some(ConversionStatus::Approved) => match state {
                OnHold | Available => *booked == amount,
                AwaitingFx => *booked == 0,
                Pending | Reversed | Void => false,
            },
            Some(ConversionStatus::Pending | ConversionStatus::Hold) => (*state, *booked) == (Pending, 0),
            Some(ConversionStatus::Rejected) => (*state, *booked) == (Void, 0),
            Some(ConversionStatus::Reversed) => (*state, *booked) == (Reversed, 0),
        };
        if !fits {
            let status = self.status.map_or("nothing", ConversionStatus::as_str);
            let text = format!("{id} is {state:?} with {} booked, its conversion {status}", decimal(*booked)?);
            findings.add("commission_follows_conversion", text);
        }
        if *state == OnHold && self.hold_until.is_none() {
            findings.add("held_has_its_end", format!("{id} is held for ever"));
        }
        let waits = self.awaits.is_some();
        if (*state == AwaitingFx && !waits) || (state.is_booked() && waits) {
            findings.add("awaiting_names_its_currency", format!("{id} is {state:?}, and waits for {:?}", self.awaits));
        }
        Ok(())
    }
}
