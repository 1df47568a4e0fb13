//! Before the database is asked: whom an item would be credited to, and which keys decide about it.

use super::super::catalog::{Goal, GoalPolicy, Program, Source, Status};
use super::super::click::{ClickId, OwnClick};
use super::super::dedup::{Visitor, event_key, once_key, unnamed_event_key, wait_key};
use super::super::ids::{ConversionId, OperatorId};
use super::super::postback::Postback;
use super::super::time::Timestamp;
use super::super::verdict::{Code, ParkReason, Rejection};
use super::{Booking, Catalog, ClickFacts, Item};

/// An item with what the catalog and the click say about it.
#[derive(Debug)]
pub struct Prepared {
    pub(super) item: Item,
    pub(super) attribution: Attribution,
    pub(super) event_key: Option<String>,
    pub(super) once_key: Option<String>,
    pub(super) candidate: ConversionId,
}

impl Prepared {
    /// The keys that this item would take if it made a conversion, with the conversion's id.
    pub fn wanted_keys(&self) -> impl Iterator<Item = (&str, ConversionId)> {
        let creates = matches!(self.attribution, Attribution::Known { .. });
        self.known_by().filter(move |_| creates).map(|key| (key, self.candidate))
    }

    /// The keys that may lead to a conversion that exists.
    pub fn known_by(&self) -> impl Iterator<Item = &str> {
        [self.event_key.as_deref(), self.once_key.as_deref()].into_iter().flatten()
    }

    /// What postbacks wait for that this one may have brought: its click, if that is known, and its event.
    pub fn brings(&self) -> impl Iterator<Item = String> {
        let click = match &self.attribution {
            Attribution::Known { wait_key, .. } => Some(wait_key.clone()),
            Attribution::Parked { .. } | Attribution::Rejected(_) => None,
        };
        click.into_iter().chain(self.known_by().map(str::to_owned))
    }
}

/// Whom a new conversion would be credited to.
#[derive(Debug)]
pub(super) enum Attribution {
    Known { click: ClickFacts, goal: Box<Goal>, wait_key: String },
    Parked { reason: ParkReason, wait_key: String },
    Rejected(Rejection),
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
        let (said, source) = match self.admissible(&item) {
            Ok(admissible) => admissible,
            Err(rejection) => {
                let attribution = Attribution::Rejected(rejection);
                return Prepared { item, attribution, event_key: None, once_key: None, candidate };
            }
        };
        let click = self.click(source.operator_id, said);
        let (event_key, once_key) = self.keys(source, said, click.as_ref());
        let attribution = self.attribute(source, said, item.received_at, click);
        Prepared { item, attribution, event_key, once_key, candidate }
    }

    /// What was said and by which source, unless it can neither find a conversion nor make one.
    fn admissible<'i>(&self, item: &'i Item) -> Result<(&'i Postback, &'a Source), Rejection> {
        let said = item.said.as_ref().map_err(Clone::clone)?;
        let source = self.catalog.source(item.source_id).ok_or(Rejection::new(Code::SourceDisabled))?;
        if said.original_event_id.is_some() {
            // Taken for an event of its own it would be paid for; its receipt is kept and can be replayed.
            return Err(Rejection::of_field(Code::Validation, "original_event_id").because(
                "Refunds as events of their own are not taken yet: send the sale's own event_id with the status \
                 reversed, or with the amount that is left.",
            ));
        }
        Ok((said, source))
    }

    fn click(&self, operator: OperatorId, said: &Postback) -> Option<ClickFacts> {
        let id = said.click_id.as_ref()?.as_str();
        let stored = self.clicks.get(&(operator, id.to_owned())).cloned();
        stored.or_else(|| own_click(self.catalog, operator, id))
    }

    /// The event key and the once key. Whether a new conversion would be admitted plays no part: a duplicate
    /// stays one, and a refund finds its sale, long after the window or the program has closed.
    fn keys(&self, source: &Source, said: &Postback, click: Option<&ClickFacts>) -> (Option<String>, Option<String>) {
        let named = said.event_id.as_ref().map(|id| event_key(source.id, id.as_str(), said.test));
        let goal =
            click.zip(said.goal.as_ref()).and_then(|(click, name)| self.catalog.goal(click.program_id, name.as_str()));
        let (Some(goal), Some(visitor)) = (goal, visitor(said)) else { return (named, None) };
        let once = (goal.policy == GoalPolicy::Once).then(|| once_key(goal.program_id, goal.id, visitor, said.test));
        (Some(named.unwrap_or_else(|| unnamed_event_key(source.id, goal.id, visitor, said.test))), once)
    }

    fn attribute(
        &self,
        source: &Source,
        said: &Postback,
        received_at: Timestamp,
        click: Option<ClickFacts>,
    ) -> Attribution {
        let Some(visitor) = visitor(said) else {
            return Attribution::Rejected(Rejection::of_field(Code::MissingField, "click_id"));
        };
        let wait_key = wait_key(source.operator_id, visitor);
        let reason = match visitor {
            Visitor::Click(_) => ParkReason::UnknownClick,
            // Customers are bound to affiliates by their first click; until that is built, none is known.
            Visitor::Customer(_) => ParkReason::UnknownCustomer,
        };
        let Some(click) = click else { return Attribution::Parked { reason, wait_key } };
        match self.admissible_goal(&click, said, received_at) {
            Ok(goal) => Attribution::Known { click, goal: Box::new(goal.clone()), wait_key },
            Err(rejection) => Attribution::Rejected(rejection),
        }
    }

    /// The goal of a new conversion, if program, affiliate, goal and time allow one.
    fn admissible_goal(
        &self,
        click: &ClickFacts,
        said: &Postback,
        received_at: Timestamp,
    ) -> Result<&'a Goal, Rejection> {
        let name = said.goal.as_ref().ok_or_else(|| Rejection::of_field(Code::MissingField, "goal"))?;
        let program = self.program(click)?;
        let affiliate = self.catalog.affiliate(click.affiliate_id);
        if affiliate.is_none_or(|affiliate| affiliate.status != Status::Active) {
            return Err(Rejection::new(Code::AffiliateInactive));
        }
        let goal = self.catalog.goal(program.id, name.as_str());
        let goal = goal.ok_or_else(|| Rejection::of_field(Code::UnknownGoal, "goal"))?;
        if goal.policy == GoalPolicy::Many && said.event_id.is_none() {
            return Err(Rejection::of_field(Code::MissingField, "event_id"));
        }
        let occurred_at = said.occurred_at.unwrap_or(received_at);
        let elapsed = occurred_at.since(click.clicked_at);
        let window_seconds = u64::try_from(program.attribution_window_days).unwrap_or(0).saturating_mul(86_400);
        if elapsed.as_secs() > window_seconds {
            return Err(Rejection::of_field(Code::OutsideWindow, "occurred_at"));
        }
        if elapsed.as_secs() < u64::try_from(goal.min_click_seconds).unwrap_or(0) {
            return Err(Rejection::of_field(Code::BelowMinClickTime, "occurred_at"));
        }
        Ok(goal)
    }

    pub(super) fn program(&self, click: &ClickFacts) -> Result<&'a Program, Rejection> {
        let program = self.catalog.program(click.program_id).filter(|program| program.status == Status::Active);
        program.ok_or_else(|| Rejection::new(Code::ProgramInactive))
    }
}

fn visitor(said: &Postback) -> Option<Visitor<'_>> {
    let click = said.click_id.as_ref().map(|id| Visitor::Click(id.as_str()));
    click.or_else(|| said.customer_id.as_ref().map(|id| Visitor::Customer(id.as_str())))
}
