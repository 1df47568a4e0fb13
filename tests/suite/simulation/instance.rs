//! One instance of the service as far as deliveries go: the real relay, worker, sweeper and holding task, started and
//! stopped as `app` does it, between a simulated store, queue and sender.

use std::sync::Arc;
use std::time::Duration;

use postback::clock::Clock;
use postback::delivery::breaker::Breakers;
use postback::delivery::disabling::Disabler;
use postback::delivery::holding::Holding;
use postback::delivery::permits::Permits;
use postback::delivery::relay::Relay;
use postback::delivery::sweeper::Sweeper;
use postback::delivery::worker::{Worker, WorkerParts};
use postback::domain::ids::{DeliveryId, EndpointId};
use postback::domain::outbox::{NewDelivery, Outbox};
use postback::intake::catalog_cache::CatalogCache;
use postback::lifecycle::{Lifecycle, Stopped};
use postback::metrics::Metrics;
use postback::queue::Queue;
use postback::queue::embedded::{Embedded, EmbeddedSettings};
use postback::store::StoreError;
use postback::store::deliveries::{Deliveries, Replay};
use postback::store::outbox::OutboxTerms;
use tokio::sync::oneshot;

use super::alone::AloneLine;
use super::model::Booking;
use super::plan::Kind;
use super::queue::{Broker, BrokerLine};
use super::receivers::SenderLine;
use super::store::StoreLine;
use super::trace::Event;
use super::world::{Life, World};
use super::{event_of, id_of};

/// How long a stop may take.
const DRAIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone)]
pub struct Instance {
    pub life: Arc<Life>,
    lifecycle: Lifecycle,
    store: StoreLine,
    relay: Relay,
    permits: Permits,
    breakers: Breakers,
}

impl Instance {
    /// Starts one, as `app::start` does.
    pub async fn start(
        world: &Arc<World>,
        slot: usize,
        clock: &Clock,
        broker: &Arc<Broker>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let life = Life::new(world, slot, clock.clone());
        let store = StoreLine { life: Arc::clone(&life) };
        if let Some(offset) = store.clock_offset_micros().await? {
            clock.set_offset(offset);
        }
        if world.plan.alone {
            store.take_over(clock.now()).await?;
        }
        let catalog = CatalogCache::load(Arc::new(store.clone())).await?;
        let queue: Arc<dyn Queue> = if world.plan.alone {
            let settings = EmbeddedSettings::default();
            Arc::new(AloneLine::new(Embedded::new(settings, &world.plan.policy.ladder), &life))
        } else {
            Arc::new(BrokerLine::new(broker, &life))
        };
        let lifecycle = Lifecycle::new(DRAIN);
        let parts = Parts { life, lifecycle, store: Arc::new(store), queue, catalog, metrics: Arc::clone(metrics) };
        Ok(parts.start())
    }

    /// Records a postback: in one step with its deliveries, and the hints after the commit, as the recorder does. The
    /// recorder goes on when its caller has gone away.
    pub fn record(&self, key: u32) -> oneshot::Receiver<Booking> {
        let (reply, answer) = oneshot::channel();
        let this = self.clone();
        tokio::spawn(async move {
            let plan = &this.life.world.plan;
            let now = this.life.clock.now();
            let terms =
                OutboxTerms { now, republish_after: plan.settings.delivery.republish_after, room: this.relay.room() };
            let outbox = this.outbox(key);
            let Ok((booking, told)) = this.store.record(key, &outbox, terms).await else { return };
            this.relay.announce(told.hints);
            if told.deferred > 0 {
                this.relay.wake();
            }
            let _gone = reply.send(booking);
        });
        answer
    }

    /// What is told of a postback: one event, each endpoint gets it.
    fn outbox(&self, key: u32) -> Outbox {
        let world = &self.life.world;
        let model = world.model();
        let event = event_of(key);
        let event_id = event.id;
        let count = u32::try_from(world.plan.endpoints).unwrap();
        let deliveries = model.endpoints.values().zip(0..count).map(|((_, endpoint), place)| NewDelivery {
            id: DeliveryId::from_uuid(id_of(key * count + place)),
            event_id,
            endpoint_id: endpoint.id,
            held: endpoint.status != postback::domain::endpoint::EndpointStatus::Active,
        });
        Outbox { deliveries: deliveries.collect(), events: vec![event] }
    }

    /// Begins a new epoch of a delivery at a person's word, as `replay::Replayer` does.
    pub fn replay(&self, delivery: DeliveryId) {
        let this = self.clone();
        tokio::spawn(async move {
            let republish_after = this.life.world.plan.settings.delivery.republish_after;
            let begun = this.store.replay(delivery, this.life.clock.now(), republish_after).await;
            if let Ok(Replay::Begun(hint)) = begun {
                this.relay.announce(vec![hint]);
            }
        });
    }

    /// Asks it to stop, and waits until it has. It is dead then.
    pub async fn stop(&self) {
        let world = &self.life.world;
        // What may hold up an attempt, a claim or a finish for longer than a stop may take.
        let slow = [Kind::StoreFails, Kind::StoreSlow, Kind::StoreDown, Kind::Freezes, Kind::QueueDelays];
        let held_up = world.plan.has(Kind::Stalls) || !world.is_calm() && world.plan.has_any(&slow);
        self.lifecycle.stop();
        let stopped = self.lifecycle.ended().await;
        self.life.open().await;
        self.life.die();
        let how = match stopped {
            Stopped::Clean => "clean",
            Stopped::CutOff => "cut off",
            Stopped::TaskFailed => "a task failed",
        };
        let instance = self.life.instance;
        self.life.note(Event::Stopped { instance, how });
        if stopped == Stopped::TaskFailed || stopped == Stopped::CutOff && !held_up {
            world.violated(format!("instance {instance} did not stop cleanly: {how}"));
        }
    }

    /// Whether it would take what is due for this endpoint.
    pub fn serves(&self, endpoint: EndpointId) -> bool {
        let up = !self.life.is_dead() && !self.life.is_frozen();
        let left_alone = || self.breakers.open(self.life.clock.now()).contains(&endpoint);
        up && !self.permits.full().contains(&endpoint) && !left_alone()
    }

    /// Whether a task of it ended although nobody asked it to.
    pub fn has_failed(&self) -> bool {
        !self.life.is_dead() && self.lifecycle.stopping().is_cancelled()
    }
}

struct Parts {
    life: Arc<Life>,
    lifecycle: Lifecycle,
    store: Arc<StoreLine>,
    queue: Arc<dyn Queue>,
    catalog: Arc<CatalogCache>,
    metrics: Arc<Metrics>,
}

impl Parts {
    fn start(self) -> Instance {
        let plan = &self.life.world.plan;
        let delivery = &plan.settings.delivery;
        let permits = Permits::new(delivery.endpoint_in_flight);
        let breakers = Breakers::new(delivery.breaker_after, delivery.breaker_pause);
        let (relay, loops) = Relay::new(
            self.store.clone(),
            Arc::clone(&self.queue),
            (permits.clone(), breakers.clone()),
            self.life.clock.clone(),
            Arc::clone(&self.metrics),
            &plan.settings,
        );
        let (publish, refill) = loops.into_tasks(self.lifecycle.stopping(), self.lifecycle.drained());
        self.spawn_until_drained("relay", publish);
        self.lifecycle.spawn("backlog", refill);
        self.start_worker(&relay, permits.clone(), breakers.clone());
        if plan.has(Kind::Pauses) {
            let (store, catalog) = (self.store.clone(), Arc::clone(&self.catalog));
            let (relay, clock) = (relay.clone(), self.life.clock.clone());
            let holding = Holding { store, catalog, relay, clock, release_per_second: delivery.release_per_second };
            self.lifecycle.spawn("holding", holding.run(self.lifecycle.stopping()));
            self.lifecycle.spawn("catalog", Arc::clone(&self.catalog).poll(self.lifecycle.stopping()));
        }
        let sweeper = Sweeper {
            store: self.store.clone(),
            relay: relay.clone(),
            policy: plan.policy.clone(),
            clock: self.life.clock.clone(),
            every: delivery.sweep_every,
        };
        self.lifecycle.spawn("sweeper", sweeper.run(self.lifecycle.stopping()));
        let Self { life, lifecycle, store, .. } = self;
        life.note(Event::Started { instance: life.instance, slot: life.slot });
        Instance { life, lifecycle, store: (*store).clone(), relay, permits, breakers }
    }

    fn start_worker(&self, relay: &Relay, permits: Permits, breakers: Breakers) {
        let plan = &self.life.world.plan;
        let parts = WorkerParts {
            store: self.store.clone(),
            queue: Arc::clone(&self.queue),
            catalog: Arc::clone(&self.catalog),
            sender: Arc::new(SenderLine { life: Arc::clone(&self.life) }),
            relay: relay.clone(),
            permits,
            breakers,
            disabler: Disabler {
                store: self.store.clone(),
                catalog: Arc::clone(&self.catalog),
                relay: relay.clone(),
                clock: self.life.clock.clone(),
                republish_after: plan.settings.delivery.republish_after,
            },
            policy: plan.policy.clone(),
            clock: self.life.clock.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let (worker, loops) = Worker::new(parts, &plan.settings);
        let (claim, finish) = loops.into_tasks(self.lifecycle.drained());
        self.spawn_until_drained("claims", claim);
        self.spawn_until_drained("finishes", finish);
        self.lifecycle.spawn("worker", worker.run(self.lifecycle.stopping()));
    }

    /// As in `app`: a writer that lasts as long as the service may hand it something.
    fn spawn_until_drained(&self, name: &'static str, writer: impl Future<Output = ()> + Send + 'static) {
        let drained = self.lifecycle.drained();
        self.lifecycle.spawn_writer(name, async move {
            writer.await;
            drained.cancelled().await;
        });
    }
}
