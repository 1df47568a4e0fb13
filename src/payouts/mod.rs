//! Payouts: the use cases that admins and the schedule share.
//!
//! A transaction that collided with another, or judged by a configuration that has moved on, is made again here; what it
//! told subscribers is hinted at after its commit, as the recorder does. Deliberately absent: moving money. That is
//! the business of whoever takes an approved payout and says that it was sent.

pub mod schedule;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::relay::Relay;
use crate::domain::catalog::Catalog;
use crate::domain::ids::{KeyId, PayoutId};
use crate::domain::money::Amount;
use crate::domain::payout::Step;
use crate::domain::payout::terms::{DueOutcome, PayoutTerms};
use crate::intake::catalog_cache::CatalogCache;
use crate::store::outbox::{OutboxTerms, Told};
use crate::store::payouts::{Creation, DuePayout, NewPayout, TakeStep, Taken};
use crate::store::{Store, StoreError, in_time};

/// How often a transaction that collided, or found the configuration moved, is made before it is given up.
const MOST_TRIES: u32 = 8;

/// The use cases of payouts.
#[derive(Clone)]
pub struct Payouts {
    store: Arc<dyn Store>,
    catalog: Arc<CatalogCache>,
    relay: Relay,
    clock: Clock,
    republish_after: Duration,
    one_person_up_to: Amount,
}

impl Payouts {
    /// The use cases, under these settings.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<CatalogCache>,
        relay: Relay,
        clock: Clock,
        settings: &Settings,
    ) -> Self {
        let (republish_after, one_person_up_to) =
            (settings.delivery.republish_after, settings.payouts.one_person_up_to);
        Self { store, catalog, relay, clock, republish_after, one_person_up_to }
    }

    /// Makes a payout of all that is unpaid. Keys of the schedule are out of a caller's reach.
    ///
    /// # Errors
    /// [`StoreError`] as the transaction met it, after the tries that make sense.
    pub async fn create(&self, new: NewPayout) -> Result<Creation, StoreError> {
        let new = NewPayout { idempotency_key: format!("asked:{}", new.idempotency_key), ..new };
        let (store, new) = (&self.store, &new);
        let create = move |catalog: Arc<Catalog>, terms| async move { store.create_payout(new, &catalog, terms).await };
        let mut creation = self.tried(create).await?;
        if let Creation::Made(_, told) = &mut creation {
            self.hint(std::mem::take(told));
        }
        Ok(creation)
    }

    /// Takes a step with a payout.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; else as the transaction met it, after the tries that make sense.
    pub async fn step(&self, id: PayoutId, step: Step, by: KeyId) -> Result<Taken, StoreError> {
        let take = TakeStep { id, step, by, one_person_up_to: self.one_person_up_to };
        let (store, take) = (&self.store, &take);
        let step = move |catalog: Arc<Catalog>, terms| async move { store.step_payout(take, &catalog, terms).await };
        let mut taken = self.tried(step).await?;
        if let Taken::Done(_, told) = &mut taken {
            self.hint(std::mem::take(told));
        }
        Ok(taken)
    }

    /// Makes the payout that fell due by these terms, unless another instance has.
    ///
    /// # Errors
    /// [`StoreError`] as the transaction met it, after the tries that make sense.
    async fn create_due(&self, terms: PayoutTerms) -> Result<Option<DueOutcome>, StoreError> {
        let next_due_at = terms.period.end(self.clock.now());
        let due = &DuePayout { terms, next_due_at };
        let store = &self.store;
        let create =
            move |catalog: Arc<Catalog>, terms| async move { store.create_due_payout(due, &catalog, terms).await };
        let Some((outcome, told)) = self.tried(create).await? else { return Ok(None) };
        self.hint(told);
        Ok(Some(outcome))
    }

    /// One transaction, made again where that can help.
    async fn tried<T, F>(&self, work: impl Fn(Arc<Catalog>, OutboxTerms) -> F + Send) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let (now, room) = (self.clock.now(), self.relay.room());
            let terms = OutboxTerms { now, republish_after: self.republish_after, room };
            match in_time(work(self.catalog.current(), terms)).await {
                Err(StoreError::StaleConfiguration) if tries < MOST_TRIES => {
                    self.catalog.refresh().await?;
                }
                Err(StoreError::Collision(_)) if tries < MOST_TRIES => {
                    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=10))).await;
                }
                other => return other,
            }
        }
    }

    fn hint(&self, told: Told) {
        self.relay.announce(told.hints);
        if told.deferred > 0 {
            self.relay.wake();
        }
    }
}
