//! Deliveries with their events and attempts.

use sqlx::Row;

use super::super::super::dialect::{DbRow, Engine};
use super::super::replays::acknowledgement;
use super::super::{from_name, whole_rows};
use super::Select;
use crate::domain::ids::{DeliveryId, LeaseId};
use crate::store::StoreError;
use crate::store::reading::{AttemptView, DeliveryView, Filter, Page};

/// An affiliate's or operator's deliveries are those to its own endpoints.
pub const DELIVERIES: &str = "SELECT d.*, e.event_type, e.body, a.acknowledged_at, a.acknowledged_by, a.note \
     FROM deliveries d JOIN events e ON e.id = d.event_id JOIN endpoints p ON p.id = d.endpoint_id \
     LEFT JOIN delivery_acknowledgements a ON a.delivery_id = d.id AND a.epoch = d.epoch WHERE true";

pub async fn deliveries(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<DeliveryView>, StoreError> {
    let select = Select::of(DELIVERIES).only("d.endpoint_id", filter.endpoint_id);
    let select = select.only("p.affiliate_id", filter.affiliate_id).only("p.operator_id", filter.operator_id);
    // Written out, since SQLite does not see that a bound value is the condition of a partial index.
    let select = match filter.status.as_deref() {
        Some("pending") => select.and("d.id IN (SELECT id FROM deliveries WHERE state = 'pending')"),
        Some("held") => select.and("d.id IN (SELECT id FROM deliveries WHERE state = 'held')"),
        Some("dead") => select.and("d.state = 'dead'"),
        other => select.only("d.state", other.map(str::to_owned)),
    };
    let select = select.only("(a.delivery_id IS NOT NULL)", filter.acknowledged);
    select.since("d.id", filter).page(engine, "d.id", page, delivery_view).await
}

pub async fn delivery(engine: &Engine, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
    let whole = |row: &DbRow| {
        let running = running(row)?.into_iter().collect();
        Ok(DeliveryView { body: Some(row.try_get("body")?), attempts: running, ..delivery_view(row)? })
    };
    let Some(mut view) = Select::of(DELIVERIES).one(engine, "d.id", id.uuid(), whole).await? else {
        return Ok(None);
    };
    let select = "SELECT * FROM attempts WHERE delivery_id = $1 ORDER BY epoch, number";
    let rows = whole_rows(select).bind(id).fetch_all(&engine.reader).await?;
    let ended = rows.iter().map(attempt_view).collect::<Result<Vec<_>, _>>()?;
    view.attempts.splice(0..0, ended);
    Ok(Some(view))
}

/// The attempt that is under way, of which nothing is known yet.
fn running(row: &DbRow) -> Result<Option<AttemptView>, StoreError> {
    let lease: Option<LeaseId> = row.try_get("lease_id")?;
    let Some(lease) = lease else { return Ok(None) };
    Ok(Some(AttemptView {
        epoch: row.try_get("epoch")?,
        number: row.try_get("attempt")?,
        started_at: lease.made_at(),
        finished_at: None,
        outcome: "unknown".to_owned(),
        status: None,
        body_start: None,
        error: None,
        duration_ms: None,
    }))
}

pub fn delivery_view(row: &DbRow) -> Result<DeliveryView, StoreError> {
    Ok(DeliveryView {
        id: row.try_get("id")?,
        event_id: row.try_get("event_id")?,
        event_type: from_name(row, "event_type")?,
        endpoint_id: row.try_get("endpoint_id")?,
        state: from_name(row, "state")?,
        epoch: row.try_get("epoch")?,
        attempt: row.try_get("attempt")?,
        failures: row.try_get("failures")?,
        created_at: row.try_get("created_at")?,
        first_due_at: row.try_get("first_due_at")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        settled_at: row.try_get("settled_at")?,
        dead_reason: row.try_get("dead_reason")?,
        acknowledgement: acknowledgement(row)?,
        body: None,
        attempts: Vec::new(),
    })
}

fn attempt_view(row: &DbRow) -> Result<AttemptView, StoreError> {
    Ok(AttemptView {
        epoch: row.try_get("epoch")?,
        number: row.try_get("number")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        outcome: row.try_get("outcome")?,
        status: row.try_get("status")?,
        body_start: row.try_get("body_start")?,
        error: row.try_get("error")?,
        duration_ms: row.try_get("duration_ms")?,
    })
}
