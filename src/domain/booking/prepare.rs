//! Before the database is asked about keys: where an item would belong, and which keys decide about it.

use super::super::catalog::{Goal, GoalPolicy, Program, Source, Status};
use super::super::click::{ClickId, OwnClick};
use super::super::conversion::asked;
use super::super::dedup::{Visitor, event_key as event_key_of, once_key, unnamed_event_key, wait_key};
use super::super::ids::{AffiliateId, ConversionId, OperatorId, ProgramId};
use super::super::postback::Postback;
use super::super::verdict::{Code, ParkReason, Rejection};
use super::{Booking, Catalog, ClickFacts, Item};

/// An item with what the catalog and the click say about it.
#[derive(Debug)]
pub struct Prepared {
    pub(super) item: Item,
    pub(super) attribution: Attribution,
    pub(super) event_key: Option<String>,
    pub(super) once_key: Option<String>,
    /// Whether this is a refund as an event of its own; it never makes a conversion.
    pub(super) refund: bool,
    /// The key of what a refund takes back, if it can be told from the refund itself.
    pub(super) original_key: Option<String>,
    pub(super) candidate: ConversionId,
}

impl Prepared {
    /// The keys that this item would take if it made a conversion, with the conversion's id. A refund takes the key of
    /// its own event id, which then leads to its original.
    pub fn wanted_keys(&self) -> impl Iterator<Item = (&str, ConversionId)> {
        let takes = if self.refund {
            self.original_key.is_some() && self.original_key != self.event_key
        } else {
            matches!(self.attribution, Attribution::Known(_))
        };
        self.own_keys().filter(move |_| takes).map(|key| (key, self.candidate))
    }

    /// The keys that may lead to a conversion that exists.
    pub fn known_by(&self) -> impl Iterator<Item = &str> {
        self.own_keys().chain(self.original_key.as_deref())
    }

    fn own_keys(&self) -> impl Iterator<Item = &str> {
        [self.event_key.as_deref(), self.once_key.as_deref()].into_iter().flatten()
    }

    /// What postbacks wait for that this one may have brought: its click and its customer, if they are known, and its
    /// event.
    pub fn brings(&self) -> impl Iterator<Item = String> {
        let visitors = match &self.attribution {
            Attribution::Known(credit) => credit.wait_keys.clone(),
            Attribution::Parked { .. } | Attribution::Rejected(_) => Vec::new(),
        };
        visitors.into_iter().chain(self.own_keys().map(str::to_owned))
    }
}

/// Whether a new conversion could be credited to somebody.
#[derive(Debug)]
pub(super) enum Attribution {
    Known(Box<Credit>),
    Parked { reason: ParkReason, wait_key: String },
    Rejected(Rejection),
}

/// Where a new conversion would belong, and what says who earns. Who does is judged when its turn comes: an item before
/// it may bind its customer.
#[derive(Debug)]
pub(super) struct Credit {
    pub(super) program_id: ProgramId,
    pub(super) goal: Goal,
    /// The click that was sent.
    pub(super) click: Option<ClickFacts>,
    /// The coupon's affiliate.
    pub(super) coupon: Option<AffiliateId>,
    /// What postbacks of the same click or customer wait for.
    wait_keys: Vec<String>,
}

/// The click of our own that `text` describes, if a link of `operator` made it.
#[must_use]
pub fn own_click(catalog: &Catalog, operator: OperatorId, text: &str) -> Option<ClickFacts> {
    let OwnClick { link, clicked_at } =
        ClickId::decode(text, &|number| catalog.mac_key(number).map(|key| key.secret.as_ref()))?;
    let link = catalog.link(link)?;
    let program = catalog.program(link.program_id).filter(|program| program.operator_id == operator)?;
    Some(ClickFacts {
        program_id: program.id,
        affiliate_id: link.affiliate_id,
        clicked_at,
        subs: std::collections::BTreeMap::new(),
    })
}

impl<'a> Booking<'a> {
    /// What can be said of an item before the database is asked about its keys.
    #[must_use]
    pub fn prepare(&self, item: Item) -> Prepared {
        let candidate = ConversionId::new(self.now);
        let (said, source, refund) = match self.admissible(&item) {
            Ok(admissible) => admissible,
            Err(rejection) => {
                let (attribution, refund) = (Attribution::Rejected(rejection), false);
                let (event_key, once_key, original_key) = (None, None, None);
                return Prepared { item, attribution, event_key, once_key, refund, original_key, candidate };
            }
        };
        let click = self.click(source.operator_id, said);
        let place = self.place(source.operator_id, said, click.as_ref());
        let (mut event_key, mut once_key) = self.keys(source, said, place.as_ref());
        let mut original_key = None;
        if refund {
            let named = said.original_event_id.as_ref().map(|id| event_key_of(source.id, id.as_str(), said.test));
            original_key = named.or_else(|| once_key.take());
            event_key = event_key.filter(|_| said.event_id.is_some());
            once_key = None;
        }
        let attribution = self.attribute(source, said, click, place);
        Prepared { item, attribution, event_key, once_key, refund, original_key, candidate }
    }

    /// What was said, by which source and whether as a refund, unless it can neither find a conversion nor make one.
    fn admissible<'i>(&self, item: &'i Item) -> Result<(&'i Postback, &'a Source, bool), Rejection> {
        let said = item.said.as_ref().map_err(Clone::clone)?;
        let source = self.catalog.source(item.source_id).ok_or(Rejection::new(Code::SourceDisabled))?;
        let refund = asked(said)?.is_some();
        Ok((said, source, refund))
    }

    fn click(&self, operator: OperatorId, said: &Postback) -> Option<ClickFacts> {
        let id = said.click_id.as_ref()?.as_str();
        let stored = self.clicks.get(&(operator, id.to_owned())).cloned();
        stored.or_else(|| own_click(self.catalog, operator, id))
    }

    /// Where an event belongs: to the program of its click, of its coupon or of its customer's first click.
    fn place(&self, operator: OperatorId, said: &Postback, click: Option<&ClickFacts>) -> Option<Place> {
        let customer = self.customer(operator, said);
        let coupon = self.coupon(operator, said);
        let program_id = match (&said.click_id, click) {
            (Some(_), click) => click?.program_id,
            (None, _) => coupon.map(|coupon| coupon.program_id).or(customer.map(|customer| customer.program_id))?,
        };
        let coupon = coupon.filter(|coupon| coupon.program_id == program_id).map(|coupon| coupon.affiliate_id);
        // The customer stands for the click; its first click, where that is known, so that both are one visitor.
        let first_click = customer.and_then(|customer| customer.click_id.clone());
        let visitor = match (&said.click_id, first_click, &said.customer_id) {
            (Some(click), ..) => Some(Stands::Click(click.as_str().to_owned())),
            (None, Some(click), _) => Some(Stands::Click(click)),
            (None, None, customer) => customer.as_ref().map(|id| Stands::Customer(id.as_str().to_owned())),
        };
        Some(Place { program_id, coupon, visitor })
    }

    /// The event key and the once key. Whether a new conversion would be admitted plays no part: a duplicate
    /// stays one, and a refund finds its sale, long after the window or the program has closed.
    fn keys(&self, source: &Source, said: &Postback, place: Option<&Place>) -> (Option<String>, Option<String>) {
        let named = said.event_id.as_ref().map(|id| event_key_of(source.id, id.as_str(), said.test));
        let goal =
            place.zip(said.goal.as_ref()).and_then(|(place, name)| self.catalog.goal(place.program_id, name.as_str()));
        let visitor = place.and_then(|place| place.visitor.as_ref()).map(Stands::visitor);
        let (Some(goal), Some(visitor)) = (goal, visitor) else { return (named, None) };
        let once = (goal.policy == GoalPolicy::Once).then(|| once_key(goal.program_id, goal.id, visitor, said.test));
        (Some(named.unwrap_or_else(|| unnamed_event_key(source.id, goal.id, visitor, said.test))), once)
    }

    fn attribute(
        &self,
        source: &Source,
        said: &Postback,
        click: Option<ClickFacts>,
        place: Option<Place>,
    ) -> Attribution {
        let Some(place) = place else {
            let wait_key = |visitor| wait_key(source.operator_id, visitor);
            return match (&said.click_id, &said.customer_id) {
                (Some(id), _) => Attribution::Parked {
                    reason: ParkReason::UnknownClick,
                    wait_key: wait_key(Visitor::Click(id.as_str())),
                },
                (None, Some(id)) => Attribution::Parked {
                    reason: ParkReason::UnknownCustomer,
                    wait_key: wait_key(Visitor::Customer(id.as_str())),
                },
                (None, None) => Attribution::Rejected(Rejection::of_field(Code::MissingField, "click_id")),
            };
        };
        match self.admissible_goal(&place, said) {
            Ok(goal) => Attribution::Known(Box::new(Credit {
                program_id: place.program_id,
                goal: goal.clone(),
                click,
                coupon: place.coupon,
                wait_keys: self.wait_keys(source.operator_id, said),
            })),
            Err(rejection) => Attribution::Rejected(rejection),
        }
    }

    /// What other postbacks of this one's click and customer wait for, where these are known.
    fn wait_keys(&self, operator: OperatorId, said: &Postback) -> Vec<String> {
        let click = said.click_id.as_ref().map(|id| wait_key(operator, Visitor::Click(id.as_str())));
        let customer = said.customer_id.as_ref().filter(|_| self.customer(operator, said).is_some());
        let customer = customer.map(|id| wait_key(operator, Visitor::Customer(id.as_str())));
        click.into_iter().chain(customer).collect()
    }

    /// The goal of a new conversion, if program and goal allow one.
    fn admissible_goal(&self, place: &Place, said: &Postback) -> Result<&'a Goal, Rejection> {
        let name = said.goal.as_ref().ok_or_else(|| Rejection::of_field(Code::MissingField, "goal"))?;
        let program = self.program(place.program_id)?;
        let goal = self.catalog.goal(program.id, name.as_str());
        let goal = goal.ok_or_else(|| Rejection::of_field(Code::UnknownGoal, "goal"))?;
        if goal.policy == GoalPolicy::Many && said.event_id.is_none() {
            return Err(Rejection::of_field(Code::MissingField, "event_id"));
        }
        if place.visitor.is_none() && goal.policy == GoalPolicy::Once {
            return Err(Rejection::of_field(Code::MissingField, "click_id")
                .because("A goal that counts once needs the click or the customer that it counts for."));
        }
        Ok(goal)
    }

    pub(super) fn program(&self, id: ProgramId) -> Result<&'a Program, Rejection> {
        let program = self.catalog.program(id).filter(|program| program.status == Status::Active);
        program.ok_or_else(|| Rejection::new(Code::ProgramInactive))
    }
}

/// Where an event belongs, and whom its keys count it for.
struct Place {
    program_id: ProgramId,
    coupon: Option<AffiliateId>,
    visitor: Option<Stands>,
}

/// Who stands for the visitor.
enum Stands {
    Click(String),
    Customer(String),
}

impl Stands {
    fn visitor(&self) -> Visitor<'_> {
        match self {
            Self::Click(id) => Visitor::Click(id),
            Self::Customer(id) => Visitor::Customer(id),
        }
    }
}
