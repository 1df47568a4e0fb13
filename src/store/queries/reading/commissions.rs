//! Commissions, each with what payouts make of it.
//!
//! Whether one is stated or paid is stored nowhere but in the items of payouts (decision 9), so it is asked of them for
//! each row. A commission has few items, and the index on them finds those. The sums are the only money that SQL adds up:
//! both engines do so exactly, and a list that is narrowed by state could not be read page by page otherwise.

use std::collections::HashMap;

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow, Engine};
use super::super::from_json;
use super::super::nouns::commission as commission_of;
use super::Select;
use crate::domain::commission::{CommissionStanding, InPayouts};
use crate::domain::ids::CommissionId;
use crate::domain::money::Amount;
use crate::store::StoreError;
use crate::store::reading::{CommissionView, Filter, Page};
use crate::store::rows::Rows;

const COMMISSIONS: &str = "SELECT * FROM (SELECT c.*, \
     (SELECT sum(i.amount) FROM payout_items i JOIN payouts p ON p.id = i.payout_id \
     WHERE i.commission_id = c.id AND i.released_at IS NULL AND p.currency = c.currency) AS stated, \
     (SELECT sum(i.amount) FROM payout_items i JOIN payouts p ON p.id = i.payout_id \
     WHERE i.commission_id = c.id AND i.released_at IS NULL AND p.currency = c.currency AND p.state = 'completed') \
     AS paid, \
     (SELECT i.payout_id FROM payout_items i WHERE i.commission_id = c.id AND i.released_at IS NULL \
     ORDER BY i.payout_id DESC LIMIT 1) AS payout_id FROM commissions c) c WHERE true";

/// The conditions of [`crate::domain::commission::CommissionState::standing`].
const AVAILABLE: &str = "state = 'available' AND stated IS DISTINCT FROM booked";
/// What is stated and not paid lies in a payout under way; those are few, and SQLite begins with them because of the CROSS.
const STATED: &str = "state = 'available' AND stated = booked AND paid IS DISTINCT FROM booked \
     AND id IN (SELECT i.commission_id FROM payouts p CROSS JOIN payout_items i WHERE i.payout_id = p.id \
     AND p.state NOT IN ('completed', 'returned', 'canceled') AND i.released_at IS NULL)";
/// What is newer than all that payouts ever held need not be looked at.
const PAID: &str = "state = 'available' AND stated = booked AND paid = booked \
     AND id <= (SELECT i.commission_id FROM payout_items i ORDER BY i.commission_id DESC LIMIT 1)";

pub async fn commissions(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<CommissionView>, StoreError> {
    let select = Select::of(COMMISSIONS).only("operator_id", filter.operator_id).only("program_id", filter.program_id);
    let select = select.only("affiliate_id", filter.affiliate_id).only("conversion_id", filter.conversion_id);
    let select = match filter.status.as_deref() {
        Some("available") => select.and(AVAILABLE),
        Some("stated") => select.and(STATED),
        Some("paid") => select.and(PAID),
        None => select,
        // The condition of a partial index: such states may be so rare that no page of them is ever full.
        other => select.only("state", other.map(str::to_owned)).and("state <> 'available'"),
    };
    select.since("id", filter).page(engine, "id", page, commission_view).await
}

pub async fn commission(engine: &Engine, id: CommissionId) -> Result<Option<CommissionView>, StoreError> {
    Select::of(COMMISSIONS).one(engine, "id", id.uuid(), commission_view).await
}

/// Where these commissions stand, in the eyes of this transaction.
pub async fn standings(
    connection: &mut DbConnection,
    ids: &[CommissionId],
) -> Result<HashMap<CommissionId, CommissionStanding>, StoreError> {
    let select = format!("{COMMISSIONS} AND id IN (SELECT v.commission FROM {{rows}})");
    let rows = dialect::fetch_rows(connection, &select, Rows::of(ids).col("commission", |id| *id)).await?;
    let standing = |row: &DbRow| commission_view(row).map(|view| (view.id, view.state));
    rows.iter().map(standing).collect()
}

fn commission_view(row: &DbRow) -> Result<CommissionView, StoreError> {
    let commission = commission_of(row)?;
    let payouts = InPayouts { stated: row.try_get("stated")?, paid: row.try_get("paid")? };
    Ok(CommissionView {
        id: commission.id,
        conversion_id: commission.conversion_id,
        operator_id: commission.operator_id,
        program_id: commission.program_id,
        affiliate_id: commission.affiliate_id,
        plan_version_id: commission.plan_version_id,
        amount: commission.money.amount,
        currency: commission.money.currency,
        awaits: commission.awaits,
        booked: commission.booked,
        state: commission.state.standing(commission.booked, payouts),
        paid: payouts.paid.unwrap_or(Amount::ZERO),
        payout_id: row.try_get("payout_id")?,
        hold_until: commission.hold_until,
        revision: commission.revision,
        explanation: from_json(row, "explanation")?,
        created_at: commission.created_at,
        updated_at: commission.updated_at,
    })
}
