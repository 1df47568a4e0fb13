//! The model store and the real ones do the same: random operations on both, every answer and every row compared.
//!
//! Where a statement leaves the order open (a limit that cuts between rows which are due at the same moment) the
//! operation is made so that the limit cuts nothing.

use std::sync::Arc;
use std::time::Duration;

use postback::domain::catalog::Owner;
use postback::domain::delivery::{AttemptOutcome, AttemptResult, DeliveryState, Hint};
use postback::domain::endpoint::{Endpoint, EndpointStatus};
use postback::domain::event::{Event, EventType};
use postback::domain::ids::{DeliveryId, EndpointId, EventId, LeaseId};
use postback::domain::outbox::{NewDelivery, Outbox};
use postback::domain::retry::{Ladder, RetryPolicy};
use postback::domain::time::Timestamp;
use postback::store::configuration::Entry;
use postback::store::deliveries::{Claim, Claimed, Finished};
use postback::store::endpoints::Disabling;
use postback::store::outbox::OutboxTerms;
use postback::store::{Store, StoreError};

use super::chance::Chance;
use super::id_of;
use super::model::Model;
use super::rows_as_text::{attempts_in, attempts_of, deliveries_in, deliveries_of};
use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World, endpoint};

on_both_engines!(the_model_does_as_the_store_does);

/// Sequences, each of so many operations, with all rows compared after so many of them.
const SEQUENCES: u64 = 6;
const OPERATIONS: u32 = 120;
const COMPARED_EVERY: u32 = 12;
/// More than there are rows.
const ALL: i64 = 10_000;

async fn the_model_does_as_the_store_does(kind: Kind) {
    for seed in 0..SEQUENCES {
        let mut pair = Pair::new(kind, seed).await;
        for number in 1..=OPERATIONS {
            pair.step().await;
            if number.is_multiple_of(COMPARED_EVERY) {
                pair.compare_rows().await;
            }
        }
        assert!(pair.model.rows.len() > 10 && pair.model.attempts.len() > 10, "sequence {seed} comes to something");
    }
}

/// A store and the model of it.
struct Pair {
    world: World,
    model: Model,
    chance: Chance,
    endpoints: Vec<Endpoint>,
    /// Given up for each birth of deliveries, since that writes an outbox.
    spare: Endpoint,
    /// What was claimed: as the store answered, and as the model did. They differ in leases that they made themselves.
    claimed: Vec<(Claimed, Claimed)>,
    made: u32,
    what: String,
}

impl Pair {
    async fn new(kind: Kind, seed: u64) -> Self {
        let mut world = World::new(kind).await;
        let owner = Owner::Affiliate(world.affiliate.id);
        let endpoints: Vec<Endpoint> = (0..3).map(|_| endpoint(world.now(), owner, &[])).collect();
        let spare = endpoint(world.now(), owner, &[]);
        let mut model = Model::default();
        for endpoint in endpoints.iter().chain([&spare]) {
            world.put(&[Entry::Endpoint(endpoint.clone())]).await.unwrap();
            model.put_endpoint(endpoint.clone());
        }
        let what = format!("sequence {seed}");
        Self { world, model, chance: Chance::new(seed), endpoints, spare, claimed: Vec::new(), made: 0, what }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.world.store()
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// One operation on both; their answers must be the same.
    async fn step(&mut self) {
        let pause = if self.chance.percent(70) { self.chance.millis(1, 900) } else { self.chance.seconds(1, 90) };
        self.world.clock.advance(pause);
        let operation = self.chance.below(100);
        self.what = format!("{} at {}: operation {operation}", self.what.split(" at").next().unwrap(), self.now());
        match operation {
            0..=13 => self.births().await,
            14..=35 => self.claims().await,
            36..=43 => self.claims_of_endpoint().await,
            44..=49 => self.hands_back().await,
            50..=68 => self.finishes().await,
            69..=77 => self.takes_due().await,
            78..=83 => self.expires().await,
            84..=86 => self.marks_unpublished().await,
            87..=89 => self.replays().await,
            90..=91 => self.looks().await,
            92..=93 => self.holds_and_releases().await,
            94..=98 => self.changes_an_endpoint().await,
            _ => self.is_taken_over().await,
        }
    }

    async fn births(&mut self) {
        self.set_status(None, EndpointStatus::Active).await;
        self.made += 1;
        let event_id = EventId::from_uuid(id_of(self.made));
        let mut outbox = Outbox::default();
        for number in 0..self.endpoints.len() {
            if self.chance.percent(60) {
                let id = DeliveryId::from_uuid(id_of(self.made * 16 + u32::try_from(number).unwrap()));
                let endpoint = &self.endpoints[number];
                let held = endpoint.status != EndpointStatus::Active;
                outbox.deliveries.push(NewDelivery { id, event_id, endpoint_id: endpoint.id, held });
            }
        }
        outbox.events.push(Event {
            id: event_id,
            event_type: EventType::ConversionRecorded,
            operator_id: None,
            affiliate_id: None,
            created_at: self.now(),
            body: format!("{{\"event\":{}}}", self.made),
        });
        let room = if self.chance.percent(80) { usize::MAX } else { self.chance.index(3) };
        let terms = OutboxTerms { now: self.now(), republish_after: REPUBLISH_AFTER, room };
        let disabling = Disabling { endpoint_id: self.spare.id, only_at: None, reason: "a birth" };
        let real = self.store().disable_endpoint(disabling, &outbox, terms).await.unwrap().unwrap();
        let told = self.model.disable_endpoint(disabling, &outbox, terms).unwrap();
        assert_eq!((real.hints, real.deferred), (told.hints, told.deferred), "{}", self.what);
        self.spare.status = EndpointStatus::Disabled;
    }

    /// Some hints, each at another delivery: most fit, some are old or of a delivery that is not there.
    fn some_hints(&mut self) -> Vec<Hint> {
        let ids: Vec<DeliveryId> = self.model.rows.keys().copied().collect();
        let mut hints: Vec<Hint> = Vec::new();
        for _ in 0..self.chance.below(5) {
            let Some(id) = ids.get(self.chance.index(ids.len().max(1))) else { continue };
            let mut hint = self.model.rows[id].hint();
            match self.chance.below(12) {
                0 => hint.epoch -= 1,
                1 => hint.attempt -= 1,
                2 => hint.attempt += 1,
                3 => hint.delivery_id = DeliveryId::from_uuid(id_of(u32::MAX - self.made)),
                _ => {}
            }
            if hints.iter().all(|other| other.delivery_id != hint.delivery_id) {
                hints.push(hint);
            }
        }
        hints
    }

    async fn claims(&mut self) {
        let now = self.now();
        let claims: Vec<Claim> =
            self.some_hints().into_iter().map(|hint| Claim { hint, lease_id: LeaseId::new(now) }).collect();
        let due_by = now.plus(self.chance.pick(&[Duration::ZERO, Duration::from_secs(2), Duration::from_secs(40)]));
        let until = now.plus(self.chance.seconds(1, 40));
        let mut real = self.store().claim(&claims, now, due_by, until).await.unwrap();
        let model = self.model.claim(&claims, now, due_by, until);
        assert_eq!(real.early, model.early, "{}", self.what);
        real.claimed.sort_by_key(|claimed| claimed.delivery_id);
        self.keep(real.claimed, model.claimed);
    }

    async fn claims_of_endpoint(&mut self) {
        let (now, endpoint) = (self.now(), self.any_endpoint());
        let due = self.model.due_of(endpoint, now);
        let mut limit = 1 + self.chance.index(4);
        let cuts = |limit: usize| due.len() > limit && due[limit - 1].next_attempt_at == due[limit].next_attempt_at;
        while cuts(limit) {
            limit += 1;
        }
        let until = now.plus(Duration::from_secs(30));
        let mut real = self.store().claim_next(endpoint, limit, now, until).await.unwrap();
        let model = self.model.claim_next(endpoint, limit, now, until, || LeaseId::new(now));
        real.sort_by_key(|claimed| claimed.delivery_id);
        self.keep(real, model);
    }

    fn any_endpoint(&mut self) -> EndpointId {
        self.endpoints[self.chance.index(3)].id
    }

    fn keep(&mut self, real: Vec<Claimed>, model: Vec<Claimed>) {
        let said = |claimed: &[Claimed]| -> Vec<String> {
            let said = |claimed: &Claimed| {
                // The lease is compared by what it opens: `finishes`.
                let lease_id = LeaseId::from_uuid(id_of(0));
                format!("{:?}", Claimed { lease_id, ..claimed.clone() })
            };
            claimed.iter().map(said).collect()
        };
        assert_eq!(said(&real), said(&model), "{}", self.what);
        self.claimed.extend(real.into_iter().zip(model));
    }

    async fn hands_back(&mut self) {
        let (hints, at) = (self.some_hints(), self.now().plus(self.chance.seconds(0, 30)));
        self.store().hand_back(&hints, at).await.unwrap();
        self.model.hand_back(&hints, at);
    }

    async fn marks_unpublished(&mut self) {
        let (hints, at) = (self.some_hints(), self.now().plus(self.chance.seconds(0, 30)));
        self.store().unpublished(&hints, at).await.unwrap();
        self.model.unpublished(&hints, at);
    }

    /// The ends of some attempts, some of them long over; most are not told twice.
    async fn finishes(&mut self) {
        let mut places: Vec<usize> = Vec::new();
        for _ in 0..self.chance.below(4) {
            let place = self.chance.index(self.claimed.len().max(1));
            if place < self.claimed.len() && !places.contains(&place) {
                places.push(place);
            }
        }
        let (mut real, mut model) = (Vec::new(), Vec::new());
        for place in &places {
            let succeeded = self.chance.percent(45);
            let asked = self.chance.percent(20).then(|| self.chance.seconds(0, 90));
            let (one, other) = &self.claimed[*place];
            real.push(finished(one, succeeded, asked, self.now()));
            model.push(finished(other, succeeded, asked, self.now()));
        }
        let answered = self.store().finish(&real, REPUBLISH_AFTER).await.unwrap();
        assert_eq!(answered, self.model.finish(&model, REPUBLISH_AFTER), "{}", self.what);
        if self.chance.percent(80) {
            let mut place = 0;
            self.claimed.retain(|_| (!places.contains(&place), place += 1).0);
        }
    }

    async fn takes_due(&mut self) {
        let now = self.now();
        let skip: Vec<EndpointId> = if self.chance.percent(30) { vec![self.any_endpoint()] } else { Vec::new() };
        let apart = self.model.due_times_differ(now);
        let (each, limit) = match self.chance.below(3) {
            0 if apart => (1 + i64::try_from(self.chance.below(3)).unwrap(), ALL),
            1 if apart => (ALL, 1 + i64::try_from(self.chance.below(5)).unwrap()),
            _ => (ALL, ALL),
        };
        let real = self.store().take_due(now, &skip, each, limit, REPUBLISH_AFTER).await.unwrap();
        assert_eq!(real, self.model.take_due(now, &skip, each, limit, REPUBLISH_AFTER), "{}", self.what);
    }

    async fn expires(&mut self) {
        let real = self.store().expire_leases(self.now(), &policy(), ALL).await.unwrap();
        assert_eq!(real, self.model.expire_leases(self.now(), &policy(), ALL), "{}", self.what);
    }

    async fn is_taken_over(&mut self) {
        let real = self.store().take_over(self.now()).await.unwrap();
        assert_eq!(real, self.model.take_over(self.now()), "{}", self.what);
    }

    async fn replays(&mut self) {
        let ids: Vec<DeliveryId> = self.model.rows.keys().copied().collect();
        let known = self.chance.percent(90) && !ids.is_empty();
        let id = if known { self.chance.pick(&ids) } else { DeliveryId::from_uuid(id_of(u32::MAX)) };
        let real = self.store().replay(id, self.now(), REPUBLISH_AFTER).await;
        match (real, self.model.replay(id, self.now(), REPUBLISH_AFTER)) {
            (Ok(real), Ok(model)) => assert_eq!(real, model, "{}", self.what),
            (Err(StoreError::NotFound(_)), Err(StoreError::NotFound(_))) => {}
            other => panic!("{}: {other:?}", self.what),
        }
    }

    async fn looks(&mut self) {
        let before = self.now().minus(self.chance.seconds(0, 300));
        assert_eq!(self.store().backlog(before).await.unwrap(), self.model.backlog(before), "{}", self.what);
        for state in [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Held, DeliveryState::Dead] {
            let real = self.store().count_in_state(state).await.unwrap();
            assert_eq!(real, self.model.count_in_state(state), "{}", self.what);
        }
    }

    async fn holds_and_releases(&mut self) {
        let now = self.now();
        assert_eq!(self.store().hold(now, ALL).await.unwrap(), self.model.hold(now, ALL), "{}", self.what);
        let most = 1 + i64::try_from(self.chance.below(4)).unwrap();
        assert_eq!(self.store().release(now, most).await.unwrap(), self.model.release(now, most), "{}", self.what);
    }

    async fn changes_an_endpoint(&mut self) {
        let number = self.chance.index(3);
        let status = if self.chance.percent(60) { EndpointStatus::Active } else { EndpointStatus::Paused };
        self.set_status(Some(number), status).await;
    }

    async fn set_status(&mut self, number: Option<usize>, status: EndpointStatus) {
        let endpoint = number.map_or(&mut self.spare, |number| &mut self.endpoints[number]);
        endpoint.status = status;
        let endpoint = endpoint.clone();
        self.world.put(&[Entry::Endpoint(endpoint.clone())]).await.unwrap();
        self.model.put_endpoint(endpoint);
    }

    async fn compare_rows(&self) {
        let raw = self.world.database.raw().await;
        let kind = self.world.database.kind;
        assert_eq!(raw.texts(&deliveries_in(kind)).await, deliveries_of(&self.model), "{}", self.what);
        assert_eq!(raw.texts(&attempts_in(kind)).await, attempts_of(&self.model), "{}", self.what);
    }
}

fn policy() -> RetryPolicy {
    let ladder = Ladder::new([30, 120].map(Duration::from_secs).to_vec()).unwrap();
    RetryPolicy { ladder, max_attempts: 3, max_age: Duration::from_secs(600) }
}

fn finished(claimed: &Claimed, succeeded: bool, asked: Option<Duration>, at: Timestamp) -> Finished {
    let outcome = if succeeded { AttemptOutcome::Delivered } else { AttemptOutcome::Failed { retry_after: asked } };
    let result = AttemptResult {
        outcome,
        status: Some(if succeeded { 204 } else { 503 }),
        body_start: None,
        error: (!succeeded).then(|| "it is busy".to_owned()),
        duration: Duration::from_millis(17),
    };
    let next = (!succeeded).then(|| policy().after_failure(claimed.history, at, asked));
    Finished { claimed: claimed.clone(), result, finished_at: at, next }
}
