//! What subscribers will be told of a change: events, and a delivery for each endpoint that wants one.
//!
//! Whoever changes something that is told (a batch of postbacks, a payout) gathers it here and writes it in the
//! transaction of the change itself. An event that nobody wants is not stored.

use serde_json::Value;

use super::catalog::{Catalog, Owner};
use super::delivery::Hint;
use super::endpoint::EndpointStatus;
use super::event::{self, Event, EventType};
use super::ids::{AffiliateId, DeliveryId, EndpointId, EventId, OperatorId};
use super::time::Timestamp;

/// A delivery to be born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Whether it waits until its endpoint is active.
    pub held: bool,
}

impl NewDelivery {
    /// The first hint about it.
    #[must_use]
    pub const fn hint(&self) -> Hint {
        Hint { delivery_id: self.id, endpoint_id: self.endpoint_id, epoch: 1, attempt: 0 }
    }
}

/// Something to be told.
#[derive(Clone, Debug)]
pub struct News {
    /// What happened.
    pub event_type: EventType,
    /// In whose program, where it was in one.
    pub operator_id: Option<OperatorId>,
    /// Which affiliate it concerns, if any.
    pub affiliate_id: Option<AffiliateId>,
    /// Whether it is a test.
    pub test: bool,
    /// What is told.
    pub data: Value,
}

/// Events and deliveries to be written.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Events with at least one subscriber.
    pub events: Vec<Event>,
    /// One for each event and endpoint.
    pub deliveries: Vec<NewDelivery>,
}

impl Outbox {
    /// Tells `owners`' endpoints, those that want it; where one is not active, what it is told is held.
    pub fn tell(&mut self, catalog: &Catalog, owners: &[Owner], news: News, now: Timestamp) {
        self.tell_all(catalog, owners, None, news, now);
    }

    /// As [`Outbox::tell`], but for one endpoint, which is what the news are about.
    pub fn tell_others(&mut self, catalog: &Catalog, owners: &[Owner], except: EndpointId, news: News, now: Timestamp) {
        self.tell_all(catalog, owners, Some(except), news, now);
    }

    fn tell_all(
        &mut self,
        catalog: &Catalog,
        owners: &[Owner],
        except: Option<EndpointId>,
        news: News,
        now: Timestamp,
    ) {
        let endpoints: Vec<(EndpointId, bool)> = owners
            .iter()
            .flat_map(|owner| catalog.endpoints_of(*owner))
            .filter(|endpoint| Some(endpoint.id) != except)
            .filter(|endpoint| endpoint.subscription.wants(news.event_type, &news.data))
            .map(|endpoint| (endpoint.id, endpoint.status != EndpointStatus::Active))
            .collect();
        if endpoints.is_empty() {
            return;
        }
        let event_id = EventId::new(now);
        let delivery = |(endpoint_id, held)| NewDelivery { id: DeliveryId::new(now), event_id, endpoint_id, held };
        self.deliveries.extend(endpoints.into_iter().map(delivery));
        self.events.push(Event {
            id: event_id,
            event_type: news.event_type,
            operator_id: news.operator_id,
            affiliate_id: news.affiliate_id,
            created_at: now,
            body: event::body(news.event_type, now, news.test, news.data),
        });
    }
}
