//! How commission is computed: plans, and the immutable versions of their terms (DOMAIN 3.1, 3.2).

use serde::{Deserialize, Serialize};

use super::ids::{PlanId, PlanVersionId};
use super::money::{Amount, Currency, Rounding};
use super::rates::Percent;
use super::time::Timestamp;

/// One immutable version of a plan. The version valid at a conversion's `occurred_at` applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersion {
    /// Its id, named in every explanation.
    pub id: PlanVersionId,
    /// The plan that it is a version of.
    pub plan_id: PlanId,
    /// From when it applies; until the next version's `valid_from`.
    pub valid_from: Timestamp,
    /// The terms.
    pub terms: Terms,
}

/// The terms of a plan version. Each model is a variant with its own data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Terms {
    /// An amount for each approved conversion of a goal.
    Fixed {
        /// What each goal pays; a goal that is not named pays nothing.
        rates: Vec<FixedRate>,
        /// How the amount is rounded to the currency's minor unit.
        #[serde(default)]
        rounding: Rounding,
    },
    /// A percentage of the amount of each approved conversion of a goal, in the conversion's currency.
    Percent {
        /// What each goal pays; a goal that is not named pays nothing.
        rates: Vec<PercentRate>,
        /// How the amount is rounded to the currency's minor unit.
        #[serde(default)]
        rounding: Rounding,
    },
}

/// What one goal pays under [`Terms::Fixed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedRate {
    /// The goal's name in its program.
    pub goal: String,
    /// The amount for each conversion.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
}

/// What one goal pays under [`Terms::Percent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PercentRate {
    /// The goal's name in its program.
    pub goal: String,
    /// The part of the amount.
    pub percent: Percent,
    /// For how many calendar months from the customer's first conversion of the goal; without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub months: Option<u32>,
}

/// The most months that a percentage may recur: a hundred years.
const MAX_MONTHS: u32 = 1_200;

impl Terms {
    /// How results are rounded.
    #[must_use]
    pub const fn rounding(&self) -> Rounding {
        match self {
            Self::Fixed { rounding, .. } | Self::Percent { rounding, .. } => *rounding,
        }
    }

    /// For how many months a goal is paid, where that is limited.
    #[must_use]
    pub fn months(&self, goal: &str) -> Option<u32> {
        match self {
            Self::Fixed { .. } => None,
            Self::Percent { rates, .. } => rates.iter().find(|rate| rate.goal == goal).and_then(|rate| rate.months),
        }
    }

    /// Whether the terms can be applied as they stand.
    ///
    /// # Errors
    /// A sentence for whoever wrote the terms.
    pub fn check(&self) -> Result<(), String> {
        let goals: Vec<&str> = match self {
            Self::Fixed { rates, .. } => rates.iter().map(|rate| rate.goal.as_str()).collect(),
            Self::Percent { rates, .. } => rates.iter().map(|rate| rate.goal.as_str()).collect(),
        };
        if goals.is_empty() {
            return Err("a plan needs at least one rate".to_owned());
        }
        for (index, goal) in goals.iter().enumerate() {
            if goals.iter().take(index).any(|earlier| earlier == goal) {
                return Err(format!("goal {goal} has two rates; write one"));
            }
        }
        match self {
            Self::Fixed { rates, .. } => match rates.iter().find(|rate| rate.amount.is_negative()) {
                Some(rate) => Err(format!("the rate of goal {} is negative; a commission never is", rate.goal)),
                None => Ok(()),
            },
            Self::Percent { rates, .. } => {
                let fits = |months: Option<u32>| months.is_none_or(|months| (1..=MAX_MONTHS).contains(&months));
                match rates.iter().find(|rate| !fits(rate.months)) {
                    Some(rate) => Err(format!("goal {} recurs for 1 to {MAX_MONTHS} months", rate.goal)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The version that applies at `at`: the one with the latest `valid_from` not after it. Of two versions
/// with the same `valid_from` the one made later corrects the other. `versions` are in order of creation.
#[must_use]
pub fn version_at(versions: &[PlanVersion], at: Timestamp) -> Option<&PlanVersion> {
    versions.iter().filter(|version| version.valid_from <= at).max_by_key(|version| version.valid_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(from: i64, amount: &str) -> PlanVersion {
        let now = Timestamp::from_micros(0);
        let rate = FixedRate { goal: "lead".into(), amount: amount.parse().unwrap(), currency: "EUR".parse().unwrap() };
        PlanVersion {
            id: PlanVersionId::new(now),
            plan_id: PlanId::new(now),
            valid_from: Timestamp::from_micros(from),
            terms: Terms::Fixed { rates: vec![rate], rounding: Rounding::HalfUp },
        }
    }

    #[test]
    fn the_version_valid_at_the_time_applies() {
        let versions = [version(10, "1"), version(20, "2"), version(20, "3")];
        let at = |micros| version_at(&versions, Timestamp::from_micros(micros)).map(|v| v.terms.clone());
        assert_eq!(at(9), None);
        assert_eq!(at(10), Some(versions[0].terms.clone()));
        assert_eq!(at(19), Some(versions[0].terms.clone()));
        assert_eq!(at(20), Some(versions[2].terms.clone()), "the later correction wins");
    }

    #[test]
    fn terms_refuse_two_rates_for_a_goal_and_negative_ones() {
        assert!(version(0, "5").terms.check().is_ok());
        assert!(version(0, "-5").terms.check().is_err());
        let Terms::Fixed { rates, rounding } = version(0, "5").terms else { panic!("they are fixed") };
        let twice = [rates.clone(), rates].concat();
        assert!(Terms::Fixed { rates: twice, rounding }.check().is_err());
    }

    #[test]
    fn percentages_are_limited_in_size_and_time() {
        let terms = |percent: &str, months: Option<u32>| {
            let rate = serde_json::json!({ "goal": "sale", "percent": percent, "months": months });
            serde_json::from_value::<Terms>(serde_json::json!({ "model": "percent", "rates": [rate] }))
        };
        assert!(terms("12.5", None).unwrap().check().is_ok());
        assert_eq!(terms("12.5", Some(3)).unwrap().months("sale"), Some(3));
        for months in [0, 1_201] {
            assert!(terms("12.5", Some(months)).unwrap().check().is_err());
        }
        assert!(terms("-1", None).is_err());
        assert!(terms("1001", None).is_err());
    }

    #[test]
    fn terms_are_tagged_json() {
        let json = serde_json::to_value(version(0, "5.00").terms).unwrap();
        assert_eq!(json["model"], "fixed");
        assert!(serde_json::from_str::<Terms>(r#"{"model":"ponzi"}"#).is_err());
    }
}
