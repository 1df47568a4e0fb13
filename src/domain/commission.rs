//! What a conversion earns its affiliate (DOMAIN 3.1); the explanation stored beside it is [`super::explanation`].
//!
//! Deliberately absent here: status, ledger and events. They follow from what this module computes and
//! from the conversion's status, in [`super::booking`].

use serde::{Deserialize, Serialize};

use super::explanation::{Explanation, Inputs, Recurring};
use super::ids::{AffiliateId, CommissionId, ConversionId, OperatorId, PlanVersionId, ProgramId};
use super::ledger::Account;
use super::money::{Amount, Currency, Money, MoneyError};
use super::plan::{PlanVersion, Terms};
use super::time::Timestamp;

/// Where a commission stands by itself; what payouts make of it is [`CommissionStanding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommissionState {
    /// Calculated; nothing is booked.
    Pending,
    /// Approved, and without a rate into the currency that its affiliate is paid in; nothing is booked.
    AwaitingFx,
    /// Booked and held until its lock period is over.
    OnHold,
    /// Booked and payable.
    Available,
    /// Undone by a compensating transaction.
    Reversed,
    /// The conversion was refused before anything was booked.
    Void,
}

impl CommissionState {
    /// Whether its amount lies in the ledger.
    #[must_use]
    pub const fn is_booked(self) -> bool {
        matches!(self, Self::OnHold | Self::Available)
    }

    /// Where it stands, payouts included: `booked` is what of it lies in the ledger, `payouts` what they hold of that.
    /// Only as a whole is it stated or paid: after a correction it is available until a payout has settled that too.
    #[must_use]
    pub fn standing(self, booked: Amount, payouts: InPayouts) -> CommissionStanding {
        match self {
            Self::Pending => CommissionStanding::Pending,
            Self::AwaitingFx => CommissionStanding::AwaitingFx,
            Self::OnHold => CommissionStanding::OnHold,
            Self::Available if payouts.stated != Some(booked) => CommissionStanding::Available,
            Self::Available if payouts.paid != Some(booked) => CommissionStanding::Stated,
            Self::Available => CommissionStanding::Paid,
            Self::Reversed => CommissionStanding::Reversed,
            Self::Void => CommissionStanding::Void,
        }
    }
}

/// What payouts hold of a commission, in its currency; what they gave back does not count. `None` where they hold none of
/// its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InPayouts {
    /// What lies in payouts that were made, completed or not.
    pub stated: Option<Amount>,
    /// What lies in completed ones.
    pub paid: Option<Amount>,
}

/// Where a commission stands, payouts included (DOMAIN 3.3). Never stored: it is what the items of payouts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommissionStanding {
    /// Calculated; nothing is booked.
    Pending,
    /// Approved, and without a rate into the currency that its affiliate is paid in; nothing is booked.
    AwaitingFx,
    /// Booked and held until its lock period is over.
    OnHold,
    /// Booked and payable, or partly so.
    Available,
    /// All of it lies in payouts, of which at least one is not completed.
    Stated,
    /// All of it lies in completed payouts.
    Paid,
    /// Undone by a compensating transaction; what was paid of it is taken off the next payout.
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
    /// How much; in the currency in which it was earned as long as it waits for a rate.
    pub money: Money,
    /// The currency that it waits to be converted into.
    pub awaits: Option<Currency>,
    /// What of it lies in the ledger now; nothing before approval and after a reversal.
    pub booked: Amount,
    /// Where it stands.
    pub state: CommissionState,
    /// Until when it is, or was, held.
    pub hold_until: Option<Timestamp>,
    /// Counts changes, from 1; subscribers order messages by it.
    pub revision: i32,
    /// How the amount came about, as JSON. Holds no personal data.
    pub explanation: String,
    /// When it was first computed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Commission {
    /// How its amount came about; `None` where it earns nothing any more.
    #[must_use]
    pub fn explained(&self) -> Option<Explanation> {
        serde_json::from_str(&self.explanation).ok()
    }

    /// Takes the amount of this explanation, and its plan version with it.
    pub fn take(&mut self, explained: &Explanation) {
        self.money = explained.result;
        self.awaits = explained.awaits;
        self.plan_version_id = explained.plan_version_id;
        self.explanation = serde_json::json!(explained).to_string();
    }

    /// Where in the ledger its amount lies, or would.
    #[must_use]
    pub const fn account(&self) -> Account {
        match self.state {
            CommissionState::OnHold => Account::Held(self.affiliate_id),
            _ => Account::Payable(self.affiliate_id),
        }
    }
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
    /// The plan pays a part of the amount, and the conversion has none.
    NoAmount,
    /// The months for which the plan pays this customer's conversions are over.
    RecurringOver,
}

/// What of a conversion a commission is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The name of its goal.
    pub goal: &'a str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its currency.
    pub currency: Currency,
    /// Its amount, if it has one.
    pub amount: Option<Amount>,
    /// What a permitted sender says is paid instead of the plan (DOMAIN 2.1).
    pub payout: Option<Amount>,
    /// When the customer's first conversion of this goal happened; this one, where nothing earlier is known.
    pub first_at: Timestamp,
}

/// The commission that `version` gives for a conversion, in the currency in which it is earned (DOMAIN 3.1 no. 1 to 4).
///
/// # Errors
/// `Ok(Err(reason))` where the terms pay nothing; [`MoneyError`] where the result does not fit an amount.
pub fn compute(version: &PlanVersion, facts: Facts<'_>) -> Result<Result<Explanation, NoCommission>, MoneyError> {
    let (inputs, earned_in, recurring) = match earned(&version.terms, facts) {
        Ok(earned) => earned,
        Err(reason) => return Ok(Err(reason)),
    };
    let unpriced = Explanation {
        inputs,
        earned_in,
        plan_version_id: version.id,
        goal: facts.goal.to_owned(),
        occurred_at: facts.occurred_at,
        recurring,
        exchange: None,
        awaits: None,
        rounding: version.terms.rounding(),
        result: Money { amount: Amount::ZERO, currency: earned_in },
    };
    unpriced.priced().map(Ok)
}

type Earned = (Inputs, Currency, Option<Recurring>);

fn earned(terms: &Terms, facts: Facts<'_>) -> Result<Earned, NoCommission> {
    if let Some(rate) = facts.payout {
        return Ok((Inputs::PayoutOverride { rate }, facts.currency, None));
    }
    match terms {
        Terms::Fixed { rates, .. } => {
            let rate = rates.iter().find(|rate| rate.goal == facts.goal).ok_or(NoCommission::GoalNotInPlan)?;
            Ok((Inputs::Fixed { rate: rate.amount }, rate.currency, None))
        }
        Terms::Percent { rates, .. } => {
            let rate = rates.iter().find(|rate| rate.goal == facts.goal).ok_or(NoCommission::GoalNotInPlan)?;
            let recurring = rate.months.map(|months| Recurring { months, first_at: facts.first_at });
            if recurring.is_some_and(|recurring| facts.occurred_at >= recurring.until()) {
                return Err(NoCommission::RecurringOver);
            }
            let base = facts.amount.ok_or(NoCommission::NoAmount)?;
            Ok((Inputs::Percent { base, rate: rate.percent }, facts.currency, recurring))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::PlanId;
    use crate::domain::money::Rounding;
    use crate::domain::plan::{FixedRate, PercentRate};

    fn version(terms: Terms) -> PlanVersion {
        let now = Timestamp::from_micros(0);
        PlanVersion { id: PlanVersionId::new(now), plan_id: PlanId::new(now), valid_from: now, terms }
    }

    fn facts<'a>(goal: &'a str, amount: Option<&str>) -> Facts<'a> {
        let now = Timestamp::from_micros(0);
        let amount = amount.map(|text| text.parse().unwrap());
        Facts { goal, occurred_at: now, currency: "EUR".parse().unwrap(), amount, payout: None, first_at: now }
    }

    fn percent(rate: &str, months: Option<u32>) -> PlanVersion {
        let rate = PercentRate { goal: "sale".into(), percent: rate.parse().unwrap(), months };
        version(Terms::Percent { rates: vec![rate], rounding: Rounding::HalfUp })
    }

    #[test]
    fn only_as_a_whole_is_it_stated_or_paid() {
        use CommissionState::{Available, OnHold, Reversed};
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let standing = |state: CommissionState, booked: &str, stated: Option<&str>, paid: Option<&str>| {
            state.standing(amount(booked), InPayouts { stated: stated.map(amount), paid: paid.map(amount) })
        };
        assert_eq!(standing(Available, "20", None, None), CommissionStanding::Available);
        assert_eq!(standing(Available, "20", Some("20"), None), CommissionStanding::Stated);
        assert_eq!(standing(Available, "20", Some("20"), Some("20")), CommissionStanding::Paid);
        assert_eq!(standing(Available, "15", Some("20"), Some("20")), CommissionStanding::Available, "corrected");
        assert_eq!(standing(Available, "15", Some("15"), Some("20")), CommissionStanding::Stated);
        assert_eq!(standing(Available, "15", Some("15"), Some("15")), CommissionStanding::Paid);
        assert_eq!(standing(Available, "0", None, None), CommissionStanding::Available, "nothing was ever booked");
        assert_eq!(standing(Reversed, "0", Some("20"), Some("20")), CommissionStanding::Reversed);
        assert_eq!(standing(OnHold, "20", Some("20"), Some("20")), CommissionStanding::OnHold, "approved anew");
    }

    #[test]
    fn fixed_pays_the_goals_rate_rounded_once() {
        let rate = |goal: &str, amount: &str| FixedRate {
            goal: goal.into(),
            amount: amount.parse().unwrap(),
            currency: "EUR".parse().unwrap(),
        };
        let rates = vec![rate("lead", "5"), rate("ftd", "10.005")];
        let version = version(Terms::Fixed { rates, rounding: Rounding::HalfUp });
        let pays =
            |goal| compute(&version, facts(goal, None)).unwrap().map(|explained| explained.result.amount.to_string());
        assert_eq!(pays("lead"), Ok("5".to_owned()));
        assert_eq!(pays("ftd"), Ok("10.01".to_owned()));
        assert_eq!(pays("sale"), Err(NoCommission::GoalNotInPlan));
    }

    #[test]
    fn percent_of_sale_is_the_worked_case_of_domain_3_2() {
        let version = percent("12.5", None);
        let pays = |amount| {
            let computed = compute(&version, facts("sale", amount)).unwrap();
            computed.map(|explained| explained.result.amount_text())
        };
        assert_eq!(pays(Some("119.99")), Ok("15.00".to_owned()));
        assert_eq!(pays(Some("79.99")), Ok("10.00".to_owned()), "after a refund of 40.00");
        assert_eq!(pays(Some("0")), Ok("0.00".to_owned()));
        assert_eq!(pays(None), Err(NoCommission::NoAmount));
        assert!(matches!(compute(&version, facts("lead", Some("1"))), Ok(Err(NoCommission::GoalNotInPlan))));
    }

    #[test]
    fn a_percentage_recurs_for_so_many_calendar_months() {
        let version = percent("10", Some(1));
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let pays = |occurred_at: &str, first_at: &str| {
            let facts = Facts { occurred_at: at(occurred_at), first_at: at(first_at), ..facts("sale", Some("100")) };
            compute(&version, facts).unwrap().map(|explained| explained.result.amount_text())
        };
        let first = "2026-01-31T12:00:00Z";
        assert_eq!(pays(first, first), Ok("10.00".to_owned()));
        assert_eq!(pays("2026-02-28T11:59:59Z", first), Ok("10.00".to_owned()));
        assert_eq!(pays("2026-02-28T12:00:00Z", first), Err(NoCommission::RecurringOver));
    }

    #[test]
    fn a_payout_override_is_rounded_as_the_plan_rounds() {
        let facts = Facts { payout: Some("3.335".parse().unwrap()), ..facts("lead", None) };
        let explained = compute(&percent("12.5", None), facts).unwrap().unwrap();
        assert_eq!(explained.result.amount_text(), "3.34");
        assert_eq!(serde_json::to_value(&explained).unwrap()["model"], "payout_override");
    }
}
