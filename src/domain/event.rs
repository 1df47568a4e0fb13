//! What subscribers are told (DOMAIN section 4): event types and the bodies of their messages.
//!
//! A body is made once, in the transaction that books what it tells, and kept verbatim: every endpoint and
//! every retry gets the same bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::commission::Commission;
use super::conversion::Conversion;
use super::ids::{AffiliateId, EventId, OperatorId};
use super::money::Money;
use super::payout::{Payout, Reason, Share};
use super::time::Timestamp;

/// What can happen. Each name is what subscribers filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A conversion was recorded for the first time.
    #[serde(rename = "conversion.recorded")]
    ConversionRecorded,
    /// A conversion changed.
    #[serde(rename = "conversion.updated")]
    ConversionUpdated,
    /// A commission was computed.
    #[serde(rename = "commission.created")]
    CommissionCreated,
    /// A commission's amount changed.
    #[serde(rename = "commission.updated")]
    CommissionUpdated,
    /// A commission was booked.
    #[serde(rename = "commission.approved")]
    CommissionApproved,
    /// A commission was undone.
    #[serde(rename = "commission.reversed")]
    CommissionReversed,
    /// A payout was made.
    #[serde(rename = "payout.created")]
    PayoutCreated,
    /// A payout may be paid.
    #[serde(rename = "payout.approved")]
    PayoutApproved,
    /// A payout was handed to whoever moves the money.
    #[serde(rename = "payout.sent")]
    PayoutSent,
    /// A payout has arrived.
    #[serde(rename = "payout.completed")]
    PayoutCompleted,
    /// A payout could not be paid.
    #[serde(rename = "payout.failed")]
    PayoutFailed,
    /// A payout went back to the balance.
    #[serde(rename = "payout.returned")]
    PayoutReturned,
    /// An endpoint was given up.
    #[serde(rename = "endpoint.disabled")]
    EndpointDisabled,
}

/// An event type that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such event type")]
pub struct UnknownEventType;

impl EventType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::ConversionRecorded,
        Self::ConversionUpdated,
        Self::CommissionCreated,
        Self::CommissionUpdated,
        Self::CommissionApproved,
        Self::CommissionReversed,
        Self::PayoutCreated,
        Self::PayoutApproved,
        Self::PayoutSent,
        Self::PayoutCompleted,
        Self::PayoutFailed,
        Self::PayoutReturned,
        Self::EndpointDisabled,
    ];

    /// The name that subscribers see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConversionRecorded => "conversion.recorded",
            Self::ConversionUpdated => "conversion.updated",
            Self::CommissionCreated => "commission.created",
            Self::CommissionUpdated => "commission.updated",
            Self::CommissionApproved => "commission.approved",
            Self::CommissionReversed => "commission.reversed",
            Self::PayoutCreated => "payout.created",
            Self::PayoutApproved => "payout.approved",
            Self::PayoutSent => "payout.sent",
            Self::PayoutCompleted => "payout.completed",
            Self::PayoutFailed => "payout.failed",
            Self::PayoutReturned => "payout.returned",
            Self::EndpointDisabled => "endpoint.disabled",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text).ok_or(UnknownEventType)
    }
}

/// Something that happened, with at least one subscriber to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id; the `webhook-id` at every endpoint, over all retries and replays.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// In whose program it happened, where it was in one.
    pub operator_id: Option<OperatorId>,
    /// Which affiliate it concerns, if any.
    pub affiliate_id: Option<AffiliateId>,
    /// When.
    pub created_at: Timestamp,
    /// The message, verbatim.
    pub body: String,
}

/// The message of an event: `{"type", "timestamp", "data"}`, and `"test": true` on a test.
#[must_use]
pub fn body(event_type: EventType, now: Timestamp, test: bool, data: Value) -> String {
    let mut message = json!({ "type": event_type, "timestamp": now, "data": data });
    if test && let Some(fields) = message.as_object_mut() {
        fields.insert("test".to_owned(), Value::Bool(true));
    }
    message.to_string()
}

/// Whether events of this name are about a conversion itself, not about what follows from it.
#[must_use]
pub fn about_conversion(event_type: &str) -> bool {
    event_type.starts_with("conversion.")
}

/// The goal that `data` of a message names: what subscribers filter by.
#[must_use]
pub fn goal(data: &Value) -> Option<&str> {
    data.get("goal").and_then(Value::as_str)
}

/// The status of the conversion that `data` of a message concerns, if it concerns one.
#[must_use]
pub fn conversion_status(data: &Value) -> Option<&str> {
    data.get("conversion_id")?;
    ["conversion_status", "status"].iter().find_map(|name| data.get(name)?.as_str())
}

/// A conversion as subscribers see it. The operator's customer id is not among it.
#[must_use]
pub fn conversion_data(conversion: &Conversion, goal: &str) -> Value {
    json!({
        "conversion_id": conversion.id,
        "revision": conversion.revision,
        "program_id": conversion.program_id,
        "affiliate_id": conversion.affiliate_id,
        "click_id": conversion.content.click_id,
        "event_id": conversion.content.event_id,
        "goal": goal,
        "status": conversion.status,
        "amount": amount_text(conversion),
        "currency": conversion.currency,
        "occurred_at": conversion.occurred_at,
        "coupon": conversion.content.coupon,
        "sub_ids": conversion.click_subs,
    })
}

/// A commission as subscribers see it.
#[must_use]
pub fn commission_data(commission: &Commission, conversion: &Conversion, goal: &str) -> Value {
    json!({
        "commission_id": commission.id,
        "revision": commission.revision,
        "conversion_id": conversion.id,
        "program_id": commission.program_id,
        "affiliate_id": commission.affiliate_id,
        "click_id": conversion.content.click_id,
        "event_id": conversion.content.event_id,
        "goal": goal,
        "state": commission.state,
        "hold_until": commission.hold_until,
        "amount": commission.money.amount_text(),
        "currency": commission.money.currency,
        "conversion_status": conversion.status,
        "conversion_amount": amount_text(conversion),
        "conversion_currency": conversion.currency,
        "occurred_at": conversion.occurred_at,
        "coupon": conversion.content.coupon,
        "sub_ids": conversion.click_subs,
    })
}

fn amount_text(conversion: &Conversion) -> Option<String> {
    let amount = conversion.content.amount?;
    Some(Money { amount, currency: conversion.currency }.amount_text())
}

/// A payout as its affiliate sees it. A reason is told where it failed or went back.
#[must_use]
pub fn payout_data(payout: &Payout, reason: Option<&Reason>) -> Value {
    json!({
        "payout_id": payout.id,
        "revision": payout.revision,
        "affiliate_id": payout.affiliate_id,
        "state": payout.state,
        "amount": payout.money.amount_text(),
        "currency": payout.money.currency,
        "items": payout.items,
        "reference": payout.reference,
        "reason": reason,
        "created_at": payout.created_at,
    })
}

/// A payout as one operator sees it: its own part, and nothing of the others'.
#[must_use]
pub fn payout_share_data(payout: &Payout, share: &Share) -> Value {
    let part = Money { amount: share.amount, currency: payout.money.currency };
    json!({
        "payout_id": payout.id,
        "revision": payout.revision,
        "affiliate_id": payout.affiliate_id,
        "operator_id": share.operator_id,
        "state": payout.state,
        "amount": part.amount_text(),
        "currency": part.currency,
        "created_at": payout.created_at,
    })
}
