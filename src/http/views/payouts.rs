//! How payouts and their terms look to people.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::{AffiliateId, CommissionId, KeyId, LedgerEntryId, OperatorId, PayoutId};
use crate::domain::money::{Currency, Money};
use crate::domain::payout::terms::{DueOutcome, Period};
use crate::domain::payout::{self, PayoutState};
use crate::domain::time::Timestamp;
use crate::store::payouts::{ItemView, PayoutView, StepView};

/// Money on its way to an affiliate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Payout {
    pub id: PayoutId,
    pub affiliate_id: AffiliateId,
    #[schema(example = "120.00")]
    pub amount: String,
    pub currency: Currency,
    /// How many ledger entries it pays.
    pub items: i64,
    pub state: PayoutState,
    /// Counts its steps, from 1.
    pub revision: i32,
    /// The provider's name of the payment, once it was sent.
    pub reference: Option<String>,
    /// Whose key made it; null for the schedule.
    pub created_by: Option<KeyId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A payout with its parts and its steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutDetails {
    #[serde(flatten)]
    pub payout: Payout,
    /// What of it comes from each operator's programs.
    pub shares: Vec<PayoutShare>,
    /// Who did what, oldest first.
    pub steps: Vec<PayoutStep>,
}

/// One operator's part of a payout.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutShare {
    pub operator_id: OperatorId,
    /// Below nothing where more was taken back than earned.
    #[schema(example = "120.00")]
    pub amount: String,
}

/// A step that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutStep {
    pub revision: i32,
    /// Where it led.
    pub state: PayoutState,
    /// Whose key; null for the schedule.
    pub key_id: Option<KeyId>,
    pub at: Timestamp,
    pub reference: Option<String>,
    pub reason: Option<String>,
}

/// A ledger entry that a payout pays.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutItem {
    pub entry_id: LedgerEntryId,
    pub commission_id: CommissionId,
    pub operator_id: OperatorId,
    /// Below nothing where it takes back.
    #[schema(example = "15.00")]
    pub amount: String,
    pub currency: Currency,
    /// Since when another payout may pay it, if this one was given back.
    pub released_at: Option<Timestamp>,
}

/// A payout as its affiliate sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnPayout {
    pub id: PayoutId,
    #[schema(example = "120.00")]
    pub amount: String,
    pub currency: Currency,
    /// How many ledger entries it pays.
    pub items: i64,
    pub state: PayoutState,
    /// Counts its steps, from 1.
    pub revision: i32,
    /// The provider's name of the payment, once it was sent.
    pub reference: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// When and from how much on an affiliate is paid in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutTerms {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    #[schema(example = "50.00")]
    pub minimum: String,
    pub period: Period,
    /// Whether payouts are made without being asked for.
    pub enabled: bool,
    pub next_due_at: Timestamp,
    pub last_due_at: Option<Timestamp>,
    /// What became of the last one that fell due.
    pub last_outcome: Option<DueOutcome>,
    pub updated_by: KeyId,
    pub updated_at: Timestamp,
}

/// The terms of one affiliate.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutTermsList {
    /// One for each currency.
    pub items: Vec<PayoutTerms>,
}

impl From<payout::Payout> for Payout {
    fn from(row: payout::Payout) -> Self {
        Self {
            id: row.id,
            affiliate_id: row.affiliate_id,
            amount: row.money.amount_text(),
            currency: row.money.currency,
            items: row.items,
            state: row.state,
            revision: row.revision,
            reference: row.reference.map(|reference| reference.to_string()),
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<PayoutView> for PayoutDetails {
    fn from(row: PayoutView) -> Self {
        let currency = row.payout.money.currency;
        let share = |share: payout::Share| PayoutShare {
            operator_id: share.operator_id,
            amount: Money { amount: share.amount, currency }.amount_text(),
        };
        Self {
            payout: row.payout.into(),
            shares: row.shares.into_iter().map(share).collect(),
            steps: row.steps.into_iter().map(PayoutStep::from).collect(),
        }
    }
}

impl From<StepView> for PayoutStep {
    fn from(row: StepView) -> Self {
        let StepView { revision, state, key_id, at, reference, reason } = row;
        Self { revision, state, key_id, at, reference, reason }
    }
}

impl From<ItemView> for PayoutItem {
    fn from(row: ItemView) -> Self {
        Self {
            entry_id: row.entry_id,
            commission_id: row.commission_id,
            operator_id: row.operator_id,
            amount: row.money.amount_text(),
            currency: row.money.currency,
            released_at: row.released_at,
        }
    }
}

impl From<payout::Payout> for OwnPayout {
    fn from(row: payout::Payout) -> Self {
        Self {
            id: row.id,
            amount: row.money.amount_text(),
            currency: row.money.currency,
            items: row.items,
            state: row.state,
            revision: row.revision,
            reference: row.reference.map(|reference| reference.to_string()),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<payout::terms::PayoutTerms> for PayoutTerms {
    fn from(row: payout::terms::PayoutTerms) -> Self {
        Self {
            affiliate_id: row.affiliate_id,
            currency: row.currency,
            minimum: Money { amount: row.minimum, currency: row.currency }.amount_text(),
            period: row.period,
            enabled: row.enabled,
            next_due_at: row.next_due_at,
            last_due_at: row.last_due_at,
            last_outcome: row.last_outcome,
            updated_by: row.updated_by,
            updated_at: row.updated_at,
        }
    }
}
