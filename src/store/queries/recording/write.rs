//! What a batch came to, written: tables in a fixed order, the rows of each in one statement.

use std::collections::HashSet;

use super::super::super::dialect::{self, DbConnection};
use super::super::{to_json, to_name};
use crate::domain::booking::{Booked, Booking, NewDelivery, Outcome, Parked};
use crate::domain::catalog::Catalog;
use crate::domain::commission::Commission;
use crate::domain::ids::{ReceiptId, VerdictId};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::store::StoreError;
use crate::store::recording::{Arrival, RecordTerms, Recorded};
use crate::store::rows::Rows;

/// Writes what the batch came to.
pub async fn write(
    connection: &mut DbConnection,
    arrivals: &[Arrival],
    outcomes: Vec<Outcome>,
    booking: &Booking<'_>,
    terms: RecordTerms,
    catalog: &Catalog,
) -> Result<Recorded, StoreError> {
    let arrived: HashSet<ReceiptId> = arrivals.iter().map(|arrival| arrival.item.receipt_id).collect();
    let (outcomes, unparked): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| arrived.contains(&outcome.receipt_id));
    let writes = booking.writes();
    write_receipts(connection, arrivals, &outcomes).await?;
    write_later_verdicts(connection, &unparked, terms.now).await?;
    write_parked(connection, &writes.parked, &writes.unparked, terms, catalog).await?;

    let created: Vec<&Booked> = writes.created.iter().filter_map(|id| booking.booked(*id)).collect();
    let changed: Vec<&Booked> = writes.changed.iter().filter_map(|id| booking.booked(*id)).collect();
    insert_conversions(connection, &created).await?;
    update_conversions(connection, &changed).await?;
    insert_superseded(connection, booking).await?;
    let (earning, earned): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|booked| writes.earning.contains(&booked.conversion.id));
    let new = created.into_iter().chain(earning).filter_map(|booked| booked.commission.as_ref());
    insert_commissions(connection, &new.collect::<Vec<_>>()).await?;
    let known = earned.into_iter().filter_map(|booked| booked.commission.as_ref());
    update_commissions(connection, &known.collect::<Vec<_>>()).await?;
    insert_postings(connection, booking).await?;
    insert_events(connection, booking).await?;
    insert_deliveries(connection, &writes.deliveries, terms).await?;

    let hints: Vec<_> = writes.deliveries.iter().take(terms.room).map(NewDelivery::hint).collect();
    let deferred = writes.deliveries.len() - hints.len();
    Ok(Recorded { outcomes, unparked, hints, deferred })
}

async fn write_receipts(
    connection: &mut DbConnection,
    arrivals: &[Arrival],
    outcomes: &[Outcome],
) -> Result<(), StoreError> {
    let pairs: Vec<(&Arrival, &Outcome)> = arrivals.iter().zip(outcomes).collect();
    let rows = Rows::of(&pairs)
        .col("id", |(arrival, _)| arrival.item.receipt_id)
        .col("operator_id", |(arrival, _)| arrival.request.operator_id)
        .col("source_id", |(arrival, _)| arrival.item.source_id)
        .col("key_id", |(arrival, _)| arrival.request.key_id)
        .col("request_id", |(arrival, _)| arrival.request.request_id)
        .col("received_at", |(arrival, _)| arrival.item.received_at)
        .col("method", |(arrival, _)| arrival.request.method)
        .opt("content_type", |(arrival, _)| arrival.request.content_type.clone())
        .col("query", |(arrival, _)| arrival.request.query.as_str())
        .col("body", |(arrival, _)| arrival.request.body.clone())
        .col("peer", |(arrival, _)| arrival.request.peer.as_str())
        .col("verdict", |(_, outcome)| outcome.verdict.as_str())
        .opt("code", |(_, outcome)| outcome.verdict.reason())
        .opt("field", |(_, outcome)| field(outcome))
        .opt("conversion_id", |(_, outcome)| outcome.conversion_id);
    let insert = "INSERT INTO receipts (id, operator_id, source_id, key_id, request_id, received_at, method, \
         content_type, query, body, peer, verdict, code, field, conversion_id) \
         SELECT id, operator_id, source_id, key_id, request_id, received_at, method, content_type, query, body, peer, \
         verdict, code, field, conversion_id FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

fn field(outcome: &Outcome) -> Option<String> {
    outcome.rejection.as_ref().and_then(|rejection| rejection.field.clone())
}

/// The verdicts on what was parked earlier; still waiting is no verdict.
async fn write_later_verdicts(
    connection: &mut DbConnection,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Result<(), StoreError> {
    let decided: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| !matches!(outcome.verdict, Verdict::Parked(_))).collect();
    let rows = Rows::of(&decided)
        .col("id", |_| VerdictId::new(now))
        .col("receipt_id", |outcome| outcome.receipt_id)
        .col("decided_at", |_| now)
        .col("verdict", |outcome| outcome.verdict.as_str())
        .opt("code", |outcome| outcome.verdict.reason())
        .opt("field", |outcome| field(outcome))
        .opt("conversion_id", |outcome| outcome.conversion_id);
    let insert = "INSERT INTO receipt_verdicts (id, receipt_id, decided_at, verdict, code, field, conversion_id) \
         SELECT id, receipt_id, decided_at, verdict, code, field, conversion_id FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn write_parked(
    connection: &mut DbConnection,
    parked: &[Parked],
    unparked: &[ReceiptId],
    terms: RecordTerms,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let rows = Rows::of(unparked).col("receipt", |id| *id);
    let delete = "DELETE FROM parked WHERE receipt_id IN (SELECT v.receipt FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    let rows = Rows::of(parked)
        .col("receipt_id", |parked| parked.receipt_id)
        .opt("operator_id", |parked| catalog.source(parked.source_id).map(|source| source.operator_id))
        .col("source_id", |parked| parked.source_id)
        .opt("click_id", |parked| parked.postback.click_id.as_ref().map(|click| click.as_str()))
        .col("received_at", |parked| parked.received_at)
        .col("wait_key", |parked| parked.wait_key.as_str())
        .col("reason", |parked| parked.reason.as_str())
        .col("postback", |parked| to_json(&parked.postback))
        .col("expires_at", move |parked| parked.received_at.plus(terms.park_for));
    let insert = "INSERT INTO parked (receipt_id, operator_id, source_id, click_id, received_at, wait_key, reason, \
         postback, expires_at) SELECT receipt_id, operator_id, source_id, click_id, received_at, wait_key, reason, \
         postback, expires_at FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn insert_conversions(connection: &mut DbConnection, booked: &[&Booked]) -> Result<(), StoreError> {
    let rows = Rows::of(booked)
        .col("id", |booked| booked.conversion.id)
        .col("operator_id", |booked| booked.conversion.operator_id)
        .col("source_id", |booked| booked.conversion.source_id)
        .col("program_id", |booked| booked.conversion.program_id)
        .col("goal_id", |booked| booked.conversion.goal_id)
        .col("goal", |booked| booked.goal.as_str())
        .col("affiliate_id", |booked| booked.conversion.affiliate_id)
        .col("receipt_id", |booked| booked.conversion.receipt_id)
        .opt("click_id", |booked| booked.conversion.content.click_id.as_ref().map(|id| id.as_str()))
        .col("status", |booked| booked.conversion.status.as_str())
        .col("currency", |booked| booked.conversion.currency.to_string())
        .opt("amount", |booked| booked.conversion.content.amount)
        .col("occurred_at", |booked| booked.conversion.occurred_at)
        .col("received_at", |booked| booked.conversion.received_at)
        .col("updated_at", |booked| booked.conversion.updated_at)
        .col("revision", |booked| booked.conversion.revision)
        .col("test", |booked| booked.conversion.test)
        .col("content", |booked| to_json(&booked.conversion.content))
        .col("click_subs", |booked| to_json(&booked.conversion.click_subs))
        .col("seen", |booked| booked.conversion.seen.to_bytes())
        .opt("no_commission", |booked| booked.conversion.no_commission.as_ref().map(to_name));
    let insert = "INSERT INTO conversions (id, operator_id, source_id, program_id, goal_id, goal, affiliate_id, \
         receipt_id, click_id, status, currency, amount, occurred_at, received_at, updated_at, revision, test, content, \
         click_subs, seen, no_commission) SELECT id, operator_id, source_id, program_id, goal_id, goal, affiliate_id, \
         receipt_id, click_id, status, currency, amount, occurred_at, received_at, updated_at, revision, test, content, \
         click_subs, seen, no_commission FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn update_conversions(connection: &mut DbConnection, booked: &[&Booked]) -> Result<(), StoreError> {
    let rows = Rows::of(booked)
        .col("conversion", |booked| booked.conversion.id)
        .col("receipt", |booked| booked.conversion.receipt_id)
        .col("new_status", |booked| booked.conversion.status.as_str())
        .opt("new_amount", |booked| booked.conversion.content.amount)
        .col("new_occurred_at", |booked| booked.conversion.occurred_at)
        .col("new_updated_at", |booked| booked.conversion.updated_at)
        .col("new_revision", |booked| booked.conversion.revision)
        .col("new_content", |booked| to_json(&booked.conversion.content))
        .col("new_seen", |booked| booked.conversion.seen.to_bytes())
        .opt("new_no_commission", |booked| booked.conversion.no_commission.as_ref().map(to_name));
    let update = "UPDATE conversions AS t SET receipt_id = v.receipt, status = v.new_status, amount = v.new_amount, \
         occurred_at = v.new_occurred_at, updated_at = v.new_updated_at, revision = v.new_revision, \
         content = v.new_content, seen = v.new_seen, no_commission = v.new_no_commission FROM {rows} WHERE t.id = v.conversion";
    dialect::execute_rows(connection, update, rows).await?;
    Ok(())
}

async fn insert_superseded(connection: &mut DbConnection, booking: &Booking<'_>) -> Result<(), StoreError> {
    let rows = Rows::of(&booking.writes().superseded)
        .col("conversion_id", |old| old.conversion.id)
        .col("revision", |old| old.conversion.revision)
        .col("receipt_id", |old| old.conversion.receipt_id)
        .col("status", |old| old.conversion.status.as_str())
        .col("content", |old| to_json(&old.conversion.content))
        .col("occurred_at", |old| old.conversion.occurred_at)
        .col("superseded_at", |old| old.at);
    let insert = "INSERT INTO conversion_revisions (conversion_id, revision, receipt_id, status, content, occurred_at, \
         superseded_at) SELECT conversion_id, revision, receipt_id, status, content, occurred_at, superseded_at \
         FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn insert_commissions(connection: &mut DbConnection, earned: &[&Commission]) -> Result<(), StoreError> {
    let rows = Rows::of(earned)
        .col("id", |earned| earned.id)
        .col("conversion_id", |earned| earned.conversion_id)
        .col("operator_id", |earned| earned.operator_id)
        .col("program_id", |earned| earned.program_id)
        .col("affiliate_id", |earned| earned.affiliate_id)
        .col("plan_version_id", |earned| earned.plan_version_id)
        .col("amount", |earned| earned.money.amount)
        .col("currency", |earned| earned.money.currency.to_string())
        .col("booked", |earned| earned.booked)
        .col("state", |earned| to_name(&earned.state))
        .col("revision", |earned| earned.revision)
        .col("explanation", |earned| earned.explanation.as_str())
        .col("created_at", |earned| earned.created_at)
        .col("updated_at", |earned| earned.updated_at);
    let insert = "INSERT INTO commissions (id, conversion_id, operator_id, program_id, affiliate_id, plan_version_id, \
         amount, currency, booked, state, revision, explanation, created_at, updated_at) \
         SELECT id, conversion_id, operator_id, program_id, affiliate_id, plan_version_id, amount, currency, booked, \
         state, revision, explanation, created_at, updated_at FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn update_commissions(connection: &mut DbConnection, earned: &[&Commission]) -> Result<(), StoreError> {
    let rows = Rows::of(earned)
        .col("commission", |earned| earned.id)
        .col("new_version", |earned| earned.plan_version_id)
        .col("new_amount", |earned| earned.money.amount)
        .col("new_currency", |earned| earned.money.currency.to_string())
        .col("new_booked", |earned| earned.booked)
        .col("new_state", |earned| to_name(&earned.state))
        .col("new_revision", |earned| earned.revision)
        .col("new_explanation", |earned| earned.explanation.as_str())
        .col("new_updated_at", |earned| earned.updated_at);
    let update = "UPDATE commissions AS t SET plan_version_id = v.new_version, amount = v.new_amount, \
         currency = v.new_currency, booked = v.new_booked, state = v.new_state, \
         revision = v.new_revision, explanation = v.new_explanation, updated_at = v.new_updated_at \
         FROM {rows} WHERE t.id = v.commission";
    dialect::execute_rows(connection, update, rows).await?;
    Ok(())
}

async fn insert_postings(connection: &mut DbConnection, booking: &Booking<'_>) -> Result<(), StoreError> {
    let postings = &booking.writes().postings;
    let rows = Rows::of(postings)
        .col("id", |posting| posting.id)
        .col("kind", |posting| posting.kind.as_str())
        .col("commission_id", |posting| posting.commission_id)
        .col("posted_at", |posting| posting.posted_at);
    let insert = "INSERT INTO ledger_transactions (id, kind, commission_id, posted_at) \
         SELECT id, kind, commission_id, posted_at FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    let entries: Vec<_> =
        postings.iter().flat_map(|posting| posting.entries.iter().map(move |entry| (posting.id, entry))).collect();
    let rows = Rows::of(&entries)
        .col("id", |(_, entry)| entry.id)
        .col("transaction_id", |(transaction, _)| *transaction)
        .col("account", |(_, entry)| entry.account.as_str())
        .col("amount", |(_, entry)| entry.money.amount)
        .col("currency", |(_, entry)| entry.money.currency.to_string());
    let insert = "INSERT INTO ledger_entries (id, transaction_id, account, amount, currency) \
         SELECT id, transaction_id, account, amount, currency FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn insert_events(connection: &mut DbConnection, booking: &Booking<'_>) -> Result<(), StoreError> {
    let rows = Rows::of(&booking.writes().events)
        .col("id", |event| event.id)
        .col("event_type", |event| event.event_type.as_str())
        .col("operator_id", |event| event.operator_id)
        .col("affiliate_id", |event| event.affiliate_id)
        .col("created_at", |event| event.created_at)
        .col("body", |event| event.body.as_str());
    let insert = "INSERT INTO events (id, event_type, operator_id, affiliate_id, created_at, body) \
         SELECT id, event_type, operator_id, affiliate_id, created_at, body FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

/// The outbox. The first `terms.room` rows are hinted at right after the commit, the others are due at once for
/// the relay to find.
async fn insert_deliveries(
    connection: &mut DbConnection,
    deliveries: &[NewDelivery],
    terms: RecordTerms,
) -> Result<(), StoreError> {
    let now = terms.now;
    let placed: Vec<(usize, &NewDelivery)> = deliveries.iter().enumerate().collect();
    let republish_at = move |place: usize| if place < terms.room { now.plus(terms.republish_after) } else { now };
    let rows = Rows::of(&placed)
        .col("id", |(_, delivery)| delivery.id)
        .col("event_id", |(_, delivery)| delivery.event_id)
        .col("endpoint_id", |(_, delivery)| delivery.endpoint_id)
        .col("at", |_| now)
        .col("republish_at", move |(place, _)| republish_at(*place));
    let insert = "INSERT INTO deliveries (id, event_id, endpoint_id, state, epoch, attempt, failures, unknowns, \
         created_at, first_due_at, next_attempt_at, republish_at, republished) \
         SELECT id, event_id, endpoint_id, 'pending', 1, 0, 0, 0, at, at, at, republish_at, 0 FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}
