//! A small world to test in: an operator with a source and a program, an affiliate with a link, endpoints, a plan
//! that pays 5 EUR for a lead and 20 EUR for a sale, and a clock that stands until it is told to go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postback::clock::Clock;
use postback::domain::booking::{Item, Outcome};
use postback::domain::catalog::{
    Affiliate, Catalog, EndpointSecret, Goal, GoalPolicy, Key, Link, MacKey, Operator, Owner, Plan, Program, Role,
    Source, Status,
};
use postback::domain::click::{ClickId, ClickMacKey, LinkCode};
use postback::domain::customer::AttributionRule;
use postback::domain::endpoint::{Endpoint, EndpointKind, EndpointStatus, Subscription};
use postback::domain::event::EventType;
use postback::domain::ids::{
    AffiliateId, ConversionId, EndpointId, EndpointSecretId, GoalId, KeyId, LinkId, OperatorId, PlanId, PlanVersionId,
    ProgramId, ReceiptId, RequestId, SourceId,
};
use postback::domain::money::Rounding;
use postback::domain::plan::{FixedRate, PercentRate, PlanVersion, Terms};
use postback::domain::postback::{ConversionStatus, Postback};
use postback::domain::secret::ApiKey;
use postback::domain::signature::{InboundScheme, SigningSecret};
use postback::domain::time::Timestamp;
use postback::domain::verdict::{Rejection, Verdict};
use postback::store::configuration::Entry;
use postback::store::recording::{Arrival, NewClick, ReceivedRequest, RecordTerms, Recorded};
use postback::store::{Store, StoreError};
use serde_json::{Value, json};

use super::engines::{self, Database, Kind};

/// How long parked postbacks wait in these tests.
pub const PARK_FOR: Duration = Duration::from_secs(72 * 3_600);
/// How long after its commit an unclaimed delivery is hinted at again.
pub const REPUBLISH_AFTER: Duration = Duration::from_secs(60);
/// The number of the MAC key.
const MAC_KEY_NUMBER: u8 = 1;

/// See the module.
pub struct World {
    pub database: Database,
    pub clock: Clock,
    pub catalog: Arc<Catalog>,
    pub operator: Operator,
    pub source: Source,
    /// The operator's key: its text, and the row.
    pub operator_key: (ApiKey, Key),
    pub plan: Plan,
    pub plan_version: PlanVersion,
    pub program: Program,
    /// Counts once for each click, approved by default.
    pub lead: Goal,
    /// Counts as often as there are event ids, pending by default.
    pub sale: Goal,
    pub affiliate: Affiliate,
    pub link: Link,
    /// The affiliate's, told of everything.
    pub endpoint: Endpoint,
    pub endpoint_secret: SigningSecret,
    /// The operator's, told of approved commissions only.
    pub operator_endpoint: Endpoint,
    pub mac_key: MacKey,
}

/// What was said, from its fields as JSON.
pub fn said(fields: Value) -> Postback {
    serde_json::from_value(fields).unwrap()
}

/// `base` with `more` laid over it.
pub fn with(mut base: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("fields are an object") };
    base.as_object_mut().unwrap().extend(more);
    base
}

impl World {
    /// A new world on an engine, everything in it put through the store and read back.
    pub async fn new(kind: Kind) -> Self {
        let mut world = Self::plan_out(engines::open(kind).await);
        world.put(&world.entries()).await.unwrap();
        world
    }

    fn plan_out(database: Database) -> Self {
        let now = Timestamp::parse_rfc3339("2026-01-15T12:00:00Z").unwrap();
        let operator = operator(now, "Acme");
        let source = source(now, operator.id);
        let key = ApiKey::generate();
        let role = Role::Operator { operator_id: operator.id, source_id: source.id };
        let row = api_key(now, &key, role);
        let plan = Plan { id: PlanId::new(now), operator_id: operator.id, name: "Standard".into(), created_at: now };
        let plan_version = fixed(now, plan.id, &[("lead", "5"), ("sale", "20")]);
        let program = program(now, operator.id, Some(plan.id));
        let affiliate = affiliate(now, "Zoe");
        let link = link(now, program.id, affiliate.id);
        Self {
            lead: goal(now, program.id, "lead", GoalPolicy::Once, ConversionStatus::Approved),
            sale: goal(now, program.id, "sale", GoalPolicy::Many, ConversionStatus::Pending),
            endpoint: endpoint(now, Owner::Affiliate(affiliate.id), &[]),
            endpoint_secret: SigningSecret::generate(),
            operator_endpoint: endpoint(now, Owner::Operator(operator.id), &[EventType::CommissionApproved]),
            mac_key: MacKey { number: MAC_KEY_NUMBER, secret: Arc::new(ClickMacKey::generate()) },
            catalog: Arc::default(),
            clock: Clock::manual(now),
            operator_key: (key, row),
            database,
            operator,
            source,
            plan,
            plan_version,
            program,
            affiliate,
            link,
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let now = self.now();
        vec![
            Entry::MacKey { key: self.mac_key.clone(), created_at: now },
            Entry::Operator(self.operator.clone()),
            Entry::Source(self.source.clone()),
            Entry::Key(self.operator_key.1.clone()),
            Entry::Plan(self.plan.clone()),
            Entry::PlanVersion { version: self.plan_version.clone(), created_at: now },
            Entry::Program(self.program.clone()),
            Entry::Goal(self.lead.clone()),
            Entry::Goal(self.sale.clone()),
            Entry::Affiliate(self.affiliate.clone()),
            Entry::Link(self.link.clone()),
            Entry::Endpoint(self.endpoint.clone()),
            Entry::EndpointSecret(EndpointSecret {
                id: EndpointSecretId::new(now),
                endpoint_id: self.endpoint.id,
                secret: self.endpoint_secret.clone(),
                created_at: now,
                expires_at: None,
            }),
            Entry::Endpoint(self.operator_endpoint.clone()),
        ]
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        self.database.store.clone()
    }

    /// Writes configuration and reads the news.
    pub async fn put(&mut self, entries: &[Entry]) -> Result<i64, StoreError> {
        let version = self.database.put(entries).await?;
        self.reload().await;
        Ok(version)
    }

    /// Reads what changed in the configuration.
    pub async fn reload(&mut self) {
        let delta = self.database.load(self.catalog.version()).await.unwrap();
        self.catalog = Arc::new(self.catalog.with(delta));
    }

    /// Now, by the clock that stands.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What batches are recorded under: room for every hint.
    pub fn terms(&self) -> RecordTerms {
        RecordTerms { now: self.now(), park_for: PARK_FOR, republish_after: REPUBLISH_AFTER, room: usize::MAX }
    }

    /// A click id of our own on the world's link, an hour old; its row is not written.
    pub fn click(&self) -> String {
        self.click_on(self.link.code, self.now().minus(Duration::from_secs(3_600)))
    }

    /// A click id of our own.
    pub fn click_on(&self, link: LinkCode, at: Timestamp) -> String {
        ClickId::mint(link, at, MAC_KEY_NUMBER, &self.mac_key.secret, rand::random()).to_string()
    }

    /// A click of another tracker, an hour old, to be imported.
    pub fn foreign_click(&self, click_id: &str) -> NewClick {
        NewClick {
            operator_id: self.operator.id,
            click_id: click_id.to_owned(),
            program_id: self.program.id,
            affiliate_id: self.affiliate.id,
            link_id: None,
            clicked_at: self.now().minus(Duration::from_secs(3_600)),
            received_at: self.now(),
            subs: [("sub1".to_owned(), "blue".to_owned())].into(),
            ip_hash: Some(vec![1, 2, 3]),
            user_agent: Some("test".to_owned()),
        }
    }

    /// A lead on a click.
    pub fn a_lead(&self, click: &str, event: &str) -> Value {
        json!({ "click_id": click, "event_id": event, "goal": "lead" })
    }

    /// A sale on a click, approved.
    pub fn a_sale(&self, click: &str, event: &str) -> Value {
        json!({ "click_id": click, "event_id": event, "goal": "sale", "amount": "100", "status": "approved" })
    }

    /// A postback that arrives now. The clock goes on by a millisecond, so that no two arrive at once.
    pub fn arrival(&self, said: Result<Postback, Rejection>) -> Arrival {
        self.clock.advance(Duration::from_millis(1));
        let now = self.now();
        Arrival {
            request: ReceivedRequest {
                operator_id: self.operator.id,
                key_id: self.operator_key.1.id,
                request_id: RequestId::new(now),
                method: "GET",
                content_type: None,
                query: "goal=lead".to_owned(),
                body: Vec::new(),
                peer: "192.0.2.1".to_owned(),
            },
            item: Item {
                receipt_id: ReceiptId::new(now),
                source_id: self.source.id,
                received_at: now,
                said,
                parked: false,
            },
        }
    }

    /// Records postbacks in one batch.
    pub async fn record_all(&self, fields: impl IntoIterator<Item = Value>) -> Recorded {
        let arrivals: Vec<Arrival> = fields.into_iter().map(|fields| self.arrival(Ok(said(fields)))).collect();
        self.database.record_batch(&arrivals, &self.catalog, self.terms()).await.unwrap()
    }

    /// Records one postback.
    pub async fn record(&self, fields: Value) -> Outcome {
        self.record_all([fields]).await.outcomes.remove(0)
    }

    /// Records one postback that must be taken as a new conversion.
    pub async fn accepted(&self, fields: Value) -> ConversionId {
        let outcome = self.record(fields).await;
        assert_eq!(outcome.verdict, Verdict::Accepted, "{outcome:?}");
        outcome.conversion_id.unwrap()
    }

    /// What lies in each account: `payable` of the affiliate as what it is owed, the operator's expense as what it
    /// owes; other accounts by their names. Empty accounts are left out.
    pub async fn balances(&self) -> BTreeMap<String, String> {
        let mut balances = BTreeMap::new();
        for balance in self.database.balances("").await.unwrap() {
            let affiliate = format!("affiliate:{}:", self.affiliate.id);
            let operator = format!("operator:{}:", self.operator.id);
            let (name, amount) = if let Some(name) = balance.account.strip_prefix(&affiliate) {
                (name.to_owned(), -balance.amount)
            } else {
                let name = balance.account.strip_prefix(&operator).unwrap_or(&balance.account);
                (name.to_owned(), balance.amount)
            };
            if !amount.is_zero() {
                balances.insert(name, format!("{amount} {}", balance.currency));
            }
        }
        balances
    }

    /// The affiliate is owed exactly this, and the operator owes it; the books are sound.
    pub async fn assert_owed(&self, amount: &str) {
        self.assert_sound().await;
        let owed = format!("{amount} EUR");
        let both = [("commission_expense", owed.clone()), ("payable", owed)];
        let expected: BTreeMap<String, String> =
            both.into_iter().filter(|_| amount != "0").map(|(name, owed)| (name.to_owned(), owed)).collect();
        assert_eq!(self.balances().await, expected);
    }

    /// Every check of the ledger passes.
    pub async fn assert_sound(&self) {
        assert_eq!(self.database.verify_ledger().await.unwrap(), []);
    }
}

pub fn operator(now: Timestamp, name: &str) -> Operator {
    Operator { id: OperatorId::new(now), name: name.to_owned(), status: Status::Active, created_at: now }
}

pub fn source(now: Timestamp, operator_id: OperatorId) -> Source {
    Source {
        id: SourceId::new(now),
        operator_id,
        name: "Tracker".to_owned(),
        signature_scheme: InboundScheme::None,
        payout_override: false,
        negative_is_refund: false,
        test: false,
        status: Status::Active,
        created_at: now,
    }
}

pub fn api_key(now: Timestamp, key: &ApiKey, role: Role) -> Key {
    Key {
        id: KeyId::new(now),
        public_id: key.public_id(),
        hash: key.hash(),
        name: "Test".to_owned(),
        role,
        ip_allowlist: vec!["192.0.2.0/24".parse().unwrap()],
        rate_per_minute: 6_000,
        test: false,
        expires_at: None,
        revoked_at: None,
        created_at: now,
    }
}

/// A version of a plan that has always been valid.
pub fn fixed(now: Timestamp, plan_id: PlanId, rates: &[(&str, &str)]) -> PlanVersion {
    let rate = |(goal, amount): &(&str, &str)| FixedRate {
        goal: (*goal).to_owned(),
        amount: amount.parse().unwrap(),
        currency: "EUR".parse().unwrap(),
    };
    PlanVersion {
        id: PlanVersionId::new(now),
        plan_id,
        valid_from: Timestamp::from_seconds(0).unwrap(),
        terms: Terms::Fixed { rates: rates.iter().map(rate).collect(), rounding: Rounding::HalfUp },
    }
}

/// A version of a plan that has always been valid and pays a percentage of each sale, for so many months.
pub fn percent(now: Timestamp, plan_id: PlanId, percent: &str, months: Option<u32>) -> PlanVersion {
    let rate = PercentRate { goal: "sale".to_owned(), percent: percent.parse().unwrap(), months };
    let terms = Terms::Percent { rates: vec![rate], rounding: Rounding::HalfUp };
    PlanVersion { terms, ..fixed(now, plan_id, &[]) }
}

pub fn program(now: Timestamp, operator_id: OperatorId, default_plan_id: Option<PlanId>) -> Program {
    Program {
        id: ProgramId::new(now),
        operator_id,
        name: "Shop".to_owned(),
        currency: "EUR".parse().unwrap(),
        destination_url: "https://shop.example/?click={click_id}".to_owned(),
        attribution_window_days: 30,
        attribution: AttributionRule::Lifetime,
        default_plan_id,
        commission_hold_days: 0,
        status: Status::Active,
        created_at: now,
    }
}

pub fn goal(
    now: Timestamp,
    program_id: ProgramId,
    name: &str,
    policy: GoalPolicy,
    default_status: ConversionStatus,
) -> Goal {
    Goal {
        id: GoalId::new(now),
        program_id,
        name: name.to_owned(),
        policy,
        default_status,
        min_click_seconds: 0,
        hold_days: None,
        commission_hold_days: None,
        created_at: now,
    }
}

pub fn affiliate(now: Timestamp, name: &str) -> Affiliate {
    Affiliate {
        id: AffiliateId::new(now),
        name: name.to_owned(),
        settlement_currency: None,
        status: Status::Active,
        created_at: now,
    }
}

pub fn link(now: Timestamp, program_id: ProgramId, affiliate_id: AffiliateId) -> Link {
    Link {
        id: LinkId::new(now),
        code: LinkCode::generate(),
        program_id,
        affiliate_id,
        status: Status::Active,
        created_at: now,
    }
}

pub fn endpoint(now: Timestamp, owner: Owner, event_types: &[EventType]) -> Endpoint {
    Endpoint {
        id: EndpointId::new(now),
        owner,
        kind: EndpointKind::Webhook,
        url: "https://affiliate.example/hook".to_owned(),
        subscription: Subscription { event_types: event_types.to_vec(), ..Subscription::default() },
        expected_status: None,
        status: EndpointStatus::Active,
        status_reason: None,
        created_at: now,
    }
}
