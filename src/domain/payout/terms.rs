//! When an affiliate is paid without being asked: every week or month, from a minimum on.
//!
//! Periods are those of UTC: a week begins on Monday, a month on its first day. A payout that falls due takes what is
//! owed at that moment. What was missed (the service stood still, or the balance was below the minimum) is carried
//! to the next period and never paid twice.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Months, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::ids::{AffiliateId, KeyId};
use super::super::money::{Amount, Currency};
use super::super::time::Timestamp;

const DAY_SECONDS: i64 = 24 * 3_600;
/// The first Monday after the Unix epoch, which was a Thursday.
const FIRST_MONDAY_DAYS: i64 = 4;

/// How often an affiliate is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// On Mondays.
    Week,
    /// On the first day of the month.
    Month,
}

impl Period {
    /// When the period ends that `at` lies in: the beginning of the next one.
    #[must_use]
    pub fn end(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Week => {
                let days = at.seconds().div_euclid(DAY_SECONDS) - FIRST_MONDAY_DAYS;
                let next = (days.div_euclid(7) + 1) * 7 + FIRST_MONDAY_DAYS;
                Timestamp::from_micros(next.saturating_mul(DAY_SECONDS).saturating_mul(1_000_000))
            }
            // Past the end of the calendar there is no next month.
            Self::Month => first_of_next_month(at).unwrap_or_else(|| at.plus(Duration::from_secs(31 * 24 * 3_600))),
        }
    }
}

fn first_of_next_month(at: Timestamp) -> Option<Timestamp> {
    let day = DateTime::<Utc>::from_timestamp_micros(at.micros())?.date_naive();
    let next = day.with_day(1)?.checked_add_months(Months::new(1))?;
    Some(Timestamp::from_micros(next.and_time(NaiveTime::MIN).and_utc().timestamp_micros()))
}

/// What became of a payout that fell due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueOutcome {
    /// It was made.
    Created,
    /// Nothing is owed; the debt is carried on.
    Debt,
    /// Less is owed than the minimum; it is carried on.
    BelowMinimum,
}

/// When and from how much on an affiliate is paid in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutTerms {
    /// Who is paid.
    pub affiliate_id: AffiliateId,
    /// In which currency.
    pub currency: Currency,
    /// From how much on; also for payouts that an admin asks for, unless he says otherwise.
    pub minimum: Amount,
    /// How often.
    pub period: Period,
    /// Whether payouts are made without being asked for.
    pub enabled: bool,
    /// When the next one falls due.
    pub next_due_at: Timestamp,
    /// When the last one fell due.
    pub last_due_at: Option<Timestamp>,
    /// What became of it.
    pub last_outcome: Option<DueOutcome>,
    /// Whose key set these terms.
    pub updated_by: KeyId,
    /// When.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(period: Period, at: &str) -> String {
        period.end(Timestamp::parse_rfc3339(at).unwrap()).to_string()
    }

    #[test]
    fn weeks_end_on_monday_and_months_on_the_first() {
        assert_eq!(end(Period::Week, "2026-01-15T12:00:00Z"), "2026-01-19T00:00:00.000000Z");
        assert_eq!(end(Period::Week, "2026-01-19T00:00:00Z"), "2026-01-26T00:00:00.000000Z");
        assert_eq!(end(Period::Week, "2026-01-18T23:59:59.999999Z"), "2026-01-19T00:00:00.000000Z");
        assert_eq!(end(Period::Week, "1970-01-01T00:00:00Z"), "1970-01-05T00:00:00.000000Z");
        assert_eq!(end(Period::Month, "2026-01-31T12:00:00Z"), "2026-02-01T00:00:00.000000Z");
        assert_eq!(end(Period::Month, "2026-02-01T00:00:00Z"), "2026-03-01T00:00:00.000000Z");
        assert_eq!(end(Period::Month, "2027-12-31T23:59:59Z"), "2028-01-01T00:00:00.000000Z");
    }
}
