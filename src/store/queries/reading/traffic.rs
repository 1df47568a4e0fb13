//! Receipts and conversions.

use sqlx::Row;

use super::super::super::dialect::{self, DbRow, Engine};
use super::super::nouns::currency;
use super::super::{from_json, from_json_opt, from_name, from_name_opt};
use super::Select;
use crate::domain::dedup::event_key;
use crate::domain::ids::{ConversionId, ReceiptId, SourceId};
use crate::domain::postback::Postback;
use crate::store::StoreError;
use crate::store::reading::{ConversionView, Filter, LaterVerdict, Page, PastRevision, ReceiptView};
use crate::store::rows::Rows;

/// The verdict in force is the latest; a later accepted one has no code, so the columns are taken together.
const RECEIPTS: &str = "SELECT * FROM (SELECT r.id, r.operator_id, r.source_id, r.key_id, r.received_at, r.method, \
     r.content_type, r.query, r.body, r.peer, COALESCE(l.verdict, r.verdict) AS verdict, \
     CASE WHEN l.id IS NULL THEN r.code ELSE l.code END AS code, \
     CASE WHEN l.id IS NULL THEN r.field ELSE l.field END AS field, \
     CASE WHEN l.id IS NULL THEN r.conversion_id ELSE l.conversion_id END AS conversion_id, \
     CASE WHEN l.id IS NULL THEN r.note ELSE l.note END AS note, r.verdict AS first_verdict \
     FROM receipts r LEFT JOIN receipt_verdicts l ON l.id = \
     (SELECT v.id FROM receipt_verdicts v WHERE v.receipt_id = r.id ORDER BY v.id DESC LIMIT 1)) AS shown WHERE true";

pub async fn receipts(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<ReceiptView>, StoreError> {
    let select = Select::of(RECEIPTS).only("operator_id", filter.operator_id).only("source_id", filter.source_id);
    let select = select.only("conversion_id", filter.conversion_id).only("verdict", filter.status.clone());
    let select = match filter.status.as_deref() {
        // What is refused or waits now has never been booked; a partial index holds those.
        Some("rejected" | "parked") => select.and("first_verdict IN ('rejected', 'parked')"),
        _ => select,
    };
    select.since("id", filter).page(engine, "id", page, receipt_view).await
}

pub async fn receipt(engine: &Engine, id: ReceiptId) -> Result<Option<ReceiptView>, StoreError> {
    let Some(mut view) = Select::of(RECEIPTS).one(engine, "id", id.uuid(), receipt_view).await? else {
        return Ok(None);
    };
    let select = "SELECT decided_at, verdict, code, field, conversion_id, replayed_by, replay_id \
         FROM receipt_verdicts WHERE receipt_id = $1 ORDER BY id";
    let rows = sqlx::query(select).bind(id).fetch_all(&engine.reader).await?;
    view.later_verdicts = rows.iter().map(later_verdict).collect::<Result<_, _>>()?;
    Ok(Some(view))
}

fn receipt_view(row: &DbRow) -> Result<ReceiptView, StoreError> {
    let body: Vec<u8> = row.try_get("body")?;
    Ok(ReceiptView {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        source_id: row.try_get("source_id")?,
        key_id: row.try_get("key_id")?,
        received_at: row.try_get("received_at")?,
        method: row.try_get("method")?,
        content_type: row.try_get("content_type")?,
        query: row.try_get("query")?,
        body: String::from_utf8_lossy(&body).into_owned(),
        peer: row.try_get("peer")?,
        verdict: row.try_get("verdict")?,
        code: row.try_get("code")?,
        field: row.try_get("field")?,
        conversion_id: row.try_get("conversion_id")?,
        disagreement: from_json_opt(row, "note")?,
        later_verdicts: Vec::new(),
    })
}

fn later_verdict(row: &DbRow) -> Result<LaterVerdict, StoreError> {
    Ok(LaterVerdict {
        decided_at: row.try_get("decided_at")?,
        verdict: row.try_get("verdict")?,
        code: row.try_get("code")?,
        field: row.try_get("field")?,
        conversion_id: row.try_get("conversion_id")?,
        replayed_by: row.try_get("replayed_by")?,
        replay_id: row.try_get("replay_id")?,
    })
}

const CONVERSIONS: &str = "SELECT id, operator_id, source_id, program_id, goal, affiliate_id, receipt_id, status, \
     currency, occurred_at, received_at, updated_at, revision, test, content, no_commission, refunds, \
     hold_until, booked_period, changed_by FROM conversions WHERE true";

pub async fn conversions(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<ConversionView>, StoreError> {
    let select = Select::of(CONVERSIONS).only("operator_id", filter.operator_id).only("source_id", filter.source_id);
    let select = select.only("program_id", filter.program_id).only("affiliate_id", filter.affiliate_id);
    let select = select.only("click_id", filter.click_id.clone()).only("status", filter.status.clone());
    let select = match filter.status.as_deref() {
        None | Some("approved") => select,
        // The condition of a partial index: what is not approved may be so rare that no page of it is ever full.
        Some(_) => select.and("status <> 'approved'"),
    };
    let mut select = select.only("id", filter.conversion_id);
    if let Some(event_id) = &filter.event_id {
        select = select.among("id", conversions_of_event(engine, filter, event_id).await?);
    }
    select.since("id", filter).page(engine, "id", page, conversion_view).await
}

/// What an event id led to at each source that it may have come through. Every conversion's event id took an event
/// key, so the unique index that deduplicates finds it.
async fn conversions_of_event(
    engine: &Engine,
    filter: &Filter,
    event_id: &str,
) -> Result<Vec<ConversionId>, StoreError> {
    let sources = Select::of("SELECT id FROM sources WHERE true").only("operator_id", filter.operator_id);
    let sources: Vec<SourceId> = sources.only("id", filter.source_id).all(engine, |row| Ok(row.try_get("id")?)).await?;
    let keys = |source: SourceId| [false, true].map(|test| event_key(source, event_id, test));
    let keys: Vec<String> = sources.into_iter().flat_map(keys).collect();
    let select = "SELECT k.conversion_id FROM {rows} JOIN dedup_keys k ON k.key = v.wanted";
    let mut connection = engine.reader.acquire().await?;
    let rows = Rows::of(&keys).col("wanted", |key| key.as_str());
    let found = dialect::fetch_rows(&mut connection, select, rows).await?;
    found.iter().map(|row| Ok(row.try_get("conversion_id")?)).collect()
}

pub async fn conversion(engine: &Engine, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
    let Some(mut view) = Select::of(CONVERSIONS).one(engine, "id", id.uuid(), conversion_view).await? else {
        return Ok(None);
    };
    let select = "SELECT revision, receipt_id, status, content, occurred_at, changed_by, superseded_at \
         FROM conversion_revisions WHERE conversion_id = $1 ORDER BY revision";
    let rows = sqlx::query(select).bind(id).fetch_all(&engine.reader).await?;
    view.past_revisions = rows.iter().map(past_revision).collect::<Result<_, _>>()?;
    Ok(Some(view))
}

fn past_revision(row: &DbRow) -> Result<PastRevision, StoreError> {
    let Postback { amount, .. } = from_json(row, "content")?;
    Ok(PastRevision {
        revision: row.try_get("revision")?,
        receipt_id: row.try_get("receipt_id")?,
        status: from_name(row, "status")?,
        amount,
        occurred_at: row.try_get("occurred_at")?,
        changed_by: from_json_opt(row, "changed_by")?.unwrap_or_default(),
        superseded_at: row.try_get("superseded_at")?,
    })
}

fn conversion_view(row: &DbRow) -> Result<ConversionView, StoreError> {
    let Postback { click_id, event_id, customer_id, amount, .. } = from_json(row, "content")?;
    Ok(ConversionView {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        source_id: row.try_get("source_id")?,
        program_id: row.try_get("program_id")?,
        goal: row.try_get("goal")?,
        affiliate_id: row.try_get("affiliate_id")?,
        receipt_id: row.try_get("receipt_id")?,
        click_id: click_id.map(|id| id.to_string()),
        event_id: event_id.map(|id| id.to_string()),
        customer_id: customer_id.map(|id| id.to_string()),
        status: from_name(row, "status")?,
        amount,
        currency: currency(row, "currency")?,
        occurred_at: row.try_get("occurred_at")?,
        received_at: row.try_get("received_at")?,
        updated_at: row.try_get("updated_at")?,
        revision: row.try_get("revision")?,
        test: row.try_get("test")?,
        no_commission: from_name_opt(row, "no_commission")?,
        refunds: from_json_opt(row, "refunds")?.unwrap_or_default(),
        hold_until: row.try_get("hold_until")?,
        booked_period: row.try_get("booked_period")?,
        changed_by: from_json_opt(row, "changed_by")?.unwrap_or_default(),
        past_revisions: Vec::new(),
    })
}
