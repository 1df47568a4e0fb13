//! Signatures in both directions, all of them HMAC-SHA256 over the exact bytes.
//!
//! Outbound: Standard Webhooks, signed for each attempt (RELIABILITY section 6). Inbound: the source says which of
//! three schemes its sender uses (DESIGN section 6) and several secrets may be valid at once, for rotation. What
//! each scheme signs, so that nothing that is read later is left unsigned:
//!
//! | scheme | signed text | refused |
//! | --- | --- | --- |
//! | `standard` | `id.timestamp.` and the content | an id with a dot |
//! | `body` | `t.` and the content | |
//! | `query` | the raw query up to `&signature=` | a body |
//!
//! The content of `standard` and `body` is the body of a POST, whose query must then be empty; a GET has no body, so
//! there the content is the raw query string. Times are judged before signatures, as the public libraries do.
//! Replays inside the tolerance are not recognised here: deduplication answers them with `duplicate`.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::encoding::{from_hex, lenient_percent_decode, to_hex};
use super::request::RawRequest;
use super::time::Timestamp;
use super::verdict::Code;

/// How far the time of a signature may be from now, either way.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// What a secret's text begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret that we make; a multiple of three, so that base64 needs no padding.
const GENERATED_SECRET_BYTES: usize = 24;
/// How many bytes a secret may have, as Standard Webhooks has it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The MAC over the concatenation of `parts`.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 section 2)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Why a text is no signing secret. Says nothing about the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is whsec_ followed by 24 to 64 bytes in base64")]
pub struct SecretFormatError;

/// A secret for signing: `whsec_` and base64. `standard` uses the decoded bytes as its key, as Standard Webhooks
/// demands; `body` and `query` use the whole text, so that a sender needs no decoding step.
#[derive(Clone)]
pub struct SigningSecret {
    text: SecretString,
    key: SecretSlice<u8>,
}

impl SigningSecret {
    /// A new secret of 24 random bytes.
    #[must_use]
    pub fn generate() -> Self {
        let bytes: [u8; GENERATED_SECRET_BYTES] = rand::random();
        let text = format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes));
        Self { text: text.into(), key: bytes.to_vec().into() }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`SecretFormatError`] for anything but `whsec_` and base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SecretFormatError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretFormatError)?;
        let key = STANDARD.decode(encoded).map_err(|_| SecretFormatError)?;
        if !SECRET_BYTES.contains(&key.len()) {
            return Err(SecretFormatError);
        }
        Ok(Self { text: text.to_owned().into(), key: key.into() })
    }

    /// The text form, to be shown once or sealed.
    #[must_use]
    pub const fn text(&self) -> &SecretString {
        &self.text
    }

    fn webhook_key(&self) -> &[u8] {
        self.key.expose_secret()
    }

    fn text_key(&self) -> &[u8] {
        self.text.expose_secret().as_bytes()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([redacted])")
    }
}

/// The value of `webhook-signature` for one attempt: `v1,` and base64 for each secret, one space between them. The
/// key of each is its decoded bytes.
#[must_use]
pub fn sign_webhook(secrets: &[&SigningSecret], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let time = timestamp_seconds.to_string();
    let token = |secret: &&SigningSecret| {
        let mac = hmac_sha256(secret.webhook_key(), &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(token).collect::<Vec<_>>().join(" ")
}

/// The value of `X-Signature` for the scheme `body`: `t=<unix>,v1=<hex>`.
#[must_use]
pub fn sign_body(secret: &SigningSecret, timestamp_seconds: i64, content: &[u8]) -> String {
    let time = timestamp_seconds.to_string();
    let mac = hmac_sha256(secret.text_key(), &[time.as_bytes(), b".", content]);
    format!("t={time},v1={}", to_hex(&mac.finalize().into_bytes()))
}

/// The whole query for the scheme `query`: `raw_query` with `ts` and `signature` added. The query must have neither.
#[must_use]
pub fn sign_query(secret: &SigningSecret, timestamp_seconds: i64, raw_query: &str) -> String {
    let separator = if raw_query.is_empty() { "" } else { "&" };
    let signed = format!("{raw_query}{separator}ts={timestamp_seconds}");
    let mac = hmac_sha256(secret.text_key(), &[signed.as_bytes()]);
    format!("{signed}&signature={}", to_hex(&mac.finalize().into_bytes()))
}

/// How the requests of a source are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundScheme {
    /// Not at all.
    #[default]
    None,
    /// Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    Standard,
    /// The header `X-Signature: t=<unix>,v1=<hex>`; `v1` may be there several times.
    Body,
    /// The parameters `ts` and, once and last, `signature`.
    Query,
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// None, or a part of it is not there.
    #[error("the request is not signed, or a part of the signature is missing")]
    Missing,
    /// It does not fit the bytes, is badly written, or something stands outside of what it covers.
    #[error("the signature does not fit the request")]
    Invalid,
    /// Its time is no number, or more than the tolerance from now.
    #[error("the time of the signature is too far from now, or no number")]
    Stale,
}

impl SignatureError {
    /// The code for the sender.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => Code::SignatureMissing,
            Self::Invalid => Code::SignatureInvalid,
            Self::Stale => Code::SignatureStale,
        }
    }
}

/// What `standard` and `body` sign: everything that will be read, or the request cannot be signed like this.
fn content<'a>(request: &RawRequest<'a>) -> Result<&'a [u8], SignatureError> {
    match request.method {
        "GET" if request.body.is_empty() => Ok(request.raw_query),
        "POST" if request.raw_query.is_empty() => Ok(request.body),
        _ => Err(SignatureError::Invalid),
    }
}

/// Checks the signature of a request from a source with these secrets. Any of them may fit.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    scheme: InboundScheme,
    secrets: &[SigningSecret],
    request: &RawRequest<'_>,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    match scheme {
        InboundScheme::None => Ok(()),
        InboundScheme::Standard => verify_standard(secrets, request, now, tolerance),
        InboundScheme::Body => verify_body(secrets, request, now, tolerance),
        InboundScheme::Query => verify_query(secrets, request, now, tolerance),
    }
}

fn verify_standard(
    secrets: &[SigningSecret],
    request: &RawRequest<'_>,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let header =
        |name| request.headers.single(name).map_err(|_| SignatureError::Invalid)?.ok_or(SignatureError::Missing);
    let (id, time, signatures) = (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    check_time(time, now, tolerance)?;
    if id.is_empty() || id.contains('.') {
        return Err(SignatureError::Invalid);
    }
    let tokens = signatures.split_ascii_whitespace().filter_map(|token| token.strip_prefix("v1,"));
    let claimed: Vec<Vec<u8>> = tokens.filter_map(|token| STANDARD.decode(token).ok()).collect();
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", content(request)?];
    any_fits(secrets, SigningSecret::webhook_key, &parts, &claimed)
}

fn verify_body(
    secrets: &[SigningSecret],
    request: &RawRequest<'_>,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let header = request.headers.single("x-signature").map_err(|_| SignatureError::Invalid)?;
    let mut times = Vec::new();
    let mut claimed = Vec::new();
    for part in header.ok_or(SignatureError::Missing)?.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) => times.push(time),
            Some(("v1", hex)) => claimed.extend(from_hex(hex)),
            _ => {}
        }
    }
    let [time] = times.as_slice() else { return Err(SignatureError::Invalid) };
    check_time(time, now, tolerance)?;
    any_fits(secrets, SigningSecret::text_key, &[time.as_bytes(), b".", content(request)?], &claimed)
}

fn verify_query(
    secrets: &[SigningSecret],
    request: &RawRequest<'_>,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let query = request.raw_query;
    // Names are compared decoded, so that `%73ignature` is no way to smuggle in a second one.
    let named = |name: &str| -> Vec<&[u8]> {
        query.split(|byte| *byte == b'&').filter_map(|segment| value_if_named(segment, name)).collect()
    };
    let signatures = named("signature");
    let signature = match signatures.as_slice() {
        [] => return Err(SignatureError::Missing),
        [one] => *one,
        _ => return Err(SignatureError::Invalid),
    };
    let suffix = [b"&signature=", signature].concat();
    let signed = query.strip_suffix(suffix.as_slice()).ok_or(SignatureError::Invalid)?;
    let time = match named("ts").as_slice() {
        [] => return Err(SignatureError::Missing),
        [one] => std::str::from_utf8(one).map_err(|_| SignatureError::Stale)?,
        _ => return Err(SignatureError::Invalid),
    };
    check_time(time, now, tolerance)?;
    if !request.body.is_empty() {
        return Err(SignatureError::Invalid);
    }
    let claimed = std::str::from_utf8(signature).ok().and_then(from_hex).ok_or(SignatureError::Invalid)?;
    any_fits(secrets, SigningSecret::text_key, &[signed], &[claimed])
}

/// The raw value of `segment` (`name=value`) if its decoded name is `name`.
fn value_if_named<'a>(segment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut halves = segment.splitn(2, |byte| *byte == b'=');
    let raw_name = halves.next()?;
    let value = halves.next().unwrap_or_default();
    (lenient_percent_decode(raw_name) == name.as_bytes()).then_some(value)
}

/// Whether `text` is a time in Unix seconds within the tolerance.
fn check_time(text: &str, now: Timestamp, tolerance: Duration) -> Result<(), SignatureError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = text.parse().ok().filter(|_| digits).ok_or(SignatureError::Stale)?;
    let now_seconds = u64::try_from(now.seconds()).unwrap_or(0);
    if seconds.abs_diff(now_seconds) > tolerance.as_secs() { Err(SignatureError::Stale) } else { Ok(()) }
}

/// Whether one of the claimed MACs is that of one of the secrets over `parts`. Each comparison takes constant time.
fn any_fits(
    secrets: &[SigningSecret],
    key: impl Fn(&SigningSecret) -> &[u8],
    parts: &[&[u8]],
    claimed: &[Vec<u8>],
) -> Result<(), SignatureError> {
    let fits = secrets.iter().any(|secret| {
        let mac = hmac_sha256(key(secret), parts);
        claimed.iter().any(|claim| mac.clone().verify_slice(claim).is_ok())
    });
    if fits { Ok(()) } else { Err(SignatureError::Invalid) }
}

#[cfg(test)]
mod tests;
