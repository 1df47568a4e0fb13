//! How often a key may do something in a minute, on this instance.
//!
//! One counter for each key that has been used, never one for what an unauthenticated caller chooses: memory is
//! bounded by the number of keys that exist. A key may use its whole minute at once and is then refilled evenly.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::domain::ids::KeyId;

/// A key's rate and the counter for it.
type Counter<C> = (NonZeroU32, Arc<Limiter<C>>);
type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>;

/// What is left of a key's minute after this use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Uses in a minute.
    pub per_minute: u32,
    /// Uses that could follow at once.
    pub remaining: u32,
}

/// The minute is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the rate")]
pub struct Exceeded {
    /// Uses in a minute.
    pub per_minute: u32,
    /// When the next use is allowed.
    pub retry_after: Duration,
}

/// Counts uses by key.
#[derive(Debug)]
pub struct Rates<C: Clock = DefaultClock> {
    clock: C,
    by_key: Mutex<HashMap<KeyId, Counter<C>>>,
}

impl Rates {
    /// Counters that have seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(DefaultClock::default())
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(clock: C) -> Self {
        Self { clock, by_key: Mutex::default() }
    }

    /// Uses the key once, if its minute allows. A rate that has changed starts afresh; a rate of zero allows nothing.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing was used then.
    pub fn take(&self, key: KeyId, per_minute: u32) -> Result<Allowance, Exceeded> {
        let Some(rate) = NonZeroU32::new(per_minute) else {
            return Err(Exceeded { per_minute, retry_after: Duration::from_secs(60) });
        };
        match self.limiter(key, rate).check() {
            Ok(state) => Ok(Allowance { per_minute, remaining: state.remaining_burst_capacity() }),
            Err(refused) => Err(Exceeded { per_minute, retry_after: refused.wait_time_from(self.clock.now()) }),
        }
    }

    /// How many keys have a counter.
    #[cfg(test)]
    pub(super) fn counted_keys(&self) -> usize {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn limiter(&self, key: KeyId, rate: NonZeroU32) -> Arc<Limiter<C>> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let limiter = RateLimiter::direct_with_clock(Quota::per_minute(rate), self.clock.clone());
            (rate, Arc::new(limiter.with_middleware::<StateInformationMiddleware>()))
        };
        let entry = by_key.entry(key).or_insert_with(made);
        if entry.0 != rate {
            *entry = made();
        }
        Arc::clone(&entry.1)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::domain::time::Timestamp;

    fn key() -> KeyId {
        KeyId::new(Timestamp::from_micros(0))
    }

    #[test]
    fn a_minute_may_be_used_at_once_and_is_refilled_evenly() {
        let clock = FakeRelativeClock::default();
        let rates = Rates::with_clock(clock.clone());
        let key = key();
        for remaining in [2, 1, 0] {
            assert_eq!(rates.take(key, 3), Ok(Allowance { per_minute: 3, remaining }));
        }
        let refused = rates.take(key, 3).unwrap_err();
        assert_eq!(refused, Exceeded { per_minute: 3, retry_after: Duration::from_secs(20) });
        clock.advance(Duration::from_secs(19));
        assert!(rates.take(key, 3).is_err());
        clock.advance(Duration::from_secs(1));
        assert!(rates.take(key, 3).is_ok());
    }

    #[test]
    fn keys_do_not_share_and_a_new_rate_starts_afresh() {
        let rates = Rates::with_clock(FakeRelativeClock::default());
        let (one, other) = (key(), key());
        assert!(rates.take(one, 1).is_ok() && rates.take(one, 1).is_err());
        assert!(rates.take(other, 1).is_ok());
        assert!(rates.take(one, 2).is_ok());
        assert!(rates.take(other, 0).is_err(), "zero is never");
    }
}
