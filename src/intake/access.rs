//! Who is calling: from the key in the headers to what it may do here and now.
//!
//! Judged in one order: the key itself, the address that it is used from, its rate, its role. The first failure is
//! the answer. For a missing, malformed, unknown, wrong, expired or revoked key the answer is the same, after the
//! same work.

use std::net::IpAddr;
use std::sync::Arc;

use super::address::is_allowed;
use super::inbound::presented_key;
use super::rate::{Allowance, Exceeded, Rates};
use crate::domain::catalog::{Catalog, Key, Role};
use crate::domain::ids::{AffiliateId, OperatorId, SourceId};
use crate::domain::request::Headers;
use crate::domain::secret::{ApiKey, KeyHash};
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection};

/// A request that presented a valid key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub key: Arc<Key>,
    /// Where the request came from, judged through the trusted proxies.
    pub address: IpAddr,
}

/// Finds the key that a request presents.
///
/// # Errors
/// `unauthenticated`, whatever is wrong.
pub fn identify(catalog: &Catalog, headers: Headers<'_>, address: IpAddr, now: Timestamp) -> Result<Caller, Rejection> {
    let presented = presented_key(headers);
    // Something is hashed and compared in any case, so that the time taken does not tell which keys exist.
    let compared = presented.as_ref().map_or_else(|_| ApiKey::generate(), ApiKey::clone);
    let known = catalog.key(compared.public_id());
    let fits = known.map_or(KeyHash::DUMMY, |key| key.hash).is_of(&compared);
    // When it was revoked does not matter: whoever did it may have a clock that is ahead of ours.
    let usable = |key: &Key| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| now < end);
    match known {
        Some(key) if fits && presented.is_ok() && usable(key) => Ok(Caller { key: Arc::clone(key), address }),
        _ => Err(Code::Unauthenticated.into()),
    }
}

impl Caller {
    /// Whether the key may be used from where it is.
    ///
    /// # Errors
    /// `ip_denied`.
    pub fn judge_address(&self) -> Result<(), Rejection> {
        if is_allowed(self.address, &self.key.ip_allowlist) { Ok(()) } else { Err(Code::IpDenied.into()) }
    }

    /// Uses the key once.
    ///
    /// # Errors
    /// [`Exceeded`] over its rate.
    pub fn take_rate(&self, rates: &Rates) -> Result<Allowance, Exceeded> {
        rates.take(self.key.id, u32::try_from(self.key.rate_per_minute).unwrap_or(0))
    }

    /// Whether the key is an admin's.
    ///
    /// # Errors
    /// `scope`.
    pub fn admin(&self) -> Result<(), Rejection> {
        match self.key.role {
            Role::Admin => Ok(()),
            _ => Err(Code::Scope.into()),
        }
    }

    /// The operator and the source that the key sends for.
    ///
    /// # Errors
    /// `scope`.
    pub fn operator(&self) -> Result<(OperatorId, SourceId), Rejection> {
        match self.key.role {
            Role::Operator { operator_id, source_id } => Ok((operator_id, source_id)),
            _ => Err(Code::Scope.into()),
        }
    }

    /// The affiliate whose key it is.
    ///
    /// # Errors
    /// `scope`.
    pub fn affiliate(&self) -> Result<AffiliateId, Rejection> {
        match self.key.role {
            Role::Affiliate { affiliate_id } => Ok(affiliate_id),
            _ => Err(Code::Scope.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::catalog::CatalogDelta;
    use crate::domain::ids::KeyId;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000_000)
    }

    fn stored(key: &ApiKey) -> Key {
        Key {
            id: KeyId::new(now()),
            public_id: key.public_id(),
            hash: key.hash(),
            name: "test".into(),
            role: Role::Admin,
            ip_allowlist: vec!["192.0.2.0/24".parse().unwrap()],
            rate_per_minute: 1,
            test: false,
            expires_at: None,
            revoked_at: None,
            created_at: now(),
        }
    }

    fn identified(row: Key, text: &str) -> Result<Caller, Rejection> {
        let catalog = Catalog::default().with(CatalogDelta { version: 1, keys: vec![row], ..CatalogDelta::default() });
        identify(&catalog, Headers(&[("x-api-key", text.as_bytes())]), "192.0.2.1".parse().unwrap(), now())
    }

    #[test]
    fn every_failure_is_the_same_answer() {
        let key = ApiKey::generate();
        let text = key.to_text().expose_secret().to_owned();
        let row = stored(&key);
        assert!(identified(row.clone(), &text).is_ok());
        let other = ApiKey::generate().to_text().expose_secret().to_owned();
        let wrong = format!("{}{}", &text[..text.len() - 43], &other[other.len() - 43..]);
        let earlier = Some(Timestamp::from_micros(999_999));
        let expired = Key { expires_at: Some(now()), ..row.clone() };
        let revoked = Key { revoked_at: earlier, ..row.clone() };
        let later = Key { expires_at: Some(Timestamp::from_micros(1_000_001)), ..row.clone() };
        assert!(identified(later, &text).is_ok());
        for (row, text) in [
            (row.clone(), ""),
            (row.clone(), "no key"),
            (row.clone(), wrong.as_str()),
            (row, other.as_str()),
            (expired, text.as_str()),
            (revoked, text.as_str()),
        ] {
            assert_eq!(identified(row, text).unwrap_err(), Rejection::new(Code::Unauthenticated));
        }
    }

    /// Only a [`Caller`] has a rate, and only a key that exists makes one: strangers have nothing to grow.
    #[test]
    fn strangers_do_not_get_as_far_as_a_counter() {
        let key = ApiKey::generate();
        let row = Key { rate_per_minute: 1_000_000, ..stored(&key) };
        let rates = Rates::new();
        for _ in 0..2_000 {
            let stranger = ApiKey::generate().to_text().expose_secret().to_owned();
            assert!(identified(row.clone(), &stranger).is_err());
            let caller = identified(row.clone(), key.to_text().expose_secret()).unwrap();
            caller.take_rate(&rates).unwrap();
        }
        assert_eq!(rates.counted_keys(), 1);
    }

    /// The least of many tries, so that what else the machine does is not measured: a kind of failure that costs
    /// less than half, or more than twice, what the others do would tell which keys exist.
    #[test]
    fn every_failure_takes_about_the_same_time() {
        let key = ApiKey::generate();
        let text = key.to_text().expose_secret().to_owned();
        let other = ApiKey::generate().to_text().expose_secret().to_owned();
        let wrong = format!("{}{}", &text[..text.len() - 43], &other[other.len() - 43..]);
        let row = stored(&key);
        let revoked = Key { revoked_at: Some(now()), ..row.clone() };
        let kinds = [(&row, wrong.as_str()), (&row, &other), (&revoked, &text), (&row, "no key at all")];
        let catalogs = kinds.map(|(row, text)| {
            let delta = CatalogDelta { version: 1, keys: vec![row.clone()], ..CatalogDelta::default() };
            (Catalog::default().with(delta), text)
        });
        let mut times = [std::time::Duration::MAX; 4];
        // In turns, so that a busy machine slows all of them alike.
        for _ in 0..5_000 {
            for (least, (catalog, text)) in times.iter_mut().zip(&catalogs) {
                let headers = [("x-api-key", text.as_bytes())];
                let begun = std::time::Instant::now();
                let result = identify(catalog, Headers(&headers), "192.0.2.1".parse().unwrap(), now());
                *least = begun.elapsed().min(*least);
                assert!(result.is_err());
            }
        }
        let (fastest, slowest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*slowest < *fastest * 2, "{times:?}");
    }

    #[test]
    fn address_rate_and_role() {
        let key = ApiKey::generate();
        let mut caller = identified(stored(&key), key.to_text().expose_secret()).unwrap();
        assert!(caller.judge_address().is_ok() && caller.admin().is_ok());
        assert_eq!(caller.operator(), Err(Rejection::new(Code::Scope)));
        assert_eq!(caller.affiliate(), Err(Rejection::new(Code::Scope)));
        caller.address = "198.51.100.1".parse().unwrap();
        assert_eq!(caller.judge_address(), Err(Rejection::new(Code::IpDenied)));
        let rates = Rates::new();
        assert!(caller.take_rate(&rates).is_ok() && caller.take_rate(&rates).is_err());
    }
}
