//! Which parameter of a sender means what: data, so that another tracker's dialect is a value and not code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::postback::ConversionStatus;

/// What a parameter means to us (DOMAIN 2.1). Free fields need no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the field of `Postback` of the same name, described there")]
pub enum Role {
    ClickId,
    EventId,
    Goal,
    Amount,
    Currency,
    Payout,
    Status,
    CustomerId,
    OccurredAt,
    Coupon,
    Reason,
    Test,
    Version,
    UpdatedAt,
    OriginalEventId,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 15] = [
        Self::ClickId,
        Self::EventId,
        Self::Goal,
        Self::Amount,
        Self::Currency,
        Self::Payout,
        Self::Status,
        Self::CustomerId,
        Self::OccurredAt,
        Self::Coupon,
        Self::Reason,
        Self::Test,
        Self::Version,
        Self::UpdatedAt,
        Self::OriginalEventId,
    ];

    /// The stable name, which is the parameter's canonical name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClickId => "click_id",
            Self::EventId => "event_id",
            Self::Goal => "goal",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Payout => "payout",
            Self::Status => "status",
            Self::CustomerId => "customer_id",
            Self::OccurredAt => "occurred_at",
            Self::Coupon => "coupon",
            Self::Reason => "reason",
            Self::Test => "test",
            Self::Version => "version",
            Self::UpdatedAt => "updated_at",
            Self::OriginalEventId => "original_event_id",
        }
    }
}

/// Which parameters of a sender play which role, and how it spells a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// For each role the names that may carry it; the first that is not empty wins.
    pub roles: BTreeMap<Role, Vec<String>>,
    /// The sender's name of each status.
    pub statuses: BTreeMap<String, ConversionStatus>,
}

impl Mapping {
    /// Our own names, as the documentation has them.
    #[must_use]
    pub fn canonical() -> Self {
        Self {
            roles: Role::ALL.into_iter().map(|role| (role, vec![role.as_str().to_owned()])).collect(),
            statuses: ConversionStatus::ALL.into_iter().map(|status| (status.as_str().to_owned(), status)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_spell_alike_everywhere() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
