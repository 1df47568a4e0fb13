//! Many deliveries sent again: which they are, and one step of a job over them.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::super::super::dialect::{DbConnection, Engine};
use super::super::deliveries::{Standing, begin_epochs, leased_among};
use super::super::reading::{DELIVERIES, delivery_view};
use super::jobs::{self, Progress};
use super::matching::Matching;
use crate::domain::ids::DeliveryId;
use crate::domain::replay::{DeliveryFilter, Selection, Skip};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::reading::DeliveryView;
use crate::store::replays::{Step, Stepped};

const COUNT: &str = "SELECT count(*) FROM deliveries d JOIN events e ON e.id = d.event_id \
     JOIN endpoints p ON p.id = d.endpoint_id \
     LEFT JOIN delivery_acknowledgements a ON a.delivery_id = d.id AND a.epoch = d.epoch WHERE true";
const NEXT: &str = "SELECT d.id, d.epoch, d.state FROM deliveries d JOIN events e ON e.id = d.event_id \
     JOIN endpoints p ON p.id = d.endpoint_id \
     LEFT JOIN delivery_acknowledgements a ON a.delivery_id = d.id AND a.epoch = d.epoch WHERE true";

pub async fn count(
    connection: &mut DbConnection,
    filter: &DeliveryFilter,
    created_at: Timestamp,
) -> Result<i64, StoreError> {
    Ok(Matching::deliveries(COUNT, filter, created_at, Uuid::nil()).count(connection).await?)
}

pub async fn matching(
    engine: &Engine,
    filter: &DeliveryFilter,
    now: Timestamp,
    sample: i64,
) -> Result<(i64, Vec<DeliveryView>), StoreError> {
    let mut snapshot = engine.begin_snapshot().await?;
    let count = count(&mut snapshot, filter, now).await?;
    let matching = Matching::deliveries(DELIVERIES, filter, now, Uuid::nil());
    let rows = matching.first("d.id", sample, &mut snapshot).await?;
    Ok((count, rows.iter().map(delivery_view).collect::<Result<_, _>>()?))
}

pub async fn step(engine: &Engine, step: Step, republish_after: Duration, room: usize) -> Result<Stepped, StoreError> {
    let mut transaction = engine.begin().await?;
    let Some(job) = jobs::lock(&mut transaction, step).await? else { return Ok(Stepped::Lost) };
    let Selection::Deliveries(filter) = &job.view.selection else {
        return Err(StoreError::Corrupt("a replay of receipts was worked as one of deliveries".to_owned()));
    };
    let next = Matching::deliveries(NEXT, filter, job.view.created_at, job.reached);
    let rows = next.first("d.id", step.limit, &mut transaction).await?;
    let standing = rows.iter().map(Standing::read).collect::<Result<Vec<_>, _>>()?;
    let reached: Option<Uuid> = rows.last().map(|row| row.try_get("id")).transpose()?;
    let hints = begin_epochs(&mut transaction, &standing, step.now, republish_after, room).await?;
    let begun: HashSet<DeliveryId> = hints.iter().map(|hint| hint.delivery_id).collect();
    let left: Vec<DeliveryId> = standing.iter().map(|row| row.id).filter(|id| !begun.contains(id)).collect();
    let leased = leased_among(&mut transaction, &left, step.now).await?;
    let skip = |id: &DeliveryId| if leased.contains(id) { Skip::AttemptRunning } else { Skip::Changed };
    let looked_at = i64::try_from(standing.len()).unwrap_or(i64::MAX);
    let done = looked_at < step.limit;
    let replayed = i64::try_from(hints.len()).unwrap_or(i64::MAX);
    let progress = Progress { reached, replayed, skipped: left.iter().map(skip).collect(), verdicts: Vec::new(), done };
    jobs::advance(&mut transaction, step, job, progress).await?;
    crate::fail::point("replay.before_commit").await;
    transaction.commit().await?;
    crate::fail::point("replay.after_commit").await;
    let hints = hints.into_iter().take(room).collect();
    Ok(if done { Stepped::Done { hints } } else { Stepped::Some { looked_at, hints } })
}
