//! Points in time: UTC, microseconds. Both engines store exactly this precision, so a value read
//! back equals the value written.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Months, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time in microseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds of 9999-12-31T23:59:59Z, the last time that RFC 3339 can spell.
const LAST_MICROS: i64 = 253_402_300_799_000_000;

impl Timestamp {
    /// The time `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The time `seconds` after the Unix epoch; `None` beyond the year 9999 or before 1970.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        let micros = seconds.checked_mul(1_000_000)?;
        (0..=LAST_MICROS).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Parses RFC 3339 with a zone, from 1970 to 9999. Anything finer than a microsecond is cut off.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let micros = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
        (0..=LAST_MICROS).contains(&micros).then_some(Self(micros))
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(duration)))
    }

    /// This time less `duration`, saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(duration)))
    }

    /// This time so many calendar months later, in UTC: the same day, or the month's last where it has no such day. The
    /// last time that can be told where that lies beyond it.
    #[must_use]
    pub fn plus_months(self, months: u32) -> Self {
        let time = DateTime::<Utc>::from_timestamp_micros(self.0);
        let later = time.and_then(|time| time.checked_add_months(Months::new(months)));
        Self(later.map_or(i64::MAX, |time| time.timestamp_micros()))
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// A duration in microseconds, saturating at what an `i64` holds.
fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&shown.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| {
            serde::de::Error::custom("expected an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trip_and_zone() {
        let time = Timestamp::parse_rfc3339("2026-01-31T12:00:00.123456+02:00").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T10:00:00.123456Z");
        assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Some(time));
        assert_eq!(Timestamp::parse_rfc3339("2026-01-31T12:00:00"), None, "a zone is required");
        assert_eq!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let plus = |text: &str, months| Timestamp::parse_rfc3339(text).unwrap().plus_months(months).to_string();
        assert_eq!(plus("2026-01-31T12:00:00Z", 1), "2026-02-28T12:00:00.000000Z");
        assert_eq!(plus("2027-12-31T12:00:00Z", 2), "2028-02-29T12:00:00.000000Z");
        assert_eq!(plus("2026-05-15T00:00:00Z", 12), "2027-05-15T00:00:00.000000Z");
        let late = Timestamp::from_micros(i64::MAX);
        assert_eq!(late.plus_months(1), late);
    }

    #[test]
    fn arithmetic_saturates() {
        let late = Timestamp::from_micros(i64::MAX);
        assert_eq!(late.plus(Duration::from_secs(1)), late);
        assert_eq!(Timestamp::from_micros(5).since(late), Duration::ZERO);
    }
}
