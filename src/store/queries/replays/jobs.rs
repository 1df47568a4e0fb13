//! The rows of jobs: made, looked at, canceled, leased, and brought forward by a step.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::super::super::dialect::{self, Db, DbConnection, DbRow, Engine};
use super::super::{from_json, from_name, to_json, whole_rows};
use super::acknowledging::person;
use super::deliveries;
use crate::domain::ids::{LeaseId, ReplayId};
use crate::domain::replay::{Person, ReplayState, Selection, Skip};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::reading::Page;
use crate::store::replays::{Canceled, NewReplay, ReplayView, Step};

/// Where a job begins: before every id.
const START: Uuid = Uuid::nil();

/// A job that is worked, with where it has come to.
pub struct Leased {
    pub view: ReplayView,
    /// The last id that was looked at.
    pub reached: Uuid,
}

/// What a step adds to a job.
#[derive(Default)]
pub struct Progress {
    /// The last id that was looked at, if any was.
    pub reached: Option<Uuid>,
    pub replayed: i64,
    pub skipped: Vec<Skip>,
    pub verdicts: Vec<String>,
    /// Whether nothing is left.
    pub done: bool,
}

pub async fn create(engine: &Engine, new: &NewReplay) -> Result<ReplayView, StoreError> {
    let mut transaction = engine.begin().await?;
    let matched = match &new.selection {
        Selection::Deliveries(filter) => deliveries::count(&mut transaction, filter, new.created_at).await?,
        Selection::Receipts(filter) => super::receipts::count(&mut transaction, filter, new.created_at).await?,
    };
    let insert = "INSERT INTO replays (id, kind, filter, rate, state, created_at, created_by, matched, replayed, skipped, \
         verdicts, reached) VALUES ($1, $2, $3, $4, 'running', $5, $6, $7, 0, '{}', '{}', $8) RETURNING *";
    let row = whole_rows(insert)
        .bind(new.id)
        .bind(new.selection.kind())
        .bind(to_json(&new.selection))
        .bind(new.rate)
        .bind(new.created_at)
        .bind(new.created_by.to_string())
        .bind(matched)
        .bind(START)
        .fetch_one(&mut *transaction)
        .await?;
    let made = view(&row)?;
    transaction.commit().await?;
    Ok(made)
}

pub async fn one(engine: &Engine, id: ReplayId) -> Result<Option<ReplayView>, StoreError> {
    let row = whole_rows("SELECT * FROM replays WHERE id = $1").bind(id).fetch_optional(&engine.reader).await?;
    row.as_ref().map(view).transpose()
}

pub async fn list(engine: &Engine, state: Option<String>, page: Page) -> Result<Vec<ReplayView>, StoreError> {
    let mut select = QueryBuilder::<Db>::new("SELECT * FROM replays WHERE true");
    if let Some(state) = state {
        select.push(" AND state = ").push_bind(state);
    }
    if let Some(before) = page.before {
        select.push(" AND id < ").push_bind(before);
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(page.limit);
    let rows = select.build().persistent(false).fetch_all(&engine.reader).await?;
    rows.iter().map(view).collect()
}

pub async fn cancel(engine: &Engine, id: ReplayId, by: Person, now: Timestamp) -> Result<Canceled, StoreError> {
    let mut transaction = engine.begin().await?;
    let update = "UPDATE replays SET state = 'canceled', ended_at = $2, canceled_by = $3, lease_id = NULL, \
         lease_until = NULL WHERE id = $1 AND state = 'running'";
    sqlx::query(update).bind(id).bind(now).bind(by.to_string()).execute(&mut *transaction).await?;
    let row = whole_rows("SELECT * FROM replays WHERE id = $1").bind(id).fetch_optional(&mut *transaction).await?;
    let stands = view(&row.ok_or(StoreError::NotFound("replay"))?)?;
    transaction.commit().await?;
    Ok(if stands.state == ReplayState::Canceled { Canceled::Is(Box::new(stands)) } else { Canceled::WasDone })
}

pub async fn claim(
    engine: &Engine,
    lease_id: LeaseId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<ReplayView>, StoreError> {
    // Asked often and nearly always in vain, so a read comes first.
    let running = "SELECT id FROM replays WHERE state = 'running' AND (lease_id IS NULL OR lease_until <= $1) LIMIT 1";
    if sqlx::query(running).bind(now).fetch_optional(&engine.reader).await?.is_none() {
        return Ok(None);
    }
    let mut transaction = engine.begin().await?;
    let update = format!(
        "UPDATE replays SET lease_id = $1, lease_until = $2 WHERE state = 'running' AND id = (SELECT id FROM replays \
         WHERE state = 'running' AND (lease_id IS NULL OR lease_until <= $3) ORDER BY id LIMIT 1 {}) RETURNING *",
        dialect::SKIP_LOCKED
    );
    let update = sqlx::query(sqlx::AssertSqlSafe(update)).persistent(false).bind(lease_id).bind(lease_until).bind(now);
    let row = update.fetch_optional(&mut *transaction).await?;
    transaction.commit().await?;
    row.as_ref().map(view).transpose()
}

pub async fn release(engine: &Engine, id: ReplayId, lease_id: LeaseId) -> Result<(), StoreError> {
    let mut transaction = engine.begin().await?;
    let update = "UPDATE replays SET lease_id = NULL, lease_until = NULL WHERE id = $1 AND lease_id = $2";
    sqlx::query(update).bind(id).bind(lease_id).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// The job of a step, locked; `None` where the lease is not held or the job has ended.
pub async fn lock(connection: &mut DbConnection, step: Step) -> Result<Option<Leased>, StoreError> {
    let select =
        format!("SELECT * FROM replays WHERE id = $1 AND lease_id = $2 AND state = 'running' {}", dialect::FOR_UPDATE);
    let select = sqlx::query(sqlx::AssertSqlSafe(select)).persistent(false).bind(step.replay_id).bind(step.lease_id);
    let row = select.fetch_optional(connection).await?;
    row.map(|row| Ok(Leased { view: view(&row)?, reached: row.try_get("reached")? })).transpose()
}

/// Writes what a step came to. The job's row is locked by this transaction.
pub async fn advance(
    connection: &mut DbConnection,
    step: Step,
    job: Leased,
    progress: Progress,
) -> Result<(), StoreError> {
    let Leased { mut view, reached } = job;
    view.replayed = view.replayed.saturating_add(progress.replayed);
    add(&mut view.skipped, progress.skipped);
    add(&mut view.verdicts, progress.verdicts);
    if progress.done {
        let seen = view.skipped.values().fold(view.replayed, |seen, count| seen.saturating_add(*count));
        let gone = view.matched.saturating_sub(seen);
        if gone > 0 {
            // Whatever matched when the job was made and stood otherwise when its turn came.
            view.skipped.entry(Skip::Changed).and_modify(|count| *count = count.saturating_add(gone)).or_insert(gone);
        }
    }
    let state = if progress.done { ReplayState::Done } else { ReplayState::Running };
    let update = "UPDATE replays SET reached = $3, replayed = $4, skipped = $5, verdicts = $6, state = $7, ended_at = $8, \
         lease_until = $9 WHERE id = $1 AND lease_id = $2 AND state = 'running'";
    let update = sqlx::query(update)
        .bind(step.replay_id)
        .bind(step.lease_id)
        .bind(progress.reached.unwrap_or(reached))
        .bind(view.replayed)
        .bind(to_json(&view.skipped))
        .bind(to_json(&view.verdicts))
        .bind(state.as_str())
        .bind(progress.done.then_some(step.now))
        .bind(step.lease_until);
    match update.execute(connection).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt("a replay that was locked has changed".to_owned())),
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, i64>, more: Vec<K>) {
    for key in more {
        counts.entry(key).and_modify(|count| *count = count.saturating_add(1)).or_insert(1);
    }
}

fn view(row: &DbRow) -> Result<ReplayView, StoreError> {
    let canceled: Option<String> = row.try_get("canceled_by")?;
    Ok(ReplayView {
        id: row.try_get("id")?,
        selection: from_json(row, "filter")?,
        rate: row.try_get("rate")?,
        state: from_name(row, "state")?,
        created_at: row.try_get("created_at")?,
        created_by: person(row, "created_by")?,
        matched: row.try_get("matched")?,
        replayed: row.try_get("replayed")?,
        skipped: from_json(row, "skipped")?,
        verdicts: from_json(row, "verdicts")?,
        ended_at: row.try_get("ended_at")?,
        canceled_by: canceled.map(|_| person(row, "canceled_by")).transpose()?,
    })
}
