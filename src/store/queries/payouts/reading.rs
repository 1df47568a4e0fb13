//! Payouts as people look at them.

use super::super::super::dialect::Engine;
use super::super::reading::Select;
use super::super::whole_rows;
use super::{rows, shares};
use crate::domain::ids::PayoutId;
use crate::domain::payout::Payout;
use crate::store::StoreError;
use crate::store::payouts::{ItemView, PayoutView};
use crate::store::reading::{Filter, Page};

const PAYOUTS: &str = "SELECT * FROM payouts WHERE true";

pub async fn payouts(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Payout>, StoreError> {
    let select = Select::of(PAYOUTS).only("affiliate_id", filter.affiliate_id).only("state", filter.status.clone());
    select.page(engine, "id", page, rows::payout).await
}

pub async fn payout(engine: &Engine, id: PayoutId) -> Result<Option<PayoutView>, StoreError> {
    let mut snapshot = engine.begin_snapshot().await?;
    let select = "SELECT * FROM payouts WHERE id = $1";
    let Some(row) = whole_rows(select).bind(id).fetch_optional(&mut *snapshot).await? else {
        return Ok(None);
    };
    let shares = shares(&mut snapshot, id).await?;
    let select = "SELECT * FROM payout_steps WHERE payout_id = $1 ORDER BY revision";
    let steps = whole_rows(select).bind(id).fetch_all(&mut *snapshot).await?;
    snapshot.rollback().await?;
    let steps = steps.iter().map(rows::step).collect::<Result<_, _>>()?;
    Ok(Some(PayoutView { payout: rows::payout(&row)?, shares, steps }))
}

pub async fn items(engine: &Engine, id: PayoutId, page: Page) -> Result<Vec<ItemView>, StoreError> {
    let select = "SELECT i.entry_id, i.commission_id, i.operator_id, i.amount, i.released_at, p.currency \
         FROM payout_items i JOIN payouts p ON p.id = i.payout_id WHERE true";
    Select::of(select).only("i.payout_id", Some(id)).page(engine, "i.entry_id", page, rows::item).await
}
