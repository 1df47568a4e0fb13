//! What people look at: pages and single objects. Reads only, by keyset; nothing here changes a row.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use super::StoreError;
use super::replays::Acknowledgement;
use crate::domain::catalog::{Affiliate, Goal, Key, Link, Operator, Plan, Program, Source};
use crate::domain::commission::{CommissionStanding, NoCommission};
use crate::domain::conversion::{ChangedBy, Refund};
use crate::domain::customer::{Binding, Disagreement};
use crate::domain::delivery::DeliveryState;
use crate::domain::endpoint::Endpoint;
use crate::domain::event::EventType;
use crate::domain::exchange::ExchangeRate;
use crate::domain::ids::{
    AffiliateId, CommissionId, ConversionId, CustomerId, DeliveryId, EndpointId, EventId, KeyId, OperatorId, PayoutId,
    PlanId, PlanVersionId, ProgramId, ReceiptId, ReplayId, SourceId, earliest_id,
};
use crate::domain::money::{Amount, Currency};
use crate::domain::plan::PlanVersion;
use crate::domain::postback::ConversionStatus;
use crate::domain::time::Timestamp;

/// Which part of a list is wanted: newest first, after a cursor.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only what is older than this id, the last one of the page before.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// By how much the clocks of two instances may differ, or one be put back, before something seems older than whom it is about.
const CLOCKS_APART: Duration = Duration::from_secs(86_400);

/// What a list is narrowed to; a list ignores what it does not have.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this operator.
    pub operator_id: Option<OperatorId>,
    /// In this program.
    pub program_id: Option<ProgramId>,
    /// Of this affiliate.
    pub affiliate_id: Option<AffiliateId>,
    /// Of this source.
    pub source_id: Option<SourceId>,
    /// Of this plan.
    pub plan_id: Option<PlanId>,
    /// To this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Of this conversion.
    pub conversion_id: Option<ConversionId>,
    /// With this status, state or verdict.
    pub status: Option<String>,
    /// Let be by a person, or not.
    pub acknowledged: Option<bool>,
    /// Of this sender's event id.
    pub event_id: Option<String>,
    /// Of this click.
    pub click_id: Option<String>,
    /// Of this operator's own id of a customer.
    pub customer_id: Option<String>,
}

impl Filter {
    /// What no row lies before that is about whom the filter names: ids begin with the time at which they were made, theirs
    /// too.
    #[must_use]
    pub fn earliest_id(&self) -> Option<Uuid> {
        let began = [
            self.operator_id.map(OperatorId::made_at),
            self.program_id.map(ProgramId::made_at),
            self.affiliate_id.map(AffiliateId::made_at),
            self.source_id.map(SourceId::made_at),
            self.endpoint_id.map(EndpointId::made_at),
        ];
        let latest = began.into_iter().flatten().max()?;
        Some(earliest_id(latest.minus(CLOCKS_APART)))
    }
}

/// A receipt as people see it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of receipts, see the migration")]
pub struct ReceiptView {
    pub id: ReceiptId,
    pub operator_id: OperatorId,
    pub source_id: SourceId,
    pub key_id: KeyId,
    pub received_at: Timestamp,
    pub method: String,
    pub content_type: Option<String>,
    pub query: String,
    /// The body, lossily as text.
    pub body: String,
    pub peer: String,
    /// The verdict in force: the latest one.
    pub verdict: String,
    pub code: Option<String>,
    pub field: Option<String>,
    pub conversion_id: Option<ConversionId>,
    /// Whom customer, click and coupon named, where they disagreed.
    pub disagreement: Option<Disagreement>,
    /// The verdicts after the first, oldest first; only when one receipt is asked for.
    pub later_verdicts: Vec<LaterVerdict>,
}

/// A verdict that came after the first.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of receipt_verdicts, see the migration")]
pub struct LaterVerdict {
    pub decided_at: Timestamp,
    pub verdict: String,
    pub code: Option<String>,
    pub field: Option<String>,
    pub conversion_id: Option<ConversionId>,
    /// Who had it judged again, if it was not by itself.
    pub replayed_by: Option<String>,
    pub replay_id: Option<ReplayId>,
}

/// A conversion as people see it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of conversions, see the migration")]
pub struct ConversionView {
    pub id: ConversionId,
    pub operator_id: OperatorId,
    pub source_id: SourceId,
    pub program_id: ProgramId,
    pub goal: String,
    pub affiliate_id: AffiliateId,
    pub receipt_id: ReceiptId,
    pub click_id: Option<String>,
    pub event_id: Option<String>,
    pub customer_id: Option<String>,
    pub status: ConversionStatus,
    pub amount: Option<Amount>,
    pub currency: Currency,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: i32,
    pub test: bool,
    pub no_commission: Option<NoCommission>,
    /// What refunds with event ids of their own took off the amount.
    pub refunds: Vec<Refund>,
    pub hold_until: Option<Timestamp>,
    pub booked_period: Option<String>,
    pub changed_by: ChangedBy,
    /// The states that revisions replaced, oldest first; only when one conversion is asked for.
    pub past_revisions: Vec<PastRevision>,
}

/// A state of a conversion that a revision replaced.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of conversion_revisions, see the migration")]
pub struct PastRevision {
    pub revision: i32,
    pub receipt_id: ReceiptId,
    pub status: ConversionStatus,
    pub amount: Option<Amount>,
    pub occurred_at: Timestamp,
    pub changed_by: ChangedBy,
    pub superseded_at: Timestamp,
}

/// A customer as people see it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of customers, see the migration")]
pub struct CustomerView {
    pub id: CustomerId,
    pub operator_id: OperatorId,
    pub customer_id: String,
    pub binding: Binding,
    pub revision: i32,
    pub created_at: Timestamp,
    /// Bindings that another one replaced, oldest first; only when one customer is asked for.
    pub past: Vec<PastBinding>,
}

/// A binding that another one replaced.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of customer_bindings, see the migration")]
pub struct PastBinding {
    pub revision: i32,
    pub binding: Binding,
    pub superseded_at: Timestamp,
}

/// A commission as people see it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of commissions, see the migration; and what payouts say of it")]
pub struct CommissionView {
    pub id: CommissionId,
    pub conversion_id: ConversionId,
    pub operator_id: OperatorId,
    pub program_id: ProgramId,
    pub affiliate_id: AffiliateId,
    pub plan_version_id: PlanVersionId,
    pub amount: Amount,
    pub currency: Currency,
    pub awaits: Option<Currency>,
    pub booked: Amount,
    pub state: CommissionStanding,
    /// What of it lies in completed payouts.
    pub paid: Amount,
    /// The last payout that holds an entry of it.
    pub payout_id: Option<PayoutId>,
    pub hold_until: Option<Timestamp>,
    pub revision: i32,
    pub explanation: serde_json::Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A delivery as people see it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of deliveries and events, see the migration")]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub event_id: EventId,
    pub event_type: EventType,
    pub endpoint_id: EndpointId,
    pub state: DeliveryState,
    pub epoch: i32,
    /// Attempts begun in this epoch.
    pub attempt: i32,
    pub failures: i32,
    pub created_at: Timestamp,
    pub first_due_at: Timestamp,
    pub next_attempt_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    pub dead_reason: Option<String>,
    /// That a person lets it be.
    pub acknowledgement: Option<Acknowledgement>,
    /// The message, verbatim; only when one delivery is asked for.
    pub body: Option<String>,
    /// Its attempts, oldest first; only when one delivery is asked for.
    pub attempts: Vec<AttemptView>,
}

/// An attempt as people see it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of attempts, see the migration")]
pub struct AttemptView {
    pub epoch: i32,
    pub number: i32,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub outcome: String,
    pub status: Option<i32>,
    pub body_start: Option<String>,
    pub error: Option<String>,
    pub duration_ms: Option<i64>,
}

/// What admins and senders look at. Lists are newest first. Each method fails with [`StoreError::Unavailable`], and
/// those for one object answer `None` where it does not exist.
#[async_trait]
#[expect(missing_docs, reason = "a list and, where needed, a single object for each noun")]
pub trait Reading: Send + Sync {
    async fn operators(&self, page: Page) -> Result<Vec<Operator>, StoreError>;
    async fn sources(&self, filter: &Filter, page: Page) -> Result<Vec<Source>, StoreError>;
    async fn programs(&self, filter: &Filter, page: Page) -> Result<Vec<Program>, StoreError>;
    async fn goals(&self, filter: &Filter, page: Page) -> Result<Vec<Goal>, StoreError>;
    async fn plans(&self, filter: &Filter, page: Page) -> Result<Vec<Plan>, StoreError>;
    async fn plan_versions(&self, filter: &Filter, page: Page) -> Result<Vec<PlanVersion>, StoreError>;
    async fn affiliates(&self, page: Page) -> Result<Vec<Affiliate>, StoreError>;
    async fn fx_rates(&self, page: Page) -> Result<Vec<ExchangeRate>, StoreError>;
    async fn links(&self, filter: &Filter, page: Page) -> Result<Vec<Link>, StoreError>;
    async fn keys(&self, filter: &Filter, page: Page) -> Result<Vec<Key>, StoreError>;
    async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError>;
    async fn endpoints(&self, filter: &Filter, page: Page) -> Result<Vec<Endpoint>, StoreError>;
    async fn receipts(&self, filter: &Filter, page: Page) -> Result<Vec<ReceiptView>, StoreError>;
    async fn receipt(&self, id: ReceiptId) -> Result<Option<ReceiptView>, StoreError>;
    async fn conversions(&self, filter: &Filter, page: Page) -> Result<Vec<ConversionView>, StoreError>;
    async fn conversion(&self, id: ConversionId) -> Result<Option<ConversionView>, StoreError>;
    async fn customers(&self, filter: &Filter, page: Page) -> Result<Vec<CustomerView>, StoreError>;
    async fn customer(&self, id: CustomerId) -> Result<Option<CustomerView>, StoreError>;
    async fn commissions(&self, filter: &Filter, page: Page) -> Result<Vec<CommissionView>, StoreError>;
    async fn commission(&self, id: CommissionId) -> Result<Option<CommissionView>, StoreError>;
    async fn deliveries(&self, filter: &Filter, page: Page) -> Result<Vec<DeliveryView>, StoreError>;
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError>;
}
