//! Exchange rates over time, and the one that was applied to a commission (DOMAIN 3.1 no. 5).
//!
//! A rate holds for its direction only: neither the inverse of a rate nor a way over a third currency is ever guessed.
//! Where no rate is valid the commission waits; one to one is never assumed.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::FxRateId;
use super::money::Currency;
use super::rates::FxRate;
use super::time::Timestamp;

/// What one unit of a currency is worth in another, from a time on until the next rate of the same two. Never changed:
/// of two with the same time the later one corrects the other, for what is converted from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRate {
    /// Its id, named in every explanation.
    pub id: FxRateId,
    /// The currency that is converted.
    pub base: Currency,
    /// The currency that it becomes.
    pub quote: Currency,
    /// What one unit of `base` is worth in `quote`.
    pub rate: FxRate,
    /// From when it applies.
    pub valid_from: Timestamp,
    /// Where it was taken from, such as a central bank.
    pub source: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl ExchangeRate {
    /// The rate as it is stored with what it was applied to.
    #[must_use]
    pub fn applied(&self) -> Exchange {
        let Self { id, quote, rate, valid_from, .. } = *self;
        Exchange { fx_rate_id: id, to: quote, rate, valid_from, source: self.source.clone() }
    }
}

/// An exchange rate that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Its id.
    pub fx_rate_id: FxRateId,
    /// The currency that it converts into.
    pub to: Currency,
    /// What one unit was worth.
    pub rate: FxRate,
    /// Since when.
    pub valid_from: Timestamp,
    /// Where it was taken from.
    pub source: String,
}

/// All exchange rates, for each two currencies in the order of `valid_from`.
#[derive(Clone, Debug, Default)]
pub struct ExchangeRates(HashMap<(Currency, Currency), Arc<Vec<ExchangeRate>>>);

impl ExchangeRates {
    /// Adds rates, in the order in which they were made.
    pub fn extend(&mut self, rates: Vec<ExchangeRate>) {
        for rate in rates {
            let of_pair = Arc::make_mut(self.0.entry((rate.base, rate.quote)).or_default());
            if of_pair.iter().all(|known| known.id != rate.id) {
                let place = of_pair.partition_point(|known| known.valid_from <= rate.valid_from);
                of_pair.insert(place, rate);
            }
        }
    }

    /// The rate that is valid at `at`.
    #[must_use]
    pub fn valid_at(&self, base: Currency, quote: Currency, at: Timestamp) -> Option<&ExchangeRate> {
        let of_pair = self.0.get(&(base, quote))?;
        let after = of_pair.partition_point(|rate| rate.valid_from <= at);
        of_pair.get(after.checked_sub(1)?)
    }

    /// Each two currencies with the time of their first rate: what happened since then can be converted.
    pub fn known_since(&self) -> impl Iterator<Item = (Currency, Currency, Timestamp)> {
        self.0.iter().filter_map(|((base, quote), of_pair)| Some((*base, *quote, of_pair.first()?.valid_from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(from: i64, rate: &str) -> ExchangeRate {
        let now = Timestamp::from_micros(0);
        ExchangeRate {
            id: FxRateId::new(now),
            base: "USD".parse().unwrap(),
            quote: "EUR".parse().unwrap(),
            rate: rate.parse().unwrap(),
            valid_from: Timestamp::from_micros(from),
            source: "bank".to_owned(),
            created_at: now,
        }
    }

    #[test]
    fn the_rate_of_the_time_and_direction_applies() {
        let mut rates = ExchangeRates::default();
        rates.extend(vec![rate(20, "2"), rate(10, "1"), rate(20, "3")]);
        let [usd, eur]: [Currency; 2] = ["USD", "EUR"].map(|code| code.parse().unwrap());
        let at = |micros| rates.valid_at(usd, eur, Timestamp::from_micros(micros)).map(|found| found.rate.to_string());
        assert_eq!(at(9), None);
        assert_eq!(at(10).as_deref(), Some("1"));
        assert_eq!(at(20).as_deref(), Some("3"), "the later correction wins");
        assert_eq!(rates.valid_at(eur, usd, Timestamp::from_micros(20)), None, "the inverse is never guessed");
        assert_eq!(rates.known_since().collect::<Vec<_>>(), [(usd, eur, Timestamp::from_micros(10))]);
    }
}
