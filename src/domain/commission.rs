//! What a conversion earns its affiliate, with the explanation that is stored beside it (DOMAIN 3.1).
//!
//! Deliberately absent here: status, ledger and events. They follow from what this module computes and
//! from the conversion's status, in [`super::booking`].

use serde::{Deserialize, Serialize};

use super::ids::{AffiliateId, CommissionId, ConversionId, OperatorId, PlanVersionId, ProgramId};
use super::money::{Amount, Currency, Money, MoneyError, Rounding};
use super::plan::{PlanVersion, Terms};
use super::time::Timestamp;

/// Where a commission stands (DOMAIN 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommissionState {
    /// Calculated; nothing is booked.
    Pending,
    /// Booked and payable.
    Available,
    /// Undone by a compensating transaction.
    Reversed,
    /// The conversion was refused before anything was booked.
    Void,
}

/// One earning of one affiliate from one conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commission {
    /// Its id.
    pub id: CommissionId,
    /// The conversion that earned it; exactly one commission each.
    pub conversion_id: ConversionId,
    /// Who pays.
    pub operator_id: OperatorId,
    /// In which program.
    pub program_id: ProgramId,
    /// Who is paid.
    pub affiliate_id: AffiliateId,
    /// The plan version applied.
    pub plan_version_id: PlanVersionId,
    /// How much.
    pub money: Money,
    /// What of it lies in the ledger now; nothing before approval and after a reversal.
    pub booked: Amount,
    /// Where it stands.
    pub state: CommissionState,
    /// Counts changes, from 1; subscribers order messages by it.
    pub revision: i32,
    /// How the amount came about, as JSON. Holds no personal data.
    pub explanation: String,
    /// When it was first computed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// How an amount came about: enough to compute it again by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The model of the terms, such as `fixed`; `payout_override` where the sender said what is paid.
    pub model: String,
    /// The plan version applied.
    pub plan_version_id: PlanVersionId,
    /// The goal that was reached.
    pub goal: String,
    /// The rate at full precision.
    pub rate: Amount,
    /// The currency of rate and result.
    pub currency: Currency,
    /// How the result was rounded to the minor unit.
    pub rounding: Rounding,
    /// The commission.
    pub result: Amount,
}

/// Why a conversion earns nothing. Stored with the conversion, so that nobody has to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoCommission {
    /// Neither an agreement nor the program names a plan.
    NoPlan,
    /// The plan has no version that was valid when the conversion occurred.
    NoPlanVersion,
    /// The plan pays nothing for this goal.
    GoalNotInPlan,
    /// A test earns nothing.
    Test,
    /// Refused at once by the sender's status.
    Rejected,
}

/// The commission that `version` gives for one conversion of `goal`.
///
/// # Errors
/// `Ok(Err(reason))` where the terms pay nothing; [`MoneyError`] where the result does not fit an amount.
pub fn compute(version: &PlanVersion, goal: &str) -> Result<Result<Explanation, NoCommission>, MoneyError> {
    let Terms::Fixed { rates, rounding } = &version.terms;
    let Some(rate) = rates.iter().find(|rate| rate.goal == goal) else {
        return Ok(Err(NoCommission::GoalNotInPlan));
    };
    let result = Money::rounded(rate.amount.decimal(), rate.currency, *rounding)?;
    Ok(Ok(Explanation {
        model: "fixed".to_owned(),
        plan_version_id: version.id,
        goal: goal.to_owned(),
        rate: rate.amount,
        currency: rate.currency,
        rounding: *rounding,
        result: result.amount,
    }))
}

/// The commission where a permitted sender says what is paid instead of the plan (DOMAIN 2.1). `payout` has the
/// conversion's currency; it is rounded as the plan rounds.
///
/// # Errors
/// [`MoneyError`] where the result does not fit an amount.
pub fn overridden(version: &PlanVersion, goal: &str, payout: Money) -> Result<Explanation, MoneyError> {
    let Terms::Fixed { rounding, .. } = &version.terms;
    let result = Money::rounded(payout.amount.decimal(), payout.currency, *rounding)?;
    Ok(Explanation {
        model: "payout_override".to_owned(),
        plan_version_id: version.id,
        goal: goal.to_owned(),
        rate: payout.amount,
        currency: payout.currency,
        rounding: *rounding,
        result: result.amount,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::PlanId;
    use crate::domain::plan::FixedRate;

    #[test]
    fn fixed_pays_the_goals_rate_rounded_once() {
        let now = Timestamp::from_micros(0);
        let rate = |goal: &str, amount: &str| FixedRate {
            goal: goal.into(),
            amount: amount.parse().unwrap(),
            currency: "EUR".parse().unwrap(),
        };
        let version = PlanVersion {
            id: PlanVersionId::new(now),
            plan_id: PlanId::new(now),
            valid_from: now,
            terms: Terms::Fixed { rates: vec![rate("lead", "5"), rate("ftd", "10.005")], rounding: Rounding::HalfUp },
        };
        let pays = |goal| compute(&version, goal).unwrap().map(|explained| explained.result.to_string());
        assert_eq!(pays("lead"), Ok("5".to_owned()));
        assert_eq!(pays("ftd"), Ok("10.01".to_owned()));
        assert_eq!(pays("sale"), Err(NoCommission::GoalNotInPlan));
    }
}
