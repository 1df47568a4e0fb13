//! When a delivery is tried again, and when it is given up: pure functions over what is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The ladder of waits between attempts; the last rung repeats (DESIGN section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// A ladder of these rungs, shortest first.
    ///
    /// # Errors
    /// A sentence when it is empty, has a rung of nothing, or does not ascend.
    pub fn new(rungs: Vec<Duration>) -> Result<Self, &'static str> {
        if rungs.is_empty() || rungs.iter().any(Duration::is_zero) {
            return Err("the ladder needs at least one rung, each longer than nothing");
        }
        if !rungs.is_sorted() {
            return Err("the ladder's rungs go from the shortest to the longest");
        }
        Ok(Self(rungs))
    }

    /// The rungs, shortest first.
    #[must_use]
    pub fn rungs(&self) -> &[Duration] {
        &self.0
    }

    /// The rung after so many known failures, and at least as long as the receiver asked for; the last rung
    /// where none is long enough.
    #[must_use]
    fn rung(&self, failures: i32, at_least: Option<Duration>) -> (usize, Duration) {
        let last = self.0.len().saturating_sub(1);
        let climbed = usize::try_from(failures).unwrap_or(0).saturating_sub(1).min(last);
        let wish = at_least.unwrap_or_default();
        let found = self.0.iter().enumerate().skip(climbed).find(|(_, rung)| **rung >= wish);
        let (index, wait) = found.or_else(|| self.0.iter().enumerate().next_back()).unwrap_or((0, &Duration::ZERO));
        (index, *wait)
    }
}

/// How often and how long a delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The waits between attempts.
    pub ladder: Ladder,
    /// Known failures after which a delivery is dead.
    pub max_attempts: i32,
    /// The age, from the epoch's first attempt, past which no further attempt is planned.
    pub max_age: Duration,
}

/// How many attempts in a row may end unknown before they count as one failure.
pub const UNKNOWNS_PER_FAILURE: i32 = 5;

/// What an epoch of a delivery has been through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Attempts known to have failed.
    pub failures: i32,
    /// Attempts in a row whose end is not known.
    pub unknowns: i32,
    /// When the first attempt of this epoch began.
    pub first_attempt_at: Timestamp,
}

/// Why a delivery was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The last attempt that the policy allows has failed.
    AttemptsExhausted,
    /// The next attempt would come too late.
    TooOld,
}

impl DeadReason {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::TooOld => "too_old",
        }
    }
}

/// What follows an attempt that did not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again: at once after an attempt of unknown end, else after a rung.
    Retry {
        /// What the epoch has been through now.
        failures: i32,
        /// Attempts in a row whose end is not known.
        unknowns: i32,
        /// The rung to wait on; `None` is no wait.
        rung: Option<usize>,
        /// When the next attempt is due.
        at: Timestamp,
    },
    /// Given up until a person replays it.
    Dead {
        /// What the epoch has been through.
        failures: i32,
        /// Why.
        reason: DeadReason,
    },
}

impl RetryPolicy {
    /// After a known failure at `now`. `retry_after` is the receiver's own wish.
    #[must_use]
    pub fn after_failure(&self, history: History, now: Timestamp, retry_after: Option<Duration>) -> Next {
        let failures = history.failures.saturating_add(1);
        if failures >= self.max_attempts {
            return Next::Dead { failures, reason: DeadReason::AttemptsExhausted };
        }
        let (rung, wait) = self.ladder.rung(failures, retry_after);
        let at = now.plus(wait);
        if at > history.first_attempt_at.plus(self.max_age) {
            return Next::Dead { failures, reason: DeadReason::TooOld };
        }
        Next::Retry { failures, unknowns: 0, rung: Some(rung), at }
    }

    /// After an attempt whose lease ran out before anybody said how it ended. It is tried again at once; five
    /// in a row count as one failure, so that a delivery that kills its worker climbs the ladder too.
    #[must_use]
    pub fn after_unknown(&self, history: History, now: Timestamp) -> Next {
        let unknowns = history.unknowns.saturating_add(1);
        if unknowns >= UNKNOWNS_PER_FAILURE {
            return self.after_failure(history, now, None);
        }
        Next::Retry { failures: history.failures, unknowns, rung: None, at: now }
    }
}

#[cfg(test)]
mod tests;
