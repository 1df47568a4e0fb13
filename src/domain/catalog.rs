//! The configuration that decisions are made by: who may send, what is paid, who is told.
//!
//! One immutable snapshot with a version. The recorder compares the version inside its transaction and
//! starts again with a newer snapshot when it moved, so that no instance books by an old plan (DESIGN
//! section 2). Rows are never deleted, only made inactive; a newer row replaces the older of the same id.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::click::{ClickMacKey, LinkCode};
use super::customer::AttributionRule;
use super::endpoint::Endpoint;
use super::exchange::{Exchange, ExchangeRate, ExchangeRates};
use super::ids::{
    AffiliateId, AgreementId, CouponId, EndpointId, EndpointSecretId, GoalId, KeyId, LinkId, OperatorId, PlanId,
    ProgramId, SourceId, SourceSecretId,
};
use super::money::Currency;
use super::plan::{PlanVersion, version_at};
use super::postback::ConversionStatus;
use super::secret::{KeyHash, KeyPublicId};
use super::signature::{InboundScheme, SigningSecret};
use super::time::Timestamp;

/// Whether a configured thing takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    #[default]
    Active,
    /// It does not, for now or for good.
    Inactive,
}

/// An operator: the advertiser whose servers fire postbacks.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// Its name, for people.
    pub name: String,
    /// Whether its sources may send.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One inbound connection of an operator. Keys belong to it and it outlives them (DOMAIN 2.5).
#[derive(Clone, Debug)]
pub struct Source {
    /// Its id; part of every event key.
    pub id: SourceId,
    /// Whose it is.
    pub operator_id: OperatorId,
    /// Its name, for people.
    pub name: String,
    /// How requests are signed.
    pub signature_scheme: InboundScheme,
    /// Whether the sender may set the payout by itself.
    pub payout_override: bool,
    /// Whether a negative amount means a refund of so much; else it is refused.
    pub negative_is_refund: bool,
    /// Whether all that comes through it is a test.
    pub test: bool,
    /// Whether it may send.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One secret of a source. Several may be valid at once, for rotation.
#[derive(Clone, Debug)]
pub struct SourceSecret {
    /// Its id.
    pub id: SourceSecretId,
    /// Whose requests it signs.
    pub source_id: SourceId,
    /// The secret.
    pub secret: SigningSecret,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer accepted.
    pub expires_at: Option<Timestamp>,
}

/// An offer of one operator.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its id.
    pub id: ProgramId,
    /// Whose it is.
    pub operator_id: OperatorId,
    /// Its name, for people.
    pub name: String,
    /// The currency of amounts that come without one.
    pub currency: Currency,
    /// Where visitors are sent, with `{click_id}` for the click's id.
    pub destination_url: String,
    /// How many days after its click a conversion is still attributed to it.
    pub attribution_window_days: i32,
    /// Which signal says who earns, where they disagree.
    pub attribution: AttributionRule,
    /// The plan for affiliates without an agreement.
    pub default_plan_id: Option<PlanId>,
    /// For how many days a commission is held after it was booked; 0 is not at all.
    pub commission_hold_days: i32,
    /// Whether new conversions are taken.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How often a goal counts for one click.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalPolicy {
    /// Once, whatever the event id and whichever the source: lead, registration, first deposit.
    #[default]
    Once,
    /// As often as there are event ids: deposit, sale, trade.
    Many,
}

/// A named step of a program.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Its id.
    pub id: GoalId,
    /// The program that it is a step of.
    pub program_id: ProgramId,
    /// The name that senders use.
    pub name: String,
    /// How often it counts.
    pub policy: GoalPolicy,
    /// The status of a conversion that comes without one.
    pub default_status: ConversionStatus,
    /// The least number of seconds between click and conversion.
    pub min_click_seconds: i64,
    /// After how many days on hold a conversion is approved by itself; never, where this is not said.
    pub hold_days: Option<i32>,
    /// For how many days a commission is held after it was booked, where that differs from the program's.
    pub commission_hold_days: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How commission is computed, over time: a name for a row of versions.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Whose it is.
    pub operator_id: OperatorId,
    /// Its name, for people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A partner who sends traffic and is paid.
#[derive(Clone, Debug)]
pub struct Affiliate {
    /// Its id.
    pub id: AffiliateId,
    /// Its name, for people.
    pub name: String,
    /// The currency that it is paid in; without one it is paid in the currency in which it earns.
    pub settlement_currency: Option<Currency>,
    /// Whether it earns from new conversions.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An affiliate's own plan in a program; it beats the program's default.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Its id.
    pub id: AgreementId,
    /// For whom.
    pub affiliate_id: AffiliateId,
    /// In which program.
    pub program_id: ProgramId,
    /// The plan that applies.
    pub plan_id: PlanId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A tracking link of one affiliate in one program.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Its short public name, the `{link}` of `/c/{link}` and part of every click id of ours.
    pub code: LinkCode,
    /// In which program.
    pub program_id: ProgramId,
    /// Whose traffic it counts.
    pub affiliate_id: AffiliateId,
    /// Whether visitors are still redirected.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A code that buyers enter, which says who sent them where neither a customer nor a click does.
#[derive(Clone, Debug)]
pub struct Coupon {
    /// Its id.
    pub id: CouponId,
    /// Whose it is: a code is unique for an operator.
    pub operator_id: OperatorId,
    /// The program that it is good for.
    pub program_id: ProgramId,
    /// Who earns from it.
    pub affiliate_id: AffiliateId,
    /// The code, exactly as postbacks carry it.
    pub code: String,
    /// Whether it still says who earns.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a key may do, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// Sets things up and looks at everything.
    Admin,
    /// Sends for one source.
    Operator {
        /// The operator.
        operator_id: OperatorId,
        /// The source that its postbacks come through.
        source_id: SourceId,
    },
    /// Looks at its own.
    Affiliate {
        /// The affiliate.
        affiliate_id: AffiliateId,
    },
}

/// An API key as it is stored: the secret itself is nowhere.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The part of the key's text that names it.
    pub public_id: KeyPublicId,
    /// The SHA-256 of the part that proves it.
    pub hash: KeyHash,
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where it may be used from; empty means anywhere.
    pub ip_allowlist: Vec<IpNet>,
    /// Requests a minute on one instance.
    pub rate_per_minute: i32,
    /// Whether all that it sends is a test.
    pub test: bool,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whose an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// An affiliate: it is told of its own events only.
    Affiliate(AffiliateId),
    /// An operator: it is told of its programs' events.
    Operator(OperatorId),
}

/// One signing secret of an endpoint. While rotating, all that are valid sign.
#[derive(Clone, Debug)]
pub struct EndpointSecret {
    /// Its id.
    pub id: EndpointSecretId,
    /// Whose messages it signs.
    pub endpoint_id: EndpointId,
    /// The secret, `whsec_…`.
    pub secret: SigningSecret,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it no longer signs.
    pub expires_at: Option<Timestamp>,
}

/// A key that vouches for click ids of our own.
#[derive(Clone, Debug)]
pub struct MacKey {
    /// Its number, written into every click id.
    pub number: u8,
    /// The key.
    pub secret: Arc<ClickMacKey>,
}

/// The rows that changed after some version.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "a list for each noun above")]
pub struct CatalogDelta {
    pub version: i64,
    pub operators: Vec<Operator>,
    pub sources: Vec<Source>,
    pub source_secrets: Vec<SourceSecret>,
    pub programs: Vec<Program>,
    pub goals: Vec<Goal>,
    pub plans: Vec<Plan>,
    pub plan_versions: Vec<PlanVersion>,
    pub affiliates: Vec<Affiliate>,
    pub agreements: Vec<Agreement>,
    pub links: Vec<Link>,
    pub coupons: Vec<Coupon>,
    pub keys: Vec<Key>,
    pub endpoints: Vec<Endpoint>,
    pub endpoint_secrets: Vec<EndpointSecret>,
    pub mac_keys: Vec<MacKey>,
    pub fx_rates: Vec<ExchangeRate>,
}

/// One immutable snapshot of the configuration, indexed the ways that decisions need it.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    version: i64,
    operators: HashMap<OperatorId, Arc<Operator>>,
    sources: HashMap<SourceId, Arc<Source>>,
    source_secrets: HashMap<SourceId, Vec<SourceSecret>>,
    programs: HashMap<ProgramId, Arc<Program>>,
    goals: HashMap<(ProgramId, String), Arc<Goal>>,
    plans: HashMap<PlanId, Arc<Plan>>,
    plan_versions: HashMap<PlanId, Vec<PlanVersion>>,
    affiliates: HashMap<AffiliateId, Arc<Affiliate>>,
    agreements: HashMap<(AffiliateId, ProgramId), Arc<Agreement>>,
    links: HashMap<LinkCode, Arc<Link>>,
    coupons: HashMap<(OperatorId, String), Arc<Coupon>>,
    keys: HashMap<KeyPublicId, Arc<Key>>,
    endpoints: HashMap<EndpointId, Arc<Endpoint>>,
    endpoints_of: HashMap<Owner, Vec<EndpointId>>,
    endpoint_secrets: HashMap<EndpointId, Vec<EndpointSecret>>,
    mac_keys: HashMap<u8, Arc<MacKey>>,
    fx_rates: ExchangeRates,
}

impl Catalog {
    /// This snapshot with newer rows laid over it.
    #[must_use]
    pub fn with(&self, delta: CatalogDelta) -> Self {
        let mut next = self.clone();
        next.version = delta.version;
        next.operators.extend(delta.operators.into_iter().map(|row| (row.id, Arc::new(row))));
        next.sources.extend(delta.sources.into_iter().map(|row| (row.id, Arc::new(row))));
        for row in delta.source_secrets {
            replace(next.source_secrets.entry(row.source_id).or_default(), row, |row| row.id);
        }
        next.programs.extend(delta.programs.into_iter().map(|row| (row.id, Arc::new(row))));
        next.goals.extend(delta.goals.into_iter().map(|row| ((row.program_id, row.name.clone()), Arc::new(row))));
        next.plans.extend(delta.plans.into_iter().map(|row| (row.id, Arc::new(row))));
        for row in delta.plan_versions {
            replace(next.plan_versions.entry(row.plan_id).or_default(), row, |row| row.id);
        }
        next.affiliates.extend(delta.affiliates.into_iter().map(|row| (row.id, Arc::new(row))));
        next.agreements
            .extend(delta.agreements.into_iter().map(|row| ((row.affiliate_id, row.program_id), Arc::new(row))));
        next.links.extend(delta.links.into_iter().map(|row| (row.code, Arc::new(row))));
        next.coupons.extend(delta.coupons.into_iter().map(|row| ((row.operator_id, row.code.clone()), Arc::new(row))));
        next.keys.extend(delta.keys.into_iter().map(|row| (row.public_id, Arc::new(row))));
        for row in delta.endpoints {
            let of_owner = next.endpoints_of.entry(row.owner).or_default();
            if !of_owner.contains(&row.id) {
                of_owner.push(row.id);
            }
            next.endpoints.insert(row.id, Arc::new(row));
        }
        for row in delta.endpoint_secrets {
            replace(next.endpoint_secrets.entry(row.endpoint_id).or_default(), row, |row| row.id);
        }
        next.mac_keys.extend(delta.mac_keys.into_iter().map(|row| (row.number, Arc::new(row))));
        next.fx_rates.extend(delta.fx_rates);
        next
    }

    /// Which configuration this is; a later one has a higher version.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The operator with this id.
    #[must_use]
    pub fn operator(&self, id: OperatorId) -> Option<&Operator> {
        self.operators.get(&id).map(Arc::as_ref)
    }

    /// The source with this id.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(&id).map(Arc::as_ref)
    }

    /// The secrets that requests of a source may be signed with at `now`.
    #[must_use]
    pub fn source_secrets(&self, id: SourceId, now: Timestamp) -> Vec<&SigningSecret> {
        let all = self.source_secrets.get(&id).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|row| valid(row.expires_at, now)).map(|row| &row.secret).collect()
    }

    /// The secrets of a source with their terms, those that are over too.
    #[must_use]
    pub fn source_secret_rows(&self, id: SourceId) -> &[SourceSecret] {
        self.source_secrets.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The program with this id.
    #[must_use]
    pub fn program(&self, id: ProgramId) -> Option<&Program> {
        self.programs.get(&id).map(Arc::as_ref)
    }

    /// The goal of a program with this name.
    #[must_use]
    pub fn goal(&self, program: ProgramId, name: &str) -> Option<&Goal> {
        self.goals.get(&(program, name.to_owned())).map(Arc::as_ref)
    }

    /// The affiliate with this id.
    #[must_use]
    pub fn affiliate(&self, id: AffiliateId) -> Option<&Affiliate> {
        self.affiliates.get(&id).map(Arc::as_ref)
    }

    /// The agreement of an affiliate in a program.
    #[must_use]
    pub fn agreement(&self, affiliate: AffiliateId, program: ProgramId) -> Option<&Agreement> {
        self.agreements.get(&(affiliate, program)).map(Arc::as_ref)
    }

    /// All agreements, in no order.
    pub fn agreements(&self) -> impl Iterator<Item = &Agreement> {
        self.agreements.values().map(Arc::as_ref)
    }

    /// The plan of an affiliate in a program: its agreement's, else the program's default.
    #[must_use]
    pub fn plan_of(&self, affiliate: AffiliateId, program: &Program) -> Option<PlanId> {
        let agreement = self.agreements.get(&(affiliate, program.id)).map(|agreement| agreement.plan_id);
        agreement.or(program.default_plan_id)
    }

    /// The plan with this id.
    #[must_use]
    pub fn plan(&self, id: PlanId) -> Option<&Plan> {
        self.plans.get(&id).map(Arc::as_ref)
    }

    /// The version of a plan that was valid at `at`.
    #[must_use]
    pub fn plan_version(&self, plan: PlanId, at: Timestamp) -> Option<&PlanVersion> {
        version_at(self.plan_versions.get(&plan)?, at)
    }

    /// Whether any version of a plan pays a goal for some months only.
    #[must_use]
    pub fn plan_counts_months(&self, plan: PlanId, goal: &str) -> bool {
        let versions = self.plan_versions.get(&plan).map(Vec::as_slice).unwrap_or_default();
        versions.iter().any(|version| version.terms.months(goal).is_some())
    }

    /// For how many days a commission of this goal is held after it was booked: the goal's own number, else its
    /// program's.
    #[must_use]
    pub fn commission_hold_days(&self, program: ProgramId, goal: &str) -> i32 {
        let of_program = self.program(program).map_or(0, |program| program.commission_hold_days);
        self.goal(program, goal).and_then(|goal| goal.commission_hold_days).unwrap_or(of_program)
    }

    /// The exchange rates.
    #[must_use]
    pub const fn fx_rates(&self) -> &ExchangeRates {
        &self.fx_rates
    }

    /// What turns `base` into `quote` at `at`.
    #[must_use]
    pub fn exchange(&self, base: Currency, quote: Currency, at: Timestamp) -> Option<Exchange> {
        self.fx_rates.valid_at(base, quote, at).map(ExchangeRate::applied)
    }

    /// The link with this code.
    #[must_use]
    pub fn link(&self, code: LinkCode) -> Option<&Link> {
        self.links.get(&code).map(Arc::as_ref)
    }

    /// The coupon of an operator with this code.
    #[must_use]
    pub fn coupon(&self, operator: OperatorId, code: &str) -> Option<&Coupon> {
        self.coupons.get(&(operator, code.to_owned())).map(Arc::as_ref)
    }

    /// All coupons, in no order.
    pub fn coupons(&self) -> impl Iterator<Item = &Coupon> {
        self.coupons.values().map(Arc::as_ref)
    }

    /// The key with this public id, revoked and expired ones too.
    #[must_use]
    pub fn key(&self, public_id: KeyPublicId) -> Option<&Arc<Key>> {
        self.keys.get(&public_id)
    }

    /// Whether all that this key sends is a test.
    #[must_use]
    pub fn key_is_test(&self, id: KeyId) -> bool {
        self.keys.values().any(|key| key.id == id && key.test)
    }

    /// The endpoint with this id.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    /// All endpoints, in no order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values().map(Arc::as_ref)
    }

    /// The endpoints of an owner, inactive ones too.
    pub fn endpoints_of(&self, owner: Owner) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints_of.get(&owner).into_iter().flatten().filter_map(|id| self.endpoints.get(id))
    }

    /// The secrets that messages to an endpoint are signed with at `now`, newest first.
    #[must_use]
    pub fn endpoint_secrets(&self, id: EndpointId, now: Timestamp) -> Vec<&SigningSecret> {
        let all = self.endpoint_secrets.get(&id).map(Vec::as_slice).unwrap_or_default();
        all.iter().rev().filter(|row| valid(row.expires_at, now)).map(|row| &row.secret).collect()
    }

    /// The secrets of an endpoint with their terms, those that are over too.
    #[must_use]
    pub fn endpoint_secret_rows(&self, id: EndpointId) -> &[EndpointSecret] {
        self.endpoint_secrets.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The key with this number that vouches for click ids.
    #[must_use]
    pub fn mac_key(&self, number: u8) -> Option<&MacKey> {
        self.mac_keys.get(&number).map(Arc::as_ref)
    }

    /// The key that new click ids are made with: the one with the highest number.
    #[must_use]
    pub fn newest_mac_key(&self) -> Option<&MacKey> {
        self.mac_keys.values().max_by_key(|row| row.number).map(Arc::as_ref)
    }
}

fn valid(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|end| now < end)
}

/// Puts `row` in the place of the one with the same id, or at the end.
fn replace<T, I: PartialEq>(rows: &mut Vec<T>, row: T, id: impl Fn(&T) -> I) {
    match rows.iter_mut().find(|known| id(known) == id(&row)) {
        Some(known) => *known = row,
        None => rows.push(row),
    }
}
