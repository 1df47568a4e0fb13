//! Deliveries with their attempts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventType;
use crate::domain::ids::{DeliveryId, EndpointId, EventId};
use crate::domain::replay::Person;
use crate::domain::time::Timestamp;
use crate::store::reading::{AttemptView, DeliveryView};
use crate::store::replays;

/// One event to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Its text is the `webhook-id`.
    pub event_id: EventId,
    pub event_type: EventType,
    pub endpoint_id: EndpointId,
    pub state: DeliveryState,
    /// Which life it is in; a replay begins the next.
    pub epoch: i32,
    /// Attempts begun in this epoch.
    pub attempt: i32,
    pub failures: i32,
    pub created_at: Timestamp,
    pub first_due_at: Timestamp,
    pub next_attempt_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    /// Why it is dead, if it is.
    pub dead_reason: Option<String>,
    /// That a person lets it be in this life of it; null for its affiliate.
    pub acknowledgement: Option<Acknowledgement>,
    /// The message, verbatim; only where one delivery is asked for.
    pub body: Option<String>,
    /// Its attempts, oldest first; only where one delivery is asked for.
    pub attempts: Vec<Attempt>,
}

/// That a person lets a dead delivery be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledgement {
    pub at: Timestamp,
    /// The key of whoever decided, or `command line`.
    #[schema(value_type = String, example = "key_01980f6e2b7a7c3e9f0a1b2c3d4e5f60")]
    pub by: Person,
    pub note: String,
}

/// One HTTP try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    pub epoch: i32,
    pub number: i32,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// `delivered`, `failed` or `unknown` (nobody lived to see its end, or it runs now).
    pub outcome: String,
    /// The receiver's HTTP status.
    pub status: Option<i32>,
    /// How the receiver's answer begins.
    pub body_start: Option<String>,
    pub error: Option<String>,
    pub duration_ms: Option<i64>,
}

impl From<DeliveryView> for Delivery {
    fn from(row: DeliveryView) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            endpoint_id: row.endpoint_id,
            state: row.state,
            epoch: row.epoch,
            attempt: row.attempt,
            failures: row.failures,
            created_at: row.created_at,
            first_due_at: row.first_due_at,
            next_attempt_at: row.next_attempt_at,
            settled_at: row.settled_at,
            dead_reason: row.dead_reason,
            acknowledgement: row.acknowledgement.map(Acknowledgement::from),
            body: row.body,
            attempts: row.attempts.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl From<replays::Acknowledgement> for Acknowledgement {
    fn from(row: replays::Acknowledgement) -> Self {
        Self { at: row.at, by: row.by, note: row.note }
    }
}

impl From<AttemptView> for Attempt {
    fn from(row: AttemptView) -> Self {
        Self {
            epoch: row.epoch,
            number: row.number,
            started_at: row.started_at,
            finished_at: row.finished_at,
            outcome: row.outcome,
            status: row.status,
            body_start: row.body_start,
            error: row.error,
            duration_ms: row.duration_ms,
        }
    }
}
