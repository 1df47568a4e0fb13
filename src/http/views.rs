//! How what was stored looks to people: receipts, conversions, commissions, deliveries. Amounts get their currency's
//! decimals here.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::commission::{CommissionState, NoCommission};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventType;
use crate::domain::ids::{
    AffiliateId, CommissionId, ConversionId, DeliveryId, EndpointId, EventId, KeyId, OperatorId, PlanVersionId,
    ProgramId, ReceiptId, SourceId,
};
use crate::domain::money::{Amount, Currency, Money};
use crate::domain::postback::ConversionStatus;
use crate::domain::time::Timestamp;
use crate::store::reading::{AttemptView, CommissionView, ConversionView, DeliveryView, LaterVerdict, ReceiptView};

/// The stored record of one inbound request. Secrets are taken out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    pub id: ReceiptId,
    pub operator_id: OperatorId,
    pub source_id: SourceId,
    pub key_id: KeyId,
    pub received_at: Timestamp,
    pub method: String,
    pub content_type: Option<String>,
    /// The raw query string.
    pub query: String,
    /// The body as text.
    pub body: String,
    /// The client's address.
    pub peer: String,
    /// The verdict in force: accepted, duplicate, updated, parked or rejected.
    pub verdict: String,
    /// Why, where it was parked or rejected.
    pub code: Option<String>,
    /// The parameter that is meant.
    pub field: Option<String>,
    pub conversion_id: Option<ConversionId>,
    /// The verdicts after the first, oldest first; only where one receipt is asked for.
    pub later_verdicts: Vec<ReceiptVerdict>,
}

/// A verdict that came after the first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptVerdict {
    pub decided_at: Timestamp,
    pub verdict: String,
    pub code: Option<String>,
    pub field: Option<String>,
    pub conversion_id: Option<ConversionId>,
}

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
    #[schema(example = "119.99")]
    pub amount: Option<String>,
    pub currency: Currency,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts changes, from 1.
    pub revision: i32,
    pub test: bool,
    /// Why it earns nothing, if it does not.
    pub no_commission: Option<NoCommission>,
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
    pub currency: Currency,
    /// What of it lies in the ledger now.
    #[schema(example = "15.00")]
    pub booked: String,
    pub state: CommissionState,
    /// Counts changes, from 1.
    pub revision: i32,
    /// How the amount came about.
    #[schema(value_type = Object)]
    pub explanation: serde_json::Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One event to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Its text is the `webhook-id`.
    pub event_id: EventId,
    pub event_type: EventType,
    pub endpoint_id: EndpointId,
    pub state: DeliveryState,
    /// Which life it is in; a replay begins the next.
    pub epoch: i32,
    /// Attempts begun in this epoch.
    pub attempt: i32,
    pub failures: i32,
    pub created_at: Timestamp,
    pub first_due_at: Timestamp,
    pub next_attempt_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    /// Why it is dead, if it is.
    pub dead_reason: Option<String>,
    /// The message, verbatim; only where one delivery is asked for.
    pub body: Option<String>,
    /// Its attempts, oldest first; only where one delivery is asked for.
    pub attempts: Vec<Attempt>,
}

/// One HTTP try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    pub epoch: i32,
    pub number: i32,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `delivered`, `failed` or `unknown` (nobody lived to see its end, or it runs now).
    pub outcome: String,
    /// The receiver's HTTP status.
    pub status: Option<i32>,
    /// How the receiver's answer begins.
    pub body_start: Option<String>,
    pub error: Option<String>,
    pub duration_ms: Option<i64>,
}

fn text(amount: Amount, currency: Currency) -> String {
    Money { amount, currency }.amount_text()
}

impl From<ReceiptView> for Receipt {
    fn from(row: ReceiptView) -> Self {
        Self {
            id: row.id,
            operator_id: row.operator_id,
            source_id: row.source_id,
            key_id: row.key_id,
            received_at: row.received_at,
            method: row.method,
            content_type: row.content_type,
            query: row.query,
            body: row.body,
            peer: row.peer,
            verdict: row.verdict,
            code: row.code,
            field: row.field,
            conversion_id: row.conversion_id,
            later_verdicts: row.later_verdicts.into_iter().map(ReceiptVerdict::from).collect(),
        }
    }
}

impl From<LaterVerdict> for ReceiptVerdict {
    fn from(row: LaterVerdict) -> Self {
        Self {
            decided_at: row.decided_at,
            verdict: row.verdict,
            code: row.code,
            field: row.field,
            conversion_id: row.conversion_id,
        }
    }
}

impl From<ConversionView> for Conversion {
    fn from(row: ConversionView) -> Self {
        Self {
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
            booked: text(row.booked, row.currency),
            state: row.state,
            revision: row.revision,
            explanation: row.explanation,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<DeliveryView> for Delivery {
    fn from(row: DeliveryView) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            endpoint_id: row.endpoint_id,
            state: row.state,
            epoch: row.epoch,
            attempt: row.attempt,
            failures: row.failures,
            created_at: row.created_at,
            first_due_at: row.first_due_at,
            next_attempt_at: row.next_attempt_at,
            settled_at: row.settled_at,
            dead_reason: row.dead_reason,
            body: row.body,
            attempts: row.attempts.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl From<AttemptView> for Attempt {
    fn from(row: AttemptView) -> Self {
        Self {
            epoch: row.epoch,
            number: row.number,
            started_at: row.started_at,
            finished_at: row.finished_at,
            outcome: row.outcome,
            status: row.status,
            body_start: row.body_start,
            error: row.error,
            duration_ms: row.duration_ms,
        }
    }
}
