//! Conversions: for admins, and as their affiliate sees them.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;
use crate::domain::commission::NoCommission;
use crate::domain::conversion::{ChangedBy, Refund};
use crate::domain::ids::{AffiliateId, ConversionId, OperatorId, ProgramId, ReceiptId, SourceId};
use crate::domain::money::Currency;
use crate::domain::postback::ConversionStatus;
use crate::domain::time::Timestamp;
use crate::store::reading::{ConversionView, PastRevision};

/// A converted event as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversion {
    pub id: ConversionId,
    pub operator_id: OperatorId,
    pub source_id: SourceId,
    pub program_id: ProgramId,
    /// The goal's name.
    pub goal: String,
    pub affiliate_id: AffiliateId,
    /// The receipt that made its current revision.
    pub receipt_id: ReceiptId,
    pub click_id: Option<String>,
    pub event_id: Option<String>,
    pub customer_id: Option<String>,
    pub status: ConversionStatus,
    /// What is left of it after refunds.
    #[schema(example = "119.99")]
    pub amount: Option<String>,
    pub currency: Currency,
    /// What refunds with event ids of their own took off.
    pub refunds: Vec<ConversionRefund>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it first arrived.
    pub received_at: Timestamp,
    /// The month in which it was first approved; what came late is booked then, not when it happened.
    #[schema(example = "2026-01")]
    pub booked_period: Option<String>,
    /// Until when it is on hold; then it is approved by itself.
    pub hold_until: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// Counts changes, from 1.
    pub revision: i32,
    pub test: bool,
    /// Why it earns nothing, if it does not.
    pub no_commission: Option<NoCommission>,
    /// Who made the current revision: `{"by": "sender"}` (by the receipt), `{"by": "hold_over"}` or
    /// `{"by": "admin", "key_id", "reason"}`.
    #[schema(value_type = Object)]
    pub changed_by: ChangedBy,
    /// The states that revisions replaced, oldest first; only where one conversion is asked for.
    pub past_revisions: Vec<ConversionRevision>,
}

/// What one refund took off a conversion.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionRefund {
    /// The refund's own event id.
    pub event_id: String,
    #[schema(example = "40.00")]
    pub amount: String,
}

/// A state of a conversion that a revision replaced.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionRevision {
    pub revision: i32,
    pub receipt_id: ReceiptId,
    pub status: ConversionStatus,
    pub amount: Option<String>,
    pub occurred_at: Timestamp,
    /// Who made it, as in the conversion.
    #[schema(value_type = Object)]
    pub changed_by: ChangedBy,
    pub superseded_at: Timestamp,
}

/// A converted event as its affiliate sees it: neither the operator's customer nor its receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnConversion {
    pub id: ConversionId,
    pub program_id: ProgramId,
    /// The goal's name.
    pub goal: String,
    pub click_id: Option<String>,
    pub status: ConversionStatus,
    #[schema(example = "119.99")]
    pub amount: Option<String>,
    pub currency: Currency,
    pub occurred_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts changes, from 1.
    pub revision: i32,
    pub test: bool,
}

impl From<ConversionView> for Conversion {
    fn from(row: ConversionView) -> Self {
        let currency = row.currency;
        let refund = |refund: Refund| ConversionRefund {
            event_id: refund.event_id.to_string(),
            amount: text(refund.amount, currency),
        };
        let past = |past: PastRevision| ConversionRevision {
            revision: past.revision,
            receipt_id: past.receipt_id,
            status: past.status,
            amount: past.amount.map(|amount| text(amount, currency)),
            occurred_at: past.occurred_at,
            changed_by: past.changed_by,
            superseded_at: past.superseded_at,
        };
        Self {
            refunds: row.refunds.into_iter().map(refund).collect(),
            booked_period: row.booked_period,
            hold_until: row.hold_until,
            changed_by: row.changed_by,
            past_revisions: row.past_revisions.into_iter().map(past).collect(),
            id: row.id,
            operator_id: row.operator_id,
            source_id: row.source_id,
            program_id: row.program_id,
            goal: row.goal,
            affiliate_id: row.affiliate_id,
            receipt_id: row.receipt_id,
            click_id: row.click_id,
            event_id: row.event_id,
            customer_id: row.customer_id,
            status: row.status,
            amount: row.amount.map(|amount| text(amount, row.currency)),
            currency: row.currency,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            updated_at: row.updated_at,
            revision: row.revision,
            test: row.test,
            no_commission: row.no_commission,
        }
    }
}

impl From<ConversionView> for OwnConversion {
    fn from(row: ConversionView) -> Self {
        Self {
            id: row.id,
            program_id: row.program_id,
            goal: row.goal,
            click_id: row.click_id,
            status: row.status,
            amount: row.amount.map(|amount| text(amount, row.currency)),
            currency: row.currency,
            occurred_at: row.occurred_at,
            updated_at: row.updated_at,
            revision: row.revision,
            test: row.test,
        }
    }
}
