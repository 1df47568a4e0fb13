//! Secrets: those that are only compared are kept hashed, those that must be read back are sealed.
//!
//! A sealed value opens only under the same master key and at the same place (table, column, row), so a ciphertext
//! moved to another row is worthless (RELIABILITY section 7). API keys are 256 random bits, kept as SHA-256: such a
//! key cannot be guessed, so no slow hash is needed. No type here shows its secret in `Debug`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretBox, SecretSlice, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::encoding::{from_hex, to_hex};

/// The first byte of what [`MasterKey::seal`] makes.
const SEAL_VERSION: u8 = 1;
/// Bytes of a nonce of XChaCha20-Poly1305: enough to draw it at random each time.
const NONCE_BYTES: usize = 24;

/// Where a sealed value lives: its associated data. A part with a `|` would make places ambiguous; tables and
/// columns are names in our code and rows are ids of ours, so none has one.
#[derive(Clone, Copy, Debug)]
pub struct SealPlace<'a> {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's id as text.
    pub row: &'a str,
}

impl SealPlace<'_> {
    fn associated_data(&self) -> Vec<u8> {
        format!("{}|{}|{}", self.table, self.column, self.row).into_bytes()
    }
}

/// Why a secret could not be sealed, opened or read. Says nothing about the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 32 bytes in base64 or hexadecimal.
    #[error("a master key is 32 bytes in base64 or hexadecimal")]
    MasterKeyFormat,
    /// The value cannot be encrypted.
    #[error("the value cannot be sealed")]
    Seal,
    /// Made under another master key, moved from another place, or damaged.
    #[error("the sealed value does not open with this master key at this place")]
    Open,
}

/// The key under which secrets are sealed; `POSTBACK_MASTER_KEY` or the key file beside the database.
pub struct MasterKey(SecretBox<[u8; 32]>);

impl MasterKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretBox::new(Box::new(rand::random())))
    }

    /// Reads 32 bytes in base64 (either alphabet, padded or not) or in 64 hexadecimal digits; white space around
    /// them is ignored, as a key file ends with a line end.
    ///
    /// # Errors
    /// [`SecretError::MasterKeyFormat`] for anything else.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let unpadded = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
        let bytes = from_hex(text).filter(|bytes| bytes.len() == 32).or_else(|| URL_SAFE_NO_PAD.decode(unpadded).ok());
        let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SecretError::MasterKeyFormat)?;
        Ok(Self(SecretBox::new(Box::new(bytes))))
    }

    /// The key in base64, for the key file.
    #[must_use]
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.0.expose_secret()).into()
    }

    /// Encrypts `plaintext` for one place: a version byte, a random nonce, the ciphertext with its tag.
    ///
    /// # Errors
    /// [`SecretError::Seal`] when the value is too large for the cipher.
    pub fn seal(&self, place: SealPlace<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SecretError> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let aad = place.associated_data();
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: &aad })
            .map_err(|_| SecretError::Seal)?;
        Ok([&[SEAL_VERSION], nonce.as_slice(), ciphertext.as_slice()].concat())
    }

    /// Decrypts what was sealed for this place.
    ///
    /// # Errors
    /// [`SecretError::Open`] when it was sealed under another key or for another place, or is damaged.
    pub fn open(&self, place: SealPlace<'_>, sealed: &[u8]) -> Result<SecretSlice<u8>, SecretError> {
        let Some((&SEAL_VERSION, rest)) = sealed.split_first() else { return Err(SecretError::Open) };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::Open)?;
        let aad = place.associated_data();
        let plaintext = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: &aad })
            .map_err(|_| SecretError::Open)?;
        Ok(plaintext.into())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.expose_secret().into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

/// What every API key begins with, so that scanners find a leaked one.
const KEY_PREFIX: &str = "pbk_";

/// The public half of an API key: by it the stored key is found, and it may be shown and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPublicId([u8; 8]);

impl KeyPublicId {
    /// Reads 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        from_hex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyPublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// An API key as its holder has it: `pbk_<16 hex>_<43 base64url>`. Shown once, never stored.
#[derive(Clone)]
pub struct ApiKey {
    public_id: KeyPublicId,
    secret: SecretString,
}

impl ApiKey {
    /// A new key of 256 random bits.
    #[must_use]
    pub fn generate() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { public_id: KeyPublicId(rand::random()), secret: URL_SAFE_NO_PAD.encode(secret).into() }
    }

    /// Reads the text form; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (public_id, secret) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let public_id = KeyPublicId::parse(public_id)?;
        let bytes = URL_SAFE_NO_PAD.decode(secret).ok()?;
        (bytes.len() == 32).then(|| Self { public_id, secret: secret.to_owned().into() })
    }

    /// The public half.
    #[must_use]
    pub const fn public_id(&self) -> KeyPublicId {
        self.public_id
    }

    /// The whole key, to be shown once.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        format!("{KEY_PREFIX}{}_{}", self.public_id, self.secret.expose_secret()).into()
    }

    /// What is stored of the secret half.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.secret.expose_secret()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({KEY_PREFIX}{}_[redacted])", self.public_id)
    }
}

/// SHA-256 of the text of a key's secret half.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// A hash that no key has: to be compared with when the public id is unknown, so that both cases do the same work.
    pub const DUMMY: Self = Self([0; 32]);

    /// The hash with this value, as read from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for storage.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the hash of `key`'s secret half. Takes the same time wherever they differ.
    #[must_use]
    pub fn is_of(&self, key: &ApiKey) -> bool {
        bool::from(self.0.ct_eq(&key.hash().0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: SealPlace<'static> = SealPlace { table: "endpoint_secrets", column: "secret", row: "esec_1" };

    #[test]
    fn sealed_values_open_at_their_place_only() {
        let key = MasterKey::generate();
        let sealed = key.seal(PLACE, b"whsec_x").unwrap();
        assert_eq!(key.open(PLACE, &sealed).unwrap().expose_secret(), b"whsec_x");
        assert!(!sealed.windows(7).any(|part| part == b"whsec_x"));
        assert_ne!(sealed, key.seal(PLACE, b"whsec_x").unwrap(), "the nonce is new each time");
        for moved in [
            SealPlace { row: "esec_2", ..PLACE },
            SealPlace { column: "old", ..PLACE },
            SealPlace { table: "t", ..PLACE },
        ] {
            assert_eq!(key.open(moved, &sealed).err(), Some(SecretError::Open));
        }
        assert_eq!(MasterKey::generate().open(PLACE, &sealed).err(), Some(SecretError::Open));
    }

    #[test]
    fn damage_anywhere_is_found() {
        let key = MasterKey::generate();
        let sealed = key.seal(PLACE, b"secret").unwrap();
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert_eq!(key.open(PLACE, &damaged).err(), Some(SecretError::Open), "byte {index}");
            assert_eq!(key.open(PLACE, &sealed[..index]).err(), Some(SecretError::Open), "cut at {index}");
        }
    }

    #[test]
    fn master_keys_come_in_base64_or_hex() {
        let key = MasterKey::generate();
        let sealed = key.seal(PLACE, b"x").unwrap();
        let base64 = key.to_base64();
        let bare = base64.expose_secret().trim_end_matches('=').to_owned();
        let forms = [
            format!("{}\n", base64.expose_secret()),
            bare.replace('+', "-").replace('/', "_"),
            bare,
            to_hex(key.0.expose_secret()).to_uppercase(),
        ];
        for form in forms {
            assert!(MasterKey::parse(&form).unwrap().open(PLACE, &sealed).is_ok());
        }
        for bad in ["", "abc", &"0".repeat(62), &"A".repeat(42), &"A".repeat(65)] {
            assert_eq!(MasterKey::parse(bad).err(), Some(SecretError::MasterKeyFormat), "{bad}");
        }
        assert_eq!(format!("{key:?}"), "MasterKey([redacted])");
    }

    #[test]
    fn api_keys_round_trip_and_compare() {
        let key = ApiKey::generate();
        let text = key.to_text();
        let text = text.expose_secret();
        assert_eq!(text.len(), 4 + 16 + 1 + 43);
        let parsed = ApiKey::parse(text).unwrap();
        assert_eq!(parsed.public_id(), key.public_id());
        assert_eq!(KeyPublicId::parse(&key.public_id().to_string()), Some(key.public_id()));
        let stored = KeyHash::from_bytes(*key.hash().bytes());
        assert!(stored.is_of(&parsed));
        assert!(!stored.is_of(&ApiKey::generate()));
        assert!(!KeyHash::DUMMY.is_of(&key));
        assert!(!format!("{key:?}").contains(&text[21..]));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let good = ApiKey::generate().to_text();
        let good = good.expose_secret();
        for bad in [
            String::new(),
            good.replace("pbk_", "sk_"),
            good[..good.len() - 1].to_owned(),
            format!("{good}A"),
            format!("{good}="),
            format!("pbk_0123456789ABCDEF_{}", "A".repeat(43)),
            format!("pbk_0123456789abcde_{}", "A".repeat(43)),
            format!("pbk_0123456789abcdef_{}B", "A".repeat(42)),
        ] {
            assert!(ApiKey::parse(&bad).is_none(), "{bad}");
        }
        assert!(ApiKey::parse(&format!("pbk_0123456789abcdef_{}", "A".repeat(43))).is_some());
    }
}
