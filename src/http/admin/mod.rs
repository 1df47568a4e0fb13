//! `/v1/admin`: admins set things up and look at everything. One file for each noun.
//!
//! A write is answered once it is durable and once this instance goes by it; other instances follow within
//! seconds, and none books by an older configuration (DESIGN section 2). Names of references are judged here, so
//! that nobody's plan pays in another's program.

pub mod affiliates;
pub mod agreements;
pub mod alerts;
pub mod commissions;
pub mod conversions;
pub mod coupons;
pub mod customers;
pub mod deliveries;
pub mod endpoints;
pub mod fx_rates;
pub mod goals;
pub mod keys;
pub mod links;
pub mod operators;
pub mod payout_terms;
pub mod payouts;
pub mod plans;
pub mod programs;
pub mod receipts;
pub mod replays;
pub mod sources;

use std::time::Duration;

use actix_web::HttpResponse;
use secrecy::ExposeSecret as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::domain::catalog::{Affiliate, Catalog, Operator, Plan, Program, Source};
use crate::domain::ids::{AffiliateId, OperatorId, PlanId, ProgramId, SourceId};
use crate::domain::signature::SigningSecret;

/// The most characters of a name.
const MAX_NAME_CHARS: usize = 200;
/// The longest time for which a commission is held, in days.
const MAX_HOLD_DAYS: i32 = 3650;
/// The longest time for which an old secret stays valid beside a new one, in hours.
const MAX_OVERLAP_HOURS: u64 = 90 * 24;

/// A name for people: 1 to 200 characters, none of them a control character.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 200)]
pub struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && !text.trim().is_empty();
        if !fits || text.chars().any(char::is_control) {
            return Err(D::Error::custom("a name has 1 to 200 characters and no control characters"));
        }
        Ok(Self(text))
    }
}

/// The most characters of a reason.
const MAX_REASON_CHARS: usize = 1000;

/// Why something is done, for whoever reads it later: 1 to 1000 characters, none of them a control character.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 1000)]
pub struct ChangeReason(String);

impl<'de> Deserialize<'de> for ChangeReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=MAX_REASON_CHARS).contains(&text.chars().count()) && !text.trim().is_empty();
        if !fits || text.chars().any(char::is_control) {
            return Err(D::Error::custom("a reason has 1 to 1000 characters and no control characters"));
        }
        Ok(Self(text))
    }
}

/// Which secrets stay valid when a new one is made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// For how many hours the old secrets stay valid beside the new one; 0 ends them now.
    #[serde(default = "default_overlap_hours")]
    #[schema(default = 24, minimum = 0, maximum = 2160)]
    overlap_hours: u64,
}

const fn default_overlap_hours() -> u64 {
    24
}

impl NewSecret {
    fn overlap(&self) -> Result<Duration, Problem> {
        if self.overlap_hours > MAX_OVERLAP_HOURS {
            return Err(Problem::of_field("overlap_hours", "An old secret stays valid for at most 2160 hours."));
        }
        Ok(Duration::from_secs(self.overlap_hours * 3_600))
    }
}

/// A secret, for the one time that it is shown.
fn shown(secret: &SigningSecret) -> String {
    secret.text().expose_secret().to_owned()
}

/// For how many days commissions are held, if that is possible.
fn commission_hold_days(days: i32) -> Result<i32, Problem> {
    let fits = (0..=MAX_HOLD_DAYS).contains(&days);
    fits.then_some(days).ok_or_else(|| Problem::of_field("commission_hold_days", "A hold has 0 to 3650 days."))
}

/// 201 with what was made.
fn created(body: impl Serialize) -> HttpResponse {
    HttpResponse::Created().json(body)
}

fn operator(catalog: &Catalog, id: OperatorId) -> Result<&Operator, Problem> {
    catalog.operator(id).ok_or_else(|| Problem::of_field("operator_id", "There is no such operator."))
}

fn affiliate(catalog: &Catalog, id: AffiliateId) -> Result<&Affiliate, Problem> {
    catalog.affiliate(id).ok_or_else(|| Problem::of_field("affiliate_id", "There is no such affiliate."))
}

fn source(catalog: &Catalog, id: SourceId) -> Result<&Source, Problem> {
    catalog.source(id).ok_or_else(|| Problem::of_field("source_id", "There is no such source."))
}

fn program(catalog: &Catalog, id: ProgramId) -> Result<&Program, Problem> {
    catalog.program(id).ok_or_else(|| Problem::of_field("program_id", "There is no such program."))
}

/// The plan, if it is of this operator.
fn plan<'a>(catalog: &'a Catalog, field: &str, id: PlanId, operator: OperatorId) -> Result<&'a Plan, Problem> {
    let plan = catalog.plan(id).filter(|plan| plan.operator_id == operator);
    plan.ok_or_else(|| Problem::of_field(field, "The operator of the program has no such plan."))
}
