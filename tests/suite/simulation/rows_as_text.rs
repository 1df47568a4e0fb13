//! Deliveries and attempts as lines of text, from either engine's tables and from the model.

use postback::domain::time::Timestamp;

use super::model::{Attempt, Model, Row};
use crate::support::engines::Kind;

/// A select whose rows are these columns with bars between them.
fn lines(columns: &[String], table: &str, order: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("COALESCE(CAST({column} AS TEXT), '-')")).collect();
    format!("SELECT {} FROM {table} ORDER BY {order}", columns.join(" || '|' || "))
}

fn id(kind: Kind, column: &str) -> String {
    match kind {
        Kind::Sqlite => format!("lower(hex({column}))"),
        Kind::Postgres => format!("replace(CAST({column} AS TEXT), '-', '')"),
    }
}

fn time(kind: Kind, column: &str) -> String {
    match kind {
        Kind::Sqlite => column.to_owned(),
        Kind::Postgres => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"),
    }
}

/// The deliveries of a database. Whether there is a lease is told, not which.
pub fn deliveries_in(kind: Kind) -> String {
    let plain = |column: &str| column.to_owned();
    let columns = [
        id(kind, "id"),
        id(kind, "event_id"),
        id(kind, "endpoint_id"),
        plain("state"),
        plain("epoch"),
        plain("attempt"),
        plain("failures"),
        plain("unknowns"),
        time(kind, "first_due_at"),
        time(kind, "first_attempt_at"),
        time(kind, "next_attempt_at"),
        time(kind, "republish_at"),
        plain("republished"),
        plain("CASE WHEN lease_id IS NULL THEN 'free' ELSE 'leased' END"),
        time(kind, "lease_until"),
        time(kind, "settled_at"),
        time(kind, "held_at"),
        plain("dead_reason"),
    ];
    lines(&columns, "deliveries", "id")
}

/// The attempts of a database.
pub fn attempts_in(kind: Kind) -> String {
    let plain = |column: &str| column.to_owned();
    let columns = [
        id(kind, "delivery_id"),
        plain("epoch"),
        plain("number"),
        time(kind, "started_at"),
        time(kind, "finished_at"),
        plain("outcome"),
        plain("status"),
        plain("error"),
        plain("duration_ms"),
    ];
    lines(&columns, "attempts", "delivery_id, epoch, number")
}

fn opt<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn micros(time: Option<Timestamp>) -> String {
    opt(time.map(Timestamp::micros))
}

/// The same of the model.
pub fn deliveries_of(model: &Model) -> Vec<String> {
    let line = |row: &Row| {
        [
            row.id.uuid().simple().to_string(),
            row.event_id.uuid().simple().to_string(),
            row.endpoint_id.uuid().simple().to_string(),
            serde_json::json!(row.state).as_str().unwrap().to_owned(),
            row.epoch.to_string(),
            row.attempt.to_string(),
            row.failures.to_string(),
            row.unknowns.to_string(),
            micros(Some(row.first_due_at)),
            micros(row.first_attempt_at),
            micros(Some(row.next_attempt_at)),
            micros(Some(row.republish_at)),
            row.republished.to_string(),
            if row.lease.is_some() { "leased" } else { "free" }.to_owned(),
            micros(row.lease.map(|(_, until)| until)),
            micros(row.settled_at),
            micros(row.held_at),
            opt(row.dead_reason.map(|reason| reason.as_str())),
        ]
        .join("|")
    };
    model.rows.values().map(line).collect()
}

/// The same of the model.
pub fn attempts_of(model: &Model) -> Vec<String> {
    let line = |((delivery, epoch, number), attempt): (&(postback::domain::ids::DeliveryId, i32, i32), &Attempt)| {
        [
            delivery.uuid().simple().to_string(),
            epoch.to_string(),
            number.to_string(),
            micros(Some(attempt.started_at)),
            micros(attempt.finished_at),
            attempt.outcome.as_str().to_owned(),
            opt(attempt.status),
            opt(attempt.error.clone()),
            opt(attempt.duration.map(|duration| duration.as_millis())),
        ]
        .join("|")
    };
    model.attempts.iter().map(line).collect()
}
