//! Many receipts judged again: which they are, and what their requests said.

use sqlx::Row;
use uuid::Uuid;

use super::super::super::dialect::{DbConnection, DbRow, Engine};
use super::super::whole_rows;
use super::jobs::{self, Progress};
use super::matching::Matching;
use crate::domain::ids::ReceiptId;
use crate::domain::replay::{ReceiptFilter, Selection, Skip};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::replays::{Step, StoredRequest};

/// Only what was not booked at once can be booked by a replay; a partial index holds it.
const COUNT: &str = "SELECT count(*) FROM receipts r LEFT JOIN receipt_verdicts l ON l.id = \
     (SELECT v.id FROM receipt_verdicts v WHERE v.receipt_id = r.id ORDER BY v.id DESC LIMIT 1) \
     WHERE r.verdict IN ('rejected', 'parked')";
const NEXT: &str = "SELECT r.* FROM receipts r LEFT JOIN receipt_verdicts l ON l.id = \
     (SELECT v.id FROM receipt_verdicts v WHERE v.receipt_id = r.id ORDER BY v.id DESC LIMIT 1) \
     WHERE r.verdict IN ('rejected', 'parked')";

pub async fn count(
    connection: &mut DbConnection,
    filter: &ReceiptFilter,
    created_at: Timestamp,
) -> Result<i64, StoreError> {
    Ok(Matching::receipts(COUNT, filter, created_at, Uuid::nil()).count(connection).await?)
}

pub async fn matching(
    engine: &Engine,
    filter: &ReceiptFilter,
    now: Timestamp,
    limit: i64,
) -> Result<(i64, Vec<StoredRequest>), StoreError> {
    let mut snapshot = engine.begin_snapshot().await?;
    let count = count(&mut snapshot, filter, now).await?;
    let rows = Matching::receipts(NEXT, filter, now, Uuid::nil()).first("r.id", limit, &mut snapshot).await?;
    Ok((count, rows.iter().map(stored).collect::<Result<_, _>>()?))
}

/// What a step is about; `None` where the lease is not held. Read outside the step's transaction: requests do not
/// change, and nobody else brings the job forward while the lease is held.
pub async fn next(engine: &Engine, step: Step) -> Result<Option<Vec<StoredRequest>>, StoreError> {
    let mut transaction = engine.begin().await?;
    let Some(job) = jobs::lock(&mut transaction, step).await? else { return Ok(None) };
    let Selection::Receipts(filter) = &job.view.selection else {
        return Err(StoreError::Corrupt("a replay of deliveries was worked as one of receipts".to_owned()));
    };
    let next = Matching::receipts(NEXT, filter, job.view.created_at, job.reached);
    let rows = next.first("r.id", step.limit, &mut transaction).await?;
    rows.iter().map(stored).collect::<Result<_, _>>().map(Some)
}

pub async fn one(engine: &Engine, id: ReceiptId) -> Result<Option<StoredRequest>, StoreError> {
    let row = whole_rows("SELECT * FROM receipts WHERE id = $1").bind(id).fetch_optional(&engine.reader).await?;
    row.as_ref().map(stored).transpose()
}

/// Brings the job past a receipt.
pub async fn skip(engine: &Engine, step: Step, receipt_id: ReceiptId) -> Result<(), StoreError> {
    let mut transaction = engine.begin().await?;
    if let Some(job) = jobs::lock(&mut transaction, step).await? {
        let progress =
            Progress { reached: Some(receipt_id.uuid()), skipped: vec![Skip::Refused], ..Progress::default() };
        jobs::advance(&mut transaction, step, job, progress).await?;
    }
    Ok(transaction.commit().await?)
}

fn stored(row: &DbRow) -> Result<StoredRequest, StoreError> {
    Ok(StoredRequest {
        receipt_id: row.try_get("id")?,
        source_id: row.try_get("source_id")?,
        key_id: row.try_get("key_id")?,
        received_at: row.try_get("received_at")?,
        method: row.try_get("method")?,
        content_type: row.try_get("content_type")?,
        query: row.try_get("query")?,
        body: row.try_get("body")?,
    })
}
