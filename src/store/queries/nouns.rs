//! Rows of the configuration as the domain's nouns, and of commissions, which are read in two places. Secrets are opened
//! beside the statement that reads them.

use sqlx::Row;

use super::super::dialect::DbRow;
use super::{from_json, from_name};
use crate::domain::catalog::{
    Affiliate, Agreement, Coupon, Goal, Key, Link, Operator, Owner, Plan, Program, Role, Source,
};
use crate::domain::click::LinkCode;
use crate::domain::commission::Commission;
use crate::domain::endpoint::{Endpoint, Subscription};
use crate::domain::exchange::ExchangeRate;
use crate::domain::money::{Currency, Money};
use crate::domain::plan::PlanVersion;
use crate::domain::secret::{KeyHash, KeyPublicId};
use crate::store::StoreError;

pub fn operator(row: &DbRow) -> Result<Operator, StoreError> {
    Ok(Operator {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn source(row: &DbRow) -> Result<Source, StoreError> {
    Ok(Source {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        name: row.try_get("name")?,
        signature_scheme: from_name(row, "signature_scheme")?,
        payout_override: row.try_get("payout_override")?,
        negative_is_refund: row.try_get("negative_is_refund")?,
        test: row.try_get("test")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn program(row: &DbRow) -> Result<Program, StoreError> {
    Ok(Program {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        name: row.try_get("name")?,
        currency: currency(row, "currency")?,
        destination_url: row.try_get("destination_url")?,
        attribution_window_days: row.try_get("attribution_window_days")?,
        attribution: from_name(row, "attribution")?,
        default_plan_id: row.try_get("default_plan_id")?,
        commission_hold_days: row.try_get("commission_hold_days")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn goal(row: &DbRow) -> Result<Goal, StoreError> {
    Ok(Goal {
        id: row.try_get("id")?,
        program_id: row.try_get("program_id")?,
        name: row.try_get("name")?,
        policy: from_name(row, "policy")?,
        default_status: from_name(row, "default_status")?,
        min_click_seconds: row.try_get("min_click_seconds")?,
        hold_days: row.try_get("hold_days")?,
        commission_hold_days: row.try_get("commission_hold_days")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn plan(row: &DbRow) -> Result<Plan, StoreError> {
    Ok(Plan {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        name: row.try_get("name")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn plan_version(row: &DbRow) -> Result<PlanVersion, StoreError> {
    Ok(PlanVersion {
        id: row.try_get("id")?,
        plan_id: row.try_get("plan_id")?,
        valid_from: row.try_get("valid_from")?,
        terms: from_json(row, "terms")?,
    })
}

pub fn affiliate(row: &DbRow) -> Result<Affiliate, StoreError> {
    Ok(Affiliate {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        settlement_currency: currency_opt(row, "settlement_currency")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn agreement(row: &DbRow) -> Result<Agreement, StoreError> {
    Ok(Agreement {
        id: row.try_get("id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        program_id: row.try_get("program_id")?,
        plan_id: row.try_get("plan_id")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn link(row: &DbRow) -> Result<Link, StoreError> {
    let code: String = row.try_get("code")?;
    Ok(Link {
        id: row.try_get("id")?,
        code: LinkCode::parse(&code).ok_or_else(|| corrupt("links.code"))?,
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn coupon(row: &DbRow) -> Result<Coupon, StoreError> {
    Ok(Coupon {
        id: row.try_get("id")?,
        operator_id: row.try_get("operator_id")?,
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        code: row.try_get("code")?,
        status: from_name(row, "status")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn key(row: &DbRow) -> Result<Key, StoreError> {
    let public_id: String = row.try_get("public_id")?;
    let hash: Vec<u8> = row.try_get("hash")?;
    let hash: [u8; 32] = hash.try_into().map_err(|_| corrupt("api_keys.hash"))?;
    Ok(Key {
        id: row.try_get("id")?,
        public_id: KeyPublicId::parse(&public_id).ok_or_else(|| corrupt("api_keys.public_id"))?,
        hash: KeyHash::from_bytes(hash),
        name: row.try_get("name")?,
        role: role(row)?,
        ip_allowlist: from_json(row, "ip_allowlist")?,
        rate_per_minute: row.try_get("rate_per_minute")?,
        test: row.try_get("test")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
        created_at: row.try_get("created_at")?,
    })
}

fn role(row: &DbRow) -> Result<Role, StoreError> {
    let name: String = row.try_get("role")?;
    match name.as_str() {
        "admin" => Ok(Role::Admin),
        "operator" => {
            Ok(Role::Operator { operator_id: row.try_get("operator_id")?, source_id: row.try_get("source_id")? })
        }
        "affiliate" => Ok(Role::Affiliate { affiliate_id: row.try_get("affiliate_id")? }),
        _ => Err(corrupt("api_keys.role")),
    }
}

pub fn endpoint(row: &DbRow) -> Result<Endpoint, StoreError> {
    let owner = match (row.try_get("affiliate_id")?, row.try_get("operator_id")?) {
        (Some(affiliate), None) => Owner::Affiliate(affiliate),
        (None, Some(operator)) => Owner::Operator(operator),
        _ => return Err(corrupt("endpoints: no single owner")),
    };
    let expected_status: Option<i32> = row.try_get("expected_status")?;
    Ok(Endpoint {
        id: row.try_get("id")?,
        owner,
        kind: from_name(row, "kind")?,
        url: row.try_get("url")?,
        subscription: Subscription {
            event_types: from_json(row, "event_types")?,
            goals: from_json(row, "goals")?,
            statuses: from_json(row, "statuses")?,
        },
        expected_status: expected_status.map(u16::try_from).transpose().map_err(|_| corrupt("expected_status"))?,
        status: from_name(row, "status")?,
        status_reason: row.try_get("status_reason")?,
        created_at: row.try_get("created_at")?,
    })
}

pub fn fx_rate(row: &DbRow) -> Result<ExchangeRate, StoreError> {
    let rate: String = row.try_get("rate")?;
    Ok(ExchangeRate {
        id: row.try_get("id")?,
        base: currency(row, "base")?,
        quote: currency(row, "quote")?,
        rate: rate.parse().map_err(|_| corrupt("fx_rates.rate"))?,
        valid_from: row.try_get("valid_from")?,
        source: row.try_get("source")?,
        created_at: row.try_get("created_at")?,
    })
}

/// A stored ISO 4217 code, where there is one.
pub fn currency_opt(row: &DbRow, column: &str) -> Result<Option<Currency>, StoreError> {
    let code: Option<String> = row.try_get(column)?;
    code.map(|code| code.parse().map_err(|_| corrupt(column))).transpose()
}

/// A stored ISO 4217 code.
pub fn currency(row: &DbRow, column: &str) -> Result<Currency, StoreError> {
    let code: String = row.try_get(column)?;
    code.parse().map_err(|_| corrupt(column))
}

/// What is stored here cannot be understood.
pub fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// A row of commissions.
pub fn commission(row: &DbRow) -> Result<Commission, StoreError> {
    Ok(Commission {
        id: row.try_get("id")?,
        conversion_id: row.try_get("conversion_id")?,
        operator_id: row.try_get("operator_id")?,
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        plan_version_id: row.try_get("plan_version_id")?,
        money: Money { amount: row.try_get("amount")?, currency: currency(row, "currency")? },
        awaits: currency_opt(row, "awaits")?,
        booked: row.try_get("booked")?,
        state: from_name(row, "state")?,
        hold_until: row.try_get("hold_until")?,
        revision: row.try_get("revision")?,
        explanation: row.try_get("explanation")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
