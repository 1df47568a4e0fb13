//! What a conversion's state means for its commission, its ledger entries and its subscribers.

use std::time::Duration;

use super::super::catalog::Owner;
use super::super::commission::{self, Commission, CommissionState, Facts, NoCommission};
use super::super::conversion::Conversion;
use super::super::event::{self, EventType};
use super::super::explanation::Explanation;
use super::super::ids::{AffiliateId, CommissionId};
use super::super::ledger::{self, Account, PostingKind, Subject};
use super::super::money::{Amount, Money, MoneyError};
use super::super::outbox::News;
use super::super::postback::ConversionStatus;
use super::super::time::Timestamp;
use super::super::verdict::{Code, Rejection};
use super::{Booked, Booking};

const SECONDS_A_DAY: u64 = 86_400;

/// Whether a revision changed what commissions are computed from.
pub(super) fn depends_on(was: &Conversion, is: &Conversion) -> bool {
    let inputs =
        |conversion: &Conversion| (conversion.occurred_at, conversion.content.amount, conversion.content.payout);
    inputs(was) != inputs(is)
}

impl Booking<'_> {
    /// What a conversion earns by the plan valid when it occurred: a calculated commission, nothing booked. Where a
    /// commission is known, its currency and the rate stored with it are kept.
    pub(super) fn earned(
        &self,
        conversion: &Conversion,
        goal: &str,
        known: Option<&Commission>,
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
        let facts = Facts {
            goal,
            occurred_at: conversion.occurred_at,
            currency: conversion.currency,
            amount: conversion.content.amount,
            payout: conversion.content.payout,
            first_at: self.first_of(conversion),
        };
        let computed = commission::compute(version, facts).and_then(|computed| match computed {
            Ok(explained) => self.settled(explained, conversion.affiliate_id, known).map(Ok),
            Err(reason) => Ok(Err(reason)),
        });
        let computed = computed.map_err(|_| Rejection::of_field(Code::BadAmount, "amount"))?;
        Ok(computed.map(|explained| Commission {
            id: CommissionId::new(self.now),
            conversion_id: conversion.id,
            operator_id: conversion.operator_id,
            program_id: conversion.program_id,
            affiliate_id: conversion.affiliate_id,
            plan_version_id: version.id,
            money: explained.result,
            awaits: explained.awaits,
            booked: Amount::ZERO,
            state: CommissionState::Pending,
            hold_until: None,
            revision: 1,
            explanation: serde_json::json!(explained).to_string(),
            created_at: self.now,
            updated_at: self.now,
        }))
    }

    /// What was earned, in the currency that the affiliate is paid in (DOMAIN 3.1 no. 5).
    fn settled(
        &self,
        explained: Explanation,
        affiliate: AffiliateId,
        known: Option<&Commission>,
    ) -> Result<Explanation, MoneyError> {
        let (base, at) = (explained.earned_in, explained.occurred_at);
        let before = known.and_then(Commission::explained).filter(|before| before.earned_in == base);
        let agreed = self.catalog.affiliate(affiliate).and_then(|affiliate| affiliate.settlement_currency);
        let currency = before.as_ref().map(Explanation::settles_in).or(agreed).unwrap_or(base);
        let stored = before.filter(|before| before.occurred_at == at).and_then(|before| before.exchange);
        let exchange = stored.or_else(|| self.catalog.exchange(base, currency, at));
        explained.settled(currency, exchange)
    }

    /// Brings a commission to where its conversion stands.
    pub(super) fn follow(&mut self, commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        use CommissionState::{AwaitingFx, Pending};
        use ConversionStatus::{Approved, Rejected, Reversed};
        match (commission.state, conversion.status) {
            (Pending | AwaitingFx, Approved) => self.approve(commission, conversion, goal),
            (state, Rejected | Reversed) if state.is_booked() || matches!(state, Pending | AwaitingFx) => {
                self.undo(commission, conversion, goal)
            }
            _ => commission,
        }
    }

    /// Books the commissions among those known that waited for a rate which is there now; answers how many.
    pub fn book_awaiting(&mut self) -> usize {
        let waits = |booked: &&Booked| {
            let commission = booked.commission.as_ref();
            commission.is_some_and(|commission| commission.state == CommissionState::AwaitingFx)
        };
        let mut waiting: Vec<_> = self.known.values().filter(waits).map(|booked| booked.conversion.id).collect();
        waiting.sort_unstable();
        let mut count = 0;
        for id in waiting {
            let Some(Booked { conversion, commission, goal }) = self.known.remove(&id) else { continue };
            let commission = commission.map(|commission| self.follow(commission, &conversion, &goal));
            if commission.as_ref().is_some_and(|commission| commission.state.is_booked()) {
                count += 1;
                self.touched(id);
            }
            self.known.insert(id, Booked { conversion, commission, goal });
        }
        count
    }

    /// Books a commission that was only calculated; without a rate into its affiliate's currency it waits for one.
    fn approve(&mut self, mut commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        self.convert(&mut commission);
        if commission.awaits.is_some() {
            if commission.state != CommissionState::AwaitingFx {
                commission.state = CommissionState::AwaitingFx;
                self.advance(&mut commission);
            }
            return commission;
        }
        commission.hold_until = self.hold_until(&commission, goal);
        let held = commission.hold_until.is_some();
        commission.state = if held { CommissionState::OnHold } else { CommissionState::Available };
        self.post(PostingKind::Commission, &commission, commission.money);
        commission.booked = commission.money.amount;
        self.advance(&mut commission);
        self.tell_commission(EventType::CommissionApproved, &commission, conversion, goal);
        commission
    }

    /// Converts what waits for a rate, if there is one now. What does not fit an amount goes on waiting.
    fn convert(&self, commission: &mut Commission) {
        let Some((quote, explained)) = commission.awaits.zip(commission.explained()) else { return };
        let exchange = self.catalog.exchange(explained.earned_in, quote, explained.occurred_at);
        if let Ok(settled) = explained.settled(quote, exchange) {
            commission.take(&settled);
        }
    }

    /// Until when a commission that is booked now is held; `None` where it is payable at once.
    fn hold_until(&self, commission: &Commission, goal: &str) -> Option<Timestamp> {
        let days = self.catalog.commission_hold_days(commission.program_id, goal);
        let days = u64::try_from(days).ok().filter(|days| *days > 0)?;
        Some(self.now.plus(Duration::from_secs(days.saturating_mul(SECONDS_A_DAY))))
    }

    /// Undoes a commission: the opposite of what is booked, where it now lies; the amount copied, never recomputed.
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
        let was = (commission.money, commission.awaits);
        let old = booked(&commission, Amount::negated);
        match result {
            Ok(new) => {
                commission.money = new.money;
                commission.awaits = new.awaits;
                commission.plan_version_id = new.plan_version_id;
                commission.explanation = new.explanation;
            }
            Err(reason) => {
                commission.money.amount = Amount::ZERO;
                commission.awaits = None;
                commission.explanation = serde_json::json!({ "no_commission": reason }).to_string();
            }
        }
        if (commission.money, commission.awaits) == was {
            return commission;
        }
        if commission.state.is_booked() {
            self.rebook(&mut commission, old);
        }
        self.advance(&mut commission);
        self.tell_commission(EventType::CommissionUpdated, &commission, conversion, goal);
        commission
    }

    /// Moves what is booked to what is earned now; `taken` is the opposite of what was booked.
    fn rebook(&mut self, commission: &mut Commission, taken: Money) {
        if commission.awaits.is_some() {
            // It happened at a time for which no rate is known: nothing is booked until there is one.
            self.post(PostingKind::Adjustment, commission, taken);
            commission.booked = Amount::ZERO;
            commission.state = CommissionState::AwaitingFx;
            commission.hold_until = None;
            return;
        }
        match commission.money.minus(Money { amount: taken.amount.negated(), currency: taken.currency }) {
            Ok(difference) => self.post(PostingKind::Adjustment, commission, difference),
            // Another currency, which does not add up: all of the old, then all of the new.
            Err(_) => {
                self.post(PostingKind::Adjustment, commission, taken);
                self.post(PostingKind::Adjustment, commission, commission.money);
            }
        }
        commission.booked = commission.money.amount;
    }

    /// Posts an amount, unless it is nothing.
    fn post(&mut self, kind: PostingKind, commission: &Commission, money: Money) {
        if money.amount.is_zero() {
            return;
        }
        let accounts = [Account::CommissionExpense(commission.operator_id), commission.account()];
        let posting = ledger::transfer(kind, Subject::Commission(commission.id), accounts, money, self.now);
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

    /// Tells the affiliate and the operator.
    pub(super) fn tell(&mut self, event_type: EventType, conversion: &Conversion, data: serde_json::Value) {
        let owners = [Owner::Affiliate(conversion.affiliate_id), Owner::Operator(conversion.operator_id)];
        let news = News {
            event_type,
            operator_id: Some(conversion.operator_id),
            affiliate_id: Some(conversion.affiliate_id),
            test: conversion.test,
            data,
        };
        self.writes.outbox.tell(self.catalog, &owners, news, self.now);
    }
}

/// What of a commission lies in the ledger, changed.
fn booked(commission: &Commission, change: impl Fn(Amount) -> Amount) -> Money {
    Money { amount: change(commission.booked), currency: commission.money.currency }
}
