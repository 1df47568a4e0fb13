//! What a batch came to, written: tables in a fixed order, the rows of each in one statement.

use std::collections::HashSet;

use super::super::super::dialect::{self, DbConnection};
use super::super::{ledger, outbox, to_json, to_name};
use super::Batch;
use super::again::Again;
use super::customers;
use crate::domain::booking::{Booked, Booking, Outcome, Parked};
use crate::domain::catalog::Catalog;
use crate::domain::commission::Commission;
use crate::domain::conversion::ChangedBy;
use crate::domain::ids::{ReceiptId, VerdictId};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Verdict;
use crate::store::StoreError;
use crate::store::outbox::Told;
use crate::store::recording::{Arrival, RecordTerms, Recorded};
use crate::store::rows::Rows;

/// Writes what the batch came to.
pub async fn write(
    connection: &mut DbConnection,
    batch: Batch<'_>,
    outcomes: Vec<Outcome>,
    booking: &Booking<'_>,
    terms: RecordTerms,
) -> Result<Recorded, StoreError> {
    let Batch { arrivals, again, .. } = batch;
    let arrived: HashSet<ReceiptId> = arrivals.iter().map(|arrival| arrival.item.receipt_id).collect();
    let (outcomes, later): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| arrived.contains(&outcome.receipt_id));
    let (replayed, unparked): (Vec<_>, Vec<_>) =
        later.into_iter().partition(|outcome| again.is_some_and(|again| again.is_about(outcome.receipt_id)));
    let writes = booking.writes();
    write_receipts(connection, arrivals, &outcomes).await?;
    // Still waiting is no verdict, unless somebody asked.
    let decided = unparked.iter().filter(|outcome| !matches!(outcome.verdict, Verdict::Parked(_)));
    write_later_verdicts(connection, &decided.collect::<Vec<_>>(), None, terms.now).await?;
    write_later_verdicts(connection, &replayed.iter().collect::<Vec<_>>(), again, terms.now).await?;
    write_parked(connection, &writes.parked, &writes.unparked, terms, booking.catalog(), again).await?;

    customers::bind_customers(connection, &writes.bound, terms.now).await?;

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
    ledger::post(connection, &writes.postings).await?;
    let Told { hints, deferred } = outbox::write(connection, &writes.outbox, terms.outbox()).await?;
    Ok(Recorded {
        outcomes,
        unparked,
        replayed,
        hints,
        deferred,
        bound: writes.bound.len(),
        changed: writes.changed.len(),
        refused: None,
        settled: 0,
    })
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
        .opt("conversion_id", |(_, outcome)| outcome.conversion_id)
        .opt("note", |(_, outcome)| outcome.disagreement.as_ref().map(to_json));
    let insert = "INSERT INTO receipts (id, operator_id, source_id, key_id, request_id, received_at, method, \
         content_type, query, body, peer, verdict, code, field, conversion_id, note) \
         SELECT id, operator_id, source_id, key_id, request_id, received_at, method, content_type, query, body, peer, \
         verdict, code, field, conversion_id, note FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

fn field(outcome: &Outcome) -> Option<String> {
    outcome.rejection.as_ref().and_then(|rejection| rejection.field.clone())
}

/// Verdicts on receipts that are stored already, with who asked for them.
async fn write_later_verdicts(
    connection: &mut DbConnection,
    decided: &[&Outcome],
    again: Option<&Again<'_>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (by, replay_id) = (again.map(|again| again.by.to_string()), again.and_then(|again| again.replay_id));
    let rows = Rows::of(decided)
        .col("id", |_| VerdictId::new(now))
        .col("receipt_id", |outcome| outcome.receipt_id)
        .col("decided_at", |_| now)
        .col("verdict", |outcome| outcome.verdict.as_str())
        .opt("code", |outcome| outcome.verdict.reason())
        .opt("field", |outcome| field(outcome))
        .opt("conversion_id", |outcome| outcome.conversion_id)
        .opt("note", |outcome| outcome.disagreement.as_ref().map(to_json))
        .opt("replayed_by", |_| by.clone())
        .opt("replay_id", |_| replay_id);
    let insert = "INSERT INTO receipt_verdicts (id, receipt_id, decided_at, verdict, code, field, conversion_id, note, \
         replayed_by, replay_id) SELECT id, receipt_id, decided_at, verdict, code, field, conversion_id, note, \
         replayed_by, replay_id FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn write_parked(
    connection: &mut DbConnection,
    parked: &[Parked],
    unparked: &[ReceiptId],
    terms: RecordTerms,
    catalog: &Catalog,
    again: Option<&Again<'_>>,
) -> Result<(), StoreError> {
    // Whoever asks for a receipt to be judged again gives it as long to wait as if it had just arrived.
    let since = move |parked: &Parked| {
        if again.is_some_and(|again| again.is_about(parked.receipt_id)) { terms.now } else { parked.received_at }
    };
    let rows = Rows::of(unparked).col("receipt", |id| *id);
    let delete = "DELETE FROM parked WHERE receipt_id IN (SELECT v.receipt FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    let rows = Rows::of(parked)
        .col("receipt_id", |parked| parked.receipt_id)
        .opt("operator_id", |parked| catalog.source(parked.source_id).map(|source| source.operator_id))
        .col("source_id", |parked| parked.source_id)
        .opt("click_id", |parked| parked.postback.click_id.as_ref().map(|click| click.as_str()))
        .opt("customer_id", |parked| parked.postback.customer_id.as_ref().map(|id| id.as_str()))
        .col("received_at", |parked| parked.received_at)
        .col("wait_key", |parked| parked.wait_key.as_str())
        .col("reason", |parked| parked.reason.as_str())
        .col("postback", |parked| to_json(&parked.postback))
        .col("expires_at", move |parked| since(parked).plus(terms.park_for));
    let insert = "INSERT INTO parked (receipt_id, operator_id, source_id, click_id, customer_id, received_at, wait_key, \
         reason, postback, expires_at) SELECT receipt_id, operator_id, source_id, click_id, customer_id, received_at, \
         wait_key, reason, postback, expires_at FROM {rows}";
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
        .opt("refunds", |booked| refunds(booked))
        .opt("hold_until", |booked| booked.conversion.hold_until)
        .opt("booked_period", |booked| booked.conversion.booked_period.as_deref())
        .opt("changed_by", |booked| changed_by(&booked.conversion.changed_by))
        .col("seen", |booked| booked.conversion.seen.to_bytes())
        .opt("no_commission", |booked| booked.conversion.no_commission.as_ref().map(to_name))
        .opt("recurrence", |booked| booked.conversion.recurrence.clone());
    let insert = "INSERT INTO conversions (id, operator_id, source_id, program_id, goal_id, goal, affiliate_id, \
         receipt_id, click_id, status, currency, amount, occurred_at, received_at, updated_at, revision, test, content, \
         click_subs, refunds, hold_until, booked_period, changed_by, seen, no_commission, recurrence) SELECT id, operator_id, source_id, program_id, goal_id, goal, affiliate_id, \
         receipt_id, click_id, status, currency, amount, occurred_at, received_at, updated_at, revision, test, content, \
         click_subs, refunds, hold_until, booked_period, changed_by, seen, no_commission, recurrence FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

fn refunds(booked: &Booked) -> Option<String> {
    let refunds = &booked.conversion.refunds;
    (!refunds.is_empty()).then(|| to_json(refunds))
}

/// Who made a revision, unless it was the sender.
fn changed_by(by: &ChangedBy) -> Option<String> {
    (*by != ChangedBy::Sender).then(|| to_json(by))
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
        .opt("new_refunds", |booked| refunds(booked))
        .opt("new_hold_until", |booked| booked.conversion.hold_until)
        .opt("new_booked_period", |booked| booked.conversion.booked_period.as_deref())
        .opt("new_changed_by", |booked| changed_by(&booked.conversion.changed_by))
        .col("new_seen", |booked| booked.conversion.seen.to_bytes())
        .opt("new_no_commission", |booked| booked.conversion.no_commission.as_ref().map(to_name))
        .opt("new_recurrence", |booked| booked.conversion.recurrence.clone());
    let update = "UPDATE conversions AS t SET receipt_id = v.receipt, status = v.new_status, amount = v.new_amount, \
         occurred_at = v.new_occurred_at, updated_at = v.new_updated_at, revision = v.new_revision, \
         content = v.new_content, refunds = v.new_refunds, hold_until = v.new_hold_until, \
         booked_period = v.new_booked_period, changed_by = v.new_changed_by, seen = v.new_seen, no_commission = v.new_no_commission, \
         recurrence = v.new_recurrence FROM {rows} WHERE t.id = v.conversion";
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
        .opt("changed_by", |old| changed_by(&old.conversion.changed_by))
        .col("superseded_at", |old| old.at);
    let insert = "INSERT INTO conversion_revisions (conversion_id, revision, receipt_id, status, content, occurred_at, \
         changed_by, superseded_at) SELECT conversion_id, revision, receipt_id, status, content, occurred_at, \
         changed_by, superseded_at FROM {rows}";
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
        .opt("awaits", |earned| earned.awaits.map(|currency| currency.to_string()))
        .col("booked", |earned| earned.booked)
        .col("state", |earned| to_name(&earned.state))
        .opt("hold_until", |earned| earned.hold_until)
        .col("revision", |earned| earned.revision)
        .col("explanation", |earned| earned.explanation.as_str())
        .col("created_at", |earned| earned.created_at)
        .col("updated_at", |earned| earned.updated_at);
    let insert = "INSERT INTO commissions (id, conversion_id, operator_id, program_id, affiliate_id, plan_version_id, \
         amount, currency, awaits, booked, state, hold_until, revision, explanation, created_at, updated_at) \
         SELECT id, conversion_id, operator_id, program_id, affiliate_id, plan_version_id, amount, currency, awaits, \
         booked, state, hold_until, revision, explanation, created_at, updated_at FROM {rows}";
    dialect::execute_rows(connection, insert, rows).await?;
    Ok(())
}

async fn update_commissions(connection: &mut DbConnection, earned: &[&Commission]) -> Result<(), StoreError> {
    let rows = Rows::of(earned)
        .col("commission", |earned| earned.id)
        .col("new_version", |earned| earned.plan_version_id)
        .col("new_amount", |earned| earned.money.amount)
        .col("new_currency", |earned| earned.money.currency.to_string())
        .opt("new_awaits", |earned| earned.awaits.map(|currency| currency.to_string()))
        .col("new_booked", |earned| earned.booked)
        .col("new_state", |earned| to_name(&earned.state))
        .opt("new_hold_until", |earned| earned.hold_until)
        .col("new_revision", |earned| earned.revision)
        .col("new_explanation", |earned| earned.explanation.as_str())
        .col("new_updated_at", |earned| earned.updated_at);
    let update = "UPDATE commissions AS t SET plan_version_id = v.new_version, amount = v.new_amount, \
         currency = v.new_currency, awaits = v.new_awaits, booked = v.new_booked, state = v.new_state, \
         hold_until = v.new_hold_until, \
         revision = v.new_revision, explanation = v.new_explanation, updated_at = v.new_updated_at \
         FROM {rows} WHERE t.id = v.commission";
    dialect::execute_rows(connection, update, rows).await?;
    Ok(())
}
