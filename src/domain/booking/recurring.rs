//! Commissions that are paid for some months from a customer's first conversion of a goal (DOMAIN 3.2).
//!
//! The first is the earliest by `occurred_at` of all that count under one key, whatever became of it; not the one that
//! arrived first. So the order of arrival changes nothing: an earlier conversion that arrives late moves the first, and
//! what was earned after the months that are now over is taken back in the same transaction. The store locks each key's
//! row before anything is judged. Only conversions by a plan that counts months are counted, and no tests.

use std::collections::BTreeMap;

use super::super::commission::NoCommission;
use super::super::conversion::Conversion;
use super::super::dedup::{Visitor, recurrence_key};
use super::super::ids::{AffiliateId, ConversionId, ProgramId};
use super::super::postback::{ConversionStatus, Postback};
use super::super::time::Timestamp;
use super::prepare::Attribution;
use super::{Booked, Booking, Prepared};

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recurrence {
    /// When its first conversion happened, before this batch.
    stored: Option<Timestamp>,
    /// The same with the conversions of this batch.
    first_at: Option<Timestamp>,
    /// Whether it became earlier than something that was judged by it.
    moved: bool,
}

/// A key whose row is to be written: with its first, or to be given back.
pub type RecurrenceWrite<'a> = (&'a str, Option<Timestamp>);

impl Booking<'_> {
    /// The keys that these items may count under, each with the earliest time that one of them says. To be asked when
    /// the conversions that they lead to are known.
    #[must_use]
    pub fn recurrences_wanted(&self, prepared: &[Prepared]) -> BTreeMap<String, Timestamp> {
        let mut wanted = BTreeMap::new();
        for (key, at) in prepared.iter().filter_map(|prepared| self.recurrence_wanted(prepared)) {
            let earliest = wanted.entry(key).or_insert(at);
            *earliest = at.min(*earliest);
        }
        wanted
    }

    fn recurrence_wanted(&self, prepared: &Prepared) -> Option<(String, Timestamp)> {
        let said = prepared.item.said.as_ref().ok().filter(|said| !said.test)?;
        let known = prepared.known_by().filter_map(|key| self.key_target(key)).find_map(|id| self.known.get(&id));
        if let Some(Booked { conversion, goal, .. }) = known {
            let key = conversion.recurrence.clone().or_else(|| {
                let counts = self.counts_months(conversion.affiliate_id, conversion.program_id, goal);
                let who = visitor(said).or_else(|| visitor(&conversion.content)).filter(|_| counts)?;
                Some(recurrence_key(conversion.goal_id, who))
            });
            return Some((key?, said.occurred_at.unwrap_or(conversion.occurred_at)));
        }
        let Attribution::Known(credit) = &prepared.attribution else { return None };
        let (program, goal) = (credit.program_id, &credit.goal);
        let mut candidates = self.candidates(credit, said).into_iter().flatten();
        let counts = candidates.any(|affiliate| self.counts_months(affiliate, program, &goal.name));
        let key = recurrence_key(goal.id, visitor(said).filter(|_| counts)?);
        Some((key, said.occurred_at.unwrap_or(prepared.item.received_at)))
    }

    /// Whether any version of the plan counts months for this goal; the one that applies is chosen later.
    fn counts_months(&self, affiliate: AffiliateId, program: ProgramId, goal: &str) -> bool {
        let plan = self.catalog.program(program).and_then(|program| self.catalog.plan_of(affiliate, program));
        plan.is_some_and(|plan| self.catalog.plan_counts_months(plan, goal))
    }

    /// A key whose row this batch holds, with the first conversion under it.
    pub fn recurrence_known(&mut self, key: String, first_at: Option<Timestamp>) {
        self.recurrences.insert(key, Recurrence { stored: first_at, first_at, moved: false });
    }

    /// The rows that are to be changed, and with `None` those to be given back: nothing counts under them.
    pub fn recurrences_moved(&self) -> impl Iterator<Item = RecurrenceWrite<'_>> {
        let changed =
            self.recurrences.iter().filter(|(_, known)| known.first_at.is_none() || known.first_at != known.stored);
        changed.map(|(key, known)| (key.as_str(), known.first_at))
    }

    /// When the first conversion under this one's key happened; this one, if nothing earlier is known.
    pub(super) fn first_of(&self, conversion: &Conversion) -> Timestamp {
        let key = self.key_of(conversion);
        let first = key.and_then(|key| self.recurrences.get(&key)).and_then(|known| known.first_at);
        first.map_or(conversion.occurred_at, |first| first.min(conversion.occurred_at))
    }

    /// Counts a conversion that is taken.
    pub(super) fn count(&mut self, conversion: &mut Conversion) {
        conversion.recurrence = self.key_of(conversion);
        let Some(known) = conversion.recurrence.as_ref().and_then(|key| self.recurrences.get_mut(key)) else { return };
        let at = conversion.occurred_at;
        known.moved |= known.first_at.is_some_and(|first| at < first);
        known.first_at = Some(known.first_at.map_or(at, |first| first.min(at)));
    }

    /// The key that it counts under: the one that it was first counted under, as long as this batch holds its row.
    fn key_of(&self, conversion: &Conversion) -> Option<String> {
        let new = || visitor(&conversion.content).map(|who| recurrence_key(conversion.goal_id, who));
        if conversion.test {
            return None;
        }
        conversion.recurrence.clone().or_else(|| new().filter(|key| self.recurrences.contains_key(key)))
    }

    /// Takes back what was earned after months that are over, now that the first is an earlier one.
    pub(super) fn recount(&mut self) {
        let moved = |conversion: &Conversion| {
            let key = conversion.recurrence.as_ref();
            key.and_then(|key| self.recurrences.get(key)).is_some_and(|known| known.moved)
        };
        let affected = self.known.values().map(|booked| &booked.conversion).filter(|conversion| moved(conversion));
        let mut affected: Vec<ConversionId> = affected.map(|conversion| conversion.id).collect();
        affected.sort_unstable();
        for id in affected {
            if let Some(mut booked) = self.known.remove(&id) {
                self.end_if_over(&mut booked);
                self.known.insert(id, booked);
            }
        }
    }

    fn end_if_over(&mut self, booked: &mut Booked) {
        let Booked { conversion, commission, goal } = booked;
        let ended = matches!(conversion.status, ConversionStatus::Rejected | ConversionStatus::Reversed);
        let earned = self.earned(conversion, goal, commission.as_ref());
        let over = !ended && matches!(earned, Ok(Err(NoCommission::RecurringOver)));
        if let Some(known) = commission.take_if(|_| over) {
            let nothing = self.correct(known, Err(NoCommission::RecurringOver), conversion, goal);
            *commission = Some(self.follow(nothing, conversion, goal));
            self.touched(conversion.id);
        }
    }
}

/// Whose conversions count together: the customer's, or those of the click where no customer is said.
fn visitor(said: &Postback) -> Option<Visitor<'_>> {
    let customer = said.customer_id.as_ref().map(|id| Visitor::Customer(id.as_str()));
    customer.or_else(|| said.click_id.as_ref().map(|id| Visitor::Click(id.as_str())))
}
