//! How what was stored looks to people: receipts, conversions, commissions, deliveries. Amounts get their currency's
//! decimals here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::booking::Booked;
use crate::domain::commission::{CommissionStanding, NoCommission};
use crate::domain::conversion::{ChangedBy, Refund};
use crate::domain::customer::Disagreement;
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventType;
use crate::domain::explanation::Explanation;
use crate::domain::ids::{
    AffiliateId, CommissionId, ConversionId, DeliveryId, EndpointId, EventId, KeyId, OperatorId, PayoutId,
    PlanVersionId, ProgramId, ReceiptId, ReplayId, SourceId,
};
use crate::domain::money::{Amount, Currency, Money};
use crate::domain::postback::ConversionStatus;
use crate::domain::replay::{Person, ReplayState};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::store::reading::{
    AttemptView, CommissionView, ConversionView, DeliveryView, LaterVerdict, PastRevision, ReceiptView,
};
use crate::store::replays;

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
    /// Whom customer, click and coupon named, where they disagreed, and which of them counted: `attributed_by`,
    /// `customer`, `click`, `coupon`.
    #[schema(value_type = Option<Object>)]
    pub disagreement: Option<Disagreement>,
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
    /// Who had it judged again: a key, or `command line`; null where it was judged by itself.
    pub replayed_by: Option<String>,
    /// The replay of many that it was judged by.
    pub replay_id: Option<ReplayId>,
}

/// A receipt that was judged again.
#[derive(Debug, Serialize, ToSchema)]
pub struct JudgedReceipt {
    pub receipt_id: ReceiptId,
    /// Whether nothing of this was kept.
    pub dry_run: bool,
    /// accepted, duplicate, updated, parked or rejected.
    #[schema(value_type = String, example = "accepted")]
    pub verdict: &'static str,
    /// Why, where it is parked or rejected.
    #[schema(value_type = Option<String>)]
    pub code: Option<&'static str>,
    /// The parameter that is meant.
    pub field: Option<String>,
    /// What would mend it.
    #[schema(value_type = Option<String>)]
    pub detail: Option<Cow<'static, str>>,
    /// The conversion afterwards.
    pub conversion: Option<JudgedConversion>,
}

/// How a conversion stands after a receipt was judged again.
#[derive(Debug, Serialize, ToSchema)]
pub struct JudgedConversion {
    /// Null for one that a dry run would create.
    pub id: Option<ConversionId>,
    pub program_id: ProgramId,
    pub affiliate_id: AffiliateId,
    /// The goal's name.
    pub goal: String,
    pub status: ConversionStatus,
    #[schema(example = "119.99")]
    pub amount: Option<String>,
    pub currency: Currency,
    pub test: bool,
    /// What the affiliate earns with it.
    #[schema(example = "15.00")]
    pub commission: Option<String>,
    pub commission_currency: Option<Currency>,
    pub commission_state: Option<CommissionStanding>,
}

/// A replay of many deliveries or receipts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replay {
    pub id: ReplayId,
    /// `deliveries` or `receipts`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// What it is narrowed to, as it was asked for.
    #[schema(value_type = Object)]
    pub filter: serde_json::Value,
    /// How many a second at most.
    pub rate: i32,
    pub state: ReplayState,
    /// How many it was about when it was made.
    pub matched: i64,
    /// How many of them were sent or judged again.
    pub replayed: i64,
    /// How many were not, by reason: `attempt_running`, `changed` (it no longer stood as the filter says when its turn
    /// came), `refused` (by the database).
    pub skipped: BTreeMap<String, i64>,
    /// Receipts: what became of those judged again.
    pub verdicts: BTreeMap<String, i64>,
    pub created_at: Timestamp,
    /// A key, or `command line`.
    #[schema(value_type = String)]
    pub created_by: Person,
    pub ended_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub canceled_by: Option<Person>,
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
    /// That a person lets it be in this life of it; null for its affiliate.
    pub acknowledgement: Option<Acknowledgement>,
    /// The message, verbatim; only where one delivery is asked for.
    pub body: Option<String>,
    /// Its attempts, oldest first; only where one delivery is asked for.
    pub attempts: Vec<Attempt>,
}

/// That a person lets a dead delivery be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledgement {
    pub at: Timestamp,
    /// The key of whoever decided, or `command line`.
    #[schema(value_type = String, example = "key_01980f6e2b7a7c3e9f0a1b2c3d4e5f60")]
    pub by: Person,
    pub note: String,
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
            disagreement: row.disagreement,
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
            replayed_by: row.replayed_by,
            replay_id: row.replay_id,
        }
    }
}

impl JudgedReceipt {
    /// What is shown of a receipt that was judged again, or of what would become of it.
    #[must_use]
    pub fn of(judged: replays::Judged, dry_run: bool) -> Self {
        let replays::Judged { outcome, booked, standing } = judged;
        let detail = match outcome.verdict {
            Verdict::Rejected(code) => {
                let said = outcome.rejection.as_ref().and_then(|rejection| rejection.detail.clone());
                Some(said.unwrap_or(Cow::Borrowed(code.sentence())))
            }
            Verdict::Parked(reason) => Some(Cow::Borrowed(reason.sentence())),
            Verdict::Accepted | Verdict::Duplicate | Verdict::Updated => None,
        };
        let made_up = dry_run && outcome.verdict == Verdict::Accepted;
        Self {
            receipt_id: outcome.receipt_id,
            dry_run,
            verdict: outcome.verdict.as_str(),
            code: outcome.verdict.reason(),
            field: outcome.rejection.and_then(|rejection| rejection.field),
            detail,
            conversion: booked.map(|booked| JudgedConversion::of(booked, standing, made_up)),
        }
    }
}

impl JudgedConversion {
    /// `made_up`: it exists in a transaction that is taken back.
    fn of(booked: Booked, commission_state: Option<CommissionStanding>, made_up: bool) -> Self {
        let Booked { conversion, commission, goal } = booked;
        Self {
            id: (!made_up).then_some(conversion.id),
            program_id: conversion.program_id,
            affiliate_id: conversion.affiliate_id,
            goal,
            status: conversion.status,
            amount: conversion.content.amount.map(|amount| text(amount, conversion.currency)),
            currency: conversion.currency,
            test: conversion.test,
            commission: commission.as_ref().map(|earned| earned.money.amount_text()),
            commission_currency: commission.as_ref().map(|earned| earned.money.currency),
            commission_state,
        }
    }
}

impl From<replays::ReplayView> for Replay {
    fn from(row: replays::ReplayView) -> Self {
        let mut filter = serde_json::json!(row.selection);
        if let Some(fields) = filter.as_object_mut() {
            fields.remove("kind");
        }
        let skipped = row.skipped.into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count));
        Self {
            id: row.id,
            kind: row.selection.kind(),
            filter,
            rate: row.rate,
            state: row.state,
            matched: row.matched,
            replayed: row.replayed,
            skipped: skipped.collect(),
            verdicts: row.verdicts,
            created_at: row.created_at,
            created_by: row.created_by,
            ended_at: row.ended_at,
            canceled_by: row.canceled_by,
        }
    }
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
            acknowledgement: row.acknowledgement.map(Acknowledgement::from),
            body: row.body,
            attempts: row.attempts.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl From<replays::Acknowledgement> for Acknowledgement {
    fn from(row: replays::Acknowledgement) -> Self {
        Self { at: row.at, by: row.by, note: row.note }
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
