//! Who may send, what is paid, who is told: written by admins, read as deltas of the catalog.
//!
//! Every write raises the configuration's version in its own transaction, which also puts the writes in
//! order: the rows of a later version are never visible before those of an earlier one. Secrets go in and come
//! out in the clear here and lie encrypted in the database, each bound to its table, column and row.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::catalog::{
    Affiliate, Agreement, CatalogDelta, Coupon, EndpointSecret, Goal, Key, Link, MacKey, Operator, Plan, Program,
    Source, SourceSecret,
};
use crate::domain::endpoint::Endpoint;
use crate::domain::exchange::ExchangeRate;
use crate::domain::plan::PlanVersion;
use crate::domain::time::Timestamp;

/// A row of the configuration, to be written. A row whose id exists is replaced, except what makes it belong to
/// somebody: owner, code and, of a goal, its name. Plan versions, MAC keys and exchange rates are immutable.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "a variant for each noun of domain::catalog")]
pub enum Entry {
    Operator(Operator),
    Source(Source),
    SourceSecret(SourceSecret),
    Program(Program),
    Goal(Goal),
    Plan(Plan),
    PlanVersion { version: PlanVersion, created_at: Timestamp },
    Affiliate(Affiliate),
    Agreement(Agreement),
    Link(Link),
    Coupon(Coupon),
    Key(Key),
    Endpoint(Endpoint),
    EndpointSecret(EndpointSecret),
    MacKey { key: MacKey, created_at: Timestamp },
    FxRate(ExchangeRate),
}

/// What admins write and every instance reads.
#[async_trait]
pub trait Configuration: Send + Sync {
    /// Writes these rows, in their order, in one transaction; answers the configuration's new version.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where a name, code or number is taken, or an id by a row of another owner; [`StoreError::NotFound`] where a row refers to one that
    /// does not exist, [`StoreError::Unavailable`]. Nothing is written then.
    async fn put(&self, entries: &[Entry]) -> Result<i64, StoreError>;

    /// The version in force.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn configuration_version(&self) -> Result<i64, StoreError>;

    /// Every row that changed after version `since`, in one consistent reading; `0` is everything.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where a secret does not decrypt.
    async fn load(&self, since: i64) -> Result<CatalogDelta, StoreError>;
}
