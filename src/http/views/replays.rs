//! Replays of many.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::ReplayId;
use crate::domain::replay::{Person, ReplayState};
use crate::domain::time::Timestamp;
use crate::store::replays;

/// A replay of many deliveries or receipts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replay {
    pub id: ReplayId,
    /// `deliveries` or `receipts`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// What it is narrowed to, as it was asked for.
    #[schema(value_type = Object)]
    pub filter: serde_json::Value,
    /// How many a second at most.
    pub rate: i32,
    pub state: ReplayState,
    /// How many it was about when it was made.
    pub matched: i64,
    /// How many of them were sent or judged again.
    pub replayed: i64,
    /// How many were not, by reason: `attempt_running`, `changed` (it no longer stood as the filter says when its turn
    /// came), `refused` (by the database).
    pub skipped: BTreeMap<String, i64>,
    /// Receipts: what became of those judged again.
    pub verdicts: BTreeMap<String, i64>,
    pub created_at: Timestamp,
    /// A key, or `command line`.
    #[schema(value_type = String)]
    pub created_by: Person,
    pub ended_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub canceled_by: Option<Person>,
}

impl From<replays::ReplayView> for Replay {
    fn from(row: replays::ReplayView) -> Self {
        let mut filter = serde_json::json!(row.selection);
        if let Some(fields) = filter.as_object_mut() {
            fields.remove("kind");
        }
        let skipped = row.skipped.into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count));
        Self {
            id: row.id,
            kind: row.selection.kind(),
            filter,
            rate: row.rate,
            state: row.state,
            matched: row.matched,
            replayed: row.replayed,
            skipped: skipped.collect(),
            verdicts: row.verdicts,
            created_at: row.created_at,
            created_by: row.created_by,
            ended_at: row.ended_at,
            canceled_by: row.canceled_by,
        }
    }
}
