//! One operator with one program that pays 5 EUR for each sale, one affiliate, one click, and who is told.

use postback::domain::booking::Item;
use postback::domain::catalog::{
    Affiliate, EndpointSecret, GoalPolicy, Key, Operator, Owner, Plan, Program, Role, Source,
};
use postback::domain::endpoint::{Endpoint, EndpointKind};
use postback::domain::event::EventType;
use postback::domain::ids::{
    AffiliateId, EndpointId, EndpointSecretId, OperatorId, PlanId, ProgramId, ReceiptId, RequestId, SourceId,
};
use postback::domain::plan::PlanVersion;
use postback::domain::postback::{ConversionStatus, Postback};
use postback::domain::secret::ApiKey;
use postback::domain::time::Timestamp;
use postback::store::Store;
use postback::store::configuration::Entry;
use postback::store::recording::{Arrival, NewClick, ReceivedRequest};

use super::receiver::Receiver;
use super::world;

/// The click that is there from the start.
pub const CLICK: &str = "click-1";

/// What was set up.
pub struct Shop {
    pub operator_id: OperatorId,
    pub source_id: SourceId,
    pub program_id: ProgramId,
    pub plan_id: PlanId,
    pub affiliate_id: AffiliateId,
    pub key: Key,
    /// The key's secret, as a sender presents it.
    pub api_key: ApiKey,
    now: Timestamp,
}

impl Shop {
    /// Sets it up, with the click.
    pub async fn open(store: &dyn Store) -> Self {
        let now = postback::clock::Clock::system().now();
        let operator_id = OperatorId::new(now);
        let source_id = SourceId::new(now);
        let api_key = ApiKey::generate();
        let role = Role::Operator { operator_id, source_id };
        let row = world::api_key(now, &api_key, role);
        let key = Key { ip_allowlist: Vec::new(), rate_per_minute: 1_000_000, ..row };
        let shop = Self {
            operator_id,
            source_id,
            program_id: ProgramId::new(now),
            plan_id: PlanId::new(now),
            affiliate_id: AffiliateId::new(now),
            key,
            api_key,
            now,
        };
        store.put(&shop.entries()).await.unwrap();
        assert_eq!(store.record_clicks(&[shop.click(CLICK)]).await.unwrap(), [true]);
        shop
    }

    fn entries(&self) -> Vec<Entry> {
        let now = self.now;
        let operator = Operator { id: self.operator_id, ..world::operator(now, "operator") };
        let source = Source { id: self.source_id, ..world::source(now, operator.id) };
        let plan = Plan { id: self.plan_id, operator_id: operator.id, name: "plan".into(), created_at: now };
        let program = Program { id: self.program_id, ..world::program(now, operator.id, Some(plan.id)) };
        let goal = world::goal(now, program.id, "sale", GoalPolicy::Many, ConversionStatus::Approved);
        let affiliate = Affiliate { id: self.affiliate_id, ..world::affiliate(now, "affiliate") };
        vec![
            Entry::Operator(operator),
            Entry::Source(source),
            Entry::Plan(plan),
            self.plan_version("5.00", Timestamp::from_micros(0)),
            Entry::Program(program),
            Entry::Goal(goal),
            Entry::Affiliate(affiliate),
            Entry::Key(self.key.clone()),
        ]
    }

    /// Terms that pay `amount` for a sale from `valid_from` on.
    pub fn plan_version(&self, amount: &str, valid_from: Timestamp) -> Entry {
        let version = PlanVersion { valid_from, ..world::fixed(self.now, self.plan_id, &[("sale", amount)]) };
        Entry::PlanVersion { version, created_at: self.now }
    }

    /// Has the affiliate told of these events at `receiver`; of all where none is named.
    pub async fn tell(&self, store: &dyn Store, receiver: &Receiver, events: &[EventType]) -> EndpointId {
        let owner = Owner::Affiliate(self.affiliate_id);
        let endpoint = Endpoint { url: receiver.url(), ..world::endpoint(self.now, owner, events) };
        let secret = EndpointSecret {
            id: EndpointSecretId::new(self.now),
            endpoint_id: endpoint.id,
            secret: receiver.secret().clone(),
            created_at: self.now,
            expires_at: None,
        };
        let id = endpoint.id;
        store.put(&[Entry::Endpoint(endpoint), Entry::EndpointSecret(secret)]).await.unwrap();
        id
    }

    /// A postback of the affiliate, told of these events at `receiver`; `query` has macros.
    pub fn postback(&self, receiver: &Receiver, query: &str, events: &[EventType]) -> Endpoint {
        let owner = Owner::Affiliate(self.affiliate_id);
        let endpoint = world::endpoint(self.now, owner, events);
        Endpoint { kind: EndpointKind::Postback, url: receiver.postback_url(query), ..endpoint }
    }

    /// A click of the affiliate, an hour ago.
    pub fn click(&self, id: &str) -> NewClick {
        NewClick {
            operator_id: self.operator_id,
            click_id: id.to_owned(),
            program_id: self.program_id,
            affiliate_id: self.affiliate_id,
            link_id: None,
            clicked_at: self.now.minus(std::time::Duration::from_secs(3_600)),
            received_at: self.now,
            subs: [("sub1".to_owned(), "newsletter".to_owned())].into(),
            ip_hash: None,
            user_agent: None,
        }
    }

    /// A sale of 20 EUR on the click, as it comes from intake.
    pub fn sale(&self, event_id: &str) -> Arrival {
        self.sale_on(CLICK, event_id)
    }

    /// A sale of 20 EUR on this click.
    pub fn sale_on(&self, click: &str, event_id: &str) -> Arrival {
        let now = postback::clock::Clock::system().now();
        let said = Postback {
            click_id: Some(click.parse().unwrap()),
            event_id: Some(event_id.parse().unwrap()),
            goal: Some("sale".parse().unwrap()),
            amount: Some("20".parse().unwrap()),
            ..Postback::default()
        };
        let request = ReceivedRequest {
            operator_id: self.operator_id,
            key_id: self.key.id,
            request_id: RequestId::new(now),
            method: "GET",
            content_type: None,
            query: format!("click_id={click}&event_id={event_id}&goal=sale&amount=20"),
            body: Vec::new(),
            peer: "127.0.0.1".into(),
        };
        let item = Item {
            receipt_id: ReceiptId::new(now),
            source_id: self.source_id,
            received_at: now,
            said: Ok(said),
            parked: false,
        };
        Arrival { request, item }
    }
}
