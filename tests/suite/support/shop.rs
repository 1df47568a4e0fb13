//! One operator with one program that pays 5 EUR for each sale, one affiliate, one click, and who is told.

use postback::domain::booking::Item;
use postback::domain::catalog::{
    Affiliate, Endpoint, EndpointSecret, Goal, GoalPolicy, Key, Operator, Owner, Plan, Program, Role, Source, Status,
};
use postback::domain::event::EventType;
use postback::domain::ids::{
    AffiliateId, EndpointId, EndpointSecretId, GoalId, KeyId, OperatorId, PlanId, PlanVersionId, ProgramId, ReceiptId,
    RequestId, SourceId,
};
use postback::domain::money::Rounding;
use postback::domain::plan::{FixedRate, PlanVersion, Terms};
use postback::domain::postback::{ConversionStatus, Postback};
use postback::domain::secret::ApiKey;
use postback::domain::signature::InboundScheme;
use postback::domain::time::Timestamp;
use postback::store::Store;
use postback::store::configuration::Entry;
use postback::store::recording::{Arrival, NewClick, ReceivedRequest};

use super::receiver::Receiver;

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
        let key = Key {
            id: KeyId::new(now),
            public_id: api_key.public_id(),
            hash: api_key.hash(),
            name: "sender".into(),
            role: Role::Operator { operator_id, source_id },
            ip_allowlist: Vec::new(),
            rate_per_minute: 1_000_000,
            expires_at: None,
            revoked_at: None,
            created_at: now,
        };
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
        let operator_id = self.operator_id;
        let source = Source {
            id: self.source_id,
            operator_id,
            name: "canonical".into(),
            signature_scheme: InboundScheme::None,
            payout_override: false,
            test: false,
            status: Status::Active,
            created_at: now,
        };
        let program = Program {
            id: self.program_id,
            operator_id,
            name: "program".into(),
            currency: "EUR".parse().unwrap(),
            destination_url: "https://operator.example/?click={click_id}".into(),
            attribution_window_days: 30,
            default_plan_id: Some(self.plan_id),
            status: Status::Active,
            created_at: now,
        };
        let goal = Goal {
            id: GoalId::new(now),
            program_id: self.program_id,
            name: "sale".into(),
            policy: GoalPolicy::Many,
            default_status: ConversionStatus::Approved,
            min_click_seconds: 0,
            created_at: now,
        };
        vec![
            Entry::Operator(Operator {
                id: operator_id,
                name: "operator".into(),
                status: Status::Active,
                created_at: now,
            }),
            Entry::Source(source),
            Entry::Plan(Plan { id: self.plan_id, operator_id, name: "plan".into(), created_at: now }),
            self.plan_version("5.00", Timestamp::from_micros(0)),
            Entry::Program(program),
            Entry::Goal(goal),
            Entry::Affiliate(Affiliate {
                id: self.affiliate_id,
                name: "affiliate".into(),
                status: Status::Active,
                created_at: now,
            }),
            Entry::Key(self.key.clone()),
        ]
    }

    /// Terms that pay `amount` for a sale from `valid_from` on.
    pub fn plan_version(&self, amount: &str, valid_from: Timestamp) -> Entry {
        let rate = FixedRate { goal: "sale".into(), amount: amount.parse().unwrap(), currency: "EUR".parse().unwrap() };
        let version = PlanVersion {
            id: PlanVersionId::new(self.now),
            plan_id: self.plan_id,
            valid_from,
            terms: Terms::Fixed { rates: vec![rate], rounding: Rounding::HalfUp },
        };
        Entry::PlanVersion { version, created_at: self.now }
    }

    /// Has the affiliate told of these events at `receiver`; of all where none is named.
    pub async fn tell(&self, store: &dyn Store, receiver: &Receiver, events: &[EventType]) -> EndpointId {
        let endpoint = Endpoint {
            id: EndpointId::new(self.now),
            owner: Owner::Affiliate(self.affiliate_id),
            url: receiver.url(),
            event_types: events.to_vec(),
            status: Status::Active,
            created_at: self.now,
        };
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
