//! Double entry, append-only (DOMAIN 3.3): every transaction balances in one currency.
//!
//! Signs: a debit is positive, a credit negative. A corrected or reversed booking is a new transaction,
//! never a change. What is held back during a hold period will have its own account (`affiliate:{id}:held`).

use super::ids::{AffiliateId, CommissionId, LedgerEntryId, LedgerTransactionId, OperatorId};
use super::money::{Amount, Money};
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
}

impl PostingKind {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commission => "commission",
            Self::Adjustment => "adjustment",
            Self::Reversal => "reversal",
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
    /// The commission that it books.
    pub commission_id: CommissionId,
    /// When; the booked period is the month of this, in UTC.
    pub posted_at: Timestamp,
    /// The two sides.
    pub entries: [Entry; 2],
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: LedgerEntryId,
    /// The account's name, such as `affiliate:aff_…:payable`.
    pub account: String,
    /// Debit positive, credit negative.
    pub money: Money,
}

/// The account that commissions are an expense of.
#[must_use]
pub fn commission_expense(operator: OperatorId) -> String {
    format!("operator:{operator}:commission_expense")
}

/// What is owed to an affiliate and may be paid.
#[must_use]
pub fn payable(affiliate: AffiliateId) -> String {
    format!("affiliate:{affiliate}:payable")
}

/// Books `money` from the operator's expense to what the affiliate may be paid; a negative amount takes back.
#[must_use]
pub fn post(
    kind: PostingKind,
    commission_id: CommissionId,
    operator: OperatorId,
    affiliate: AffiliateId,
    money: Money,
    now: Timestamp,
) -> Posting {
    let side = |account, amount: Amount| Entry {
        id: LedgerEntryId::new(now),
        account,
        money: Money { amount, currency: money.currency },
    };
    Posting {
        id: LedgerTransactionId::new(now),
        kind,
        commission_id,
        posted_at: now,
        entries: [side(commission_expense(operator), money.amount), side(payable(affiliate), money.amount.negated())],
    }
}
