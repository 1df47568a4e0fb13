//! Endpoints: where subscribers are told, in which form, and what of (DOMAIN section 4).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalog::Owner;
use super::event::{self, EventType};
use super::ids::EndpointId;
use super::postback::{ConversionStatus, Identifier};
use super::time::Timestamp;

/// How an endpoint is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// A signed JSON POST (Standard Webhooks).
    #[default]
    Webhook,
    /// A GET of a URL with macros, unsigned: what trackers take in.
    Postback,
}

/// Whether an endpoint's deliveries are sent. Those of an endpoint that is not active are made and held, never dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// They are.
    #[default]
    Active,
    /// They wait until a person makes it active again.
    Paused,
    /// The same, after the receiver said that it is gone (410) or a person gave it up.
    Disabled,
}

/// A subscriber's address.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub owner: Owner,
    /// How it is told.
    pub kind: EndpointKind,
    /// Where: a URL, of a postback with macros in it.
    pub url: String,
    /// What of.
    pub subscription: Subscription,
    /// The only status that says that a message was taken; without it any 2xx does.
    pub expected_status: Option<u16>,
    /// Whether its deliveries are sent.
    pub status: EndpointStatus,
    /// Why it is not active, for people.
    pub status_reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which events an endpoint wants: those that pass every list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Types of events.
    pub event_types: Vec<EventType>,
    /// Names of goals. An event that concerns no goal, such as a payout's, does not pass a list of them.
    pub goals: Vec<Identifier>,
    /// Statuses of the conversion, by the same rule.
    pub statuses: Vec<ConversionStatus>,
}

impl Subscription {
    /// Whether an event of this type with this `data` in its message is wanted.
    #[must_use]
    pub fn wants(&self, event_type: EventType, data: &Value) -> bool {
        let goal = || event::goal(data).is_some_and(|told| self.goals.iter().any(|goal| goal.as_str() == told));
        let status = || {
            event::conversion_status(data)
                .is_some_and(|told| self.statuses.iter().any(|status| status.as_str() == told))
        };
        (self.event_types.is_empty() || self.event_types.contains(&event_type))
            && (self.goals.is_empty() || goal())
            && (self.statuses.is_empty() || status())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_list_that_is_not_empty_must_be_passed() {
        let sale =
            json!({ "conversion_id": "cnv_1", "goal": "sale", "conversion_status": "approved", "state": "available" });
        let payout = json!({ "state": "approved", "status": "approved" });
        let all = Subscription::default();
        assert!(all.wants(EventType::CommissionApproved, &sale) && all.wants(EventType::CommissionApproved, &payout));
        let types = Subscription { event_types: vec![EventType::CommissionApproved], ..all.clone() };
        assert!(types.wants(EventType::CommissionApproved, &sale));
        assert!(!types.wants(EventType::ConversionRecorded, &sale));
        let goals = |name: &str| Subscription { goals: vec![name.parse().unwrap()], ..all.clone() };
        assert!(goals("sale").wants(EventType::CommissionApproved, &sale));
        assert!(!goals("Sale").wants(EventType::CommissionApproved, &sale));
        assert!(!goals("sale").wants(EventType::CommissionApproved, &payout));
        let statuses = |status| Subscription { statuses: vec![status], ..all.clone() };
        assert!(statuses(ConversionStatus::Approved).wants(EventType::CommissionApproved, &sale));
        assert!(!statuses(ConversionStatus::Reversed).wants(EventType::CommissionApproved, &sale));
        assert!(!statuses(ConversionStatus::Approved).wants(EventType::CommissionApproved, &payout));
        let both = Subscription { goals: goals("sale").goals, ..statuses(ConversionStatus::Reversed) };
        assert!(!both.wants(EventType::CommissionApproved, &sale));
    }
}
