//! Attempts deliveries: breaker, permit → claim → sign → send → finish.
//!
//! A message is acknowledged once its claims are committed: from then on the leases guard the work. Claims and
//! finishes are grouped over all messages ([`super::commits`]). While the database is away claims wait, with their
//! permits, and so consuming pauses by itself. On a stop nothing new is taken and what runs is finished.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::{BatchError, Batcher};
use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::breaker::{Breakers, Pass, Strain, Turn};
use crate::delivery::commits::{Answered, Commits, WorkerLoops, commits};
use crate::delivery::disabling::Disabler;
use crate::delivery::permits::{Permit, Permits, Place};
use crate::delivery::relay::Relay;
use crate::delivery::request::request;
use crate::delivery::sender::Outbound;
use crate::domain::catalog::Catalog;
use crate::domain::delivery::{AttemptOutcome, AttemptResult, Hint};
use crate::domain::endpoint::EndpointStatus;
use crate::domain::ids::{EndpointId, LeaseId};
use crate::domain::retry::{Next, RetryPolicy};
use crate::domain::time::Timestamp;
use crate::intake::catalog_cache::CatalogCache;
use crate::metrics::Metrics;
use crate::queue::{Queue, Received};
use crate::store::deliveries::{Claim, Claimed, Deliveries, Finished, Settled};
use crate::store::in_time;

/// What must be left of a lease, beyond the time an attempt may take, for it to be started.
const LEASE_MARGIN: Duration = Duration::from_millis(20);
/// The answer of a receiver that is gone for good.
const GONE: u16 = 410;

/// Attempts deliveries until told to stop. Clones share everything.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Deliveries>,
    queue: Arc<dyn Queue>,
    catalog: Arc<CatalogCache>,
    sender: Arc<dyn Outbound>,
    relay: Relay,
    permits: Permits,
    breakers: Breakers,
    disabler: Disabler,
    in_flight: Arc<Semaphore>,
    claims: Batcher<Claim, Answered>,
    finishes: Batcher<Finished, Settled>,
    attempts: TaskTracker,
    policy: RetryPolicy,
    clock: Clock,
    metrics: Arc<Metrics>,
    timeout: Duration,
    lease: Duration,
    hand_back_after: Duration,
}

/// What a worker works with.
#[expect(missing_docs, reason = "the rooms that it stands between")]
pub struct WorkerParts {
    pub store: Arc<dyn Deliveries>,
    pub queue: Arc<dyn Queue>,
    pub catalog: Arc<CatalogCache>,
    pub sender: Arc<dyn Outbound>,
    pub relay: Relay,
    pub permits: Permits,
    pub breakers: Breakers,
    pub disabler: Disabler,
    pub policy: RetryPolicy,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl Worker {
    /// A worker and the loops that serve it.
    #[must_use]
    pub fn new(parts: WorkerParts, settings: &Settings) -> (Self, WorkerLoops) {
        let (Commits { claims, finishes }, loops) = commits(&parts.store, &parts.clock, &settings.delivery);
        let WorkerParts { store, queue, catalog, sender, relay, permits, breakers, disabler, policy, clock, metrics } =
            parts;
        let shared = Shared {
            store,
            queue,
            catalog,
            sender,
            relay,
            permits,
            breakers,
            disabler,
            in_flight: Arc::new(Semaphore::new(settings.delivery.max_in_flight)),
            claims,
            finishes,
            attempts: TaskTracker::new(),
            policy,
            clock,
            metrics,
            timeout: settings.delivery.timeout,
            lease: settings.delivery.lease,
            hand_back_after: settings.delivery.hand_back_after,
        };
        (Self { shared: Arc::new(shared) }, loops)
    }

    /// Takes message after message until told to stop, then waits for the attempts that run.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                received = self.shared.queue.receive() => match received {
                    Some(received) => self.take(received).await,
                    None => break,
                },
                hints = self.shared.relay.receive_directly() => self.take(Received::past_the_queue(hints)).await,
            }
        }
        self.shared.attempts.close(); // From here on nothing more is claimed.
        self.hand_back(&self.shared.permits.dismiss(), self.shared.clock.now()).await;
        self.shared.queue.close().await;
        self.shared.attempts.wait().await;
        stopping.cancelled().await;
    }

    /// Takes a permit for each hint of a message and has the rest handed back. Waits, and thereby stops consuming,
    /// while this instance has as many attempts running as it may.
    async fn take(&self, received: Received) {
        let (mut ready, mut no_slot, mut full) = (Vec::new(), Vec::new(), BTreeSet::new());
        for hint in &received.hints {
            if self.is_held(hint.endpoint_id) {
                no_slot.push(*hint);
                continue;
            }
            match self.shared.permits.take(*hint) {
                // A message holds fewer hints than `max_in_flight` allows attempts, so this waits for attempts that run and
                // never for itself.
                Place::Now(permit) => match self.slot(permit, Room::AwaitIt).await {
                    Ok(slot) => ready.push((*hint, slot)),
                    Err(permit) => {
                        no_slot.push(*hint);
                        self.freed(permit);
                    }
                },
                Place::Waits => {}
                Place::TurnedAway => {
                    no_slot.push(*hint);
                    full.insert(hint.endpoint_id);
                }
            }
        }
        let worker = self.clone();
        self.shared.attempts.spawn(async move {
            worker.hand_back_later(&no_slot).await;
            worker.look_again(full);
            worker.work(received, ready).await;
        });
    }

    /// All that an attempt needs besides the permit; the permit again where the endpoint is left alone for a while, or this
    /// instance has no room.
    async fn slot(&self, permit: Permit, room: Room) -> Result<Slot, Permit> {
        let Some(pass) = self.shared.breakers.admit(permit.endpoint(), self.shared.clock.now()) else {
            return Err(permit);
        };
        let in_flight = Arc::clone(&self.shared.in_flight);
        let got = match room {
            Room::AwaitIt => in_flight.acquire_owned().await.ok(),
            Room::IfThereIs => in_flight.try_acquire_owned().ok(),
        };
        match got {
            Some(in_flight) => Ok(Slot { permit, pass, in_flight }),
            None => Err(permit),
        }
    }

    /// Whether an endpoint's deliveries wait until it is active again.
    fn is_held(&self, endpoint: EndpointId) -> bool {
        let catalog = self.shared.catalog.current();
        catalog.endpoint(endpoint).is_some_and(|endpoint| endpoint.status != EndpointStatus::Active)
    }

    /// Claims what has a permit, acknowledges, and attempts.
    async fn work(self, received: Received, ready: Vec<(Hint, Slot)>) {
        let claimed = self.claim(ready).await;
        crate::fail::point("worker.after_claim").await;
        if claimed.iter().any(|(answer, _)| answer.is_err()) {
            return; // Stopping: the message is not acknowledged and comes again.
        }
        received.ack().await;
        self.begin(claimed);
    }

    /// Has rows come up again in a while.
    async fn hand_back_later(&self, hints: &[Hint]) {
        self.hand_back(hints, self.shared.clock.now().plus(self.shared.hand_back_after)).await;
    }

    /// Has endpoints looked at that turned hints away: whoever refilled one meanwhile saw past rows that were being handed
    /// back, since it leaves out what another transaction has locked.
    fn look_again(&self, full: BTreeSet<EndpointId>) {
        for endpoint in full {
            self.shared.permits.handed_back(endpoint);
            self.go_on_with(endpoint);
        }
    }

    /// Has rows come up again at `at`.
    async fn hand_back(&self, hints: &[Hint], at: Timestamp) {
        if hints.is_empty() {
            return;
        }
        if let Err(error) = in_time(self.shared.store.hand_back(hints, at)).await {
            tracing::warn!(hints = hints.len(), %error, "deliveries could not be handed back; they come up again");
        }
    }

    async fn claim(&self, ready: Vec<(Hint, Slot)>) -> Vec<(Result<Answered, BatchError>, Slot)> {
        let shared = &self.shared;
        let claims = ready.into_iter().map(|(hint, slot)| async move {
            let claim = Claim { hint, lease_id: LeaseId::new(shared.clock.now()) };
            (shared.claims.submit(claim).await, slot)
        });
        futures_util::future::join_all(claims).await
    }

    fn begin(&self, claimed: Vec<(Result<Answered, BatchError>, Slot)>) {
        for (answer, slot) in claimed {
            match answer {
                Ok(Some(claimed)) => self.attempt_in_task(claimed, slot),
                _ => self.freed(slot.permit),
            }
        }
    }

    fn attempt_in_task(&self, claimed: Claimed, slot: Slot) {
        let worker = self.clone();
        self.shared.attempts.spawn(worker.attempt(claimed, slot));
    }

    /// Sends once and writes how it ended. The endpoint's permit is about what the receiver has to bear, so it is free
    /// again before the end is written.
    async fn attempt(self, claimed: Claimed, slot: Slot) {
        let Slot { permit, pass, in_flight: _held_to_the_end } = slot;
        let shared = &self.shared;
        let started_at = shared.clock.now();
        crate::fail::point("worker.before_send").await;
        if self.lease_end(&claimed) < started_at.plus(shared.timeout + LEASE_MARGIN) {
            tracing::warn!(delivery_id = %claimed.delivery_id, "too little is left of the lease; it is given up");
            return self.freed(permit);
        }
        let catalog = self.catalog_with(claimed.endpoint_id).await;
        let result = self.send(&catalog, &claimed, started_at).await;
        self.judge_endpoint(pass, &result, shared.clock.now());
        self.freed(permit);
        crate::fail::point("worker.after_send").await;
        let finished_at = shared.clock.now();
        shared.metrics.attempt_seconds.observe(result.duration.as_secs_f64());
        let next = match result.outcome {
            AttemptOutcome::Delivered => None,
            AttemptOutcome::Failed { retry_after } => {
                Some(shared.policy.after_failure(claimed.history, finished_at, retry_after))
            }
        };
        shared.metrics.attempt(if next.is_none() { "delivered" } else { "failed" });
        let hint = Hint {
            delivery_id: claimed.delivery_id,
            endpoint_id: claimed.endpoint_id,
            epoch: claimed.epoch,
            attempt: claimed.number,
        };
        let gone = (result.status == Some(GONE)).then(|| catalog.endpoint(claimed.endpoint_id).cloned()).flatten();
        let settled = shared.finishes.submit(Finished { claimed, result, finished_at, next }).await;
        self.follow_up(hint, next, settled.ok());
        if let Some(endpoint) = gone
            && let Err(error) = shared.disabler.gone(&endpoint).await
        {
            tracing::warn!(endpoint_id = %endpoint.id, %error, "an endpoint that is gone could not be disabled; its next 410 does");
        }
    }

    /// Tells the endpoint's breaker how the attempt went.
    fn judge_endpoint(&self, pass: Pass, result: &AttemptResult, now: Timestamp) {
        let endpoint_id = pass.endpoint();
        match pass.report(Strain::of(result, self.shared.timeout), now) {
            Turn::Opened(pause) => {
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%endpoint_id, pause_ms, "an endpoint cannot take more; it is left alone for a while");
            }
            Turn::Closed => {
                tracing::info!(%endpoint_id, "an endpoint takes deliveries again");
                self.shared.relay.wake();
            }
            Turn::None => {}
        }
    }

    /// After the commit: what is to be tried again goes to its rung; what is dead is said once.
    fn follow_up(&self, hint: Hint, next: Option<Next>, settled: Option<Settled>) {
        match (next, settled) {
            (Some(Next::Retry { rung: Some(rung), .. }), Some(Settled::Changed)) => {
                self.shared.relay.wait_on_rung(rung, hint);
            }
            (Some(Next::Dead { failures, reason }), Some(Settled::Changed)) => {
                tracing::warn!(delivery_id = %hint.delivery_id, endpoint_id = %hint.endpoint_id, failures,
                    reason = reason.as_str(), "a delivery is dead and waits for a person");
            }
            _ => {}
        }
    }

    /// The configuration, with this endpoint in it.
    async fn catalog_with(&self, endpoint: EndpointId) -> Arc<Catalog> {
        let catalog = self.shared.catalog.current();
        match catalog.endpoint(endpoint) {
            Some(_) => catalog,
            // Made on another instance a moment ago.
            None => self.shared.catalog.refresh().await.unwrap_or(catalog),
        }
    }

    async fn send(&self, catalog: &Catalog, claimed: &Claimed, now: Timestamp) -> AttemptResult {
        let Some(endpoint) = catalog.endpoint(claimed.endpoint_id) else {
            return failed("the endpoint is not known to this instance");
        };
        let secrets = catalog.endpoint_secrets(claimed.endpoint_id, now);
        match request(endpoint, &secrets, claimed, now, self.shared.timeout) {
            Ok(request) => self.shared.sender.send(request, now).await,
            Err(error) => failed(error),
        }
    }

    fn lease_end(&self, claimed: &Claimed) -> Timestamp {
        claimed.claimed_at.plus(self.shared.lease)
    }

    /// Gives back a permit; who waited for it goes on, and one of a full endpoint takes what is due there next.
    fn freed(&self, permit: Permit) {
        let endpoint = permit.endpoint();
        drop(permit);
        self.go_on_with(endpoint);
    }

    /// Fills the permits of an endpoint that are free.
    fn go_on_with(&self, endpoint: EndpointId) {
        if self.shared.attempts.is_closed() {
            return;
        }
        let next = self.shared.permits.next(endpoint);
        if !next.is_empty() {
            let worker = self.clone();
            self.shared.attempts.spawn(async move { worker.go_on(next).await });
        } else if let Some(free) = self.shared.permits.begin_refill(endpoint) {
            let worker = self.clone();
            self.shared.attempts.spawn(async move { worker.refill(free).await });
        }
    }

    /// Claims for those who waited in line, and attempts. Should the endpoint be held or left alone by now, they go back to
    /// their rows, and so do those behind them.
    async fn go_on(self, next: Vec<(Hint, Permit)>) {
        let (mut ready, mut back) = (Vec::with_capacity(next.len()), Vec::new());
        for (hint, permit) in next {
            let held = self.is_held(hint.endpoint_id);
            match if held { Err(permit) } else { self.slot(permit, Room::AwaitIt).await } {
                Ok(slot) => ready.push((hint, slot)),
                Err(permit) => {
                    back.push(hint);
                    self.freed(permit);
                }
            }
        }
        self.hand_back_later(&back).await;
        let claimed = self.claim(ready).await;
        self.begin(claimed);
    }

    /// Claims an endpoint's due deliveries while permits of it are free.
    async fn refill(self, mut free: Vec<Permit>) {
        while let Some(endpoint) = free.first().map(Permit::endpoint) {
            let slots = self.slots(free).await;
            let claimed = self.claim_due(endpoint, slots.len()).await;
            // Fewer than wanted: nothing more is due, or nothing can be had now. The relay brings up the rest.
            let emptied = slots.is_empty() || claimed.len() < slots.len();
            for (claimed, slot) in claimed.into_iter().zip(slots) {
                self.attempt_in_task(claimed, slot);
            }
            self.shared.permits.refilled(endpoint, emptied);
            free = self.shared.permits.begin_refill(endpoint).unwrap_or_default();
        }
    }

    /// As many slots as this instance may fill now, none of an endpoint that is left alone: had before anything is claimed,
    /// so that no lease runs while its attempt waits.
    async fn slots(&self, permits: Vec<Permit>) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(permits.len());
        for permit in permits {
            let room = if slots.is_empty() { Room::AwaitIt } else { Room::IfThereIs };
            let Ok(slot) = self.slot(permit, room).await else { break };
            slots.push(slot);
        }
        slots
    }

    async fn claim_due(&self, endpoint: EndpointId, wanted: usize) -> Vec<Claimed> {
        let shared = &self.shared;
        if shared.attempts.is_closed() || self.is_held(endpoint) {
            return Vec::new();
        }
        let now = shared.clock.now();
        let claimed = in_time(shared.store.claim_next(endpoint, wanted, now, now.plus(shared.lease))).await;
        claimed.unwrap_or_else(|error| {
            tracing::warn!(endpoint_id = %endpoint, %error, "due deliveries could not be claimed; they come up again");
            Vec::new()
        })
    }
}

/// The right to one attempt: one of the endpoint's, its breaker's consent, one of this instance's.
struct Slot {
    permit: Permit,
    pass: Pass,
    in_flight: OwnedSemaphorePermit,
}

/// What is done where this instance has as many attempts running as it may.
#[derive(Clone, Copy)]
enum Room {
    AwaitIt,
    IfThereIs,
}

fn failed(error: &str) -> AttemptResult {
    AttemptResult {
        outcome: AttemptOutcome::Failed { retry_after: None },
        status: None,
        body_start: None,
        error: Some(error.to_owned()),
        duration: Duration::ZERO,
    }
}
