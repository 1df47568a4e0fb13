//! One upsert for each noun.

use super::super::{to_json, to_name};
use super::{Statement, secrets};
use crate::domain::catalog::{
    Affiliate, Agreement, Coupon, Goal, Key, Link, Operator, Owner, Plan, Program, Role, Source,
};
use crate::domain::endpoint::Endpoint;
use crate::domain::exchange::ExchangeRate;
use crate::domain::plan::PlanVersion;
use crate::domain::secret::MasterKey;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::configuration::Entry;

/// The statement that writes one row. What makes a row belong to somebody is never replaced: such a statement
/// touches nothing.
pub fn statement(entry: &Entry, version: i64, key: &MasterKey) -> Result<Statement, StoreError> {
    Ok(match entry {
        Entry::Operator(row) => put_operator(row).bind(version),
        Entry::Source(row) => put_source(row).bind(version),
        Entry::SourceSecret(row) => secrets::put_source_secret(row, key)?.bind(version),
        Entry::Program(row) => put_program(row).bind(version),
        Entry::Goal(row) => put_goal(row).bind(version),
        Entry::Plan(row) => put_plan(row).bind(version),
        Entry::PlanVersion { version: row, created_at } => put_plan_version(row, *created_at).bind(version),
        Entry::Affiliate(row) => put_affiliate(row).bind(version),
        Entry::Agreement(row) => put_agreement(row).bind(version),
        Entry::Link(row) => put_link(row).bind(version),
        Entry::Coupon(row) => put_coupon(row).bind(version),
        Entry::Key(row) => put_key(row).bind(version),
        Entry::Endpoint(row) => put_endpoint(row).bind(version),
        Entry::EndpointSecret(row) => secrets::put_endpoint_secret(row, key)?.bind(version),
        Entry::MacKey { key: row, created_at } => secrets::put_mac_key(row, *created_at, key)?.bind(version),
        Entry::FxRate(row) => put_fx_rate(row).bind(version),
    })
}

fn put_operator(row: &Operator) -> Statement {
    sqlx::query(
        "INSERT INTO operators (id, name, status, created_at, version) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, status = excluded.status, version = excluded.version",
    )
    .bind(row.id)
    .bind(row.name.clone())
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

fn put_source(row: &Source) -> Statement {
    sqlx::query(
        "INSERT INTO sources (id, operator_id, name, signature_scheme, payout_override, negative_is_refund, test, status, \
         created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, signature_scheme = excluded.signature_scheme, \
         payout_override = excluded.payout_override, negative_is_refund = excluded.negative_is_refund, test = excluded.test, status = excluded.status, \
         version = excluded.version WHERE sources.operator_id = excluded.operator_id",
    )
    .bind(row.id)
    .bind(row.operator_id)
    .bind(row.name.clone())
    .bind(to_name(&row.signature_scheme))
    .bind(row.payout_override)
    .bind(row.negative_is_refund)
    .bind(row.test)
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

fn put_program(row: &Program) -> Statement {
    sqlx::query(
        "INSERT INTO programs (id, operator_id, name, currency, destination_url, attribution_window_days, attribution, \
         default_plan_id, commission_hold_days, status, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, currency = excluded.currency, \
         destination_url = excluded.destination_url, attribution_window_days = excluded.attribution_window_days, \
         attribution = excluded.attribution, default_plan_id = excluded.default_plan_id, \
         commission_hold_days = excluded.commission_hold_days, status = excluded.status, version = excluded.version \
         WHERE programs.operator_id = excluded.operator_id",
    )
    .bind(row.id)
    .bind(row.operator_id)
    .bind(row.name.clone())
    .bind(row.currency.to_string())
    .bind(row.destination_url.clone())
    .bind(row.attribution_window_days)
    .bind(to_name(&row.attribution))
    .bind(row.default_plan_id)
    .bind(row.commission_hold_days)
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

fn put_goal(row: &Goal) -> Statement {
    sqlx::query(
        "INSERT INTO goals (id, program_id, name, policy, default_status, min_click_seconds, hold_days, \
         commission_hold_days, created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (id) DO UPDATE SET policy = excluded.policy, default_status = excluded.default_status, \
         min_click_seconds = excluded.min_click_seconds, hold_days = excluded.hold_days, \
         commission_hold_days = excluded.commission_hold_days, version = excluded.version \
         WHERE goals.program_id = excluded.program_id AND goals.name = excluded.name",
    )
    .bind(row.id)
    .bind(row.program_id)
    .bind(row.name.clone())
    .bind(to_name(&row.policy))
    .bind(row.default_status.as_str())
    .bind(row.min_click_seconds)
    .bind(row.hold_days)
    .bind(row.commission_hold_days)
    .bind(row.created_at)
}

fn put_plan(row: &Plan) -> Statement {
    sqlx::query(
        "INSERT INTO plans (id, operator_id, name, created_at, version) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version \
         WHERE plans.operator_id = excluded.operator_id",
    )
    .bind(row.id)
    .bind(row.operator_id)
    .bind(row.name.clone())
    .bind(row.created_at)
}

/// Immutable: a second one with the same id is refused.
fn put_plan_version(row: &PlanVersion, created_at: Timestamp) -> Statement {
    sqlx::query(
        "INSERT INTO plan_versions (id, plan_id, valid_from, terms, created_at, version) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(row.id)
    .bind(row.plan_id)
    .bind(row.valid_from)
    .bind(to_json(&row.terms))
    .bind(created_at)
}

fn put_affiliate(row: &Affiliate) -> Statement {
    sqlx::query(
        "INSERT INTO affiliates (id, name, settlement_currency, status, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, settlement_currency = excluded.settlement_currency, \
         status = excluded.status, version = excluded.version",
    )
    .bind(row.id)
    .bind(row.name.clone())
    .bind(row.settlement_currency.map(|currency| currency.to_string()))
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

/// Immutable: a second one with the same id is refused.
fn put_fx_rate(row: &ExchangeRate) -> Statement {
    sqlx::query(
        "INSERT INTO fx_rates (id, base, quote, rate, valid_from, source, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(row.id)
    .bind(row.base.to_string())
    .bind(row.quote.to_string())
    .bind(row.rate.to_string())
    .bind(row.valid_from)
    .bind(row.source.clone())
    .bind(row.created_at)
}

fn put_agreement(row: &Agreement) -> Statement {
    sqlx::query(
        "INSERT INTO agreements (id, affiliate_id, program_id, plan_id, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET plan_id = excluded.plan_id, version = excluded.version \
         WHERE agreements.affiliate_id = excluded.affiliate_id AND agreements.program_id = excluded.program_id",
    )
    .bind(row.id)
    .bind(row.affiliate_id)
    .bind(row.program_id)
    .bind(row.plan_id)
    .bind(row.created_at)
}

fn put_link(row: &Link) -> Statement {
    sqlx::query(
        "INSERT INTO links (id, code, program_id, affiliate_id, status, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version \
         WHERE links.code = excluded.code AND links.program_id = excluded.program_id \
         AND links.affiliate_id = excluded.affiliate_id",
    )
    .bind(row.id)
    .bind(row.code.to_string())
    .bind(row.program_id)
    .bind(row.affiliate_id)
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

fn put_coupon(row: &Coupon) -> Statement {
    sqlx::query(
        "INSERT INTO coupons (id, operator_id, program_id, affiliate_id, code, status, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version \
         WHERE coupons.operator_id = excluded.operator_id AND coupons.program_id = excluded.program_id \
         AND coupons.affiliate_id = excluded.affiliate_id AND coupons.code = excluded.code",
    )
    .bind(row.id)
    .bind(row.operator_id)
    .bind(row.program_id)
    .bind(row.affiliate_id)
    .bind(row.code.clone())
    .bind(to_name(&row.status))
    .bind(row.created_at)
}

fn put_key(row: &Key) -> Statement {
    let (role, operator_id, source_id, affiliate_id) = match row.role {
        Role::Admin => ("admin", None, None, None),
        Role::Operator { operator_id, source_id } => ("operator", Some(operator_id), Some(source_id), None),
        Role::Affiliate { affiliate_id } => ("affiliate", None, None, Some(affiliate_id)),
    };
    sqlx::query(
        "INSERT INTO api_keys (id, public_id, hash, name, role, operator_id, source_id, affiliate_id, ip_allowlist, \
         rate_per_minute, test, expires_at, revoked_at, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, ip_allowlist = excluded.ip_allowlist, \
         rate_per_minute = excluded.rate_per_minute, expires_at = excluded.expires_at, \
         revoked_at = excluded.revoked_at, version = excluded.version \
         WHERE api_keys.public_id = excluded.public_id AND api_keys.hash = excluded.hash \
         AND api_keys.role = excluded.role AND api_keys.source_id IS NOT DISTINCT FROM excluded.source_id \
         AND api_keys.affiliate_id IS NOT DISTINCT FROM excluded.affiliate_id",
    )
    .bind(row.id)
    .bind(row.public_id.to_string())
    .bind(row.hash.bytes().to_vec())
    .bind(row.name.clone())
    .bind(role)
    .bind(operator_id)
    .bind(source_id)
    .bind(affiliate_id)
    .bind(to_json(&row.ip_allowlist))
    .bind(row.rate_per_minute)
    .bind(row.test)
    .bind(row.expires_at)
    .bind(row.revoked_at)
    .bind(row.created_at)
}

fn put_endpoint(row: &Endpoint) -> Statement {
    let (affiliate_id, operator_id) = match row.owner {
        Owner::Affiliate(id) => (Some(id), None),
        Owner::Operator(id) => (None, Some(id)),
    };
    sqlx::query(
        "INSERT INTO endpoints (id, affiliate_id, operator_id, kind, url, event_types, goals, statuses, \
         expected_status, status, status_reason, created_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (id) DO UPDATE SET url = excluded.url, event_types = excluded.event_types, \
         goals = excluded.goals, statuses = excluded.statuses, expected_status = excluded.expected_status, \
         status = excluded.status, status_reason = excluded.status_reason, version = excluded.version \
         WHERE endpoints.affiliate_id IS NOT DISTINCT FROM excluded.affiliate_id \
         AND endpoints.operator_id IS NOT DISTINCT FROM excluded.operator_id AND endpoints.kind = excluded.kind",
    )
    .bind(row.id)
    .bind(affiliate_id)
    .bind(operator_id)
    .bind(to_name(&row.kind))
    .bind(row.url.clone())
    .bind(to_json(&row.subscription.event_types))
    .bind(to_json(&row.subscription.goals))
    .bind(to_json(&row.subscription.statuses))
    .bind(row.expected_status.map(i32::from))
    .bind(to_name(&row.status))
    .bind(row.status_reason.clone())
    .bind(row.created_at)
}
