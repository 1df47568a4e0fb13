//! What a conversion's state means for its commission, its ledger entries and its subscribers.

use super::super::catalog::Owner;
use super::super::commission::{self, Commission, CommissionState, NoCommission};
use super::super::conversion::Conversion;
use super::super::event::{self, Event, EventType};
use super::super::ids::{CommissionId, DeliveryId, EndpointId, EventId};
use super::super::ledger::{self, PostingKind};
use super::super::money::{Amount, Money};
use super::super::postback::ConversionStatus;
use super::super::verdict::{Code, Rejection};
use super::{Booking, NewDelivery};

/// Whether a revision changed what commissions are computed from.
pub(super) fn depends_on(was: &Conversion, is: &Conversion) -> bool {
    let inputs =
        |conversion: &Conversion| (conversion.occurred_at, conversion.content.amount, conversion.content.payout);
    inputs(was) != inputs(is)
}

impl Booking<'_> {
    /// What a conversion earns by the plan valid when it occurred: a calculated commission, nothing booked.
    pub(super) fn earned(
        &self,
        conversion: &Conversion,
        goal: &str,
    ) -> Result<Result<Commission, NoCommission>, Rejection> {
        if conversion.test {
            return Ok(Err(NoCommission::Test));
        }
        if conversion.status == ConversionStatus::Rejected {
            return Ok(Err(NoCommission::Rejected));
        }
        let program = self.catalog.program(conversion.program_id);
        let Some(plan) = program.and_then(|program| self.catalog.plan_of(conversion.affiliate_id, program)) else {
            return Ok(Err(NoCommission::NoPlan));
        };
        let Some(version) = self.catalog.plan_version(plan, conversion.occurred_at) else {
            return Ok(Err(NoCommission::NoPlanVersion));
        };
        let computed = match conversion.content.payout {
            Some(amount) => {
                commission::overridden(version, goal, Money { amount, currency: conversion.currency }).map(Ok)
            }
            None => commission::compute(version, goal),
        };
        let computed = computed.map_err(|_| Rejection::of_field(Code::BadAmount, "amount"))?;
        Ok(computed.map(|explained| Commission {
            id: CommissionId::new(self.now),
            conversion_id: conversion.id,
            operator_id: conversion.operator_id,
            program_id: conversion.program_id,
            affiliate_id: conversion.affiliate_id,
            plan_version_id: version.id,
            money: Money { amount: explained.result, currency: explained.currency },
            booked: Amount::ZERO,
            state: CommissionState::Pending,
            revision: 1,
            explanation: serde_json::json!(explained).to_string(),
            created_at: self.now,
            updated_at: self.now,
        }))
    }

    /// Brings a commission to where its conversion stands.
    pub(super) fn follow(&mut self, commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        use CommissionState::{Available, Pending};
        use ConversionStatus::{Approved, Rejected, Reversed};
        match (commission.state, conversion.status) {
            (Pending, Approved) => self.approve(commission, conversion, goal),
            (Pending | Available, Rejected | Reversed) => self.undo(commission, conversion, goal),
            _ => commission,
        }
    }

    /// Books a commission that was only calculated.
    fn approve(&mut self, mut commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        self.post(PostingKind::Commission, &commission, commission.money);
        commission.booked = commission.money.amount;
        commission.state = CommissionState::Available;
        self.advance(&mut commission);
        self.tell_commission(EventType::CommissionApproved, &commission, conversion, goal);
        commission
    }

    /// Undoes a commission: the opposite of what is booked, the amount copied, never recomputed.
    fn undo(&mut self, mut commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        if commission.state == CommissionState::Pending {
            commission.state = CommissionState::Void;
        } else {
            self.post(PostingKind::Reversal, &commission, booked(&commission, Amount::negated));
            commission.booked = Amount::ZERO;
            commission.state = CommissionState::Reversed;
        }
        self.advance(&mut commission);
        self.tell_commission(EventType::CommissionReversed, &commission, conversion, goal);
        commission
    }

    /// A correction: the whole was computed anew, and what is booked moves by the difference (DOMAIN 3.1 no. 8). Where
    /// nothing is earned any more the commission stays, with nothing in it.
    pub(super) fn correct(
        &mut self,
        mut commission: Commission,
        result: Result<Commission, NoCommission>,
        conversion: &Conversion,
        goal: &str,
    ) -> Commission {
        let was = commission.money;
        let old = booked(&commission, Amount::negated);
        match result {
            Ok(new) => {
                commission.money = new.money;
                commission.plan_version_id = new.plan_version_id;
                commission.explanation = new.explanation;
            }
            Err(reason) => {
                commission.money.amount = Amount::ZERO;
                commission.explanation = serde_json::json!({ "no_commission": reason }).to_string();
            }
        }
        if commission.money == was {
            return commission;
        }
        if commission.state == CommissionState::Available {
            match commission.money.minus(Money { amount: old.amount.negated(), currency: old.currency }) {
                Ok(difference) => self.post(PostingKind::Adjustment, &commission, difference),
                // Another currency, which does not add up: all of the old, then all of the new.
                Err(_) => {
                    self.post(PostingKind::Adjustment, &commission, old);
                    self.post(PostingKind::Adjustment, &commission, commission.money);
                }
            }
            commission.booked = commission.money.amount;
        }
        self.advance(&mut commission);
        self.tell_commission(EventType::CommissionUpdated, &commission, conversion, goal);
        commission
    }

    /// Posts an amount, unless it is nothing.
    fn post(&mut self, kind: PostingKind, commission: &Commission, money: Money) {
        if money.amount.is_zero() {
            return;
        }
        let posting =
            ledger::post(kind, commission.id, commission.operator_id, commission.affiliate_id, money, self.now);
        self.writes.postings.push(posting);
    }

    /// A commission made in this very step shows its created and approved messages as revisions 1 and 2.
    fn advance(&self, commission: &mut Commission) {
        commission.updated_at = self.now;
        commission.revision = commission.revision.saturating_add(1);
    }

    pub(super) fn tell_commission(
        &mut self,
        what: EventType,
        commission: &Commission,
        conversion: &Conversion,
        goal: &str,
    ) {
        self.tell(what, conversion, event::commission_data(commission, conversion, goal));
    }

    /// One event and a delivery for each endpoint that wants it; nothing where nobody does.
    pub(super) fn tell(&mut self, event_type: EventType, conversion: &Conversion, data: serde_json::Value) {
        let owners = [Owner::Affiliate(conversion.affiliate_id), Owner::Operator(conversion.operator_id)];
        let endpoints: Vec<EndpointId> = owners
            .into_iter()
            .flat_map(|owner| self.catalog.endpoints_of(owner))
            .filter(|endpoint| endpoint.wants(event_type))
            .map(|endpoint| endpoint.id)
            .collect();
        if endpoints.is_empty() {
            return;
        }
        let event_id = EventId::new(self.now);
        let delivery = |endpoint_id| NewDelivery { id: DeliveryId::new(self.now), event_id, endpoint_id };
        self.writes.deliveries.extend(endpoints.into_iter().map(delivery));
        self.writes.events.push(Event {
            id: event_id,
            event_type,
            operator_id: conversion.operator_id,
            affiliate_id: conversion.affiliate_id,
            created_at: self.now,
            body: event::body(event_type, self.now, conversion.test, data),
        });
    }
}

/// What of a commission lies in the ledger, changed.
fn booked(commission: &Commission, change: impl Fn(Amount) -> Amount) -> Money {
    Money { amount: change(commission.booked), currency: commission.money.currency }
}
