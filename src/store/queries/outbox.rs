//! The outbox: events and deliveries, written in the transaction of the change that they tell.

use super::super::dialect::{self, DbConnection};
use crate::domain::outbox::{NewDelivery, Outbox};
use crate::store::StoreError;
use crate::store::outbox::{OutboxTerms, Told};
use crate::store::rows::Rows;

/// Writes what is to be told. The first `terms.room` deliveries are hinted at right after the commit, the others are
/// due at once for the relay to find.
pub async fn write(connection: &mut DbConnection, outbox: &Outbox, terms: OutboxTerms) -> Result<Told, StoreError> {
    insert_events(connection, outbox).await?;
    let (held, sent): (Vec<&NewDelivery>, Vec<&NewDelivery>) = outbox.deliveries.iter().partition(|new| new.held);
    insert_deliveries(connection, &sent, "pending", terms).await?;
    insert_deliveries(connection, &held, HELD, terms).await?;
    let hints: Vec<_> = sent.iter().take(terms.room).map(|new| new.hint()).collect();
    let deferred = sent.len() - hints.len();
    Ok(Told { hints, deferred })
}

/// The state in which what waits for an endpoint that is not active is born.
const HELD: &str = "held";

async fn insert_events(connection: &mut DbConnection, outbox: &Outbox) -> Result<(), StoreError> {
    let rows = Rows::of(&outbox.events)
        .col("id", |event| event.id)
        .col("event_type", |event| event.event_type.as_str())
        .opt("operator_id", |event| event.operator_id)
        .opt("affiliate_id", |event| event.affiliate_id)
        .col("created_at", |event| event.created_at)
        .col("body", |event| event.body.as_str());
    let insert = "INSERT INTO events (id, event_type, operator_id, affiliate_id, created_at, body) \
         SELECT id, event_type, operator_id, affiliate_id, created_at, body FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn insert_deliveries(
    connection: &mut DbConnection,
    deliveries: &[&NewDelivery],
    state: &'static str,
    terms: OutboxTerms,
) -> Result<(), StoreError> {
    let now = terms.now;
    let placed: Vec<(usize, &NewDelivery)> = deliveries.iter().copied().enumerate().collect();
    let held_at = (state == HELD).then_some(now);
    let republish_at = move |place: usize| if place < terms.room { now.plus(terms.republish_after) } else { now };
    let rows = Rows::of(&placed)
        .col("id", |(_, delivery)| delivery.id)
        .col("event_id", |(_, delivery)| delivery.event_id)
        .col("endpoint_id", |(_, delivery)| delivery.endpoint_id)
        .col("born", |_| state)
        .col("at", |_| now)
        .opt("held_at", |_| held_at)
        .col("republish_at", move |(place, _)| republish_at(*place));
    let insert = "INSERT INTO deliveries (id, event_id, endpoint_id, state, epoch, attempt, failures, unknowns, \
         created_at, first_due_at, next_attempt_at, held_at, republish_at, republished) \
         SELECT id, event_id, endpoint_id, born, 1, 0, 0, 0, at, at, at, held_at, republish_at, 0 FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}
