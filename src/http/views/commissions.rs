//! Commissions and their explanations.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;
use crate::domain::commission::CommissionStanding;
use crate::domain::explanation::Explanation;
use crate::domain::ids::{AffiliateId, CommissionId, ConversionId, OperatorId, PayoutId, PlanVersionId, ProgramId};
use crate::domain::money::Currency;
use crate::domain::time::Timestamp;
use crate::store::reading::CommissionView;

/// One earning of one affiliate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commission {
    pub id: CommissionId,
    pub conversion_id: ConversionId,
    pub operator_id: OperatorId,
    pub program_id: ProgramId,
    pub affiliate_id: AffiliateId,
    pub plan_version_id: PlanVersionId,
    #[schema(example = "15.00")]
    pub amount: String,
    /// The currency that the affiliate is paid in, or the one in which it was earned as long as it waits for a rate.
    pub currency: Currency,
    /// The currency that it waits to be converted into.
    pub awaits: Option<Currency>,
    /// What of it lies in the ledger now.
    #[schema(example = "15.00")]
    pub booked: String,
    /// `stated` and `paid` are said of the whole of it: after a correction it is `available` until a payout has settled
    /// that too.
    pub state: CommissionStanding,
    /// What of it was paid. What that is above `booked` is a debt: the next payout takes it off.
    #[schema(example = "15.00")]
    pub paid: String,
    /// The last payout that holds an entry of it; null as long as none does, and after it was given back.
    pub payout_id: Option<PayoutId>,
    /// Until when it is, or was, held.
    pub hold_until: Option<Timestamp>,
    /// Counts changes, from 1.
    pub revision: i32,
    /// How the amount came about.
    #[schema(value_type = Object)]
    pub explanation: serde_json::Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How the amount of a commission came about: enough to compute it again by hand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    pub commission_id: CommissionId,
    pub conversion_id: ConversionId,
    pub state: CommissionStanding,
    /// The last payout that holds an entry of it.
    pub payout_id: Option<PayoutId>,
    /// Until when it is, or was, held.
    pub hold_until: Option<Timestamp>,
    #[schema(example = "15.00")]
    pub amount: String,
    pub currency: Currency,
    /// The computation, step by step.
    #[schema(example = json!(["119.99 EUR × 12.5 % = 14.99875 EUR", "rounded half up to 2 decimals: 15.00 EUR"]))]
    pub steps: Vec<String>,
    /// What was stored with it: inputs, rate, plan version, exchange rate, rounding and result; or the reason why
    /// nothing is earned any more.
    #[schema(value_type = Object)]
    pub explanation: serde_json::Value,
}

impl From<CommissionView> for Commission {
    fn from(row: CommissionView) -> Self {
        Self {
            id: row.id,
            conversion_id: row.conversion_id,
            operator_id: row.operator_id,
            program_id: row.program_id,
            affiliate_id: row.affiliate_id,
            plan_version_id: row.plan_version_id,
            amount: text(row.amount, row.currency),
            currency: row.currency,
            awaits: row.awaits,
            booked: text(row.booked, row.currency),
            state: row.state,
            paid: text(row.paid, row.currency),
            payout_id: row.payout_id,
            hold_until: row.hold_until,
            revision: row.revision,
            explanation: row.explanation,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<CommissionView> for Explained {
    fn from(row: CommissionView) -> Self {
        let explained: Option<Explanation> = serde_json::from_value(row.explanation.clone()).ok();
        Self {
            commission_id: row.id,
            conversion_id: row.conversion_id,
            state: row.state,
            payout_id: row.payout_id,
            hold_until: row.hold_until,
            amount: text(row.amount, row.currency),
            currency: row.currency,
            steps: explained.as_ref().map(Explanation::steps).unwrap_or_default(),
            explanation: row.explanation,
        }
    }
}
