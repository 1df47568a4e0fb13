//! What a sender said, once its names and spellings are mapped to ours (DOMAIN 2.1).
//!
//! Only what was **sent** is `Some`: an omitted field means unchanged, so nothing is filled in here. Two postbacks
//! that said the same have the same [`Postback::sent_hash`], by which delayed retries are recognised (DOMAIN 2.5).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::encoding::to_hex;
use super::money::{Amount, Currency};
use super::time::Timestamp;

/// The most characters of an [`Identifier`].
pub const MAX_IDENTIFIER_CHARS: usize = 255;

/// Why a text is no [`Identifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Empty, or over 255 characters.
    #[error("an id has 1 to 255 characters")]
    Length,
    /// A control character.
    #[error("an id has no control characters")]
    Character,
}

/// A sender's own id or name of something: 1 to 255 characters, none of them a control character. Compared
/// exactly; letters keep their case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Identifier(String);

impl Identifier {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        if text.chars().any(char::is_control) {
            return Err(IdentifierError::Character);
        }
        if !(1..=MAX_IDENTIFIER_CHARS).contains(&text.chars().count()) {
            return Err(IdentifierError::Length);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The status of a conversion; which may follow which is told in DOMAIN 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversionStatus {
    /// Reported, not judged by the operator.
    Pending,
    /// Good; its commission is booked.
    Approved,
    /// Under the operator's quality check; nothing is booked.
    Hold,
    /// Refused before it was approved.
    Rejected,
    /// Taken back after it was approved: refund, chargeback, fraud.
    Reversed,
}

impl ConversionStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Hold, Self::Rejected, Self::Reversed];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Hold => "hold",
            Self::Rejected => "rejected",
            Self::Reversed => "reversed",
        }
    }

    /// The status of this name, exactly as spelt.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for ConversionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one postback said. Stored as JSON with the receipt; absent fields were not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postback {
    /// The click that it refers to, ours or another tracker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_id: Option<Identifier>,
    /// The sender's id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Identifier>,
    /// The name of the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Identifier>,
    /// The sale, deposit or other base, not negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// The currency of the amount and the payout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the affiliate is to get instead of what the plan says, not negative. Only from a source that may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout: Option<Amount>,
    /// The status to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ConversionStatus>,
    /// The operator's id of its customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Identifier>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// The coupon that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<Identifier>,
    /// Why the status changed, in the sender's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether this goes the whole way without touching money.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// The sender's count of its changes to this event; a higher one is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// When the sender last changed this event; a later one is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// The event that this one takes back, wholly or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_event_id: Option<Identifier>,
    /// Free fields: `sub1` to `sub30`, and `sub.<name>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, String>,
}

impl Postback {
    /// A hash of everything that was sent: equal for equal content, however it was spelt or ordered.
    #[must_use]
    pub fn sent_hash(&self) -> ContentHash {
        let mut hasher = FieldHasher::new();
        let id = |id: &Option<Identifier>| id.as_ref().map(|id| id.as_str().to_owned());
        let amount = |amount: Option<Amount>| amount.map(|amount| amount.micros().to_string());
        let time = |time: Option<Timestamp>| time.map(|time| time.micros().to_string());
        hasher.add("click_id", id(&self.click_id));
        hasher.add("event_id", id(&self.event_id));
        hasher.add("goal", id(&self.goal));
        hasher.add("amount", amount(self.amount));
        hasher.add("currency", self.currency.map(|currency| currency.code().to_owned()));
        hasher.add("payout", amount(self.payout));
        hasher.add("status", self.status.map(|status| status.as_str().to_owned()));
        hasher.add("customer_id", id(&self.customer_id));
        hasher.add("occurred_at", time(self.occurred_at));
        hasher.add("coupon", id(&self.coupon));
        hasher.add("reason", self.reason.clone());
        hasher.add("test", self.test.then(|| "true".to_owned()));
        hasher.add("version", self.version.map(|version| version.to_string()));
        hasher.add("updated_at", time(self.updated_at));
        hasher.add("original_event_id", id(&self.original_event_id));
        for (name, value) in &self.subs {
            hasher.add(name, Some(value.clone()));
        }
        hasher.finish()
    }
}

/// Hashes a list of named fields so that no two lists have the same encoding: each part is preceded by its length.
struct FieldHasher(Sha256);

impl FieldHasher {
    fn new() -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.part("postback.sent.v1");
        hasher
    }

    fn part(&mut self, text: &str) {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(text);
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.part(name);
            self.part(&value);
        }
    }

    fn finish(self) -> ContentHash {
        let digest: [u8; 32] = self.0.finalize().into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = digest;
        ContentHash([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// The first 16 bytes of a SHA-256 over content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 16]);

impl ContentHash {
    /// The hash with this value, as read from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for storage.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> Option<Identifier> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn identifiers_have_a_length_and_no_control_characters() {
        assert!("x".parse::<Identifier>().is_ok());
        assert!("ü".repeat(255).parse::<Identifier>().is_ok(), "characters count, not bytes");
        assert_eq!("".parse::<Identifier>(), Err(IdentifierError::Length));
        assert_eq!("x".repeat(256).parse::<Identifier>(), Err(IdentifierError::Length));
        for bad in ["a\0", "a\r\nb", "\u{7f}", "\u{85}"] {
            assert_eq!(bad.parse::<Identifier>(), Err(IdentifierError::Character));
        }
        assert!(serde_json::from_str::<Identifier>("\"\"").is_err(), "storage is no way around the rules");
    }

    #[test]
    fn only_what_was_sent_is_stored() {
        assert_eq!(serde_json::to_string(&Postback::default()).unwrap(), "{}");
        let postback = Postback { click_id: id("c1"), amount: Some("12.50".parse().unwrap()), ..Postback::default() };
        let json = serde_json::to_string(&postback).unwrap();
        assert_eq!(json, r#"{"click_id":"c1","amount":"12.5"}"#);
        assert_eq!(serde_json::from_str::<Postback>(&json).unwrap(), postback);
    }

    #[test]
    fn the_hash_tells_content_apart_and_not_spelling() {
        let amount = |text: &str| Postback { amount: Some(text.parse().unwrap()), ..Postback::default() };
        assert_eq!(amount("10").sent_hash(), amount("10.00").sent_hash());
        assert_ne!(amount("10").sent_hash(), amount("10.01").sent_hash());
        let zero = amount("0");
        assert_ne!(zero.sent_hash(), Postback::default().sent_hash(), "nothing and not sent differ");
    }

    #[test]
    fn every_field_counts() {
        let time = Timestamp::from_seconds(1_700_000_000);
        let value = Some("1".parse().unwrap());
        let base = Postback::default();
        let each = [
            Postback { click_id: id("1"), ..base.clone() },
            Postback { event_id: id("1"), ..base.clone() },
            Postback { goal: id("1"), ..base.clone() },
            Postback { amount: value, ..base.clone() },
            Postback { currency: Some("EUR".parse().unwrap()), ..base.clone() },
            Postback { payout: value, ..base.clone() },
            Postback { status: Some(ConversionStatus::Hold), ..base.clone() },
            Postback { customer_id: id("1"), ..base.clone() },
            Postback { occurred_at: time, ..base.clone() },
            Postback { coupon: id("1"), ..base.clone() },
            Postback { reason: Some("1".into()), ..base.clone() },
            Postback { test: true, ..base.clone() },
            Postback { version: Some(1), ..base.clone() },
            Postback { updated_at: time, ..base.clone() },
            Postback { original_event_id: id("1"), ..base.clone() },
            Postback { subs: [("sub1".into(), "1".into())].into(), ..base.clone() },
            base,
        ];
        let hashes: std::collections::BTreeSet<_> = each.iter().map(Postback::sent_hash).collect();
        assert_eq!(hashes.len(), each.len());
    }

    proptest! {
        #[test]
        fn parts_do_not_run_into_each_other(a in "[a-z]{1,4}", b in "[a-z]{1,4}") {
            let of = |click: &str, event: &str| Postback { click_id: id(click), event_id: id(event), ..Postback::default() };
            let moved = format!("{a}{b}");
            prop_assert_ne!(of(&a, &format!("{b}x")).sent_hash(), of(&moved, "x").sent_hash());
        }
    }
}
