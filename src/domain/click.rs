//! Click ids that describe themselves: link, time, and a MAC that proves they are ours (DOMAIN 2.6).
//!
//! Because the id carries what attribution needs, the redirect works and a conversion is attributed even when the
//! click's row was never written. Any text that does not decode is not an error but an id of another tracker, to be
//! looked up among imported clicks. MAC keys are numbered and never expire, so old ids keep decoding.
//!
//! 25 bytes, shown as 40 lower-case letters and digits (base32): key number 1, link 5, milliseconds 6, random 5, MAC 8.

use std::fmt;

use hmac::Mac;
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use super::encoding::{from_base32, to_base32};
use super::signature::hmac_sha256;
use super::time::Timestamp;

/// Bytes of a click id that the MAC covers.
const SIGNED_BYTES: usize = 17;
/// Bytes of the truncated MAC: a forger needs 2^63 requests on average to hit one id.
const MAC_BYTES: usize = 8;
/// Characters of a click id.
const CLICK_ID_CHARS: usize = 40;

/// The public code of a tracking link: eight lower-case letters and digits, 40 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkCode([u8; 5]);

impl LinkCode {
    /// A new random code. Whether it is taken is for storage to say.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// Reads eight characters of the alphabet `a-z2-7`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        from_base32(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base32(&self.0))
    }
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkCode({self})")
    }
}

impl Serialize for LinkCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LinkCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a link code of eight characters"))
    }
}

/// One of the numbered keys for the MAC of click ids. It survives a rotation of the master key.
pub struct ClickMacKey(SecretBox<[u8; 32]>);

impl ClickMacKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(rand::random())
    }

    /// The key with these bytes, as opened from storage.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    fn mac(&self, signed: &[u8; SIGNED_BYTES]) -> [u8; MAC_BYTES] {
        let full: [u8; 32] = hmac_sha256(self.0.expose_secret(), &[signed]).finalize().into_bytes().into();
        let [a, b, c, d, e, f, g, h, ..] = full;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for ClickMacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClickMacKey([redacted])")
    }
}

/// A click id that we made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClickId([u8; SIGNED_BYTES + MAC_BYTES]);

/// What a click id of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnClick {
    /// The link that was clicked.
    pub link: LinkCode,
    /// When, to the millisecond.
    pub clicked_at: Timestamp,
}

impl ClickId {
    /// A new id for a click on `link` at `now`, under the key of this number. `random` tells clicks of one millisecond
    /// apart.
    #[must_use]
    pub fn mint(link: LinkCode, now: Timestamp, mac_key_number: u8, mac_key: &ClickMacKey, random: [u8; 5]) -> Self {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let [_, _, time @ ..] = millis.to_be_bytes();
        let mut signed = [0; SIGNED_BYTES];
        let parts = [mac_key_number].into_iter().chain(link.0).chain(time).chain(random);
        for (slot, byte) in signed.iter_mut().zip(parts) {
            *slot = byte;
        }
        let mut bytes = [0; SIGNED_BYTES + MAC_BYTES];
        for (slot, byte) in bytes.iter_mut().zip(signed.into_iter().chain(mac_key.mac(&signed))) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// What `text` says, if it is an id that we made under one of the keys that `key_by_number` knows. `None` means
    /// an id of another tracker, or a forgery; the two cannot be told apart.
    #[must_use]
    pub fn decode<'k>(text: &str, key_by_number: &dyn Fn(u8) -> Option<&'k ClickMacKey>) -> Option<OwnClick> {
        if text.len() != CLICK_ID_CHARS {
            return None;
        }
        let bytes = from_base32(text)?;
        let (signed, mac) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
        let [number, l0, l1, l2, l3, l4, t0, t1, t2, t3, t4, t5, ..] = *signed;
        let expected = key_by_number(number)?.mac(signed);
        if !bool::from(expected.ct_eq(mac)) {
            return None;
        }
        let millis = i64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]);
        let clicked_at = Timestamp::from_micros(millis.saturating_mul(1_000));
        Some(OwnClick { link: LinkCode([l0, l1, l2, l3, l4]), clicked_at })
    }
}

impl fmt::Display for ClickId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base32(&self.0))
    }
}

impl fmt::Debug for ClickId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClickId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encoding::from_hex;
    use super::*;

    const NUMBER: u8 = 7;

    fn key() -> ClickMacKey {
        ClickMacKey::from_bytes([9; 32])
    }

    fn decode(text: &str) -> Option<OwnClick> {
        let key = key();
        ClickId::decode(text, &|number| (number == NUMBER).then_some(&key))
    }

    #[test]
    fn vector_made_with_another_implementation() {
        let all: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors.json")).unwrap();
        let v = &all["click_id"];
        let hex = |name: &str| from_hex(v[name].as_str().unwrap()).unwrap();
        let key = ClickMacKey::from_bytes(hex("mac_key_hex").try_into().unwrap());
        let link = LinkCode::parse(v["link"].as_str().unwrap()).unwrap();
        let now = Timestamp::from_micros(v["clicked_at_ms"].as_i64().unwrap() * 1_000);
        let id = ClickId::mint(link, now, NUMBER, &key, hex("random_hex").try_into().unwrap());
        assert_eq!(id.to_string(), v["click_id"].as_str().unwrap());
    }

    #[test]
    fn link_codes_are_eight_lower_case_characters() {
        let code = LinkCode::generate();
        let text = code.to_string();
        assert_eq!(text.len(), 8);
        assert_eq!(LinkCode::parse(&text), Some(code));
        for bad in ["", "abcdefg", "ABCDEFGH", "abcdefg1", "abcdefghabcdefgh"] {
            assert_eq!(LinkCode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn other_keys_and_other_trackers_do_not_decode() {
        let now = Timestamp::from_seconds(1_767_225_600).unwrap();
        let mint = |number, key: &ClickMacKey| {
            ClickId::mint(LinkCode::generate(), now, number, key, rand::random()).to_string()
        };
        assert!(decode(&mint(NUMBER, &key())).is_some());
        assert_eq!(decode(&mint(NUMBER + 1, &key())), None);
        assert_eq!(decode(&mint(NUMBER, &ClickMacKey::generate())), None);
        assert_eq!(decode(&mint(NUMBER, &key()).to_uppercase()), None);
        for foreign in ["", "5f2b8e0c9d1a4b7e8c6d3f10", "é", &"a".repeat(40), &"é".repeat(20)] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn minted_ids_decode(link in any::<[u8; 5]>(), seconds in 0_i64..4_000_000_000, random in any::<[u8; 5]>()) {
            let (link, now) = (LinkCode(link), Timestamp::from_seconds(seconds).unwrap());
            let text = ClickId::mint(link, now, NUMBER, &key(), random).to_string();
            prop_assert_eq!(text.len(), CLICK_ID_CHARS);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
            prop_assert_eq!(decode(&text), Some(OwnClick { link, clicked_at: now }));
        }

        #[test]
        fn any_other_character_anywhere_is_found(random in any::<[u8; 5]>(), at in 0_usize..CLICK_ID_CHARS, with in "[a-z2-7]") {
            let now = Timestamp::from_seconds(1_767_225_600).unwrap();
            let good = ClickId::mint(LinkCode([1, 2, 3, 4, 5]), now, NUMBER, &key(), random).to_string();
            let mut changed = good.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != good);
            prop_assert_eq!(decode(&changed), None);
        }

        #[test]
        fn decoding_never_panics(text in ".*") {
            prop_assert_eq!(decode(&text), None);
        }
    }
}
