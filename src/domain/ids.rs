//! One type per table, so that a delivery's id never ends up where a conversion's belongs.
//!
//! Ids are UUIDv7 (RFC 9562): they sort by creation and keep indexes dense. People see them with a
//! prefix that names the table, such as `cv_01980f6e2b7a7c3e9f0a1b2c3d4e5f60`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use super::time::Timestamp;

/// An id that could not be read: what was expected, without an echo of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ followed by 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix that the id should have carried.
    pub prefix: &'static str,
}

/// A UUIDv7 of `now` with random low bits.
fn uuid_at(now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// The time that a UUIDv7 begins with (RFC 9562, section 5.7).
fn time_of(uuid: Uuid) -> Timestamp {
    let millis = i64::try_from(uuid.as_u128() >> 80).unwrap_or(0);
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// What no id made at `time` or later lies before, and every earlier one does.
#[must_use]
pub fn earliest_id(time: Timestamp) -> Uuid {
    let millis = u64::try_from(time.millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What people see in front of the id.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, of the time `now`.
            #[must_use]
            pub fn new(now: Timestamp) -> Self {
                Self(uuid_at(now))
            }

            /// The id with this value, as read from storage.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// When it was made, to the millisecond.
            #[must_use]
            pub fn made_at(self) -> Timestamp {
                time_of(self.0)
            }

            /// The bare value, for storage.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { prefix: $prefix };
                let hex = text
                    .strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32)
                    .ok_or(IdError { prefix: $prefix })?;
                Uuid::try_parse(hex).map(Self).map_err(|_| error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// An operator: advertiser, brand, casino, broker or merchant.
    OperatorId = "op";
    /// One inbound connection of an operator.
    SourceId = "src";
    /// One secret of a source, for inbound signatures.
    SourceSecretId = "ssec";
    /// A program: an offer of one operator.
    ProgramId = "prg";
    /// A goal of a program.
    GoalId = "goal";
    /// An exchange rate.
    FxRateId = "fx";
    /// A commission plan.
    PlanId = "plan";
    /// One immutable version of a plan.
    PlanVersionId = "pv";
    /// An affiliate.
    AffiliateId = "aff";
    /// An affiliate's own plan in a program.
    AgreementId = "agr";
    /// A tracking link.
    LinkId = "lnk";
    /// A coupon of an affiliate.
    CouponId = "cpn";
    /// A customer of an operator.
    CustomerId = "cus";
    /// An API key (not the secret itself).
    KeyId = "key";
    /// A subscriber's address.
    EndpointId = "ep";
    /// One signing secret of an endpoint.
    EndpointSecretId = "esec";
    /// The stored record of one inbound request.
    ReceiptId = "rc";
    /// One verdict on a receipt.
    VerdictId = "vd";
    /// A converted event and its current state.
    ConversionId = "cv";
    /// One earning of one affiliate.
    CommissionId = "com";
    /// Money on its way to an affiliate.
    PayoutId = "po";
    /// A balanced set of ledger entries.
    LedgerTransactionId = "ltx";
    /// One side of a ledger transaction.
    LedgerEntryId = "le";
    /// Something that happened, to be told to subscribers. Its text form is the `webhook-id`.
    EventId = "ev";
    /// One event to one endpoint.
    DeliveryId = "dl";
    /// The token of one lease on a delivery; a finish states which lease it holds.
    LeaseId = "ls";
    /// One job that replays many deliveries or receipts.
    ReplayId = "rpl";
    /// One opening of an alert.
    AlertId = "al";
    /// One HTTP request; `X-Request-Id`.
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_prefix() {
        let id = ConversionId::new(Timestamp::from_micros(1_700_000_000_000_000));
        let text = id.to_string();
        assert!(text.starts_with("cv_") && text.len() == 35, "{text}");
        assert_eq!(text.parse::<ConversionId>(), Ok(id));
        assert!(text.parse::<DeliveryId>().is_err());
        assert!("cv_0198-f6e2b7a7c3e9f0a1b2c3d4e5f60".parse::<ConversionId>().is_err());
    }

    #[test]
    fn ids_sort_by_time() {
        let early = EventId::new(Timestamp::from_micros(1_700_000_000_000_000));
        let late = EventId::new(Timestamp::from_micros(1_700_000_000_001_000));
        assert!(early < late);
        assert_eq!(late.made_at(), Timestamp::from_micros(1_700_000_000_001_000));
        let between = earliest_id(Timestamp::from_micros(1_700_000_000_001_999));
        assert!(early.uuid() < between && between <= late.uuid());
    }
}
