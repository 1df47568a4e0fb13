//! What attempts came to. A row is written once, when its attempt ends or its lease runs out, and not when it begins:
//! until then the delivery's row says that one is running. Only an end that comes after its lease finds a row.

use super::super::dialect::{self, DbConnection};
use crate::domain::delivery::AttemptOutcome;
use crate::domain::ids::{DeliveryId, LeaseId};
use crate::store::StoreError;
use crate::store::deliveries::Finished;
use crate::store::rows::Rows;

/// An attempt whose end nobody will write, since its lease is over.
pub struct Unknown {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Which life of the delivery.
    pub epoch: i32,
    /// The attempt's number in it.
    pub number: i32,
    /// The lease, whose id tells when the attempt began.
    pub lease_id: LeaseId,
}

/// Writes how attempts ended, over what was said of them when their leases ran out.
pub async fn write_ends(connection: &mut DbConnection, finished: &[&Finished]) -> Result<(), StoreError> {
    let outcome = |finished: &Finished| match finished.result.outcome {
        AttemptOutcome::Delivered => "delivered",
        AttemptOutcome::Failed { .. } => "failed",
    };
    let rows = Rows::of(finished)
        .col("delivery_id", |finished| finished.claimed.delivery_id)
        .col("epoch", |finished| finished.claimed.epoch)
        .col("number", |finished| finished.claimed.number)
        .col("started_at", |finished| finished.claimed.claimed_at)
        .col("finished_at", |finished| finished.finished_at)
        .col("outcome", |finished| outcome(finished))
        .opt("status", |finished| finished.result.status.map(i32::from))
        .opt("body_start", |finished| finished.result.body_start.clone())
        .opt("error", |finished| finished.result.error.clone())
        .col("duration_ms", |finished| i64::try_from(finished.result.duration.as_millis()).unwrap_or(i64::MAX));
    let insert = "INSERT INTO attempts (delivery_id, epoch, number, started_at, finished_at, outcome, status, \
         body_start, error, duration_ms) SELECT delivery_id, epoch, number, started_at, finished_at, outcome, status, \
         body_start, error, duration_ms FROM {rows} WHERE true ON CONFLICT (delivery_id, epoch, number) DO UPDATE SET \
         finished_at = excluded.finished_at, outcome = excluded.outcome, status = excluded.status, \
         body_start = excluded.body_start, error = excluded.error, duration_ms = excluded.duration_ms";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

/// Writes attempts as `unknown`, unless their ends are known by now.
pub async fn write_unknown(connection: &mut DbConnection, unknown: &[Unknown]) -> Result<(), StoreError> {
    let rows = Rows::of(unknown)
        .col("delivery_id", |attempt| attempt.delivery_id)
        .col("epoch", |attempt| attempt.epoch)
        .col("number", |attempt| attempt.number)
        .col("started_at", |attempt| attempt.lease_id.made_at());
    let insert = "INSERT INTO attempts (delivery_id, epoch, number, started_at, outcome) \
         SELECT delivery_id, epoch, number, started_at, 'unknown' FROM {rows} WHERE true ON CONFLICT DO NOTHING";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}
