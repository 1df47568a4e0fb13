//! How the amount of a commission came about: enough to compute it again by hand (DOMAIN 3.1 no. 7).
//!
//! An explanation computes its own result from what it says, and nothing else does: what is stored beside a commission
//! is what the commission was computed by. It holds no personal data: neither customer nor click.

use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::ids::PlanVersionId;
use super::money::{Amount, Currency, Money, MoneyError, Rounding, exact_product};
use super::rates::Percent;
use super::time::Timestamp;
use rust_decimal::Decimal;

/// The stored explanation of one commission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was computed from, by the model of the terms.
    #[serde(flatten)]
    pub inputs: Inputs,
    /// The currency of the inputs.
    pub earned_in: Currency,
    /// The plan version applied: the one valid at `occurred_at`.
    pub plan_version_id: PlanVersionId,
    /// The goal that was reached.
    pub goal: String,
    /// When it was reached.
    pub occurred_at: Timestamp,
    /// Until when the rate is paid, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurring: Option<Recurring>,
    /// The rate that turned it into the currency that the affiliate is paid in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    /// That currency, as long as no rate into it is known; the result is in `earned_in` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Currency>,
    /// How the result was rounded to the minor unit of its currency; once, at the end.
    pub rounding: Rounding,
    /// The commission.
    #[serde(flatten, with = "result")]
    pub result: Money,
}

/// What an amount is computed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Inputs {
    /// An amount for each conversion.
    Fixed {
        /// The amount.
        rate: Amount,
    },
    /// A part of the conversion's amount.
    Percent {
        /// The conversion's amount.
        base: Amount,
        /// The part.
        rate: Percent,
    },
    /// The sender said what is paid, in the conversion's currency.
    PayoutOverride {
        /// What it said.
        rate: Amount,
    },
}

impl Inputs {
    /// What is multiplied with one another.
    fn factors(&self) -> Vec<Decimal> {
        match self {
            Self::Fixed { rate } | Self::PayoutOverride { rate } => vec![rate.decimal()],
            Self::Percent { base, rate } => vec![base.decimal(), rate.decimal(), Decimal::new(1, 2)],
        }
    }
}

/// A rate that is paid for some months from a first conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// For so many calendar months.
    pub months: u32,
    /// From this time on.
    pub first_at: Timestamp,
}

impl Recurring {
    /// The first moment that is no longer paid.
    #[must_use]
    pub fn until(self) -> Timestamp {
        self.first_at.plus_months(self.months)
    }
}

/// The result as two fields beside the others.
mod result {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Amount, Currency, Money};

    #[derive(Serialize, Deserialize)]
    struct Fields {
        result: Amount,
        currency: Currency,
    }

    pub fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        Fields { result: money.amount, currency: money.currency }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        Ok(Money { amount: fields.result, currency: fields.currency })
    }
}

impl Explanation {
    /// The same in the currency that is paid, by a rate where one is needed and known.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where the result does not fit an amount.
    pub fn settled(mut self, currency: Currency, exchange: Option<Exchange>) -> Result<Self, MoneyError> {
        let foreign = currency != self.earned_in;
        self.exchange = exchange.filter(|exchange| foreign && exchange.to == currency);
        self.awaits = (foreign && self.exchange.is_none()).then_some(currency);
        self.priced()
    }

    /// The currency that is paid, be it that no rate into it is known yet.
    #[must_use]
    pub fn settles_in(&self) -> Currency {
        self.awaits.unwrap_or(self.result.currency)
    }

    /// The same with its result computed anew from its inputs: exact until the one rounding.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where the result does not fit an amount.
    pub fn priced(mut self) -> Result<Self, MoneyError> {
        let mut factors = self.inputs.factors();
        factors.extend(self.exchange.as_ref().map(|exchange| exchange.rate.decimal()));
        let currency = self.exchange.as_ref().map_or(self.earned_in, |exchange| exchange.to);
        self.result = Money::of_product(&factors, currency, self.rounding)?;
        Ok(self)
    }

    /// The computation, step by step, for people.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let Self { earned_in, result, .. } = self;
        let mut factors = self.inputs.factors();
        let exact = exact_product(&factors);
        let mut steps = Vec::new();
        if let Some(recurring) = self.recurring {
            let Recurring { months, first_at } = recurring;
            let until = recurring.until();
            steps.push(format!(
                "{} lies within {months} months of the first conversion at {first_at}: before {until}",
                self.occurred_at
            ));
        }
        steps.push(match &self.inputs {
            Inputs::Fixed { .. } => format!("the plan pays {exact} {earned_in} for each {}", self.goal),
            Inputs::Percent { base, rate } => format!("{base} {earned_in} × {rate} % = {exact} {earned_in}"),
            Inputs::PayoutOverride { .. } => format!("the sender says that {exact} {earned_in} is paid"),
        });
        if let Some(exchange) = &self.exchange {
            let Exchange { rate, to, valid_from, source, .. } = exchange;
            factors.push(rate.decimal());
            let converted = exact_product(&factors);
            steps.push(format!(
                "{exact} {earned_in} × {rate} = {converted} {to}, the rate of {source} valid since {valid_from}"
            ));
        }
        let (places, currency) = (result.currency.minor_units(), result.currency);
        let mode = match self.rounding {
            Rounding::HalfUp => "half up",
            Rounding::HalfEven => "half to even",
            Rounding::Floor => "down",
        };
        steps.push(format!("rounded {mode} to {places} decimals: {} {currency}", result.amount_text()));
        if let Some(awaited) = self.awaits {
            steps.push(format!("no rate from {earned_in} to {awaited} was valid then: it waits for one"));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::FxRateId;

    fn explanation() -> Explanation {
        let at = Timestamp::from_seconds(1_770_000_000).unwrap();
        let inputs = Inputs::Percent { base: "119.99".parse().unwrap(), rate: "12.5".parse().unwrap() };
        let eur: Currency = "EUR".parse().unwrap();
        Explanation {
            inputs,
            earned_in: eur,
            plan_version_id: PlanVersionId::new(at),
            goal: "sale".to_owned(),
            occurred_at: at,
            recurring: None,
            exchange: None,
            awaits: None,
            rounding: Rounding::HalfUp,
            result: Money { amount: Amount::ZERO, currency: eur },
        }
    }

    #[test]
    fn it_is_flat_and_is_read_back_as_it_was_written() {
        let explained = explanation().priced().unwrap();
        let json = serde_json::to_value(&explained).unwrap();
        assert_eq!(json["model"], "percent");
        assert_eq!((&json["base"], &json["rate"]), (&"119.99".into(), &"12.5".into()));
        assert_eq!((&json["result"], &json["currency"]), (&"15".into(), &"EUR".into()));
        assert_eq!(serde_json::from_value::<Explanation>(json).unwrap(), explained);
    }

    #[test]
    fn it_is_converted_before_the_one_rounding() {
        let at = Timestamp::from_seconds(1_770_000_000).unwrap();
        let [jpy, usd]: [Currency; 2] = ["JPY", "USD"].map(|code| code.parse().unwrap());
        let exchange = Exchange {
            fx_rate_id: FxRateId::new(at),
            to: jpy,
            rate: "162.370000000001".parse().unwrap(),
            valid_from: at,
            source: "bank".to_owned(),
        };
        let converted = explanation().settled(jpy, Some(exchange.clone())).unwrap();
        // From the rounded 15.00 EUR it would have become 2436.
        assert_eq!(converted.result.amount_text(), "2435");
        assert!(
            converted.steps()[1].starts_with("14.99875 EUR × 162.370000000001 = 2435.34703750001499875 JPY"),
            "{converted:?}"
        );
        assert_eq!(explanation().settled("EUR".parse().unwrap(), None).unwrap().awaits, None);
        let waits = explanation().settled(usd, Some(exchange)).unwrap();
        assert_eq!((waits.awaits, waits.settles_in()), (Some(usd), usd), "a rate into another currency is none");
        assert_eq!((waits.result.amount_text().as_str(), waits.result.currency.code()), ("15.00", "EUR"));
        let json = serde_json::to_value(&converted).unwrap();
        assert_eq!(serde_json::from_value::<Explanation>(json).unwrap(), converted);
    }

    #[test]
    fn its_steps_can_be_followed_by_hand() {
        let explained = explanation().priced().unwrap();
        assert_eq!(
            explained.steps(),
            ["119.99 EUR × 12.5 % = 14.99875 EUR", "rounded half up to 2 decimals: 15.00 EUR"]
        );
    }
}
