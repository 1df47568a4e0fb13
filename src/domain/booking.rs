//! What a batch of postbacks comes to: the rules of DOMAIN 2.4 and 2.5 over loaded state.
//!
//! The store calls this in the middle of its transaction: it loads clicks, lets [`Booking::prepare`] say which
//! keys are wanted, claims those keys and loads what they lead to, then lets [`Booking::apply`] judge the items
//! one after the other. What is to be written gathers in [`Writes`]. Nothing here does I/O, so the same
//! rules hold on both engines and under property tests. Items of one batch see each other's effects.

use std::collections::{BTreeSet, HashMap};

use super::catalog::{Catalog, Goal, GoalPolicy, Owner, Program, Source, Status};
use super::click::{ClickId, OwnClick};
use super::commission::{self, Commission, CommissionState, NoCommission};
use super::conversion::{Change, Conversion, NamedBy, Seen, judge};
use super::dedup::{Visitor, event_key, once_key, unnamed_event_key, wait_key};
use super::delivery::Hint;
use super::event::{self, Event, EventType};
use super::ids::{
    AffiliateId, CommissionId, ConversionId, DeliveryId, EndpointId, EventId, OperatorId, ProgramId, ReceiptId,
    SourceId,
};
use super::ledger::{self, Posting, PostingKind};
use super::money::{Amount, Money};
use super::postback::{ConversionStatus, Postback};
use super::time::Timestamp;
use super::verdict::{Code, ParkReason, Rejection, Verdict};

/// A postback to be judged, and the receipt that it came on.
#[derive(Clone, Debug)]
pub struct Item {
    /// The receipt; already stored for what was parked earlier.
    pub receipt_id: ReceiptId,
    /// The source that it came through.
    pub source_id: SourceId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What the sender said, or why it cannot be heard.
    pub said: Result<Postback, Rejection>,
    /// Whether this was parked and is now judged again.
    pub parked: bool,
}

/// The answer to one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The receipt.
    pub receipt_id: ReceiptId,
    /// What became of it.
    pub verdict: Verdict,
    /// The conversion that it made, changed, repeated or contradicts.
    pub conversion_id: Option<ConversionId>,
    /// For a rejection: the code again, the field at fault and what would fix it.
    pub rejection: Option<Rejection>,
}

/// What a click says about a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickFacts {
    /// The program clicked into.
    pub program_id: ProgramId,
    /// Who sent the visitor.
    pub affiliate_id: AffiliateId,
    /// When.
    pub clicked_at: Timestamp,
    /// The affiliate's own sub-ids.
    pub subs: std::collections::BTreeMap<String, String>,
}

/// A conversion with its commission, as stored or as changed by this batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The conversion.
    pub conversion: Conversion,
    /// What it earns, unless it earns nothing.
    pub commission: Option<Commission>,
    /// The name of its goal.
    pub goal: String,
}

/// A delivery to be born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
}

impl NewDelivery {
    /// The first hint about it.
    #[must_use]
    pub const fn hint(&self) -> Hint {
        Hint { delivery_id: self.id, endpoint_id: self.endpoint_id, epoch: 1, attempt: 0 }
    }
}

/// A postback that waits for what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its receipt.
    pub receipt_id: ReceiptId,
    /// Its source.
    pub source_id: SourceId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What it waits for: a visitor, or an event.
    pub wait_key: String,
    /// Why.
    pub reason: ParkReason,
    /// What was said.
    pub postback: Postback,
}

/// A state of a conversion that a revision replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The conversion as it was.
    pub conversion: Conversion,
    /// When it was replaced.
    pub at: Timestamp,
}

/// Everything that a batch writes besides its receipts.
#[derive(Debug, Default)]
pub struct Writes {
    /// Conversions and commissions that are new.
    pub created: BTreeSet<ConversionId>,
    /// Those that existed and changed.
    pub changed: BTreeSet<ConversionId>,
    /// States that were replaced.
    pub superseded: Vec<Superseded>,
    /// Ledger transactions.
    pub postings: Vec<Posting>,
    /// Events with at least one subscriber.
    pub events: Vec<Event>,
    /// One row for each event and endpoint.
    pub deliveries: Vec<NewDelivery>,
    /// Postbacks that now wait.
    pub parked: Vec<Parked>,
    /// Postbacks that no longer wait.
    pub unparked: Vec<ReceiptId>,
}

/// An item with what the catalog and the click say about it.
#[derive(Debug)]
pub struct Prepared {
    item: Item,
    attribution: Attribution,
    event_key: Option<String>,
    once_key: Option<String>,
    candidate: ConversionId,
}

impl Prepared {
    /// The keys that this item would take if it made a conversion, with the conversion's id.
    pub fn wanted_keys(&self) -> impl Iterator<Item = (&str, ConversionId)> {
        let creates = matches!(self.attribution, Attribution::Known { .. });
        let keys = [self.event_key.as_deref(), self.once_key.as_deref()];
        keys.into_iter().flatten().filter(move |_| creates).map(|key| (key, self.candidate))
    }

    /// The keys that may lead to a conversion that exists.
    pub fn known_by(&self) -> impl Iterator<Item = &str> {
        [self.event_key.as_deref(), self.once_key.as_deref()].into_iter().flatten()
    }
}

/// Whom a new conversion would be credited to.
#[derive(Debug)]
enum Attribution {
    Known { click: ClickFacts, goal: Box<Goal> },
    Parked { reason: ParkReason, wait_key: String },
    Rejected(Rejection),
}

/// The state of one batch. See the module's documentation for the order of calls.
pub struct Booking<'a> {
    catalog: &'a Catalog,
    now: Timestamp,
    clicks: HashMap<(OperatorId, String), ClickFacts>,
    keys: HashMap<String, Option<ConversionId>>,
    known: HashMap<ConversionId, Booked>,
    writes: Writes,
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
    /// A batch judged at `now` by `catalog`, with the stored clicks that its items name.
    #[must_use]
    pub fn new(catalog: &'a Catalog, now: Timestamp, clicks: HashMap<(OperatorId, String), ClickFacts>) -> Self {
        Self { catalog, now, clicks, keys: HashMap::new(), known: HashMap::new(), writes: Writes::default() }
    }

    /// What can be said of an item before the database is asked about its keys.
    #[must_use]
    pub fn prepare(&self, item: Item) -> Prepared {
        let candidate = ConversionId::new(self.now);
        let (Ok(said), Some(source)) = (&item.said, self.catalog.source(item.source_id)) else {
            let rejection = match &item.said {
                Err(rejection) => rejection.clone(),
                Ok(_) => Rejection::new(Code::SourceDisabled),
            };
            let attribution = Attribution::Rejected(rejection);
            return Prepared { item, attribution, event_key: None, once_key: None, candidate };
        };
        let attribution = self.attribute(source, said, item.received_at);
        let named = said.event_id.as_ref().map(|id| event_key(source.id, id.as_str(), said.test));
        let (event_key, once_key) = match (&attribution, visitor(said)) {
            (Attribution::Known { click, goal }, Some(visitor)) => {
                let once =
                    (goal.policy == GoalPolicy::Once).then(|| once_key(click.program_id, goal.id, visitor, said.test));
                let event = named.unwrap_or_else(|| unnamed_event_key(source.id, goal.id, visitor, said.test));
                (Some(event), once)
            }
            _ => (named, None),
        };
        Prepared { item, attribution, event_key, once_key, candidate }
    }

    fn attribute(&self, source: &Source, said: &Postback, received_at: Timestamp) -> Attribution {
        let Some(visitor) = visitor(said) else {
            return Attribution::Rejected(Rejection::of_field(Code::MissingField, "click_id"));
        };
        let Visitor::Click(click_id) = visitor else {
            // Customers are bound to affiliates by their first click; until that is built, none is known.
            let wait_key = wait_key(source.operator_id, visitor);
            return Attribution::Parked { reason: ParkReason::UnknownCustomer, wait_key };
        };
        let stored = self.clicks.get(&(source.operator_id, click_id.to_owned())).cloned();
        let Some(click) = stored.or_else(|| own_click(self.catalog, source.operator_id, click_id)) else {
            let wait_key = wait_key(source.operator_id, visitor);
            return Attribution::Parked { reason: ParkReason::UnknownClick, wait_key };
        };
        match self.admissible_goal(&click, said, received_at) {
            Ok(goal) => Attribution::Known { click, goal: Box::new(goal.clone()) },
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

    fn program(&self, click: &ClickFacts) -> Result<&'a Program, Rejection> {
        let program = self.catalog.program(click.program_id).filter(|program| program.status == Status::Active);
        program.ok_or_else(|| Rejection::new(Code::ProgramInactive))
    }

    /// A key that this batch has just taken and that leads nowhere yet.
    pub fn key_taken(&mut self, key: String) {
        self.keys.insert(key, None);
    }

    /// A key that leads to a conversion that existed before this batch.
    pub fn key_known(&mut self, key: String, conversion: ConversionId) {
        self.keys.insert(key, Some(conversion));
    }

    /// A conversion that existed before this batch.
    pub fn conversion_known(&mut self, booked: Booked) {
        self.known.insert(booked.conversion.id, booked);
    }

    /// Where a key leads after all items were applied; `None` where nothing came of it.
    #[must_use]
    pub fn key_target(&self, key: &str) -> Option<ConversionId> {
        self.keys.get(key).copied().flatten()
    }

    /// A conversion of this batch as it stands.
    #[must_use]
    pub fn booked(&self, id: ConversionId) -> Option<&Booked> {
        self.known.get(&id)
    }

    /// What is to be written.
    #[must_use]
    pub const fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Judges one item, after those before it.
    ///
    /// # Errors
    /// A rejection code for what the rules cannot represent, such as an amount out of range, is an outcome, not
    /// an error: this function always answers.
    pub fn apply(&mut self, prepared: &Prepared) -> Outcome {
        if prepared.item.parked {
            self.writes.unparked.push(prepared.item.receipt_id);
        }
        let (Ok(said), source_id) = (&prepared.item.said, prepared.item.source_id) else {
            return self.not_created(prepared);
        };
        let target = |key: &Option<String>| key.as_deref().and_then(|key| self.key_target(key));
        if let Some(id) = target(&prepared.event_key) {
            return self.revise(prepared, said, id, NamedBy::Event);
        }
        if let Some(id) = target(&prepared.once_key) {
            return self.revise(prepared, said, id, NamedBy::Once);
        }
        if said.status == Some(ConversionStatus::Reversed)
            && let Some(wait_key) = prepared.event_key.clone()
        {
            return self.park(prepared, said, source_id, ParkReason::OriginalMissing, wait_key);
        }
        match &prepared.attribution {
            Attribution::Known { click, goal } => self.create(prepared, said, click, goal),
            Attribution::Parked { reason, wait_key } => self.park(prepared, said, source_id, *reason, wait_key.clone()),
            Attribution::Rejected(_) => self.not_created(prepared),
        }
    }

    fn not_created(&self, prepared: &Prepared) -> Outcome {
        let rejection = match (&prepared.item.said, &prepared.attribution) {
            (Err(rejection), _) | (_, Attribution::Rejected(rejection)) => rejection.clone(),
            _ => Rejection::new(Code::Unavailable),
        };
        rejected(prepared, None, rejection)
    }

    fn park(
        &mut self,
        prepared: &Prepared,
        said: &Postback,
        source_id: SourceId,
        reason: ParkReason,
        wait_key: String,
    ) -> Outcome {
        if prepared.item.parked {
            // Judged again and still waiting: it stays where it is.
            self.writes.unparked.retain(|id| *id != prepared.item.receipt_id);
        } else {
            self.writes.parked.push(Parked {
                receipt_id: prepared.item.receipt_id,
                source_id,
                received_at: prepared.item.received_at,
                wait_key,
                reason,
                postback: said.clone(),
            });
        }
        let verdict = Verdict::Parked(reason);
        Outcome { receipt_id: prepared.item.receipt_id, verdict, conversion_id: None, rejection: None }
    }

    fn create(&mut self, prepared: &Prepared, said: &Postback, click: &ClickFacts, goal: &Goal) -> Outcome {
        let Ok(program) = self.program(click) else { return self.not_created(prepared) };
        let mut conversion = self.new_conversion(prepared, said, click, goal, program);
        let commission = match self.new_commission(&conversion, &goal.name, program) {
            Ok(commission) => commission,
            Err(rejection) => return rejected(prepared, None, rejection),
        };
        let (commission, reason) = (commission.as_ref().ok().cloned(), commission.err());
        conversion.no_commission = reason;
        let id = conversion.id;
        self.tell(EventType::ConversionRecorded, &conversion, event::conversion_data(&conversion, &goal.name));
        let commission = commission.map(|commission| {
            self.tell_commission(EventType::CommissionCreated, &commission, &conversion, &goal.name);
            if conversion.status == ConversionStatus::Approved {
                self.approve(commission, &conversion, &goal.name)
            } else {
                commission
            }
        });
        for key in prepared.known_by() {
            self.keys.insert(key.to_owned(), Some(id));
        }
        self.known.insert(id, Booked { conversion, commission, goal: goal.name.clone() });
        self.writes.created.insert(id);
        outcome(prepared, Verdict::Accepted, id)
    }

    fn new_conversion(
        &self,
        prepared: &Prepared,
        said: &Postback,
        click: &ClickFacts,
        goal: &Goal,
        program: &Program,
    ) -> Conversion {
        let mut seen = Seen::default();
        seen.insert(said.sent_hash());
        Conversion {
            id: prepared.candidate,
            operator_id: program.operator_id,
            source_id: prepared.item.source_id,
            program_id: program.id,
            goal_id: goal.id,
            affiliate_id: click.affiliate_id,
            receipt_id: prepared.item.receipt_id,
            status: said.status.unwrap_or(goal.default_status),
            currency: said.currency.unwrap_or(program.currency),
            occurred_at: said.occurred_at.unwrap_or(prepared.item.received_at),
            received_at: prepared.item.received_at,
            updated_at: self.now,
            revision: 1,
            test: said.test,
            content: said.clone(),
            click_subs: click.subs.clone(),
            seen,
            no_commission: None,
        }
    }

    fn new_commission(
        &self,
        conversion: &Conversion,
        goal: &str,
        program: &Program,
    ) -> Result<Result<Commission, NoCommission>, Rejection> {
        if conversion.test {
            return Ok(Err(NoCommission::Test));
        }
        if conversion.status == ConversionStatus::Rejected {
            return Ok(Err(NoCommission::Rejected));
        }
        let Some(plan) = self.catalog.plan_of(conversion.affiliate_id, program) else {
            return Ok(Err(NoCommission::NoPlan));
        };
        let Some(version) = self.catalog.plan_version(plan, conversion.occurred_at) else {
            return Ok(Err(NoCommission::NoPlanVersion));
        };
        let computed =
            commission::compute(version, goal).map_err(|_| Rejection::of_field(Code::BadAmount, "amount"))?;
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

    fn revise(&mut self, prepared: &Prepared, said: &Postback, id: ConversionId, named_by: NamedBy) -> Outcome {
        let Some(mut booked) = self.known.remove(&id) else {
            return rejected(prepared, Some(id), Rejection::new(Code::Unavailable));
        };
        let change = judge(&booked.conversion, &booked.goal, said, named_by);
        let answer = match change {
            Change::Refused(code) => rejected(prepared, Some(id), Rejection::new(code)),
            Change::None => {
                if booked.conversion.seen.insert(said.sent_hash()) {
                    self.touched(id);
                }
                outcome(prepared, Verdict::Duplicate, id)
            }
            Change::Revision { content, status } => {
                booked.conversion.seen.insert(said.sent_hash());
                booked = self.revised(prepared, booked, *content, status);
                self.touched(id);
                outcome(prepared, Verdict::Updated, id)
            }
        };
        self.known.insert(id, booked);
        answer
    }

    fn revised(&mut self, prepared: &Prepared, booked: Booked, content: Postback, status: ConversionStatus) -> Booked {
        let Booked { mut conversion, commission, goal } = booked;
        self.writes.superseded.push(Superseded { conversion: conversion.clone(), at: self.now });
        let was = conversion.status;
        conversion.seen.insert(content.sent_hash());
        conversion.occurred_at = content.occurred_at.unwrap_or(conversion.occurred_at);
        conversion.content = content;
        conversion.status = status;
        conversion.receipt_id = prepared.item.receipt_id;
        conversion.updated_at = self.now;
        conversion.revision = conversion.revision.saturating_add(1);
        self.tell(EventType::ConversionUpdated, &conversion, event::conversion_data(&conversion, &goal));
        let commission = commission.map(|commission| match (was, status) {
            (ConversionStatus::Pending | ConversionStatus::Hold, ConversionStatus::Approved) => {
                self.approve(commission, &conversion, &goal)
            }
            (_, ConversionStatus::Rejected | ConversionStatus::Reversed) => {
                self.reverse(commission, &conversion, &goal)
            }
            _ => commission,
        });
        Booked { conversion, commission, goal }
    }

    /// Books a commission that was only calculated.
    fn approve(&mut self, mut commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        if !commission.money.amount.is_zero() {
            self.post(PostingKind::Commission, &commission, commission.money);
        }
        commission.booked = commission.money.amount;
        commission.state = CommissionState::Available;
        self.advance(&mut commission, conversion);
        self.tell_commission(EventType::CommissionApproved, &commission, conversion, goal);
        commission
    }

    /// Undoes a commission: the opposite of what is booked, the amount copied, never recomputed.
    fn reverse(&mut self, mut commission: Commission, conversion: &Conversion, goal: &str) -> Commission {
        if commission.state == CommissionState::Pending {
            commission.state = CommissionState::Void;
        } else {
            let back = Money { amount: commission.booked.negated(), currency: commission.money.currency };
            if !back.amount.is_zero() {
                self.post(PostingKind::Reversal, &commission, back);
            }
            commission.booked = Amount::ZERO;
            commission.state = CommissionState::Reversed;
        }
        self.advance(&mut commission, conversion);
        self.tell_commission(EventType::CommissionReversed, &commission, conversion, goal);
        commission
    }

    fn post(&mut self, kind: PostingKind, commission: &Commission, money: Money) {
        let posting =
            ledger::post(kind, commission.id, commission.operator_id, commission.affiliate_id, money, self.now);
        self.writes.postings.push(posting);
    }

    fn advance(&self, commission: &mut Commission, conversion: &Conversion) {
        commission.updated_at = self.now;
        // A commission made in this very step shows its created and approved messages as revisions 1 and 2.
        commission.revision = commission.revision.saturating_add(1);
        debug_assert_eq!(commission.conversion_id, conversion.id);
    }

    fn touched(&mut self, id: ConversionId) {
        if !self.writes.created.contains(&id) {
            self.writes.changed.insert(id);
        }
    }

    fn tell_commission(&mut self, what: EventType, commission: &Commission, conversion: &Conversion, goal: &str) {
        self.tell(what, conversion, event::commission_data(commission, conversion, goal));
    }

    /// One event and a delivery for each endpoint that wants it; nothing where nobody does.
    fn tell(&mut self, event_type: EventType, conversion: &Conversion, data: serde_json::Value) {
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

fn visitor(said: &Postback) -> Option<Visitor<'_>> {
    let click = said.click_id.as_ref().map(|id| Visitor::Click(id.as_str()));
    click.or_else(|| said.customer_id.as_ref().map(|id| Visitor::Customer(id.as_str())))
}

fn outcome(prepared: &Prepared, verdict: Verdict, id: ConversionId) -> Outcome {
    Outcome { receipt_id: prepared.item.receipt_id, verdict, conversion_id: Some(id), rejection: None }
}

fn rejected(prepared: &Prepared, conversion_id: Option<ConversionId>, rejection: Rejection) -> Outcome {
    let verdict = Verdict::Rejected(rejection.code);
    Outcome { receipt_id: prepared.item.receipt_id, verdict, conversion_id, rejection: Some(rejection) }
}
