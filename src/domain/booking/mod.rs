//! What a batch of postbacks comes to: the rules of DOMAIN 2.4 and 2.5 over loaded state.
//!
//! The store calls this in the middle of its transaction: it loads clicks, lets [`Booking::prepare`] say which
//! keys are wanted, claims those keys and loads what they lead to, then lets [`Booking::apply_all`] judge the
//! items one after the other. What is to be written gathers in [`Writes`]. Nothing here does I/O, so the same
//! rules hold on both engines and under property tests. Items of one batch see each other's effects.

mod attribution;
mod changes;
mod earning;
mod prepare;
mod recurring;
mod refunds;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use self::attribution::Credited;
pub use self::changes::OwnChange;
use self::changes::{is_over, revived};
use self::prepare::{Attribution, Credit};
pub use self::prepare::{Prepared, own_click};
use self::recurring::Recurrence;
use super::catalog::{Catalog, Goal, Program};
use super::commission::Commission;
use super::conversion::{Change, ChangedBy, Conversion, NamedBy, Seen, asked, judge};
use super::customer::{CustomerFacts, Disagreement, NewCustomer};
use super::event::{self, EventType};
use super::ids::{AffiliateId, ConversionId, OperatorId, ProgramId, ReceiptId, SourceId};
use super::ledger::Posting;
use super::outbox::Outbox;
use super::postback::{ConversionStatus, Postback};
use super::time::Timestamp;
use super::verdict::{Code, ParkReason, Rejection, Verdict};

/// What is said of a replayed postback that a later one has overtaken.
const OVERTAKEN: &str = "A postback that arrived after this one has changed the conversion since; if this one is right, \
     have the sender send it again with a higher version.";

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
    /// Where customer, click and coupon named different affiliates: whom each of them named.
    pub disagreement: Option<Disagreement>,
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
    pub subs: BTreeMap<String, String>,
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
    /// Conversions that are new, with their commissions.
    pub created: BTreeSet<ConversionId>,
    /// Those that existed and changed, with their commissions.
    pub changed: BTreeSet<ConversionId>,
    /// Those that existed and earn only now: their commissions are new.
    pub earning: BTreeSet<ConversionId>,
    /// States that were replaced.
    pub superseded: Vec<Superseded>,
    /// Ledger transactions.
    pub postings: Vec<Posting>,
    /// What is told of all this.
    pub outbox: Outbox,
    /// Customers that are bound from now on.
    pub bound: Vec<NewCustomer>,
    /// Postbacks that now wait.
    pub parked: Vec<Parked>,
    /// Postbacks that were judged again: their waiting is over, unless they are among `parked` anew.
    pub unparked: Vec<ReceiptId>,
}

/// The state of one batch. See the module's documentation for the order of calls.
pub struct Booking<'a> {
    catalog: &'a Catalog,
    now: Timestamp,
    clicks: HashMap<(OperatorId, String), ClickFacts>,
    customers: HashMap<(OperatorId, String), CustomerFacts>,
    keys: HashMap<String, Option<ConversionId>>,
    known: HashMap<ConversionId, Booked>,
    recurrences: BTreeMap<String, Recurrence>,
    replayed: HashSet<ReceiptId>,
    writes: Writes,
}

impl<'a> Booking<'a> {
    /// A batch judged at `now` by `catalog`, with the stored clicks that its items name.
    #[must_use]
    pub fn new(catalog: &'a Catalog, now: Timestamp, clicks: HashMap<(OperatorId, String), ClickFacts>) -> Self {
        Self {
            catalog,
            now,
            clicks,
            customers: HashMap::new(),
            keys: HashMap::new(),
            known: HashMap::new(),
            recurrences: BTreeMap::new(),
            replayed: HashSet::new(),
            writes: Writes::default(),
        }
    }

    /// What the batch is judged by.
    #[must_use]
    pub const fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// Clicks that items parked earlier name.
    pub fn clicks_known(&mut self, clicks: impl IntoIterator<Item = ((OperatorId, String), ClickFacts)>) {
        self.clicks.extend(clicks);
    }

    /// Customers that items name and that are bound.
    pub fn customers_known(&mut self, customers: impl IntoIterator<Item = ((OperatorId, String), CustomerFacts)>) {
        self.customers.extend(customers);
    }

    /// Receipts among the items that arrived long ago and are judged again because a person asked for it.
    pub fn replays(&mut self, receipts: impl IntoIterator<Item = ReceiptId>) {
        self.replayed.extend(receipts);
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

    /// Judges all items, one after the other; then once more those that wait for an original which came after them.
    pub fn apply_all(&mut self, prepared: &[Prepared]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = prepared.iter().map(|prepared| self.apply(prepared)).collect();
        for (outcome, prepared) in outcomes.iter_mut().zip(prepared) {
            let found = prepared.known_by().any(|key| self.key_target(key).is_some());
            if outcome.verdict == Verdict::Parked(ParkReason::OriginalMissing) && found {
                self.writes.parked.retain(|parked| parked.receipt_id != prepared.item.receipt_id);
                *outcome = self.apply(prepared);
            }
        }
        self.recount();
        outcomes
    }

    /// Judges one item, after those before it. Always answers: what the rules cannot represent, such as an amount out
    /// of range, is a rejection.
    fn apply(&mut self, prepared: &Prepared) -> Outcome {
        if prepared.item.parked {
            self.writes.unparked.push(prepared.item.receipt_id);
        }
        let (Ok(said), source_id) = (&prepared.item.said, prepared.item.source_id) else {
            return self.not_created(prepared);
        };
        if prepared.refund {
            return self.refund(prepared, said);
        }
        let target = |key: &Option<String>| key.as_deref().and_then(|key| self.key_target(key));
        if let Some(id) = target(&prepared.event_key) {
            return self.revise(prepared, said, id, NamedBy::Event);
        }
        if let Some(id) = target(&prepared.once_key) {
            return self.revise(prepared, said, id, NamedBy::Once);
        }
        // The click first: only when it is known can it be said which sale is meant.
        if let Attribution::Parked { reason: reason @ ParkReason::UnknownClick, wait_key } = &prepared.attribution {
            return self.park(prepared, said, source_id, *reason, wait_key.clone());
        }
        // The once key first: whatever event id the sale comes under, it takes that one.
        if said.status == Some(ConversionStatus::Reversed)
            && let Some(wait_key) = prepared.once_key.clone().or_else(|| prepared.event_key.clone())
        {
            return self.park(prepared, said, source_id, ParkReason::OriginalMissing, wait_key);
        }
        match &prepared.attribution {
            Attribution::Known(credit) => self.create(prepared, said, credit),
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
        // Judged again and still waiting: it may wait for something else now.
        self.writes.parked.push(Parked {
            receipt_id: prepared.item.receipt_id,
            source_id,
            received_at: prepared.item.received_at,
            wait_key,
            reason,
            postback: said.clone(),
        });
        let verdict = Verdict::Parked(reason);
        Outcome {
            receipt_id: prepared.item.receipt_id,
            verdict,
            conversion_id: None,
            rejection: None,
            disagreement: None,
        }
    }

    fn create(&mut self, prepared: &Prepared, said: &Postback, credit: &Credit) -> Outcome {
        let goal = &credit.goal;
        let Ok(program) = self.program(credit.program_id) else { return self.not_created(prepared) };
        let credited = match self.credited(program, credit, said, prepared.item.received_at) {
            Ok(credited) => credited,
            Err(rejection) => return rejected(prepared, None, rejection),
        };
        let mut conversion = self.new_conversion(prepared, said, &credited, goal, program);
        self.date(&mut conversion, None, &goal.name);
        let commission = match self.earned(&conversion, &goal.name, None) {
            Ok(commission) => commission,
            Err(rejection) => return rejected(prepared, None, rejection),
        };
        self.count(&mut conversion);
        let (commission, reason) = (commission.as_ref().ok().cloned(), commission.err());
        conversion.no_commission = reason;
        let id = conversion.id;
        self.tell(EventType::ConversionRecorded, &conversion, event::conversion_data(&conversion, &goal.name));
        let commission = commission.map(|commission| {
            self.tell_commission(EventType::CommissionCreated, &commission, &conversion, &goal.name);
            self.follow(commission, &conversion, &goal.name)
        });
        for key in prepared.known_by() {
            self.keys.insert(key.to_owned(), Some(id));
        }
        self.bind(&conversion, None, prepared.item.receipt_id, credited.by_click);
        self.known.insert(id, Booked { conversion, commission, goal: goal.name.clone() });
        self.writes.created.insert(id);
        Outcome { disagreement: credited.disagreement, ..outcome(prepared, Verdict::Accepted, id) }
    }

    fn new_conversion(
        &self,
        prepared: &Prepared,
        said: &Postback,
        credited: &Credited,
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
            affiliate_id: credited.affiliate_id,
            receipt_id: prepared.item.receipt_id,
            status: said.status.unwrap_or(goal.default_status),
            currency: said.currency.unwrap_or(program.currency),
            occurred_at: said.occurred_at.unwrap_or(prepared.item.received_at),
            received_at: prepared.item.received_at,
            updated_at: self.now,
            revision: 1,
            test: said.test,
            content: said.clone(),
            refunds: Vec::new(),
            click_subs: credited.subs.clone(),
            hold_until: None,
            booked_period: None,
            changed_by: ChangedBy::Sender,
            seen,
            no_commission: None,
            recurrence: None,
        }
    }

    fn revise(&mut self, prepared: &Prepared, said: &Postback, id: ConversionId, named_by: NamedBy) -> Outcome {
        let Some(mut booked) = self.known.remove(&id) else {
            return rejected(prepared, Some(id), Rejection::new(Code::Unavailable));
        };
        let answer = match judge(&booked.conversion, &booked.goal, said, named_by) {
            Change::Refused(rejection) => rejected(prepared, Some(id), rejection),
            Change::None { remember } => {
                let news = remember.into_iter().filter(|hash| booked.conversion.seen.insert(*hash)).count();
                if news > 0 {
                    self.touched(id);
                }
                outcome(prepared, Verdict::Duplicate, id)
            }
            Change::Revision { .. } if self.is_overtaken(prepared, said, &booked.conversion) => {
                rejected(prepared, Some(id), Rejection::new(Code::ConflictingRevision).because(OVERTAKEN))
            }
            Change::Revision { content, status, refund, remember } => {
                let mut revised = booked.conversion.clone();
                for hash in remember {
                    revised.seen.insert(hash);
                }
                revised.refunds.extend(refund);
                revised.occurred_at = content.occurred_at.unwrap_or(revised.occurred_at);
                revised.content = *content;
                revised.status = status;
                revised.receipt_id = prepared.item.receipt_id;
                revised.changed_by = ChangedBy::Sender;
                revised.updated_at = self.now;
                revised.revision = revised.revision.saturating_add(1);
                match self.revised(booked.clone(), revised) {
                    Ok(after) => {
                        self.bind(&after.conversion, Some(&booked.conversion), prepared.item.receipt_id, true);
                        booked = after;
                        self.touched(id);
                        outcome(prepared, Verdict::Updated, id)
                    }
                    Err(rejection) => rejected(prepared, Some(id), rejection),
                }
            }
        };
        self.known.insert(id, booked);
        answer
    }

    /// Whether this is replayed and would undo what a postback that arrived after it has said of the conversion. A sender
    /// that says which of the two is newer is believed, and a refund of its own takes off whatever it comes to.
    fn is_overtaken(&self, prepared: &Prepared, said: &Postback, now: &Conversion) -> bool {
        let newer = match (said.version.zip(now.content.version), said.updated_at.zip(now.content.updated_at)) {
            (Some((said, known)), _) => said > known,
            (None, Some((said, known))) => said > known,
            (None, None) => false,
        };
        let receipt = prepared.item.receipt_id;
        self.replayed.contains(&receipt) && receipt < now.receipt_id && !newer && !matches!(asked(said), Ok(Some(_)))
    }

    /// The books after `before` became `conversion`.
    fn revised(&mut self, before: Booked, mut conversion: Conversion) -> Result<Booked, Rejection> {
        let Booked { conversion: was, commission, goal } = before;
        self.date(&mut conversion, Some(&was), &goal);
        let (ends, begins_anew) = (is_over(conversion.status), is_over(was.status) && !is_over(conversion.status));
        let recompute = !ends && (begins_anew || earning::depends_on(&was, &conversion));
        let recomputed = recompute.then(|| self.earned(&conversion, &goal, commission.as_ref())).transpose()?;
        self.count(&mut conversion);
        if let (None, Some(result)) = (&commission, &recomputed) {
            conversion.no_commission = result.as_ref().err().copied();
        }
        self.tell(EventType::ConversionUpdated, &conversion, event::conversion_data(&conversion, &goal));
        let commission = match (commission, recomputed) {
            (Some(commission), Some(result)) if begins_anew => Some(revived(commission, result)),
            (Some(commission), Some(result)) => Some(self.correct(commission, result, &conversion, &goal)),
            (None, Some(Ok(new))) => {
                if !self.writes.created.contains(&conversion.id) {
                    self.writes.earning.insert(conversion.id);
                }
                self.tell_commission(EventType::CommissionCreated, &new, &conversion, &goal);
                Some(new)
            }
            (known, _) => known,
        };
        let commission = commission.map(|commission| self.follow(commission, &conversion, &goal));
        self.writes.superseded.push(Superseded { conversion: was, at: self.now });
        Ok(Booked { conversion, commission, goal })
    }

    fn touched(&mut self, id: ConversionId) {
        if !self.writes.created.contains(&id) {
            self.writes.changed.insert(id);
        }
    }
}

fn outcome(prepared: &Prepared, verdict: Verdict, id: ConversionId) -> Outcome {
    let receipt_id = prepared.item.receipt_id;
    Outcome { receipt_id, verdict, conversion_id: Some(id), rejection: None, disagreement: None }
}

fn rejected(prepared: &Prepared, conversion_id: Option<ConversionId>, rejection: Rejection) -> Outcome {
    let verdict = Verdict::Rejected(rejection.code);
    let receipt_id = prepared.item.receipt_id;
    Outcome { receipt_id, verdict, conversion_id, rejection: Some(rejection), disagreement: None }
}

#[cfg(test)]
mod tests;
