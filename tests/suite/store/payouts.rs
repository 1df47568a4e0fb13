//! Payouts on both engines: what they are made of, what each step books and tells, and that nothing is paid twice.

use std::sync::Arc;

use postback::domain::catalog::Owner;
use postback::domain::endpoint::{Endpoint, Subscription};
use postback::domain::event::EventType;
use postback::domain::ids::{ConversionId, KeyId, PayoutId};
use postback::domain::money::Amount;
use postback::domain::payout::{NoPayout, Payout, PayoutState, Refusal, Step};
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::outbox::{OutboxTerms, Told};
use postback::store::payouts::{Creation, NewPayout, TakeStep, Taken};
use postback::store::reading::{Filter, Page};
use rust_decimal::Decimal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World, endpoint, with};

on_both_engines!(
    a_payout_goes_from_the_balance_to_the_affiliate,
    what_fails_is_tried_again_or_goes_back,
    what_is_canceled_or_comes_back_is_paid_again,
    a_reversal_after_a_payout_is_debt,
    what_is_too_little_is_carried_on,
    the_same_key_answers_the_same_payout,
    a_reference_belongs_to_one_payout,
    of_many_wishes_at_once_each_entry_is_paid_once,
    of_many_steps_at_once_one_is_taken,
    payouts_and_new_entries_do_not_disturb_each_other,
    who_is_told_of_what,
    lists_and_what_is_stuck,
    steps_are_never_changed,
    a_stale_catalog_is_refused,
);

const ALL: Page = Page { before: None, limit: 1_000 };

impl World {
    pub fn payout_terms(&self) -> OutboxTerms {
        OutboxTerms { now: self.now(), republish_after: REPUBLISH_AFTER, room: usize::MAX }
    }

    /// A wish for a payout in euros under this key.
    pub fn wish(&self, key: &str) -> NewPayout {
        NewPayout {
            affiliate_id: self.affiliate.id,
            currency: "EUR".parse().unwrap(),
            minimum: None,
            draft: false,
            idempotency_key: key.to_owned(),
            created_by: Some(KeyId::new(self.now())),
        }
    }

    /// What becomes of a wish.
    pub async fn ask(&self, new: &NewPayout) -> Result<Creation, StoreError> {
        self.database.create_payout(new, &self.catalog, self.payout_terms()).await
    }

    /// A payout that must be made.
    pub async fn payout(&self, key: &str) -> Payout {
        match self.ask(&self.wish(key)).await.unwrap() {
            Creation::Made(payout, _) => payout,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of a step.
    pub async fn try_step(&self, id: PayoutId, step: Step) -> Result<Taken, StoreError> {
        let take = TakeStep { id, step, by: KeyId::new(self.now()), one_person_up_to: Amount::ZERO };
        self.database.step_payout(&take, &self.catalog, self.payout_terms()).await
    }

    /// A step that must be taken.
    pub async fn step(&self, id: PayoutId, step: Step) -> (Payout, Told) {
        match self.try_step(id, step.clone()).await.unwrap() {
            Taken::Done(payout, told) => (payout, told),
            other => panic!("{step:?}: {other:?}"),
        }
    }

    /// Steps that must be taken, one after the other.
    pub async fn steps(&self, id: PayoutId, steps: impl IntoIterator<Item = Step>) -> Payout {
        let mut last = None;
        for step in steps {
            last = Some(self.step(id, step).await.0);
        }
        last.unwrap()
    }

    /// Sales that must be taken, 20 EUR each.
    pub async fn sales(&self, events: &[&str]) -> Vec<ConversionId> {
        let mut ids = Vec::new();
        for event in events {
            ids.push(self.accepted(self.a_sale(&self.click(), event)).await);
        }
        ids
    }

    /// What lies in an account of [`World::balances`].
    pub async fn lies(&self, account: &str) -> String {
        self.balances().await.get(account).cloned().unwrap_or_default()
    }
}

pub fn send(reference: &str) -> Step {
    Step::Send(reference.parse().unwrap())
}

pub fn fail() -> Step {
    Step::Fail(serde_json::from_value("account closed".into()).unwrap())
}

pub fn give_back() -> Step {
    Step::Return(serde_json::from_value("account closed".into()).unwrap())
}

pub fn cancel() -> Step {
    Step::Cancel(serde_json::from_value("not now".into()).unwrap())
}

async fn a_payout_goes_from_the_balance_to_the_affiliate(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1", "s2"]).await;
    world.accepted(world.a_lead(&world.click(), "l1")).await;
    let payout = world.payout("k1").await;
    assert_eq!((payout.money.amount_text(), payout.items), ("45.00".to_owned(), 3));
    assert_eq!((payout.state, payout.revision), (PayoutState::PendingApproval, 1));
    assert_eq!((world.lies("payable").await, world.lies("payouts:clearing").await), (String::new(), "-45 EUR".into()));
    world.assert_sound().await;
    world.sales(&["s3"]).await;
    let sent = world.steps(payout.id, [Step::Approve, Step::Process, send("tx-1")]).await;
    assert_eq!(sent.reference.unwrap().as_str(), "tx-1");
    assert_eq!(world.lies("payouts:clearing").await, "-45 EUR", "nothing moves on the way");
    world.assert_sound().await;
    let done = world.steps(payout.id, [Step::Complete]).await;
    assert_eq!((done.state, done.revision), (PayoutState::Completed, 5));
    let balances: Vec<_> = world.balances().await.into_iter().collect();
    let expected = [("commission_expense", "65 EUR"), ("payable", "20 EUR"), ("settled", "-45 EUR")];
    assert_eq!(balances, expected.map(|(account, amount)| (account.to_owned(), amount.to_owned())));
    world.assert_sound().await;
    assert_eq!(world.payout("k2").await.money.amount_text(), "20.00", "the rest is another payout");
}

async fn what_fails_is_tried_again_or_goes_back(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let payout = world.payout("k1").await;
    let failed = world.steps(payout.id, [Step::Approve, Step::Process, fail()]).await;
    assert_eq!(failed.state, PayoutState::Failed);
    assert_eq!(world.lies("payable").await, "", "a failure gives nothing back by itself");
    world.steps(payout.id, [Step::Process, send("tx-1"), fail(), Step::Process, send("tx-2"), Step::Complete]).await;
    assert_eq!(world.lies("settled").await, "-20 EUR");
    world.assert_sound().await;

    world.sales(&["s2"]).await;
    let payout = world.payout("k2").await;
    let back = world.steps(payout.id, [Step::Approve, send("tx-3"), fail(), give_back()]).await;
    assert_eq!(back.state, PayoutState::Returned);
    assert_eq!((world.lies("payable").await, world.lies("payouts:clearing").await), ("20 EUR".into(), String::new()));
    world.assert_sound().await;
}

async fn what_is_canceled_or_comes_back_is_paid_again(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let draft = NewPayout { draft: true, ..world.wish("k1") };
    let Creation::Made(first, told) = world.ask(&draft).await.unwrap() else { panic!("no payout") };
    assert_eq!((first.state, told.hints.len()), (PayoutState::Draft, 0));
    assert_eq!(world.steps(first.id, [cancel()]).await.state, PayoutState::Canceled);
    world.assert_owed("20").await;
    let Taken::Refused(refusal) = world.try_step(first.id, Step::Submit).await.unwrap() else { panic!("taken") };
    assert_eq!(refusal, Refusal::NotFrom(PayoutState::Canceled));

    world.sales(&["s2"]).await;
    let second = world.payout("k2").await;
    assert_eq!(second.money.amount_text(), "40.00");
    world.steps(second.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    assert_eq!(world.lies("settled").await, "-40 EUR");
    world.steps(second.id, [give_back()]).await;
    world.assert_owed("40").await;
    let third = world.payout("k3").await;
    assert_eq!((third.money.amount_text(), third.items), ("40.00".to_owned(), 2));
    world.assert_sound().await;
    let items = world.database.payout_items(second.id, ALL).await.unwrap();
    assert!(items.len() == 2 && items.iter().all(|item| item.released_at.is_some()), "{items:?}");
}

async fn a_reversal_after_a_payout_is_debt(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1", "s2", "s3"]).await;
    let payout = world.payout("k1").await;
    world.record(json!({ "event_id": "s1", "status": "reversed" })).await;
    assert_eq!(world.lies("payable").await, "-20 EUR");
    world.assert_sound().await;
    world.steps(payout.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    world.record(json!({ "event_id": "s2", "status": "reversed" })).await;
    world.sales(&["s4"]).await;
    let Creation::None(NoPayout::Debt, balance) = world.ask(&world.wish("k2")).await.unwrap() else {
        panic!("a debt is not paid")
    };
    assert_eq!(balance.amount_text(), "-20.00");
    world.assert_sound().await;
    world.sales(&["s5", "s6"]).await;
    let next = world.payout("k2").await;
    assert_eq!((next.money.amount_text(), next.items), ("20.00".to_owned(), 5), "the debt is taken off");
    // The first payout comes back although two of its sales are gone: what is left of it is owed.
    world.steps(payout.id, [give_back()]).await;
    assert_eq!(world.lies("payable").await, "60 EUR");
    world.steps(next.id, [Step::Approve, send("tx-2"), Step::Complete]).await;
    assert_eq!(world.lies("settled").await, "-20 EUR");
    world.assert_sound().await;
}

async fn what_is_too_little_is_carried_on(kind: Kind) {
    let world = World::new(kind).await;
    let none = async |new: &NewPayout| match world.ask(new).await.unwrap() {
        Creation::None(reason, money) => (reason, money.amount_text()),
        other => panic!("{other:?}"),
    };
    assert_eq!(none(&world.wish("k1")).await, (NoPayout::BelowMinimum, "0.00".to_owned()));
    world.sales(&["s1"]).await;
    let high = NewPayout { minimum: Some("20.01".parse().unwrap()), ..world.wish("k1") };
    assert_eq!(none(&high).await, (NoPayout::BelowMinimum, "20.00".to_owned()));
    let dollars = NewPayout { currency: "USD".parse().unwrap(), ..world.wish("k1") };
    assert_eq!(none(&dollars).await, (NoPayout::BelowMinimum, "0.00".to_owned()));
    world.assert_owed("20").await;
    let raw = world.database.raw().await;
    for table in ["payouts", "payout_items", "payout_shares", "payout_steps"] {
        assert_eq!(raw.count(table).await, 0, "{table}");
    }
    let enough = NewPayout { minimum: Some("20".parse().unwrap()), ..world.wish("k1") };
    assert!(matches!(world.ask(&enough).await.unwrap(), Creation::Made(..)), "a refused wish does not use up its key");
}

async fn the_same_key_answers_the_same_payout(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let payout = world.payout("k1").await;
    world.sales(&["s2"]).await;
    let Creation::Known(again) = world.ask(&world.wish("k1")).await.unwrap() else { panic!("made twice") };
    assert_eq!((again.id, again.money), (payout.id, payout.money));
    let other = NewPayout { currency: "USD".parse().unwrap(), ..world.wish("k1") };
    assert!(matches!(world.ask(&other).await.unwrap(), Creation::OtherWish(id) if id == payout.id));
    assert_eq!(world.lies("payable").await, "20 EUR");
    world.steps(payout.id, [Step::Approve]).await;
    let Taken::Already(same) = world.try_step(payout.id, Step::Approve).await.unwrap() else { panic!("taken twice") };
    assert_eq!((same.state, same.revision), (PayoutState::Approved, 2));
    let unknown = world.try_step(PayoutId::new(world.now()), Step::Approve).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("payout"))));
}

async fn a_reference_belongs_to_one_payout(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let first = world.payout("k1").await;
    world.steps(first.id, [Step::Approve, send("tx-1"), fail(), Step::Process, send("tx-2")]).await;
    world.sales(&["s2"]).await;
    let second = world.payout("k2").await;
    world.steps(second.id, [Step::Approve]).await;
    for taken in ["tx-1", "tx-2"] {
        let Taken::Refused(refusal) = world.try_step(second.id, send(taken)).await.unwrap() else { panic!("taken") };
        assert_eq!(refusal, Refusal::ReferenceTaken);
    }
    world.steps(second.id, [send("tx-3")]).await;
    world.steps(first.id, [fail(), Step::Process, send("tx-1"), Step::Complete]).await;
    world.assert_sound().await;
}

/// As the service does: a collision is tried again.
async fn ask_again(world: &World, new: &NewPayout) -> Creation {
    loop {
        match world.ask(new).await {
            Err(StoreError::Collision(_)) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

async fn of_many_wishes_at_once_each_entry_is_paid_once(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    world.record_all((0..40).map(|sale| world.a_sale(&world.click(), &format!("s{sale}")))).await;
    let mut tasks = JoinSet::new();
    // Eight keys, each of them used twice.
    for wish in 0..16 {
        let world = Arc::clone(&world);
        tasks.spawn(async move { ask_again(&world, &world.wish(&format!("k{}", wish % 8))).await });
    }
    let (mut made, mut known, mut none) = (0, 0, 0);
    for creation in tasks.join_all().await {
        match creation {
            Creation::Made(payout, _) => {
                made += 1;
                assert_eq!((payout.money.amount_text(), payout.items), ("800.00".to_owned(), 40));
            }
            Creation::Known(payout) => {
                known += 1;
                assert_eq!(payout.money.amount_text(), "800.00");
            }
            Creation::None(NoPayout::BelowMinimum, balance) => {
                none += 1;
                assert!(balance.amount.is_zero());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((made, known + none), (1, 15), "{known} known, {none} found nothing left");
    assert_eq!((world.lies("payable").await, world.lies("payouts:clearing").await), (String::new(), "-800 EUR".into()));
    world.assert_sound().await;
}

async fn of_many_steps_at_once_one_is_taken(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    world.sales(&["s1"]).await;
    let payout = world.payout("k1").await;
    world.steps(payout.id, [Step::Approve, send("tx-1")]).await;
    let mut tasks = JoinSet::new();
    for task in 0..12 {
        let (world, step) = (Arc::clone(&world), [Step::Complete, fail(), give_back()][task % 3].clone());
        tasks.spawn(async move { world.try_step(payout.id, step).await.unwrap() });
    }
    let taken = tasks.join_all().await;
    let done = taken.iter().filter(|taken| matches!(taken, Taken::Done(..))).count();
    // After a first completion or failure a return is another step that may be taken.
    assert!((1..=2).contains(&done), "{taken:?}");
    world.assert_sound().await;
    let view = world.database.payout(payout.id).await.unwrap().unwrap();
    assert_eq!(view.steps.len(), 3 + done);
}

async fn payouts_and_new_entries_do_not_disturb_each_other(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (sender, payer) = (Arc::clone(&world), Arc::clone(&world));
        tasks.spawn(async move {
            for sale in 0..10 {
                let event = format!("s{task}-{sale}");
                sender.record_all([sender.a_sale(&sender.click(), &event)]).await;
                if sale % 3 == 0 {
                    sender.record_all([json!({ "event_id": event, "status": "reversed" })]).await;
                }
            }
            Decimal::ZERO
        });
        tasks.spawn(async move {
            let mut paid = Decimal::ZERO;
            for wish in 0..6 {
                if let Creation::Made(payout, _) = ask_again(&payer, &payer.wish(&format!("k{task}-{wish}"))).await {
                    paid += payout.money.amount.decimal();
                }
            }
            paid
        });
    }
    let paid: Decimal = tasks.join_all().await.into_iter().sum();
    world.assert_sound().await;
    let left = world.database.balances("affiliate:").await.unwrap();
    let left: Decimal = left.iter().map(|balance| -balance.amount).sum();
    assert_eq!(paid + left, Decimal::from(4 * 6 * 20), "what was earned is paid or owed");
}

async fn who_is_told_of_what(kind: Kind) {
    let mut world = World::new(kind).await;
    let payouts = [EventType::PayoutCompleted, EventType::PayoutReturned];
    let books = endpoint(world.now(), Owner::Operator(world.operator.id), &payouts);
    let subscription = Subscription { event_types: vec![EventType::PayoutCreated], ..Subscription::default() };
    let mine = Endpoint { subscription, ..world.endpoint.clone() };
    world.put(&[Entry::Endpoint(books.clone()), Entry::Endpoint(mine)]).await.unwrap();
    world.sales(&["s1"]).await;
    let deliveries = async || {
        let filter = Filter { status: Some("pending".to_owned()), ..Filter::default() };
        let listed = world.database.deliveries(&filter, ALL).await.unwrap();
        let of_payouts = listed.into_iter().filter(|delivery| delivery.event_type.as_str().starts_with("payout."));
        of_payouts.map(|delivery| (delivery.event_type.as_str(), delivery.endpoint_id)).collect::<Vec<_>>()
    };
    let Creation::Made(payout, told) = world.ask(&world.wish("k1")).await.unwrap() else { panic!("no payout") };
    assert_eq!((told.hints.len(), told.deferred), (1, 0));
    assert_eq!(deliveries().await, [("payout.created", world.endpoint.id)]);
    assert_eq!(world.step(payout.id, Step::Approve).await.1.hints.len(), 0, "nobody wants to hear of it");
    world.steps(payout.id, [send("tx-1")]).await;
    assert_eq!(world.step(payout.id, Step::Complete).await.1.hints.len(), 1);
    assert!(deliveries().await.contains(&("payout.completed", books.id)));
    assert_eq!(deliveries().await.len(), 2);
    let body = world.database.deliveries(&Filter { endpoint_id: Some(books.id), ..Filter::default() }, ALL).await;
    let body = world.database.delivery(body.unwrap()[0].id).await.unwrap().unwrap().body.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = with(
        json!({ "payout_id": payout.id, "affiliate_id": world.affiliate.id, "operator_id": world.operator.id }),
        json!({ "amount": "20.00", "currency": "EUR", "state": "completed", "revision": 4, "created_at": payout.created_at }),
    );
    assert_eq!((&body["type"], &body["data"]), (&json!("payout.completed"), &expected));
}

async fn lists_and_what_is_stuck(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let first = world.payout("k1").await;
    world.steps(first.id, [Step::Approve, send("tx-1"), Step::Complete]).await;
    world.sales(&["s2"]).await;
    let second = world.payout("k2").await;
    let ids = async |affiliate, state: Option<&str>| {
        let status = state.map(str::to_owned);
        let filter = Filter { affiliate_id: affiliate, status, ..Filter::default() };
        let listed = world.database.payouts(&filter, ALL).await.unwrap();
        listed.into_iter().map(|payout| payout.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None).await, [second.id, first.id]);
    assert_eq!(ids(Some(world.affiliate.id), Some("completed")).await, [first.id]);
    assert_eq!(ids(Some(postback::domain::ids::AffiliateId::new(world.now())), None).await, []);
    let view = world.database.payout(first.id).await.unwrap().unwrap();
    let steps: Vec<_> = view.steps.iter().map(|step| (step.revision, step.state, step.reference.as_deref())).collect();
    use PayoutState::{Approved, Completed, PendingApproval, Sent};
    assert_eq!(steps, [(1, PendingApproval, None), (2, Approved, None), (3, Sent, Some("tx-1")), (4, Completed, None)]);
    assert!(view.steps.iter().all(|step| step.key_id.is_some()), "each step says whose key it was");
    assert_eq!(view.shares.len(), 1);
    assert_eq!((view.shares[0].operator_id, view.shares[0].amount.to_string()), (world.operator.id, "20".to_owned()));
    let items = world.database.payout_items(first.id, ALL).await.unwrap();
    assert_eq!((items.len(), items[0].money.amount_text()), (1, "20.00".to_owned()));
    assert!(world.database.payout(PayoutId::new(world.now())).await.unwrap().is_none());
    assert_eq!(world.database.payouts_stuck(world.now()).await.unwrap(), 0);
    let later = world.now().plus(std::time::Duration::from_micros(1));
    assert_eq!(world.database.payouts_stuck(later).await.unwrap(), 1, "what is over is not stuck");
}

async fn steps_are_never_changed(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    world.payout("k1").await;
    let raw = world.database.raw().await;
    for attempt in ["UPDATE payout_steps SET key_id = NULL", "DELETE FROM payout_steps"] {
        let refused = raw.execute(attempt).await.expect_err(attempt).to_string();
        assert!(refused.contains("is append-only"), "{attempt}: {refused}");
    }
}

async fn a_stale_catalog_is_refused(kind: Kind) {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    world.database.put(&[Entry::Operator(world.operator.clone())]).await.unwrap();
    assert!(matches!(world.ask(&world.wish("k1")).await, Err(StoreError::StaleConfiguration)));
    assert_eq!(world.database.raw().await.count("payouts").await, 0);
}
