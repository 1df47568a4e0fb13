//! An instance's way to the store: slow, refused, cut off before or after the commit.
//!
//! A call takes effect in one moment. Before it and after it time passes, in which the instance may die; and an answer may
//! be an error although the call took effect, as after a COMMIT that was never answered. Not modelled: a call that takes
//! effect after its caller has given it up. A database holds the rows' locks until then, so the caller's next try waits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postback::domain::catalog::CatalogDelta;
use postback::domain::delivery::{DeliveryState, Hint};
use postback::domain::ids::{DeliveryId, EndpointId, LeaseId};
use postback::domain::outbox::Outbox;
use postback::domain::retry::RetryPolicy;
use postback::domain::time::Timestamp;
use postback::store::StoreError;
use postback::store::configuration::{Configuration, Entry};
use postback::store::deliveries::{Backlog, Claim, Claimed, Claims, Deliveries, Finished, Replay, Settled};
use postback::store::endpoints::{Disabling, Endpoints, Moved};
use postback::store::outbox::{OutboxTerms, Told};

use super::judge::Call;
use super::model::{Booking, Model};
use super::plan::Kind;
use super::planted::Planted;
use super::receivers;
use super::trace::Event;
use super::world::{Life, START};

/// See the module.
#[derive(Clone)]
pub struct StoreLine {
    pub life: Arc<Life>,
}

/// When all instances have started whose start nothing disturbs.
const STARTED: Duration = Duration::from_millis(500);

/// What becomes of a call.
struct Fate {
    before: Duration,
    after: Duration,
    refused: bool,
    unanswered: bool,
}

fn unavailable() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolTimedOut)
}

impl StoreLine {
    fn fate(&self) -> Fate {
        let world = &self.life.world;
        let mut fate = Fate { before: Duration::ZERO, after: Duration::ZERO, refused: false, unanswered: false };
        if world.is_calm() || world.plan.kinds.is_empty() {
            return fate;
        }
        let mut chance = world.chance();
        (fate.before, fate.after) = (chance.millis(0, 3), chance.millis(0, 3));
        if world.plan.has(Kind::StoreSlow) && chance.percent(10) {
            let slow = chance.millis(10, 18_000);
            *(if chance.percent(50) { &mut fate.before } else { &mut fate.after }) = slow;
        }
        if world.plan.has(Kind::StoreFails) {
            fate.refused = chance.percent(6);
            fate.unanswered = !fate.refused && chance.percent(6);
        }
        fate
    }

    /// One call: `work` is its effect, in one moment.
    async fn call<T>(&self, call: Call, count: usize, work: impl FnOnce(&mut Model) -> T) -> Result<T, StoreError> {
        let (life, world) = (&self.life, &self.life.world);
        let instance = life.instance;
        life.open().await;
        let fate = self.fate();
        life.pause(fate.before).await;
        if fate.refused || world.store_is_down() {
            life.note(Event::StoreFailed { instance, call: call.name(), took_effect: false });
            return Err(unavailable());
        }
        let answer = self.take_effect(call, count, work);
        life.pause(fate.after).await;
        if fate.unanswered || world.store_is_down() {
            life.note(Event::StoreFailed { instance, call: call.name(), took_effect: true });
            return Err(unavailable());
        }
        Ok(answer)
    }

    fn take_effect<T>(&self, call: Call, count: usize, work: impl FnOnce(&mut Model) -> T) -> T {
        let world = &self.life.world;
        let mut model = world.model();
        let answer = work(&mut model);
        let changes = std::mem::take(&mut model.changes);
        let now = world.clock.now();
        if count > 0 || !changes.is_empty() {
            self.life.note(Event::Store { instance: self.life.instance, call: call.name(), count });
        }
        let mut judge = world.judge();
        for change in &changes {
            self.life.note(Event::row(change, START.micros()));
            judge.row_changed(call, self.life.instance, change, now);
        }
        if !changes.is_empty() || judge.has_found() {
            world.moved.notify_one();
        }
        answer
    }

    /// Records a postback, as `intake::recorder` has it done.
    pub async fn record(&self, key: u32, outbox: &Outbox, terms: OutboxTerms) -> Result<(Booking, Told), StoreError> {
        self.call(Call::Record, 1, |model| {
            let recorded = model.record(key, outbox, terms);
            if model.planted == Some(Planted::CommitIsLost) && key == 0 {
                model.bookings.retain(|(booked, _)| *booked != key);
                model.rows.retain(|id, _| !recorded.0.contains(id));
            }
            recorded
        })
        .await
    }

    fn lease_id(&self) -> LeaseId {
        LeaseId::new(self.life.clock.now())
    }

    /// The message says which attempt it is sent by, so that receivers can tell attempts apart.
    fn marked(claimed: &mut [Claimed]) {
        claimed.iter_mut().for_each(|claimed| claimed.body = receivers::mark(claimed));
    }
}

#[async_trait]
impl Deliveries for StoreLine {
    async fn claim(
        &self,
        claims: &[Claim],
        now: Timestamp,
        due_by: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Claims, StoreError> {
        let (instance, world) = (self.life.instance, &self.life.world);
        let mut answer = self
            .call(Call::Claim, claims.len(), |model| {
                let answer = model.claim(claims, now, due_by, lease_until);
                world.judge().claimed(instance, claims, &answer.claimed);
                answer
            })
            .await?;
        Self::marked(&mut answer.claimed);
        Ok(answer)
    }

    async fn claim_next(
        &self,
        endpoint_id: EndpointId,
        limit: usize,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let work = |model: &mut Model| model.claim_next(endpoint_id, limit, now, lease_until, || self.lease_id());
        let mut claimed = self.call(Call::ClaimNext, limit, work).await?;
        Self::marked(&mut claimed);
        Ok(claimed)
    }

    async fn hand_back(&self, hints: &[Hint], republish_at: Timestamp) -> Result<(), StoreError> {
        let (instance, world) = (self.life.instance, &self.life.world);
        // Tried is enough: what could not be handed back comes up when its hint's time is over.
        world.judge().asked_about(instance, hints);
        self.call(Call::HandBack, hints.len(), |model| {
            world.judge().handed_back(hints, model, republish_at);
            model.hand_back(hints, republish_at);
        })
        .await
    }

    async fn finish(&self, finished: &[Finished], republish_after: Duration) -> Result<Vec<Settled>, StoreError> {
        let world = &self.life.world;
        self.call(Call::Finish, finished.len(), |model| {
            world.judge().finishing(finished, model);
            let settled = model.finish(finished, republish_after);
            world.judge().finished(finished, model);
            settled
        })
        .await
    }

    async fn take_due(
        &self,
        now: Timestamp,
        skip: &[EndpointId],
        per_endpoint: i64,
        limit: i64,
        republish_after: Duration,
    ) -> Result<Vec<Hint>, StoreError> {
        let work = |model: &mut Model| model.take_due(now, skip, per_endpoint, limit, republish_after);
        self.call(Call::TakeDue, 0, work).await
    }

    async fn expire_leases(&self, now: Timestamp, policy: &RetryPolicy, limit: i64) -> Result<u64, StoreError> {
        self.call(Call::Expire, 0, |model| model.expire_leases(now, policy, limit)).await
    }

    async fn take_over(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.call(Call::TakeOver, 0, |model| model.take_over(now)).await
    }

    async fn unpublished(&self, hints: &[Hint], not_before: Timestamp) -> Result<(), StoreError> {
        let world = &self.life.world;
        self.call(Call::Unpublished, hints.len(), |model| {
            world.judge().unpublished(hints, model, not_before);
            model.unpublished(hints, not_before);
        })
        .await
    }

    async fn replay(
        &self,
        delivery_id: DeliveryId,
        now: Timestamp,
        republish_after: Duration,
    ) -> Result<Replay, StoreError> {
        self.call(Call::Replay, 1, |model| model.replay(delivery_id, now, republish_after)).await?
    }

    async fn backlog(&self, first_due_before: Timestamp) -> Result<Backlog, StoreError> {
        self.call(Call::Look, 0, |model| model.backlog(first_due_before)).await
    }

    async fn count_in_state(&self, state: DeliveryState) -> Result<i64, StoreError> {
        self.call(Call::Look, 0, |model| model.count_in_state(state)).await
    }

    /// The embedded engine's clock is the machine's.
    async fn clock_offset_micros(&self) -> Result<Option<i64>, StoreError> {
        if self.life.world.plan.alone {
            return Ok(Some(0));
        }
        let world = &self.life.world;
        let untold = world.model().planted == Some(Planted::ClockIsNotTold) && world.clock.now() > START.plus(STARTED);
        let told = !untold || world.is_calm();
        self.call(Call::Look, 0, |_| {
            let clock = &self.life.clock;
            let machine = clock.now().micros() - clock.offset_micros();
            told.then(|| Some(world.clock.now().micros() - machine)).ok_or_else(unavailable)
        })
        .await?
    }
}

#[async_trait]
impl Endpoints for StoreLine {
    async fn disable_endpoint(
        &self,
        disabling: Disabling<'_>,
        outbox: &Outbox,
        terms: OutboxTerms,
    ) -> Result<Option<Told>, StoreError> {
        self.call(Call::Endpoint, 1, |model| model.disable_endpoint(disabling, outbox, terms)).await
    }

    async fn hold(&self, now: Timestamp, limit: i64) -> Result<Moved, StoreError> {
        self.call(Call::Hold, 0, |model| model.hold(now, limit)).await
    }

    async fn release(&self, now: Timestamp, per_endpoint: i64) -> Result<Moved, StoreError> {
        self.call(Call::Release, 0, |model| model.release(now, per_endpoint)).await
    }
}

#[async_trait]
impl Configuration for StoreLine {
    async fn put(&self, _entries: &[Entry]) -> Result<i64, StoreError> {
        Err(StoreError::Refused(sqlx::Error::PoolClosed))
    }

    async fn configuration_version(&self) -> Result<i64, StoreError> {
        self.call(Call::Look, 0, |model| model.version).await
    }

    async fn load(&self, since: i64) -> Result<CatalogDelta, StoreError> {
        let work = |model: &mut Model| {
            let newer = model.endpoints.values().filter(|(version, _)| *version > since);
            CatalogDelta {
                version: model.version,
                endpoints: newer.map(|(_, endpoint)| endpoint.clone()).collect(),
                endpoint_secrets: if since == 0 { model.secrets.clone() } else { Vec::new() },
                ..CatalogDelta::default()
            }
        };
        self.call(Call::Look, 0, work).await
    }
}
