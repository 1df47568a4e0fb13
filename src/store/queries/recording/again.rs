//! Receipts that a person has judged again: the recorder's own steps over requests that arrived long ago.
//!
//! What is booked stays as it is: only a receipt whose verdict in force is a refusal or a wait is judged, under a lock on
//! its row, so that two people who ask at once get one answer each and one booking. The receipt never changes; every
//! verdict is a row of its own, with who asked.

use std::collections::{HashMap, HashSet};

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, Engine};
use super::super::reading::standings;
use super::super::replays::jobs::{self, Progress};
use super::{Batch, judge_and_write};
use crate::domain::booking::{Booked, Booking, Item, Outcome};
use crate::domain::catalog::Catalog;
use crate::domain::ids::{CommissionId, ReceiptId, ReplayId};
use crate::domain::replay::{Person, Skip};
use crate::store::StoreError;
use crate::store::recording::RecordTerms;
use crate::store::replays::{Judged, Judgements, ReceiptsReplayed, Rejudging};
use crate::store::rows::Rows;

/// What is judged again, and who asked.
pub struct Again<'a> {
    pub items: Vec<Item>,
    receipts: HashSet<ReceiptId>,
    pub by: &'a Person,
    pub replay_id: Option<ReplayId>,
}

impl Again<'_> {
    /// Whether this receipt is among them.
    pub fn is_about(&self, receipt: ReceiptId) -> bool {
        self.receipts.contains(&receipt)
    }
}

pub async fn replay(
    engine: &Engine,
    work: &Rejudging,
    catalog: &Catalog,
    terms: RecordTerms,
) -> Result<ReceiptsReplayed, StoreError> {
    let mut transaction = engine.begin().await?;
    let job = match work.step {
        Some(step) => match jobs::lock(&mut transaction, step).await? {
            Some(job) => Some((step, job)),
            None => return Ok(ReceiptsReplayed::Lost),
        },
        None => None,
    };
    let receipts = lock_unbooked(&mut transaction, &work.items).await?;
    unpark(&mut transaction, &receipts).await?;
    let (items, left): (Vec<_>, Vec<_>) =
        work.items.iter().cloned().partition(|item| receipts.contains(&item.receipt_id));
    let again = Again { items, receipts, by: &work.by, replay_id: work.step.map(|step| step.replay_id) };
    let batch = Batch { arrivals: &[], wait_keys: &[], again: Some(&again) };
    let (mut recorded, booking) = judge_and_write(&mut transaction, batch, catalog, terms).await?;
    let outcomes = std::mem::take(&mut recorded.replayed);
    if let Some((step, job)) = job {
        let progress = Progress {
            reached: work.items.iter().map(|item| item.receipt_id.uuid()).max(),
            replayed: i64::try_from(outcomes.len()).unwrap_or(i64::MAX),
            skipped: left.iter().map(|_| Skip::Changed).collect(),
            verdicts: outcomes.iter().map(|outcome| outcome.verdict.as_str().to_owned()).collect(),
            done: i64::try_from(work.items.len()).unwrap_or(i64::MAX) < step.limit,
        };
        jobs::advance(&mut transaction, step, job, progress).await?;
    }
    let judged = judged(&mut transaction, outcomes, &booking).await?;
    let judgements = Judgements { judged, booked_before: left.len(), recorded };
    if work.dry_run {
        transaction.rollback().await?;
        return Ok(ReceiptsReplayed::Judged(Box::new(judgements)));
    }
    crate::fail::point("replay.before_commit").await;
    transaction.commit().await?;
    crate::fail::point("replay.after_commit").await;
    Ok(ReceiptsReplayed::Judged(Box::new(judgements)))
}

/// The outcomes with what they left behind, as this transaction has written it.
async fn judged(
    connection: &mut DbConnection,
    outcomes: Vec<Outcome>,
    booking: &Booking<'_>,
) -> Result<Vec<Judged>, StoreError> {
    let commission = |booked: &Option<Booked>| booked.as_ref()?.commission.as_ref().map(|commission| commission.id);
    let with_booked = outcomes.into_iter().map(|outcome| {
        let booked = outcome.conversion_id.and_then(|id| booking.booked(id)).cloned();
        (outcome, booked)
    });
    let with_booked: Vec<_> = with_booked.collect();
    let ids: HashSet<CommissionId> = with_booked.iter().filter_map(|(_, booked)| commission(booked)).collect();
    let standings = standings(connection, &ids.into_iter().collect::<Vec<_>>()).await?;
    let judged = with_booked.into_iter().map(|(outcome, booked)| {
        let standing = commission(&booked).and_then(|id| standings.get(&id).copied());
        Judged { outcome, booked, standing }
    });
    Ok(judged.collect())
}

/// Locks the receipts in the order of their ids; answers those whose verdict in force is a refusal or a wait.
async fn lock_unbooked(connection: &mut DbConnection, items: &[Item]) -> Result<HashSet<ReceiptId>, StoreError> {
    let rows = Rows::of(items).col("receipt", |item| item.receipt_id);
    let select = format!(
        "SELECT r.id, r.verdict FROM receipts r WHERE r.id IN (SELECT v.receipt FROM {{rows}}) ORDER BY r.id {}",
        dialect::FOR_UPDATE
    );
    let mut verdicts: HashMap<ReceiptId, String> = HashMap::new();
    for row in dialect::fetch_rows(connection, &select, rows).await? {
        verdicts.insert(row.try_get("id")?, row.try_get("verdict")?);
    }
    // Read after the locks are held, so that what another replay has decided meanwhile is seen.
    let rows = Rows::of(items).col("receipt", |item| item.receipt_id);
    let select = "SELECT t.receipt_id, t.verdict FROM {rows} JOIN receipt_verdicts t ON t.receipt_id = v.receipt \
         WHERE NOT EXISTS (SELECT 1 FROM receipt_verdicts o WHERE o.receipt_id = t.receipt_id AND o.id > t.id)";
    for row in dialect::fetch_rows(connection, select, rows).await? {
        verdicts.insert(row.try_get("receipt_id")?, row.try_get("verdict")?);
    }
    let open = |verdict: &String| matches!(verdict.as_str(), "rejected" | "parked");
    Ok(verdicts.into_iter().filter(|(_, verdict)| open(verdict)).map(|(id, _)| id).collect())
}

/// Takes the receipts out of what is parked, so that none is judged twice; one that must wait is parked anew.
async fn unpark(connection: &mut DbConnection, receipts: &HashSet<ReceiptId>) -> Result<(), StoreError> {
    let mut receipts: Vec<ReceiptId> = receipts.iter().copied().collect();
    receipts.sort();
    let rows = Rows::of(&receipts).col("receipt", |id| *id);
    let delete = "DELETE FROM parked WHERE receipt_id IN (SELECT v.receipt FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    Ok(())
}
