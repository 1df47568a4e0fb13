//! Receipts, and what became of them when they were judged again.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::text;
use crate::domain::booking::Booked;
use crate::domain::commission::CommissionStanding;
use crate::domain::customer::Disagreement;
use crate::domain::ids::{AffiliateId, ConversionId, KeyId, OperatorId, ProgramId, ReceiptId, ReplayId, SourceId};
use crate::domain::money::Currency;
use crate::domain::postback::ConversionStatus;
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::store::reading::{LaterVerdict, ReceiptView};
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
