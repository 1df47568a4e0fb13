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
}

/// An event type that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such event type")]
pub struct UnknownEventType;

impl EventType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ConversionRecorded,
        Self::ConversionUpdated,
        Self::CommissionCreated,
        Self::CommissionUpdated,
        Self::CommissionApproved,
        Self::CommissionReversed,
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
    /// Whose program it happened in.
    pub operator_id: OperatorId,
    /// Whom it concerns.
    pub affiliate_id: AffiliateId,
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

/// A conversion as subscribers see it. The operator's customer id is not among it.
#[must_use]
pub fn conversion_data(conversion: &Conversion, goal: &str) -> Value {
    let amount = conversion.content.amount.map(|amount| Money { amount, currency: conversion.currency });
    json!({
        "conversion_id": conversion.id,
        "revision": conversion.revision,
        "program_id": conversion.program_id,
        "affiliate_id": conversion.affiliate_id,
        "click_id": conversion.content.click_id,
        "event_id": conversion.content.event_id,
        "goal": goal,
        "status": conversion.status,
        "amount": amount.map(|money| money.amount_text()),
        "currency": conversion.currency,
        "occurred_at": conversion.occurred_at,
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
        "amount": commission.money.amount_text(),
        "currency": commission.money.currency,
        "occurred_at": conversion.occurred_at,
        "sub_ids": conversion.click_subs,
    })
}
