//! Invariants over the pure booking (DOMAIN 3.5 no. 1 and 7), with a store of maps in place of a database.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;
use crate::domain::catalog::{Affiliate, CatalogDelta, GoalPolicy, Operator, Owner, Plan, Source, Status};
use crate::domain::conversion::after;
use crate::domain::customer::AttributionRule;
use crate::domain::endpoint::{Endpoint, EndpointKind, EndpointStatus, Subscription};
use crate::domain::ids::{EndpointId, GoalId, PlanId, PlanVersionId};
use crate::domain::money::Rounding;
use crate::domain::plan::{FixedRate, PlanVersion, Terms};
use crate::domain::postback::ConversionStatus::{Approved, Hold, Pending};
use crate::domain::signature::InboundScheme;

/// What a database would hold, and what a batch does to it.
struct Memory {
    catalog: Catalog,
    source_id: SourceId,
    clicks: HashMap<(OperatorId, String), ClickFacts>,
    keys: HashMap<String, ConversionId>,
    booked: HashMap<ConversionId, Booked>,
    parked: Vec<Parked>,
    balances: BTreeMap<String, Decimal>,
    events: usize,
    millis: i64,
}

const START_MICROS: i64 = 1_767_225_600_000_000;

impl Memory {
    fn new() -> Self {
        let now = Timestamp::from_micros(START_MICROS);
        let status = Status::Active;
        let operator = Operator { id: OperatorId::new(now), name: "o".into(), status, created_at: now };
        let affiliate = Affiliate {
            id: AffiliateId::new(now),
            name: "a".into(),
            settlement_currency: None,
            status,
            created_at: now,
        };
        let source = source(now, operator.id);
        let plan = Plan { id: PlanId::new(now), operator_id: operator.id, name: "p".into(), created_at: now };
        let program = program(now, operator.id, plan.id);
        let click =
            ClickFacts { program_id: program.id, affiliate_id: affiliate.id, clicked_at: now, subs: BTreeMap::new() };
        let clicks = [((operator.id, "c1".to_owned()), click)].into();
        let source_id = source.id;
        let catalog = Catalog::default().with(CatalogDelta {
            version: 1,
            goals: vec![
                goal(now, program.id, "sale", GoalPolicy::Many),
                goal(now, program.id, "lead", GoalPolicy::Once),
            ],
            plan_versions: vec![plan_version(now, plan.id)],
            endpoints: vec![endpoint(now, affiliate.id)],
            operators: vec![operator],
            sources: vec![source],
            plans: vec![plan],
            programs: vec![program],
            affiliates: vec![affiliate],
            ..CatalogDelta::default()
        });
        let (keys, booked, parked, balances) = (HashMap::new(), HashMap::new(), Vec::new(), BTreeMap::new());
        Self { catalog, source_id, clicks, keys, booked, parked, balances, events: 0, millis: 0 }
    }

    /// One batch, as the store's transaction has it.
    fn record(&mut self, batch: &[Value]) -> Vec<Outcome> {
        self.millis += 1;
        let now = Timestamp::from_micros(START_MICROS + self.millis * 1_000);
        let catalog = self.catalog.clone();
        let mut booking = Booking::new(&catalog, now, self.clicks.clone());
        let item = |said: &Value| Item {
            receipt_id: ReceiptId::new(now),
            source_id: self.source_id,
            received_at: now,
            said: Ok(serde_json::from_value(said.clone()).unwrap()),
            parked: false,
        };
        let mut prepared: Vec<Prepared> = batch.iter().map(|said| booking.prepare(item(said))).collect();
        prepared.extend(self.woken(&prepared, &booking));
        let wanted: Vec<(String, ConversionId)> =
            prepared.iter().flat_map(Prepared::wanted_keys).map(|(key, id)| (key.to_owned(), id)).collect();
        let taken: Vec<String> =
            wanted.into_iter().map(|(key, _)| key).filter(|key| !self.keys.contains_key(key)).collect();
        taken.iter().for_each(|key| booking.key_taken(key.clone()));
        for key in prepared.iter().flat_map(Prepared::known_by) {
            if let Some(id) = self.keys.get(key) {
                booking.key_known(key.to_owned(), *id);
                booking.conversion_known(self.booked[id].clone());
            }
        }
        let outcomes = booking.apply_all(&prepared);
        self.write(&booking, taken);
        outcomes.into_iter().take(batch.len()).collect()
    }

    /// What is parked for anything that these bring; each waits for one event, so one look is enough.
    fn woken(&self, prepared: &[Prepared], booking: &Booking<'_>) -> Vec<Prepared> {
        let brought: BTreeSet<String> = prepared.iter().flat_map(Prepared::brings).collect();
        let waiting = self.parked.iter().filter(|parked| brought.contains(&parked.wait_key));
        let item = |parked: &Parked| Item {
            receipt_id: parked.receipt_id,
            source_id: parked.source_id,
            received_at: parked.received_at,
            said: Ok(parked.postback.clone()),
            parked: true,
        };
        waiting.map(|parked| booking.prepare(item(parked))).collect()
    }

    fn write(&mut self, booking: &Booking<'_>, taken: Vec<String>) {
        let writes = booking.writes();
        self.keys.extend(taken.into_iter().filter_map(|key| booking.key_target(&key).map(|id| (key, id))));
        for id in writes.created.iter().chain(&writes.changed) {
            self.booked.insert(*id, booking.booked(*id).unwrap().clone());
        }
        self.parked.retain(|parked| !writes.unparked.contains(&parked.receipt_id));
        self.parked.extend(writes.parked.iter().cloned());
        for entry in writes.postings.iter().flat_map(|posting| &posting.entries) {
            *self.balances.entry(format!("{} {}", entry.account, entry.money.currency)).or_default() +=
                entry.money.amount.decimal();
        }
        self.events += writes.outbox.events.len();
    }

    /// What the one conversion came to: what is owed, whether it is over, and what is left of it if it is not.
    fn came_to(&self) -> (Vec<Decimal>, bool, Option<String>) {
        assert_eq!(self.booked.len(), 1);
        let conversion = &self.booked.values().next().unwrap().conversion;
        let over = is_over(conversion.status);
        let left = conversion.content.amount.filter(|_| !over).map(|amount| amount.to_string());
        (self.balances.values().copied().filter(|balance| !balance.is_zero()).collect(), over, left)
    }
}

fn source(now: Timestamp, operator_id: OperatorId) -> Source {
    Source {
        id: SourceId::new(now),
        operator_id,
        name: "s".into(),
        signature_scheme: InboundScheme::None,
        payout_override: true,
        negative_is_refund: false,
        test: false,
        status: Status::Active,
        created_at: now,
    }
}

fn program(now: Timestamp, operator_id: OperatorId, plan: PlanId) -> Program {
    Program {
        id: ProgramId::new(now),
        operator_id,
        name: "p".into(),
        currency: "EUR".parse().unwrap(),
        destination_url: String::new(),
        attribution_window_days: 30,
        attribution: AttributionRule::Lifetime,
        default_plan_id: Some(plan),
        commission_hold_days: 0,
        status: Status::Active,
        created_at: now,
    }
}

fn goal(now: Timestamp, program_id: ProgramId, name: &str, policy: GoalPolicy) -> Goal {
    Goal {
        id: GoalId::new(now),
        program_id,
        name: name.into(),
        policy,
        default_status: Approved,
        min_click_seconds: 0,
        hold_days: None,
        commission_hold_days: None,
        created_at: now,
    }
}

fn plan_version(now: Timestamp, plan_id: PlanId) -> PlanVersion {
    let rate = FixedRate { goal: "lead".into(), amount: "5".parse().unwrap(), currency: "EUR".parse().unwrap() };
    let terms = Terms::Fixed { rates: vec![rate], rounding: Rounding::HalfUp };
    PlanVersion { id: PlanVersionId::new(now), plan_id, valid_from: Timestamp::from_micros(0), terms }
}

fn endpoint(now: Timestamp, affiliate: AffiliateId) -> Endpoint {
    Endpoint {
        id: EndpointId::new(now),
        owner: Owner::Affiliate(affiliate),
        kind: EndpointKind::Webhook,
        url: String::new(),
        subscription: Subscription::default(),
        expected_status: None,
        status: EndpointStatus::Active,
        status_reason: None,
        created_at: now,
    }
}

/// One event as its sender tells of it: versions of the sale that go a legal way through the statuses, then refunds as
/// events of their own, in all less than the sale ever was, and perhaps one that takes back all.
fn histories() -> impl Strategy<Value = Vec<Value>> {
    let version = (any::<Index>(), 50..100_u32, 0..4_u32);
    let first = prop::sample::select(vec![Pending, Approved, Hold]);
    let refunds = prop::collection::vec(1..12_u32, 0..4);
    (first, prop::collection::vec(version, 1..5), refunds, any::<bool>()).prop_map(|(first, versions, refunds, all)| {
        let mut said = Vec::new();
        let mut stands = None;
        for (place, (choice, amount, payout)) in versions.into_iter().enumerate() {
            let status = match stands {
                None => first,
                Some(stands) => {
                    let allowed: Vec<_> =
                        ConversionStatus::ALL.into_iter().filter(|to| after(stands, Some(*to)).is_some()).collect();
                    if allowed.is_empty() {
                        break;
                    }
                    *choice.get(&allowed)
                }
            };
            stands = stands.map_or(Some(first), |stands| after(stands, Some(status)));
            said.push(json!({
                "click_id": "c1", "event_id": "e1", "goal": "sale", "version": place + 1, "status": status,
                "amount": amount.to_string(), "payout": payout.to_string(),
            }));
        }
        for (place, amount) in refunds.into_iter().enumerate() {
            let id = format!("r{place}");
            said.push(json!({ "event_id": id, "original_event_id": "e1", "amount": amount.to_string() }));
        }
        if all {
            said.push(json!({ "event_id": "all", "original_event_id": "e1", "status": "reversed" }));
        }
        said
    })
}

/// A history, an order of its postbacks in which each comes at least once, and how many come at a time.
fn shuffled() -> impl Strategy<Value = (Vec<Value>, Vec<Value>, usize)> {
    histories().prop_flat_map(|history| {
        let again = prop::collection::vec(prop::sample::select(history.clone()), 0..6);
        let order = again.prop_map({
            let history = history.clone();
            move |again| history.iter().cloned().chain(again).collect::<Vec<_>>()
        });
        (Just(history), order.prop_shuffle(), 1..4_usize)
    })
}

proptest! {
    #[test]
    fn any_order_and_multiplicity_comes_to_the_same((history, order, batch) in shuffled()) {
        let (mut straight, mut mixed) = (Memory::new(), Memory::new());
        history.iter().for_each(|said| drop(straight.record(std::slice::from_ref(said))));
        order.chunks(batch).for_each(|said| drop(mixed.record(said)));
        prop_assert_eq!(straight.came_to(), mixed.came_to());
        prop_assert!(straight.parked.is_empty() && mixed.parked.is_empty(), "every refund has found its sale");
    }

    #[test]
    fn a_duplicate_never_emits_an_event((_, order, _) in shuffled()) {
        let mut memory = Memory::new();
        for said in &order {
            let (events, balances) = (memory.events, memory.balances.clone());
            let parked = memory.parked.len();
            let outcomes = memory.record(std::slice::from_ref(said));
            if outcomes[0].verdict == Verdict::Duplicate && parked == memory.parked.len() {
                prop_assert_eq!((memory.events, &memory.balances), (events, &balances));
            }
        }
        let (events, balances) = (memory.events, memory.balances.clone());
        for said in &order {
            let verdict = memory.record(std::slice::from_ref(said))[0].verdict;
            let quiet = matches!(verdict, Verdict::Duplicate | Verdict::Rejected(_));
            prop_assert!(quiet, "{}: {:?}", said, verdict);
        }
        prop_assert_eq!((memory.events, memory.balances), (events, balances));
    }

    #[test]
    fn a_full_reversal_nets_to_nothing((mut history, _, _) in shuffled()) {
        let mut memory = Memory::new();
        history.push(json!({ "event_id": "e1", "status": "reversed", "version": 99 }));
        history.iter().for_each(|said| drop(memory.record(std::slice::from_ref(said))));
        prop_assert!(memory.balances.values().all(Decimal::is_zero), "{:?}", memory.balances);
    }
}
