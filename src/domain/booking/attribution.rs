//! Who earns from a new conversion, and whom its customer is bound to (DOMAIN 2.5 "Attribution").

use std::collections::BTreeMap;

use super::super::catalog::{Coupon, Program, Status};
use super::super::conversion::Conversion;
use super::super::customer::{Binding, BoundBy, CustomerFacts, Disagreement, NewCustomer, Signals};
use super::super::ids::{AffiliateId, CustomerId, OperatorId, ReceiptId};
use super::super::postback::{ConversionStatus, Postback};
use super::super::time::Timestamp;
use super::super::verdict::{Code, Rejection};
use super::Booking;
use super::prepare::Credit;

/// Who earns from a conversion.
pub(super) struct Credited {
    pub(super) affiliate_id: AffiliateId,
    /// The sub-ids of its click, for the affiliate's tracker.
    pub(super) subs: BTreeMap<String, String>,
    pub(super) disagreement: Option<Disagreement>,
    /// Whether its click is one that binds a customer.
    pub(super) by_click: bool,
}

impl<'a> Booking<'a> {
    /// What is known of the customer that is named.
    pub(super) fn customer(&self, operator: OperatorId, said: &Postback) -> Option<&CustomerFacts> {
        let id = said.customer_id.as_ref()?.as_str();
        self.customers.get(&(operator, id.to_owned()))
    }

    /// The coupon that is named, if it is good.
    pub(super) fn coupon(&self, operator: OperatorId, said: &Postback) -> Option<&'a Coupon> {
        let coupon = self.catalog.coupon(operator, said.coupon.as_ref()?.as_str())?;
        (coupon.status == Status::Active).then_some(coupon)
    }

    /// Everybody whom a signal names, in force or not.
    pub(super) fn candidates(&self, credit: &Credit, said: &Postback) -> [Option<AffiliateId>; 3] {
        let operator = self.catalog.program(credit.program_id).map(|program| program.operator_id);
        let customer = operator.and_then(|operator| self.customer(operator, said));
        [
            customer.map(|customer| customer.affiliate_id),
            credit.click.as_ref().map(|click| click.affiliate_id),
            credit.coupon,
        ]
    }

    /// Who earns, if anybody does: the customer's binding, the click within its window, the coupon, in the order of the
    /// program.
    pub(super) fn credited(
        &self,
        program: &Program,
        credit: &Credit,
        said: &Postback,
        received_at: Timestamp,
    ) -> Result<Credited, Rejection> {
        let customer = self.customer(program.operator_id, said);
        let elapsed =
            credit.click.as_ref().map(|click| said.occurred_at.unwrap_or(received_at).since(click.clicked_at));
        let least = u64::try_from(credit.goal.min_click_seconds).unwrap_or(0);
        if elapsed.is_some_and(|elapsed| elapsed.as_secs() < least) {
            return Err(Rejection::of_field(Code::BelowMinClickTime, "occurred_at"));
        }
        let window_seconds = u64::try_from(program.attribution_window_days).unwrap_or(0).saturating_mul(86_400);
        let in_window = elapsed.is_some_and(|elapsed| elapsed.as_secs() <= window_seconds);
        let signals = Signals {
            customer: customer.map(|customer| customer.affiliate_id),
            click: credit.click.as_ref().filter(|_| in_window).map(|click| click.affiliate_id),
            coupon: credit.coupon,
        };
        let (affiliate_id, disagreement) = signals
            .credited(program.attribution)
            .ok_or_else(|| Rejection::of_field(Code::OutsideWindow, "occurred_at"))?;
        let affiliate = self.catalog.affiliate(affiliate_id);
        if affiliate.is_none_or(|affiliate| affiliate.status != Status::Active) {
            return Err(Rejection::new(Code::AffiliateInactive));
        }
        // Another affiliate's sub-ids are none of its business.
        let own_click =
            credit.click.as_ref().filter(|click| click.affiliate_id == affiliate_id).map(|click| &click.subs);
        let first_click =
            customer.filter(|customer| customer.affiliate_id == affiliate_id).map(|customer| &customer.subs);
        let subs = own_click.or(first_click).cloned().unwrap_or_default();
        Ok(Credited { affiliate_id, subs, disagreement, by_click: in_window })
    }

    /// Binds the customer of a conversion that has a click, if it is the customer's first. `was` is the conversion
    /// before a revision.
    pub(super) fn bind(&mut self, is: &Conversion, was: Option<&Conversion>, receipt_id: ReceiptId, by_click: bool) {
        let (Some(click_id), Some(customer_id)) = (&is.content.click_id, &is.content.customer_id) else { return };
        let named_before = was.is_some_and(|was| was.content.customer_id.is_some());
        if is.test || named_before || !by_click || is.status == ConversionStatus::Rejected {
            return;
        }
        let key = (is.operator_id, customer_id.as_str().to_owned());
        if self.customers.contains_key(&key) {
            return;
        }
        let click = self.clicks.get(&(is.operator_id, click_id.as_str().to_owned()));
        let own = || super::own_click(self.catalog, is.operator_id, click_id.as_str());
        let affiliate_id = click.cloned().or_else(own).map_or(is.affiliate_id, |click| click.affiliate_id);
        let binding = Binding {
            program_id: is.program_id,
            affiliate_id,
            click_id: Some(click_id.as_str().to_owned()),
            bound_at: self.now,
            bound_by: BoundBy::Postback { receipt_id },
        };
        let facts = CustomerFacts {
            program_id: is.program_id,
            affiliate_id,
            click_id: binding.click_id.clone(),
            subs: is.click_subs.clone(),
        };
        let id = CustomerId::new(self.now);
        let (operator_id, customer_id) = key.clone();
        self.writes.bound.push(NewCustomer { id, operator_id, customer_id, binding });
        self.customers.insert(key, facts);
    }
}
