//! Takes the API key out of a request's headers. Keys are read from headers only: a query ends up in the logs of
//! every proxy on the way.
//!
//! Every problem is answered with the same `unauthenticated`; which one it was goes into the receipt and the audit
//! log. Whether the key exists and is valid is for the caller to find out, by public id and then by hash.

use crate::domain::request::Headers;
use crate::domain::secret::ApiKey;

/// Why a request presents no key. All are answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Neither header.
    #[error("no key was sent")]
    Missing,
    /// Another scheme than Bearer, or not the form of our keys.
    #[error("what was sent is not an API key of this service")]
    Malformed,
    /// Both headers, or one of them twice.
    #[error("more than one key was sent")]
    Ambiguous,
}

impl KeyProblem {
    /// The stable slug for receipts and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "key_missing",
            Self::Malformed => "key_malformed",
            Self::Ambiguous => "key_ambiguous",
        }
    }
}

/// The key that `Authorization: Bearer …` or `X-Api-Key` presents.
///
/// # Errors
/// See [`KeyProblem`].
pub fn presented_key(headers: Headers<'_>) -> Result<ApiKey, KeyProblem> {
    let sent = headers.all("authorization").count() + headers.all("x-api-key").count();
    match sent {
        0 => return Err(KeyProblem::Missing),
        1 => {}
        _ => return Err(KeyProblem::Ambiguous),
    }
    let value = |name| headers.single(name).map_err(|_| KeyProblem::Malformed);
    let text = match value("authorization")? {
        Some(authorization) => match authorization.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_start()),
            _ => None,
        },
        None => value("x-api-key")?,
    };
    text.and_then(ApiKey::parse).ok_or(KeyProblem::Malformed)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn problem(headers: &[(&str, &[u8])]) -> KeyProblem {
        presented_key(Headers(headers)).unwrap_err()
    }

    #[test]
    fn either_header_presents_a_key() {
        let key = ApiKey::generate();
        let text = key.to_text();
        let text = text.expose_secret();
        for (name, value) in [
            ("Authorization", format!("Bearer {text}")),
            ("authorization", format!("bearer  {text} ")),
            ("X-Api-Key", text.to_owned()),
        ] {
            let presented = presented_key(Headers(&[(name, value.as_bytes())])).unwrap();
            assert!(key.hash().is_of(&presented) && presented.public_id() == key.public_id(), "{name}");
        }
    }

    #[test]
    fn anything_else_does_not() {
        let key = ApiKey::generate();
        let text = key.to_text();
        let text = text.expose_secret().as_bytes();
        let bearer = [b"Bearer ", text].concat();
        assert_eq!(problem(&[("host", b"example.com")]), KeyProblem::Missing);
        for bad in [b"Basic dTpw".as_slice(), b"Bearer", b"Bearer ", text, b"Bearer \xff", b""] {
            assert_eq!(problem(&[("authorization", bad)]), KeyProblem::Malformed);
        }
        assert_eq!(problem(&[("x-api-key", b"secret")]), KeyProblem::Malformed);
        assert_eq!(problem(&[("authorization", &bearer), ("x-api-key", text)]), KeyProblem::Ambiguous);
        assert_eq!(problem(&[("x-api-key", text), ("X-API-KEY", text)]), KeyProblem::Ambiguous);
    }
}
