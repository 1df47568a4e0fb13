//! Double entry, append-only (DOMAIN 3.3): every transaction balances in one currency.
//!
//! Signs: a debit is positive, a credit negative. A corrected or reversed booking is a new transaction,
//! never a change.

use std::fmt;

use super::ids::{AffiliateId, CommissionId, LedgerEntryId, LedgerTransactionId, OperatorId, PayoutId};
use super::money::{Amount, Currency, Money};
use super::time::Timestamp;

/// Why a transaction was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingKind {
    /// A commission was approved.
    Commission,
    /// An approved commission changed; the difference was posted.
    Adjustment,
    /// A commission was undone; the opposite of what was booked.
    Reversal,
    /// A commission's lock period is over; what was held may be paid.
    Release,
    /// A payout was made: its money is set aside.
    Payout,
    /// A payout has arrived.
    PayoutCompleted,
    /// A payout went back to the balance; the opposite of what was booked.
    PayoutReturned,
}

impl PostingKind {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commission => "commission",
            Self::Adjustment => "adjustment",
            Self::Reversal => "reversal",
            Self::Release => "release",
            Self::Payout => "payout",
            Self::PayoutCompleted => "payout_completed",
            Self::PayoutReturned => "payout_returned",
        }
    }
}

/// Where money lies. Each has one balance per currency; its name in the books is its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// What commissions cost an operator.
    CommissionExpense(OperatorId),
    /// What is owed to an affiliate and is held until its lock period is over.
    Held(AffiliateId),
    /// What is owed to an affiliate and may be paid; below nothing it is the affiliate's debt.
    Payable(AffiliateId),
    /// Payouts under way, as a credit.
    Clearing,
    /// What of an operator's commissions has arrived at affiliates, as a credit.
    Settled(OperatorId),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommissionExpense(operator) => write!(f, "operator:{operator}:commission_expense"),
            Self::Held(affiliate) => write!(f, "affiliate:{affiliate}:held"),
            Self::Payable(affiliate) => write!(f, "affiliate:{affiliate}:payable"),
            Self::Clearing => f.write_str("payouts:clearing"),
            Self::Settled(operator) => write!(f, "operator:{operator}:settled"),
        }
    }
}

/// What a transaction books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One earning.
    Commission(CommissionId),
    /// Money on its way to an affiliate.
    Payout(PayoutId),
}

impl Subject {
    /// The commission, if it is one.
    #[must_use]
    pub const fn commission(self) -> Option<CommissionId> {
        match self {
            Self::Commission(id) => Some(id),
            Self::Payout(_) => None,
        }
    }

    /// The payout, if it is one.
    #[must_use]
    pub const fn payout(self) -> Option<PayoutId> {
        match self {
            Self::Commission(_) => None,
            Self::Payout(id) => Some(id),
        }
    }
}

/// A balanced set of entries, posted at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The transaction's id.
    pub id: LedgerTransactionId,
    /// Why.
    pub kind: PostingKind,
    /// What it books.
    pub subject: Subject,
    /// When; the booked period is the month of this, in UTC.
    pub posted_at: Timestamp,
    /// Its sides; their amounts add up to nothing.
    pub entries: Vec<Entry>,
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: LedgerEntryId,
    /// The account.
    pub account: Account,
    /// Debit positive, credit negative.
    pub money: Money,
}

/// Books `money` from the debit of one account to the credit of another; a negative amount goes the other way.
#[must_use]
pub fn transfer(
    kind: PostingKind,
    subject: Subject,
    [debit, credit]: [Account; 2],
    money: Money,
    now: Timestamp,
) -> Posting {
    let sides = [(debit, money.amount), (credit, money.amount.negated())];
    posting(kind, subject, sides, money.currency, now)
}

/// Books these sides; their amounts must add up to nothing. A side of nothing is left out.
#[must_use]
pub fn posting(
    kind: PostingKind,
    subject: Subject,
    sides: impl IntoIterator<Item = (Account, Amount)>,
    currency: Currency,
    now: Timestamp,
) -> Posting {
    let sides = sides.into_iter().filter(|(_, amount)| !amount.is_zero());
    let entry = |(account, amount)| Entry { id: LedgerEntryId::new(now), account, money: Money { amount, currency } };
    Posting { id: LedgerTransactionId::new(now), kind, subject, posted_at: now, entries: sides.map(entry).collect() }
}

#[cfg(test)]
mod tests;
