//! The store, in memory: what `store::deliveries` and `store::endpoints` promise, one method one transaction.
//!
//! It says in a few lines each what `src/store/queries/deliveries.rs` says in SQL; `agreement` holds the two together by
//! running the same operations on both. Every change of a row is written down, for the judge. A fault may be planted
//! in it (`planted`), to see that the judge finds it.

mod deliveries;
mod endpoints;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postback::domain::catalog::EndpointSecret;
use postback::domain::delivery::{DeliveryState, Hint};
use postback::domain::endpoint::{Endpoint, EndpointStatus};
use postback::domain::event::EventType;
use postback::domain::ids::{DeliveryId, EndpointId, EventId};
use postback::domain::outbox::{NewDelivery, Outbox};
use postback::store::outbox::{OutboxTerms, Told};

pub use rows::{Attempt, Ended, Row};

use super::planted::Planted;

/// A change of one row: what it was before, if it was, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub before: Option<Row>,
    pub after: Row,
}

/// An event as it is told.
#[derive(Clone, Debug)]
pub struct Message {
    pub event_type: EventType,
    pub body: String,
}

/// What was booked for a postback, and the deliveries that tell of it.
pub type Booking = Vec<DeliveryId>;

/// See the module.
#[derive(Default)]
pub struct Model {
    pub rows: BTreeMap<DeliveryId, Row>,
    pub attempts: BTreeMap<(DeliveryId, i32, i32), Attempt>,
    pub events: BTreeMap<EventId, Message>,
    /// Every endpoint with the version of the configuration that wrote it.
    pub endpoints: BTreeMap<EndpointId, (i64, Endpoint)>,
    pub secrets: Vec<EndpointSecret>,
    pub version: i64,
    /// Every booking ever made, by the postback's key.
    pub bookings: Vec<(u32, Booking)>,
    /// What changed since somebody looked.
    pub changes: Vec<Change>,
    pub planted: Option<Planted>,
}

impl Model {
    /// Whether this fault is planted.
    fn has(&self, fault: Planted) -> bool {
        self.planted == Some(fault)
    }

    fn is_active(&self, endpoint: EndpointId) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|(_, endpoint)| endpoint.status == EndpointStatus::Active)
    }

    /// Changes a row and writes that down.
    fn change(&mut self, id: DeliveryId, change: impl FnOnce(&mut Row)) {
        let row = self.rows.get_mut(&id).unwrap();
        let before = *row;
        change(row);
        self.changes.push(Change { before: Some(before), after: *row });
    }

    /// The row that a hint still fits, if nobody has a lease on it.
    fn standing(&self, hint: &Hint) -> Option<&Row> {
        self.rows.get(&hint.delivery_id).filter(|row| row.stands_as(hint) && row.lease.is_none())
    }

    /// Writes an endpoint, as an admin does.
    pub fn put_endpoint(&mut self, endpoint: Endpoint) {
        self.version += 1;
        self.endpoints.insert(endpoint.id, (self.version, endpoint));
    }

    /// Writes events and their deliveries: the first `terms.room` that are not held are hinted at after the commit.
    pub fn write_outbox(&mut self, outbox: &Outbox, terms: OutboxTerms) -> Told {
        for event in &outbox.events {
            let told = Message { event_type: event.event_type, body: event.body.clone() };
            self.events.insert(event.id, told);
        }
        let (held, sent): (Vec<&NewDelivery>, Vec<&NewDelivery>) = outbox.deliveries.iter().partition(|new| new.held);
        for some in [&sent, &held] {
            for (place, new) in some.iter().enumerate() {
                let wait = if place < terms.room { terms.republish_after } else { Duration::ZERO };
                let row = Row::born(new, terms.now, wait);
                self.rows.insert(new.id, row);
                self.changes.push(Change { before: None, after: row });
            }
        }
        let hints: Vec<Hint> = sent.iter().take(terms.room).map(|new| new.hint()).collect();
        let deferred = sent.len() - hints.len();
        Told { hints, deferred }
    }

    /// Records a postback: its key, its booking and its deliveries in one step; a duplicate is told what the first one was.
    /// `outbox` is written only for the first.
    pub fn record(&mut self, key: u32, outbox: &Outbox, terms: OutboxTerms) -> (Booking, Told) {
        let known = self.bookings.iter().find(|(booked, _)| *booked == key).map(|(_, booking)| booking.clone());
        match known {
            Some(booking) if !self.has(Planted::RecordForgetsKeys) => (booking, Told::default()),
            _ => {
                let booking: Booking = outbox.deliveries.iter().map(|new| new.id).collect();
                self.bookings.push((key, booking.clone()));
                let told = self.write_outbox(outbox, terms);
                (booking, told)
            }
        }
    }

    /// Whether nothing waits any more: every row is delivered, dead, or held for an endpoint that is not active.
    pub fn is_settled(&self) -> bool {
        self.rows.values().all(|row| match row.state {
            DeliveryState::Pending => false,
            DeliveryState::Held => !self.is_active(row.endpoint_id),
            DeliveryState::Delivered | DeliveryState::Dead => true,
        })
    }

    /// The rows that a statement names, each once and in the order in which they are locked.
    fn named(ids: impl Iterator<Item = DeliveryId>) -> BTreeSet<DeliveryId> {
        ids.collect()
    }
}
