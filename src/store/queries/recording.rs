//! The recorder's transaction: load, claim keys, judge (in `domain::booking`), write.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::{from_json, from_name, from_name_opt, to_json, to_name};
use crate::domain::booking::{Booked, Booking, ClickFacts, Item, NewDelivery, Outcome, Parked, Prepared};
use crate::domain::catalog::Catalog;
use crate::domain::commission::Commission;
use crate::domain::conversion::{Conversion, Seen};
use crate::domain::ids::{ConversionId, OperatorId, ReceiptId, VerdictId};
use crate::domain::money::Money;
use crate::domain::postback::Postback;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{ParkReason, Verdict};
use crate::store::StoreError;
use crate::store::recording::{Arrival, NewClick, RecordTerms, Recorded, Recording};
use crate::store::rows::Rows;

/// A click id in the name of an operator.
type ClickKey = (OperatorId, String);

#[async_trait]
impl Recording for Engine {
    async fn record_batch(
        &self,
        arrivals: &[Arrival],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        self.record(arrivals, &[], catalog, terms).await
    }

    async fn apply_parked(
        &self,
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        self.record(&[], wait_keys, catalog, terms).await
    }

    async fn parked_ready(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let ready = "SELECT wait_key, min(received_at) AS first FROM ( \
             SELECT p.wait_key, p.received_at FROM parked p JOIN clicks c \
             ON c.operator_id = p.operator_id AND c.click_id = p.click_id WHERE p.reason = 'unknown_click' UNION ALL \
             SELECT p.wait_key, p.received_at FROM parked p JOIN dedup_keys k ON k.key = p.wait_key \
             WHERE p.reason = 'original_missing') AS ready \
             GROUP BY wait_key ORDER BY first LIMIT $1";
        let rows = sqlx::query(ready).bind(limit).fetch_all(&self.reader).await?;
        rows.iter().map(|row| Ok(row.try_get("wait_key")?)).collect()
    }

    async fn expire_parked(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let statement = "DELETE FROM parked WHERE receipt_id IN (SELECT receipt_id FROM parked WHERE expires_at <= $1 LIMIT $2) \
             RETURNING receipt_id, reason";
        let rows = sqlx::query(statement).bind(now).bind(limit).fetch_all(&mut *transaction).await?;
        let expired: Vec<(ReceiptId, String)> = rows
            .iter()
            .map(|row| Ok((row.try_get("receipt_id")?, row.try_get("reason")?)))
            .collect::<Result<_, StoreError>>()?;
        let verdicts = Rows::of(&expired)
            .col("id", |_| VerdictId::new(now))
            .col("receipt_id", |(receipt, _)| *receipt)
            .col("decided_at", |_| now)
            .col("verdict", |_| "rejected")
            .col("code", |(_, reason)| reason.as_str());
        let insert = "INSERT INTO receipt_verdicts (id, receipt_id, decided_at, verdict, code) \
             SELECT id, receipt_id, decided_at, verdict, code FROM {rows}";
        dialect::execute_rows(&mut transaction, insert, verdicts).await?;
        transaction.commit().await?;
        Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
    }

    async fn record_clicks(&self, clicks: &[NewClick]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut sorted: Vec<&NewClick> = clicks.iter().collect();
        sorted.sort_by(|a, b| (a.operator_id, &a.click_id).cmp(&(b.operator_id, &b.click_id)));
        let rows = Rows::of(&sorted)
            .col("operator_id", |click| click.operator_id)
            .col("click_id", |click| click.click_id.as_str())
            .col("program_id", |click| click.program_id)
            .col("affiliate_id", |click| click.affiliate_id)
            .opt("link_id", |click| click.link_id)
            .col("clicked_at", |click| click.clicked_at)
            .col("received_at", |click| click.received_at)
            .col("subs", |click| to_json(&click.subs))
            .opt("ip_hash", |click| click.ip_hash.clone())
            .opt("user_agent", |click| click.user_agent.clone());
        let insert = "INSERT INTO clicks (operator_id, click_id, program_id, affiliate_id, link_id, clicked_at, \
             received_at, subs, ip_hash, user_agent) SELECT operator_id, click_id, program_id, affiliate_id, link_id, \
             clicked_at, received_at, subs, ip_hash, user_agent FROM {rows} WHERE true ON CONFLICT DO NOTHING \
             RETURNING operator_id, click_id";
        let inserted = dialect::fetch_rows(&mut transaction, insert, rows).await?;
        let mut new = inserted.iter().map(click_key).collect::<Result<HashSet<ClickKey>, StoreError>>()?;
        transaction.commit().await?;
        Ok(clicks.iter().map(|click| new.remove(&(click.operator_id, click.click_id.clone()))).collect())
    }
}

impl Engine {
    /// One transaction: see `domain::booking` for the order of its steps.
    async fn record(
        &self,
        arrivals: &[Arrival],
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin().await?;
        let connection = &mut *transaction;
        if configuration_version(connection).await? != catalog.version() {
            return Err(StoreError::StaleConfiguration);
        }
        let clicks =
            load_clicks(connection, wanted_clicks(arrivals.iter().map(|arrival| &arrival.item), catalog)).await?;
        let mut booking = Booking::new(catalog, terms.now, clicks);
        let arrived = arrivals.iter().map(|arrival| booking.prepare(arrival.item.clone())).collect();
        let prepared = join_parked(connection, arrived, wait_keys, &mut booking).await?;

        let taken = take_keys(connection, &prepared, &mut booking).await?;
        let outcomes = booking.apply_all(&prepared);
        settle_keys(connection, taken, &booking).await?;
        let recorded = write(connection, arrivals, outcomes, &booking, terms, catalog).await?;
        crate::fail::point("record.before_commit").await;
        transaction.commit().await?;
        crate::fail::point("record.after_commit").await;
        Ok(recorded)
    }
}

/// When a postback was received, and its receipt where two came in the same instant.
type Received = (Timestamp, ReceiptId);

/// A parked postback with the reason why it waited.
struct Waiting {
    item: Item,
    reason: ParkReason,
}

async fn configuration_version(connection: &mut DbConnection) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT version FROM config_version WHERE id = 1").fetch_one(connection).await?;
    Ok(row.try_get("version")?)
}

/// The clicks that must be looked up: ours too, for the sub-ids that only their rows hold.
fn wanted_clicks<'a>(items: impl Iterator<Item = &'a Item>, catalog: &Catalog) -> Vec<ClickKey> {
    let wanted = items.filter_map(|item| {
        let source = catalog.source(item.source_id)?;
        let click = item.said.as_ref().ok()?.click_id.as_ref()?;
        Some((source.operator_id, click.as_str().to_owned()))
    });
    wanted.collect::<BTreeSet<_>>().into_iter().collect()
}

async fn load_clicks(
    connection: &mut DbConnection,
    wanted: Vec<ClickKey>,
) -> Result<HashMap<ClickKey, ClickFacts>, StoreError> {
    let rows = Rows::of(&wanted).col("operator", |(operator, _)| *operator).col("click", |(_, id)| id.as_str());
    let select = "SELECT c.operator_id, c.click_id, c.program_id, c.affiliate_id, c.clicked_at, c.subs \
         FROM {rows} JOIN clicks c ON c.operator_id = v.operator AND c.click_id = v.click";
    let found = dialect::fetch_rows(connection, select, rows).await?;
    found.iter().map(|row| Ok((click_key(row)?, click_facts(row)?))).collect()
}

fn click_key(row: &DbRow) -> Result<ClickKey, StoreError> {
    Ok((row.try_get("operator_id")?, row.try_get("click_id")?))
}

fn click_facts(row: &DbRow) -> Result<ClickFacts, StoreError> {
    Ok(ClickFacts {
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        clicked_at: row.try_get("clicked_at")?,
        subs: from_json::<BTreeMap<String, String>>(row, "subs")?,
    })
}

/// Puts what is parked with what arrived: whatever waits for these keys, for a click or event among the arrivals, or
/// for an event among what was just found. What waited for its click goes before the arrivals, what waited for an
/// event goes after them, each in the order received.
async fn join_parked(
    connection: &mut DbConnection,
    arrived: Vec<Prepared>,
    wait_keys: &[String],
    booking: &mut Booking<'_>,
) -> Result<Vec<Prepared>, StoreError> {
    let mut asked = BTreeSet::new();
    let mut wanted: BTreeSet<String> = wait_keys.iter().cloned().collect();
    wanted.extend(arrived.iter().flat_map(Prepared::brings));
    let mut found: Vec<(Received, ParkReason, Prepared)> = Vec::new();
    while !wanted.is_empty() {
        let rows = load_parked(connection, &wanted).await?;
        let clicks = wanted_clicks(rows.iter().map(|waiting| &waiting.item), booking.catalog());
        booking.clicks_known(load_clicks(connection, clicks).await?);
        asked.append(&mut wanted);
        for Waiting { item, reason } in rows {
            let received = (item.received_at, item.receipt_id);
            let prepared = booking.prepare(item);
            wanted.extend(prepared.brings().filter(|key| !asked.contains(key)));
            found.push((received, reason, prepared));
        }
    }
    found.sort_by_key(|(received, ..)| *received);
    let (before, after): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, reason, _)| *reason != ParkReason::OriginalMissing);
    let parked = |(.., prepared): (Received, ParkReason, Prepared)| prepared;
    Ok(before.into_iter().map(parked).chain(arrived).chain(after.into_iter().map(parked)).collect())
}

async fn load_parked(connection: &mut DbConnection, wanted: &BTreeSet<String>) -> Result<Vec<Waiting>, StoreError> {
    let keys: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let select = format!(
        "SELECT p.receipt_id, p.source_id, p.received_at, p.reason, p.postback FROM parked p \
         WHERE p.wait_key IN (SELECT v.wait FROM {{rows}}) ORDER BY p.received_at, p.receipt_id {}",
        dialect::FOR_UPDATE
    );
    let rows = Rows::of(&keys).col("wait", |key| *key);
    let found = dialect::fetch_rows(connection, &select, rows).await?;
    found.iter().map(waiting).collect()
}

fn waiting(row: &DbRow) -> Result<Waiting, StoreError> {
    let item = Item {
        receipt_id: row.try_get("receipt_id")?,
        source_id: row.try_get("source_id")?,
        received_at: row.try_get("received_at")?,
        said: Ok(from_json::<Postback>(row, "postback")?),
        parked: true,
    };
    Ok(Waiting { item, reason: from_name(row, "reason")? })
}

/// Inserts the keys that new conversions would take, in sorted order, and loads what the others lead to.
/// Answers the keys that were inserted, each with the conversion that its row names.
async fn take_keys(
    connection: &mut DbConnection,
    prepared: &[Prepared],
    booking: &mut Booking<'_>,
) -> Result<BTreeMap<String, ConversionId>, StoreError> {
    let mut wanted: BTreeMap<&str, ConversionId> = BTreeMap::new();
    for (key, conversion) in prepared.iter().flat_map(Prepared::wanted_keys) {
        wanted.entry(key).or_insert(conversion);
    }
    let wanted: Vec<(&str, ConversionId)> = wanted.into_iter().collect();
    let rows = Rows::of(&wanted).col("key", |(key, _)| *key).col("conversion_id", |(_, id)| *id);
    let insert = "INSERT INTO dedup_keys (key, conversion_id) SELECT key, conversion_id FROM {rows} WHERE true \
         ON CONFLICT DO NOTHING RETURNING key, conversion_id";
    let mut taken = BTreeMap::new();
    for row in dialect::fetch_rows(connection, insert, rows).await? {
        let key: String = row.try_get("key")?;
        booking.key_taken(key.clone());
        taken.insert(key, row.try_get("conversion_id")?);
    }
    let others: BTreeSet<&str> =
        prepared.iter().flat_map(Prepared::known_by).filter(|key| !taken.contains_key(*key)).collect();
    let others: Vec<&str> = others.into_iter().collect();
    let rows = Rows::of(&others).col("wanted", |key| *key);
    let select = "SELECT k.key, k.conversion_id FROM {rows} JOIN dedup_keys k ON k.key = v.wanted";
    let mut known = BTreeSet::new();
    for row in dialect::fetch_rows(connection, select, rows).await? {
        let conversion: ConversionId = row.try_get("conversion_id")?;
        known.insert(conversion);
        booking.key_known(row.try_get("key")?, conversion);
    }
    load_booked(connection, known.into_iter().collect(), booking).await?;
    Ok(taken)
}

/// Locks and loads conversions with their commissions, in sorted order.
async fn load_booked(
    connection: &mut DbConnection,
    ids: Vec<ConversionId>,
    booking: &mut Booking<'_>,
) -> Result<(), StoreError> {
    let select = format!(
        "SELECT c.* FROM conversions c WHERE c.id IN (SELECT v.conversion FROM {{rows}}) ORDER BY c.id {}",
        dialect::FOR_UPDATE
    );
    let found = dialect::fetch_rows(connection, &select, Rows::of(&ids).col("conversion", |id| *id)).await?;
    let select = "SELECT c.* FROM {rows} JOIN commissions c ON c.conversion_id = v.conversion";
    let earned = dialect::fetch_rows(connection, select, Rows::of(&ids).col("conversion", |id| *id)).await?;
    let mut commissions = HashMap::new();
    for row in &earned {
        let commission = commission(row)?;
        commissions.insert(commission.conversion_id, commission);
    }
    for row in &found {
        let conversion = conversion(row)?;
        let commission = commissions.remove(&conversion.id);
        booking.conversion_known(Booked { goal: row.try_get("goal")?, commission, conversion });
    }
    Ok(())
}

fn conversion(row: &DbRow) -> Result<Conversion, StoreError> {
    let currency: String = row.try_get("currency")?;
    let seen: Vec<u8> = row.try_get("seen")?;
    Ok(Conversion {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        source_id: row.try_get("source_id")?,
        program_id: row.try_get("program_id")?,
        goal_id: row.try_get("goal_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        receipt_id: row.try_get("receipt_id")?,
        status: from_name(row, "status")?,
        currency: currency.parse().map_err(|_| StoreError::Corrupt("conversions.currency".to_owned()))?,
        occurred_at: row.try_get("occurred_at")?,
        received_at: row.try_get("received_at")?,
        updated_at: row.try_get("updated_at")?,
        revision: row.try_get("revision")?,
        test: row.try_get("test")?,
        content: from_json(row, "content")?,
        click_subs: from_json(row, "click_subs")?,
        seen: Seen::from_bytes(&seen).ok_or_else(|| StoreError::Corrupt("conversions.seen".to_owned()))?,
        no_commission: from_name_opt(row, "no_commission")?,
    })
}

fn commission(row: &DbRow) -> Result<Commission, StoreError> {
    let currency: String = row.try_get("currency")?;
    let currency = currency.parse().map_err(|_| StoreError::Corrupt("commissions.currency".to_owned()))?;
    Ok(Commission {
        id: row.try_get("id")?,
        conversion_id: row.try_get("conversion_id")?,
        operator_id: row.try_get("operator_id")?,
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        plan_version_id: row.try_get("plan_version_id")?,
        money: Money { amount: row.try_get("amount")?, currency },
        booked: row.try_get("booked")?,
        state: from_name(row, "state")?,
        revision: row.try_get("revision")?,
        explanation: row.try_get("explanation")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// Gives back the keys that nothing came of, and corrects those that another item of the batch took.
async fn settle_keys(
    connection: &mut DbConnection,
    taken: BTreeMap<String, ConversionId>,
    booking: &Booking<'_>,
) -> Result<(), StoreError> {
    let (mut unused, mut corrected) = (Vec::new(), Vec::new());
    for (key, written) in taken {
        match booking.key_target(&key) {
            None => unused.push(key),
            Some(target) if target != written => corrected.push((key, target)),
            Some(_) => {}
        }
    }
    let rows = Rows::of(&unused).col("unused", |key| key.as_str());
    let delete = "DELETE FROM dedup_keys WHERE key IN (SELECT v.unused FROM {rows})";
    dialect::execute_rows(connection, delete, rows).await?;
    let rows = Rows::of(&corrected).col("taken", |(key, _)| key.as_str()).col("target", |(_, id)| *id);
    let update = "UPDATE dedup_keys AS t SET conversion_id = v.target FROM {rows} WHERE t.key = v.taken";
    dialect::execute_rows(connection, update, rows).await?;
    Ok(())
}

/// Writes what the batch came to. Tables in a fixed order; rows of each in one statement.
async fn write(
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
