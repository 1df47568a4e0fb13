//! Storage on SQLite and PostgreSQL: one method = one use case = one transaction.
//!
//! The queries are written once (`queries/`) and compiled once for each engine; what differs lies in each
//! engine's `dialect`. Above this room nobody knows which engine runs: they hold an `Arc<dyn Store>`. Money and
//! time are bound as values, so no date arithmetic and no rounding happens in SQL. The store never publishes
//! to a queue; what must be sent after a commit is written in that commit.

pub mod alerts;
mod codec;
pub mod configuration;
pub mod deliveries;
pub mod endpoints;
pub mod ledger;
mod migrations;
pub mod outbox;
pub mod payouts;
pub mod postgres;
pub mod reading;
pub mod recording;
pub mod replays;
pub mod retention;
mod rows;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::secret::MasterKey;

/// Everything that the rest of the program asks of storage.
#[async_trait]
pub trait Store:
    recording::Recording
    + deliveries::Deliveries
    + configuration::Configuration
    + reading::Reading
    + ledger::Ledger
    + alerts::Alerts
    + payouts::Payouts
    + replays::Replays
    + endpoints::Endpoints
    + retention::Retention
{
    /// `sqlite` or `postgres`.
    fn engine(&self) -> &'static str;

    /// How many transactions may write side by side; more would only wait for one another.
    fn writers(&self) -> usize;

    /// Brings the tables up to date. Safe to call from several instances at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Corrupt`] where the database holds migrations that this
    /// program does not know.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether a write could be made now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn ping(&self) -> Result<(), StoreError>;

    /// Occupies this database, for as long as the store lives; called again, makes sure that it still does, and does so anew
    /// where that was lost. `false` when another process stands in the way: any, for one that works alone; one that
    /// works alone, for one of several.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn occupy(&self, company: Company) -> Result<bool, StoreError>;

    /// Lets go of all connections.
    async fn close(&self);
}

/// With whom an instance works on a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// With nobody: its queue is in its own process.
    Alone,
    /// With others, through a broker. SQLite knows no company: there it is the same as alone.
    Several,
}

/// Why the store did not do what it was asked. Whether to try again is decided here, by the kind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full, locked or out of connections; nothing was written. Try later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The transaction collided with another (deadlock, serialisation); nothing was written. Try again at once.
    #[error("the transaction collided with another")]
    Collision(#[source] sqlx::Error),
    /// The configuration moved on; reload it and start again. Nothing was written.
    #[error("the configuration has moved on")]
    StaleConfiguration,
    /// A unique constraint refused the row: it exists.
    #[error("it exists already")]
    Exists,
    /// A row that the request names does not exist.
    #[error("the {0} does not exist")]
    NotFound(&'static str),
    /// The database refused these very rows; others would have been taken.
    #[error("the database refused the rows")]
    Refused(#[source] sqlx::Error),
    /// What is stored cannot be understood.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether it lies with these very rows, so that others would have been taken.
    #[must_use]
    pub const fn is_about_the_rows(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Exists | Self::Corrupt(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                    Self::Corrupt(error.to_string())
                }
                other => Self::Unavailable(other),
            };
        };
        if database.is_unique_violation() {
            return Self::Exists;
        }
        if database.is_foreign_key_violation() {
            return Self::NotFound("row that is referred to");
        }
        let code = database.code().unwrap_or_default().into_owned();
        match code.as_str() {
            // PostgreSQL: deadlock, serialisation failure, lock timeout.
            "40P01" | "40001" | "55P03" => Self::Collision(error),
            // PostgreSQL: data, constraints, statements, what a trigger raises. All else is about the connection, the server
            // or the moment: cut off while idle in a transaction, out of space, failing over, shutting down.
            code if code.len() == 5 && !["22", "23", "42", "P0"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable(error)
            }
            // SQLite primary result codes, the low byte of the extended one: busy, locked, read-only, I/O, full,
            // cannot open.
            code => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(5 | 6 | 8 | 10 | 13 | 14) if code.len() < 5 => Self::Unavailable(error),
                _ => Self::Refused(error),
            },
        }
    }
}

/// How long one use case may take before its caller gives it up: above what the engines grant a statement.
const USE_CASE_TIMEOUT: Duration = Duration::from_secs(15);

/// The result of a use case, unless the database has gone silent: a server that vanished without a word would
/// otherwise be waited for until the operating system gives up. Whether it took effect is not known then.
///
/// # Errors
/// [`StoreError::Unavailable`] after 15 s, else its own.
pub async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    in_time_of(USE_CASE_TIMEOUT, work).await
}

/// As [`in_time`], with a time of the caller's own.
///
/// # Errors
/// [`StoreError::Unavailable`] when the time is over, else its own.
pub async fn in_time_of<T>(time: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let timed_out = |_| StoreError::Unavailable(sqlx::Error::PoolTimedOut);
    tokio::time::timeout(time, work).await.map_err(timed_out)?
}

/// What both engines need to know.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The most connections in use at once.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long one statement may run; PostgreSQL only.
    pub statement_timeout: Duration,
    /// What secrets that must be read back are encrypted under.
    pub master_key: Arc<MasterKey>,
}
