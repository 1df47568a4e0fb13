//! The delivery's row through its life. Every change names the state that it expects.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::attempts::{self, Unknown};
use super::to_name;
use crate::domain::delivery::{DeliveryState, Hint};
use crate::domain::event::EventType;
use crate::domain::ids::{DeliveryId, EndpointId, EventId, LeaseId};
use crate::domain::retry::{History, Next, RetryPolicy};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::deliveries::{After, Backlog, Claim, Claimed, Claims, Deliveries, Finished, Replay, Settled};
use crate::store::rows::Rows;

/// The longest wait for a hint that keeps getting lost: this many times the first one.
const MOST_DOUBLINGS: i32 = 3;

#[async_trait]
impl Deliveries for Engine {
    async fn claim(
        &self,
        claims: &[Claim],
        now: Timestamp,
        due_by: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Claims, StoreError> {
        let mut transaction = self.begin().await?;
        let claimed = claim_rows(&mut transaction, claims, now, due_by, lease_until).await?;
        let ours: HashSet<DeliveryId> = claimed.iter().map(|claimed| claimed.delivery_id).collect();
        let others: Vec<Hint> =
            claims.iter().map(|claim| claim.hint).filter(|hint| !ours.contains(&hint.delivery_id)).collect();
        let early = come_up_when_due(&mut transaction, &others).await?;
        transaction.commit().await?;
        Ok(Claims { claimed, early })
    }

    async fn claim_next(
        &self,
        endpoint_id: EndpointId,
        limit: usize,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut transaction = self.begin().await?;
        let select = format!(
            "SELECT id, endpoint_id, epoch, attempt FROM deliveries WHERE endpoint_id = $1 AND state = 'pending' \
             AND lease_id IS NULL AND next_attempt_at <= $2 ORDER BY next_attempt_at LIMIT $3 {}",
            dialect::SKIP_LOCKED
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(endpoint_id)
            .bind(now)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await?;
        let hints = rows.iter().map(hint).collect::<Result<Vec<_>, _>>()?;
        let claims: Vec<_> = hints.into_iter().map(|hint| Claim { hint, lease_id: LeaseId::new(now) }).collect();
        let claimed = claim_rows(&mut transaction, &claims, now, now, lease_until).await?;
        transaction.commit().await?;
        Ok(claimed)
    }

    async fn hand_back(&self, hints: &[Hint], republish_at: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let hints = sorted(hints);
        let rows = hint_rows(&hints).col("at", move |_| republish_at);
        let update = "UPDATE deliveries AS t SET republish_at = v.at FROM {rows} WHERE t.id = v.delivery \
             AND t.epoch = v.for_epoch AND t.attempt = v.for_attempt AND t.state = v.standing AND t.lease_id IS NULL";
        dialect::execute_rows(&mut transaction, update, rows).await?;
        Ok(transaction.commit().await?)
    }

    async fn finish(&self, finished: &[Finished], republish_after: Duration) -> Result<Vec<Settled>, StoreError> {
        let mut sorted: Vec<&Finished> = finished.iter().collect();
        sorted.sort_by_key(|finished| finished.claimed.delivery_id);
        let mut transaction = self.begin().await?;
        attempts::write_ends(&mut transaction, &sorted).await?;
        let mut changed = write_states(&mut transaction, &sorted, republish_after).await?;
        if changed.len() < sorted.len() {
            let successes: Vec<&Finished> = sorted.iter().copied().filter(|finished| finished.next.is_none()).collect();
            changed.extend(settle_late(&mut transaction, &successes).await?);
        }
        crate::fail::point("finish.before_commit").await;
        transaction.commit().await?;
        crate::fail::point("finish.after_commit").await;
        let settled = |finished: &Finished| {
            if changed.contains(&finished.claimed.delivery_id) { Settled::Changed } else { Settled::LeaseLost }
        };
        Ok(finished.iter().map(settled).collect())
    }

    async fn take_due(
        &self,
        now: Timestamp,
        skip: &[EndpointId],
        per_endpoint: i64,
        limit: i64,
        republish_after: Duration,
    ) -> Result<Vec<Hint>, StoreError> {
        let mut transaction = self.begin().await?;
        let endpoints = due_endpoints(&mut transaction, now, skip).await?;
        let found = dialect::take_due(&mut transaction, &endpoints, now, per_endpoint).await?;
        let mut due = fairly(&found)?;
        due.truncate(usize::try_from(limit).unwrap_or(0));
        due.sort_by_key(|(hint, _)| hint.delivery_id);
        let again = move |times: i32| now.plus(republish_after.saturating_mul(1 << times.clamp(0, MOST_DOUBLINGS)));
        let rows =
            Rows::of(&due).col("delivery", |(hint, _)| hint.delivery_id).col("at", move |(_, times)| again(*times));
        let update = "UPDATE deliveries AS t SET republish_at = v.at, republished = t.republished + 1 \
             FROM {rows} WHERE t.id = v.delivery";
        dialect::execute_rows(&mut transaction, update, rows).await?;
        transaction.commit().await?;
        Ok(due.into_iter().map(|(hint, _)| hint).collect())
    }

    async fn expire_leases(&self, now: Timestamp, policy: &RetryPolicy, limit: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let select = format!(
            "SELECT id, epoch, attempt, lease_id, failures, unknowns, first_attempt_at FROM deliveries \
             WHERE state = 'pending' \
             AND republish_at <= $1 AND lease_id IS NOT NULL AND lease_until <= $1 ORDER BY republish_at LIMIT $2 {}",
            dialect::SKIP_LOCKED
        );
        let found = sqlx::query(sqlx::AssertSqlSafe(select)).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        let mut expired = Vec::with_capacity(found.len());
        attempts::write_unknown(&mut transaction, &running(&found)?).await?;
        for row in &found {
            let id: DeliveryId = row.try_get("id")?;
            let lease: LeaseId = row.try_get("lease_id")?;
            let history = history(row, now)?;
            expired.push((id, lease, After::of(Some(policy.after_unknown(history, now)), history, now)));
        }
        expired.sort_by_key(|(id, ..)| *id);
        let rows = Rows::of(&expired)
            .col("delivery", |(id, ..)| *id)
            .col("lease", |(_, lease, _)| *lease)
            .col("standing", |_| PENDING)
            .col("new_state", |(.., after)| after.state)
            .col("new_failures", |(.., after)| after.failures)
            .col("new_unknowns", |(.., after)| after.unknowns)
            .opt("due", |(.., after)| after.next_attempt_at)
            .col("again", move |(.., after)| after.next_attempt_at.unwrap_or(now))
            .opt("settled", |(.., after)| after.settled_at)
            .opt("reason", |(.., after)| after.dead_reason);
        let touched = dialect::execute_rows(&mut transaction, SETTLE, rows).await?;
        transaction.commit().await?;
        Ok(touched)
    }

    async fn take_over(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let update = "UPDATE deliveries SET lease_until = $1, republish_at = $1 \
             WHERE state = 'pending' AND lease_id IS NOT NULL";
        let ended = sqlx::query(update).bind(now).execute(&mut *transaction).await?.rows_affected();
        let due = "UPDATE deliveries SET republish_at = next_attempt_at WHERE state = 'pending' AND lease_id IS NULL";
        sqlx::query(due).execute(&mut *transaction).await?;
        let replays = "UPDATE replays SET lease_id = NULL, lease_until = NULL WHERE state = 'running'";
        sqlx::query(replays).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    async fn unpublished(&self, hints: &[Hint], not_before: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let hints = sorted(hints);
        let rows = hint_rows(&hints).col("at", move |_| not_before);
        let update = "UPDATE deliveries AS t SET republished = 0, \
             republish_at = CASE WHEN t.next_attempt_at > v.at THEN t.next_attempt_at ELSE v.at END FROM {rows} \
             WHERE t.id = v.delivery AND t.epoch = v.for_epoch AND t.attempt = v.for_attempt AND t.state = 'pending' \
             AND t.lease_id IS NULL";
        dialect::execute_rows(&mut transaction, update, rows).await?;
        Ok(transaction.commit().await?)
    }

    async fn replay(
        &self,
        delivery_id: DeliveryId,
        now: Timestamp,
        republish_after: Duration,
    ) -> Result<Replay, StoreError> {
        let mut transaction = self.begin().await?;
        let select = format!("SELECT id, epoch, state FROM deliveries WHERE id = $1 {}", dialect::FOR_UPDATE);
        let select = sqlx::query(sqlx::AssertSqlSafe(select)).bind(delivery_id);
        let row = select.fetch_optional(&mut *transaction).await?.ok_or(StoreError::NotFound("delivery"))?;
        let standing = Standing::read(&row)?;
        let begun = begin_epochs(&mut transaction, &[standing], now, republish_after, usize::MAX).await?;
        transaction.commit().await?;
        Ok(begun.first().map_or(Replay::Leased, |hint| Replay::Begun(*hint)))
    }

    async fn backlog(&self, first_due_before: Timestamp) -> Result<Backlog, StoreError> {
        // What is due for an inactive endpoint is held, not late.
        let select = "SELECT count(CASE WHEN d.first_due_at < $1 THEN 1 END) AS waiting, min(d.first_due_at) AS oldest \
             FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id WHERE d.state = 'pending' AND e.status = 'active'";
        let row = sqlx::query(select).bind(first_due_before).fetch_one(&self.reader).await?;
        Ok(Backlog { waiting: row.try_get("waiting")?, oldest_first_due_at: row.try_get("oldest")? })
    }

    async fn count_in_state(&self, state: DeliveryState) -> Result<i64, StoreError> {
        let select = sqlx::query("SELECT count(*) AS found FROM deliveries WHERE state = $1").bind(to_name(&state));
        Ok(select.fetch_one(&self.reader).await?.try_get("found")?)
    }

    async fn clock_offset_micros(&self) -> Result<Option<i64>, StoreError> {
        self.measure_offset_micros().await
    }
}

/// The state that these changes expect. It is bound with the rows and not written into the statement: a literal would let
/// PostgreSQL, before it has statistics, walk a partial index of all pending rows for each batch instead of looking
/// up the few that are named (measured: 90 ms instead of 1 ms a claim, with 4 000 pending).
const PENDING: &str = "pending";

/// Ends a lease with what follows; only while that lease is the row's.
const SETTLE: &str = "UPDATE deliveries AS t SET state = v.new_state, failures = v.new_failures, \
     unknowns = v.new_unknowns, next_attempt_at = COALESCE(v.due, t.next_attempt_at), republish_at = v.again, \
     republished = 0, settled_at = v.settled, dead_reason = v.reason, lease_id = NULL, lease_until = NULL \
     FROM {rows} WHERE t.id = v.delivery AND t.lease_id = v.lease AND t.state = v.standing RETURNING id";

/// How a delivery stands that is to be replayed.
pub struct Standing {
    pub id: DeliveryId,
    epoch: i32,
    state: String,
}

impl Standing {
    pub fn read(row: &DbRow) -> Result<Self, StoreError> {
        Ok(Self { id: row.try_get("id")?, epoch: row.try_get("epoch")?, state: row.try_get("state")? })
    }
}

/// Begins a new epoch of deliveries that still stand so and are under no lease: the one way in which anything is
/// replayed. The first `room` are hinted at after the commit, the others are due at once for the relay to find.
pub async fn begin_epochs(
    connection: &mut DbConnection,
    standing: &[Standing],
    now: Timestamp,
    republish_after: Duration,
    room: usize,
) -> Result<Vec<Hint>, StoreError> {
    // An attempt whose lease is over has no end yet, and its epoch is about to be left.
    let rows = Rows::of(standing).col("delivery", |row| row.id).col("moment", move |_| now);
    let select = "SELECT d.id, d.epoch, d.attempt, d.lease_id FROM {rows} JOIN deliveries d ON d.id = v.delivery \
         WHERE d.lease_id IS NOT NULL AND d.lease_until <= v.moment";
    let over = dialect::fetch_rows(connection, select, rows).await?;
    attempts::write_unknown(connection, &running(&over)?).await?;
    let placed: Vec<(usize, &Standing)> = standing.iter().enumerate().collect();
    let again = move |place: usize| if place < room { now.plus(republish_after) } else { now };
    let rows = Rows::of(&placed)
        .col("delivery", |(_, row)| row.id)
        .col("for_epoch", |(_, row)| row.epoch)
        .col("standing", |(_, row)| row.state.as_str())
        .col("due", move |_| now)
        .col("again", move |(place, _)| again(*place));
    let update = "UPDATE deliveries AS t SET state = 'pending', epoch = t.epoch + 1, attempt = 0, failures = 0, \
         unknowns = 0, first_due_at = v.due, first_attempt_at = NULL, next_attempt_at = v.due, republish_at = v.again, \
         republished = 0, lease_id = NULL, lease_until = NULL, settled_at = NULL, dead_reason = NULL FROM {rows} \
         WHERE t.id = v.delivery AND t.epoch = v.for_epoch AND t.state = v.standing \
         AND (t.lease_id IS NULL OR t.lease_until <= v.due) RETURNING id, endpoint_id, epoch, attempt";
    dialect::fetch_rows(connection, update, rows).await?.iter().map(hint).collect()
}

/// Which of these are under a lease, so that an attempt of theirs may run now.
pub async fn leased_among(
    connection: &mut DbConnection,
    ids: &[DeliveryId],
    now: Timestamp,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let rows = Rows::of(ids).col("delivery", |id| *id).col("moment", move |_| now);
    let select = "SELECT d.id FROM {rows} JOIN deliveries d ON d.id = v.delivery \
         WHERE d.lease_id IS NOT NULL AND d.lease_until > v.moment";
    deliveries(&dialect::fetch_rows(connection, select, rows).await?)
}

/// Hints in the order in which rows are locked.
fn sorted(hints: &[Hint]) -> Vec<Hint> {
    let mut hints = hints.to_vec();
    hints.sort_by_key(|hint| hint.delivery_id);
    hints
}

fn hint_rows(hints: &[Hint]) -> Rows<'_, Hint> {
    Rows::of(hints)
        .col("delivery", |hint| hint.delivery_id)
        .col("for_epoch", |hint| hint.epoch)
        .col("for_attempt", |hint| hint.attempt)
        .col("standing", |_| PENDING)
}

/// The attempts that run under the leases of these rows.
fn running(rows: &[DbRow]) -> Result<Vec<Unknown>, StoreError> {
    let running = |row: &DbRow| {
        Ok(Unknown {
            delivery_id: row.try_get("id")?,
            epoch: row.try_get("epoch")?,
            number: row.try_get("attempt")?,
            lease_id: row.try_get("lease_id")?,
        })
    };
    rows.iter().map(running).collect()
}

fn hint(row: &DbRow) -> Result<Hint, StoreError> {
    Ok(Hint {
        delivery_id: row.try_get("id")?,
        endpoint_id: row.try_get("endpoint_id")?,
        epoch: row.try_get("epoch")?,
        attempt: row.try_get("attempt")?,
    })
}

fn history(row: &DbRow, now: Timestamp) -> Result<History, StoreError> {
    let first_attempt_at: Option<Timestamp> = row.try_get("first_attempt_at")?;
    Ok(History {
        failures: row.try_get("failures")?,
        unknowns: row.try_get("unknowns")?,
        first_attempt_at: first_attempt_at.unwrap_or(now),
    })
}

async fn claim_rows(
    connection: &mut DbConnection,
    claims: &[Claim],
    now: Timestamp,
    due_by: Timestamp,
    lease_until: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    let mut claims = claims.to_vec();
    claims.sort_by_key(|claim| claim.hint.delivery_id);
    let rows = Rows::of(&claims)
        .col("delivery", |claim| claim.hint.delivery_id)
        .col("for_epoch", |claim| claim.hint.epoch)
        .col("for_attempt", |claim| claim.hint.attempt)
        .col("standing", |_| PENDING)
        .col("lease", |claim| claim.lease_id)
        .col("claimed_at", move |_| now)
        .col("due_by", move |_| due_by)
        .col("lease_end", move |_| lease_until);
    let update = "UPDATE deliveries AS t SET attempt = t.attempt + 1, lease_id = v.lease, lease_until = v.lease_end, \
         republish_at = CASE WHEN t.republish_at > v.lease_end THEN v.lease_end ELSE t.republish_at END, \
         first_attempt_at = COALESCE(t.first_attempt_at, v.claimed_at) FROM {rows} \
         WHERE t.id = v.delivery AND t.epoch = v.for_epoch AND t.attempt = v.for_attempt AND t.state = v.standing \
         AND t.lease_id IS NULL AND t.next_attempt_at <= v.due_by \
         RETURNING id, event_id, endpoint_id, epoch, attempt, failures, unknowns, first_attempt_at, lease_id";
    let found = dialect::fetch_rows(connection, update, rows).await?;
    let events = load_events(connection, &found).await?;
    let mut claimed = Vec::with_capacity(found.len());
    for row in &found {
        claimed.push(claimed_row(row, &events, now)?);
    }
    Ok(claimed)
}

type Messages = HashMap<EventId, (EventType, String)>;

async fn load_events(connection: &mut DbConnection, claimed: &[DbRow]) -> Result<Messages, StoreError> {
    let ids =
        claimed.iter().map(|row| Ok(row.try_get("event_id")?)).collect::<Result<HashSet<EventId>, StoreError>>()?;
    let ids: Vec<EventId> = ids.into_iter().collect();
    let select = "SELECT e.id, e.event_type, e.body FROM {rows} JOIN events e ON e.id = v.event";
    let found = dialect::fetch_rows(connection, select, Rows::of(&ids).col("event", |id| *id)).await?;
    let mut events = HashMap::with_capacity(found.len());
    for row in &found {
        events.insert(row.try_get("id")?, (super::from_name(row, "event_type")?, row.try_get("body")?));
    }
    Ok(events)
}

fn claimed_row(row: &DbRow, events: &Messages, now: Timestamp) -> Result<Claimed, StoreError> {
    let event_id: EventId = row.try_get("event_id")?;
    let (event_type, body) =
        events.get(&event_id).cloned().ok_or_else(|| StoreError::Corrupt(format!("no event {event_id}")))?;
    Ok(Claimed {
        delivery_id: row.try_get("id")?,
        endpoint_id: row.try_get("endpoint_id")?,
        lease_id: row.try_get("lease_id")?,
        epoch: row.try_get("epoch")?,
        claimed_at: now,
        number: row.try_get("attempt")?,
        history: history(row, now)?,
        event_id,
        event_type,
        body,
    })
}

/// Marks rows that still stand as hinted to come up at their due time. Answers how many there were.
async fn come_up_when_due(connection: &mut DbConnection, hints: &[Hint]) -> Result<u64, StoreError> {
    let hints = sorted(hints);
    let update = "UPDATE deliveries AS t SET republish_at = t.next_attempt_at FROM {rows} WHERE t.id = v.delivery \
         AND t.epoch = v.for_epoch AND t.attempt = v.for_attempt AND t.state = v.standing AND t.lease_id IS NULL";
    Ok(dialect::execute_rows(connection, update, hint_rows(&hints)).await?)
}

/// Ends the leases that are still ours; answers their deliveries.
async fn write_states(
    connection: &mut DbConnection,
    finished: &[&Finished],
    republish_after: Duration,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let ended: Vec<(&Finished, After)> = finished
        .iter()
        .map(|finished| (*finished, After::of(finished.next, finished.claimed.history, finished.finished_at)))
        .collect();
    // A retry is published to its rung right after this commit; should that be lost, the row comes up this
    // long after it was due.
    let again = move |finished: &Finished| match finished.next {
        Some(Next::Retry { at, .. }) => at.plus(republish_after),
        _ => finished.finished_at,
    };
    let rows = Rows::of(&ended)
        .col("delivery", |(finished, _)| finished.claimed.delivery_id)
        .col("lease", |(finished, _)| finished.claimed.lease_id)
        .col("standing", |_| PENDING)
        .col("new_state", |(_, after)| after.state)
        .col("new_failures", |(_, after)| after.failures)
        .col("new_unknowns", |(_, after)| after.unknowns)
        .opt("due", |(_, after)| after.next_attempt_at)
        .col("again", move |(finished, _)| again(finished))
        .opt("settled", |(_, after)| after.settled_at)
        .opt("reason", |(_, after)| after.dead_reason);
    deliveries(&dialect::fetch_rows(connection, SETTLE, rows).await?)
}

/// A success that came after its lease was lost still settles the delivery, if nothing else has.
async fn settle_late(connection: &mut DbConnection, late: &[&Finished]) -> Result<HashSet<DeliveryId>, StoreError> {
    // Another attempt may be running; whatever it comes to, it has been.
    let rows = Rows::of(late).col("delivery", |finished| finished.claimed.delivery_id);
    let select = format!(
        "SELECT id, epoch, attempt, lease_id FROM deliveries WHERE id IN (SELECT v.delivery FROM {{rows}}) \
         AND lease_id IS NOT NULL ORDER BY id {}",
        dialect::FOR_UPDATE
    );
    let others = dialect::fetch_rows(connection, &select, rows).await?;
    attempts::write_unknown(connection, &running(&others)?).await?;
    let rows = Rows::of(late)
        .col("delivery", |finished| finished.claimed.delivery_id)
        .col("for_epoch", |finished| finished.claimed.epoch)
        .col("ended", |finished| finished.finished_at);
    let update = "UPDATE deliveries AS t SET state = 'delivered', settled_at = v.ended, dead_reason = NULL, \
         lease_id = NULL, lease_until = NULL FROM {rows} WHERE t.id = v.delivery AND t.epoch = v.for_epoch \
         AND t.state <> 'delivered' RETURNING id";
    deliveries(&dialect::fetch_rows(connection, update, rows).await?)
}

fn deliveries(rows: &[DbRow]) -> Result<HashSet<DeliveryId>, StoreError> {
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Due rows in turns: the first of each endpoint, then the second of each; in a turn the longest waiting first. So
/// whatever the limit cuts off, no endpoint is passed over for ever.
fn fairly(rows: &[DbRow]) -> Result<Vec<(Hint, i32)>, StoreError> {
    let mut due = rows
        .iter()
        .map(|row| Ok((row.try_get::<Timestamp, _>("next_attempt_at")?, hint(row)?, row.try_get("republished")?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    due.sort_by_key(|(at, hint, _)| (*at, hint.delivery_id));
    let mut turns: HashMap<EndpointId, usize> = HashMap::new();
    let mut placed: Vec<(usize, (Hint, i32))> = due
        .into_iter()
        .map(|(_, hint, republished)| {
            let turn = turns.entry(hint.endpoint_id).or_default();
            *turn += 1;
            (*turn, (hint, republished))
        })
        .collect();
    placed.sort_by_key(|(turn, _)| *turn);
    Ok(placed.into_iter().map(|(_, due)| due).collect())
}

/// The active endpoints that have something due, less those in `skip`. What is due for an inactive one is held.
async fn due_endpoints(
    connection: &mut DbConnection,
    now: Timestamp,
    skip: &[EndpointId],
) -> Result<Vec<EndpointId>, StoreError> {
    let select = "SELECT e.id FROM endpoints e WHERE e.status = 'active' AND EXISTS (SELECT 1 FROM deliveries d \
         WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= $1 AND d.republish_at <= $1 \
         AND d.lease_id IS NULL)";
    let rows = sqlx::query(select).bind(now).fetch_all(connection).await?;
    let ids = rows.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<Vec<EndpointId>, StoreError>>()?;
    Ok(ids.into_iter().filter(|id| !skip.contains(id)).collect())
}
