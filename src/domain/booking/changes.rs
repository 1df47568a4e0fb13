//! Changes of a conversion that no postback makes: its hold is over, or an admin decides (DOMAIN 2.4).
//!
//! They go the way of a revision: the commission follows, the difference is posted, subscribers are told. An admin may do
//! what no sender may: approve what was rejected, or what was reversed (a won chargeback).

use super::super::commission::{Commission, CommissionState, NoCommission};
use super::super::conversion::{ChangedBy, Conversion, Refund};
use super::super::ids::{ConversionId, KeyId};
use super::super::money::{Amount, Money};
use super::super::postback::ConversionStatus;
use super::super::verdict::{Code, Rejection};
use super::Booking;

/// A change that no postback makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnChange {
    /// The goal's hold days are over.
    HoldOver,
    /// An admin decides.
    Status {
        /// Where the conversion is to go.
        to: ConversionStatus,
        /// The admin's key.
        key_id: KeyId,
        /// Why.
        reason: String,
    },
}

impl Booking<'_> {
    /// Changes a conversion that [`Booking::conversion_known`] has told of; answers whether that changed anything.
    ///
    /// # Errors
    /// `illegal_transition`, `not_found`, or why the books cannot follow. Nothing is to be written then.
    pub fn change(&mut self, id: ConversionId, change: &OwnChange) -> Result<bool, Rejection> {
        let Some(booked) = self.known.get(&id).cloned() else { return Err(Code::NotFound.into()) };
        let was = &booked.conversion;
        let (to, by) = match change {
            OwnChange::HoldOver if !self.hold_is_over(was) => return Ok(false),
            OwnChange::HoldOver => (ConversionStatus::Approved, ChangedBy::HoldOver),
            OwnChange::Status { to, .. } if *to == was.status => return Ok(false),
            OwnChange::Status { to, .. } if !admin_may(was.status, *to) => return Err(Code::IllegalTransition.into()),
            OwnChange::Status { to, key_id, reason } => {
                (*to, ChangedBy::Admin { key_id: *key_id, reason: reason.clone() })
            }
        };
        let mut next = was.clone();
        if is_over(was.status) {
            give_back(&mut next);
        }
        next.status = to;
        next.changed_by = by;
        next.updated_at = self.now;
        next.revision = next.revision.saturating_add(1);
        let after = self.revised(booked, next)?;
        self.known.insert(id, after);
        self.touched(id);
        Ok(true)
    }

    fn hold_is_over(&self, conversion: &Conversion) -> bool {
        conversion.status == ConversionStatus::Hold && conversion.hold_until.is_some_and(|until| until <= self.now)
    }

    /// Leaves a conversion on hold whose books cannot follow its approval, for an admin to decide: it does not come up
    /// by itself again.
    pub fn hold_on(&mut self, id: ConversionId) {
        if let Some(booked) = self.known.get_mut(&id) {
            booked.conversion.hold_until = None;
            self.touched(id);
        }
    }

    /// What follows from the status alone: until when it is on hold, and in which month it was first approved.
    pub(super) fn date(&self, conversion: &mut Conversion, was: Option<&Conversion>, goal: &str) {
        let status = conversion.status;
        let goes_on = was.filter(|was| was.status == status).map(|was| was.hold_until);
        let goal = self.catalog.goal(conversion.program_id, goal);
        let days = goal.and_then(|goal| goal.hold_days).and_then(|days| u64::try_from(days).ok());
        let begins = days.map(|days| self.now.plus(std::time::Duration::from_secs(days.saturating_mul(86_400))));
        conversion.hold_until = if status == ConversionStatus::Hold { goes_on.unwrap_or(begins) } else { None };
        if status == ConversionStatus::Approved && conversion.booked_period.is_none() && !conversion.test {
            conversion.booked_period = Some(self.now.to_string().chars().take(7).collect());
        }
    }
}

/// A commission that was void or reversed, computed anew for a conversion that is good again; with nothing in it where
/// nothing is earned now.
pub(super) fn revived(old: Commission, result: Result<Commission, NoCommission>) -> Commission {
    let Commission { id, revision, booked, created_at, .. } = old;
    let state = CommissionState::Pending;
    match result {
        Ok(new) => Commission { id, state, booked, revision, created_at, ..new },
        Err(reason) => {
            let money = Money { amount: Amount::ZERO, currency: old.money.currency };
            let explanation = serde_json::json!({ "no_commission": reason }).to_string();
            Commission { state, money, awaits: None, explanation, ..old }
        }
    }
}

pub(super) const fn is_over(status: ConversionStatus) -> bool {
    matches!(status, ConversionStatus::Rejected | ConversionStatus::Reversed)
}

/// Where an admin may send a conversion, itself not counted.
const fn admin_may(from: ConversionStatus, to: ConversionStatus) -> bool {
    use ConversionStatus::{Approved, Hold, Pending, Rejected, Reversed};
    matches!(
        (from, to),
        (Pending, Approved | Hold | Rejected)
            | (Hold, Approved | Rejected)
            | (Approved, Reversed)
            | (Rejected | Reversed, Approved)
    )
}

/// Of a conversion that refunds took wholly, the last one is given back: it is what ended it.
fn give_back(conversion: &mut Conversion) {
    if conversion.content.amount.is_some_and(Amount::is_zero)
        && let Some(Refund { amount, .. }) = conversion.refunds.pop()
    {
        conversion.content.amount = Some(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConversionStatus::{Approved, Hold, Pending, Rejected, Reversed};

    #[test]
    fn an_admin_may_do_more_than_a_sender_and_not_everything() {
        let allowed =
            |from| -> Vec<_> { ConversionStatus::ALL.into_iter().filter(|to| admin_may(from, *to)).collect() };
        assert_eq!(allowed(Pending), [Approved, Hold, Rejected]);
        assert_eq!(allowed(Hold), [Approved, Rejected]);
        assert_eq!(allowed(Approved), [Reversed]);
        assert_eq!(allowed(Rejected), [Approved]);
        assert_eq!(allowed(Reversed), [Approved]);
    }
}
