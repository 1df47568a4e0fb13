//! Rows as the domain's payouts.

use sqlx::Row;

use super::super::super::dialect::DbRow;
use super::super::nouns::{corrupt, currency};
use super::super::{from_name, from_name_opt};
use crate::domain::money::Money;
use crate::domain::payout::terms::PayoutTerms;
use crate::domain::payout::{Payout, Share};
use crate::store::StoreError;
use crate::store::payouts::{ItemView, StepView};

pub fn payout(row: &DbRow) -> Result<Payout, StoreError> {
    let reference: Option<String> = row.try_get("reference")?;
    Ok(Payout {
        id: row.try_get("id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        money: Money { amount: row.try_get("amount")?, currency: currency(row, "currency")? },
        items: row.try_get("items")?,
        state: from_name(row, "state")?,
        revision: row.try_get("revision")?,
        reference: reference.map(|text| text.parse().map_err(|_| corrupt("payouts.reference"))).transpose()?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub fn share(row: &DbRow) -> Result<Share, StoreError> {
    Ok(Share { operator_id: row.try_get("operator_id")?, amount: row.try_get("amount")? })
}

pub fn step(row: &DbRow) -> Result<StepView, StoreError> {
    Ok(StepView {
        revision: row.try_get("revision")?,
        state: from_name(row, "state")?,
        key_id: row.try_get("key_id")?,
        at: row.try_get("at")?,
        reference: row.try_get("reference")?,
        reason: row.try_get("reason")?,
    })
}

pub fn item(row: &DbRow) -> Result<ItemView, StoreError> {
    Ok(ItemView {
        entry_id: row.try_get("entry_id")?,
        commission_id: row.try_get("commission_id")?,
        operator_id: row.try_get("operator_id")?,
        money: Money { amount: row.try_get("amount")?, currency: currency(row, "currency")? },
        released_at: row.try_get("released_at")?,
    })
}

pub fn terms(row: &DbRow) -> Result<PayoutTerms, StoreError> {
    Ok(PayoutTerms {
        affiliate_id: row.try_get("affiliate_id")?,
        currency: currency(row, "currency")?,
        minimum: row.try_get("minimum")?,
        period: from_name(row, "period")?,
        enabled: row.try_get("enabled")?,
        next_due_at: row.try_get("next_due_at")?,
        last_due_at: row.try_get("last_due_at")?,
        last_outcome: from_name_opt(row, "last_outcome")?,
        updated_by: row.try_get("updated_by")?,
        updated_at: row.try_get("updated_at")?,
    })
}
