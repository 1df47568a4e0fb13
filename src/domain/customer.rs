//! An operator's customers, and whom they are bound to for life (DOMAIN, glossary; 2.5 "Attribution").
//!
//! The first conversion that carries a known click and a customer binds the customer to the click's affiliate. Which one
//! is first is decided by a unique row, never by a read. Only an admin's change replaces a binding; what it replaced is
//! kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{AffiliateId, CustomerId, KeyId, OperatorId, ProgramId, ReceiptId};
use super::time::Timestamp;

/// What bound a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum BoundBy {
    /// A conversion with a click.
    Postback {
        /// The receipt that brought it.
        receipt_id: ReceiptId,
    },
    /// An operator's import.
    Import {
        /// The key that imported.
        key_id: KeyId,
    },
    /// An admin, who says why.
    Admin {
        /// The admin's key.
        key_id: KeyId,
        /// Why.
        reason: String,
    },
}

/// Whom a customer is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The program of its first click; where its events belong that name neither a click nor a coupon.
    pub program_id: ProgramId,
    /// Who earns.
    pub affiliate_id: AffiliateId,
    /// Its first click, where there was one.
    pub click_id: Option<String>,
    /// Since when.
    pub bound_at: Timestamp,
    /// By what.
    pub bound_by: BoundBy,
}

/// A customer that is seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCustomer {
    /// Its id.
    pub id: CustomerId,
    /// Whose customer it is.
    pub operator_id: OperatorId,
    /// The operator's own id of it.
    pub customer_id: String,
    /// Whom it is bound to.
    pub binding: Binding,
}

/// What a known customer says about a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerFacts {
    /// The program of its first click.
    pub program_id: ProgramId,
    /// Whom it is bound to.
    pub affiliate_id: AffiliateId,
    /// Its first click; it stands for the click where none is sent.
    pub click_id: Option<String>,
    /// The sub-ids of that click, where its row is known.
    pub subs: BTreeMap<String, String>,
}

/// What can say who earns from a conversion, in the order in which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The customer's binding.
    Customer,
    /// The click.
    Click,
    /// The coupon.
    Coupon,
}

/// Whom each signal named where they did not agree; a receipt keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The signal that counted.
    pub attributed_by: Signal,
    /// Whom the customer's binding named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<AffiliateId>,
    /// Whom the click named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click: Option<AffiliateId>,
    /// Whom the coupon named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<AffiliateId>,
}

/// Which signal counts first in a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributionRule {
    /// The customer's binding, then the click, then the coupon.
    #[default]
    Lifetime,
    /// The click, then the customer's binding, then the coupon.
    LastClick,
}

/// Whom each signal names; what is silent, or too old, is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The customer's binding.
    pub customer: Option<AffiliateId>,
    /// The click.
    pub click: Option<AffiliateId>,
    /// The coupon.
    pub coupon: Option<AffiliateId>,
}

impl Signals {
    /// Who earns under `rule`, and the disagreement where another signal names somebody else. `None` where all are
    /// silent.
    #[must_use]
    pub fn credited(self, rule: AttributionRule) -> Option<(AffiliateId, Option<Disagreement>)> {
        let Self { customer, click, coupon } = self;
        let (customer_first, click_first) = ((Signal::Customer, customer), (Signal::Click, click));
        let order = match rule {
            AttributionRule::Lifetime => [customer_first, click_first, (Signal::Coupon, coupon)],
            AttributionRule::LastClick => [click_first, customer_first, (Signal::Coupon, coupon)],
        };
        let (attributed_by, credited) = order.into_iter().find_map(|(signal, named)| Some((signal, named?)))?;
        let agree = order.into_iter().filter_map(|(_, named)| named).all(|named| named == credited);
        let disagreement = Disagreement { attributed_by, customer, click, coupon };
        Some((credited, (!agree).then_some(disagreement)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_that_speaks_counts_and_the_others_are_noted() {
        let [a, b, c] = [(); 3].map(|()| AffiliateId::new(Timestamp::from_micros(0)));
        let of = |customer, click, coupon| Signals { customer, click, coupon };
        let credited = |signals: Signals, rule| {
            let (affiliate, disagreement) = signals.credited(rule).unwrap();
            (affiliate, disagreement.map(|disagreement| disagreement.attributed_by))
        };
        use AttributionRule::{LastClick, Lifetime};
        assert_eq!(Signals::default().credited(Lifetime), None);
        let all = of(Some(a), Some(b), Some(c));
        assert_eq!(credited(all, Lifetime), (a, Some(Signal::Customer)));
        assert_eq!(credited(all, LastClick), (b, Some(Signal::Click)));
        assert_eq!(credited(of(None, Some(b), Some(c)), Lifetime), (b, Some(Signal::Click)));
        assert_eq!(credited(of(Some(a), None, Some(c)), LastClick), (a, Some(Signal::Customer)));
        assert_eq!(credited(of(None, None, Some(c)), Lifetime), (c, None));
        assert_eq!(credited(of(Some(a), Some(a), Some(a)), Lifetime), (a, None), "all agree");
    }
}
