//! What only SQLite needs to know: its pragmas, its transactions, its way of taking many rows.
//!
//! WAL with `synchronous=FULL`: an acknowledged commit survives a power cut. One writer connection and
//! `BEGIN IMMEDIATE`: with deferred transactions 177 of 200 read-then-write transactions failed, so 200 of
//! 200 succeed (RELIABILITY trap 8).

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite, Transaction};

use super::super::rows::{Column, Rows};
use super::super::{Company, StoreError, StoreSettings, migrations};
use crate::domain::ids::EndpointId;
use crate::domain::secret::MasterKey;
use crate::domain::time::Timestamp;

/// The database that the queries beside this are compiled for.
pub type Db = Sqlite;
/// Its row.
pub type DbRow = SqliteRow;
/// Its connection.
pub type DbConnection = SqliteConnection;

/// Appended to a SELECT whose rows will be changed: nothing, the writer is alone.
pub const FOR_UPDATE: &str = "";
/// Appended to a SELECT that takes work which others may be taking too: nothing, the writer is alone.
pub const SKIP_LOCKED: &str = "";
/// How many rows go into one statement, at most. Shorter ones have a power of two: few lengths, so that statements are
/// prepared once.
const MOST_IN_A_CHUNK: usize = 128;

/// A SQLite database, open.
#[derive(Clone)]
pub struct Engine {
    writer: SqlitePool,
    pub(super) reader: SqlitePool,
    pub(super) master_key: Arc<MasterKey>,
    path: PathBuf,
    occupied: Arc<Mutex<Option<File>>>,
}

impl Engine {
    /// Opens the file at `path`, making it if need be.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file cannot be opened.
    pub async fn open(path: &Path, settings: &StoreSettings) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(settings.lock_timeout)
            // INSERT OR REPLACE then fires the triggers that keep the ledger append-only.
            .pragma("recursive_triggers", "on")
            .statement_cache_capacity(512);
        // After a failed write, as on a full disk, SQLite has rolled back by itself; the driver's own ROLLBACK then fails,
        // and the connection believes in a transaction for ever. Such a connection is replaced.
        let pool = |size| {
            let pool = SqlitePoolOptions::new().max_connections(size).acquire_timeout(settings.acquire_timeout);
            pool.before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let reader = pool(settings.max_connections.clamp(1, 8)).connect_with(options.read_only(true)).await?;
        Ok(Self {
            writer,
            reader,
            master_key: settings.master_key.clone(),
            path: path.to_owned(),
            occupied: Arc::default(),
        })
    }

    /// A transaction that may write.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Db>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A transaction that reads one state of the database.
    pub(super) async fn begin_snapshot(&self) -> Result<Transaction<'static, Db>, StoreError> {
        Ok(self.reader.begin().await?)
    }

    pub(super) async fn run_migrations(&self) -> Result<(), StoreError> {
        // The migrator takes no lock of its own on SQLite; in a transaction that may write, one process goes first.
        let mut transaction = self.begin().await?;
        migrations::sqlite().run_direct(None, &mut *transaction, false).await.map_err(migrations::failed)?;
        Ok(transaction.commit().await?)
    }

    pub(super) async fn measure_offset_micros(&self) -> Result<Option<i64>, StoreError> {
        Ok(Some(0))
    }

    /// An OS lock on a file beside the database; the system frees it when the process ends, however it ends.
    pub(super) async fn lock(&self, _company: Company) -> Result<bool, StoreError> {
        let mut held = self.occupied.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
        match file.try_lock() {
            Ok(()) => {
                *held = Some(file);
                Ok(true)
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::Unavailable(sqlx::Error::Io(error))),
        }
    }

    pub(super) async fn close_pools(&self) {
        self.reader.close().await;
        self.writer.close().await;
        self.occupied.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) const NAME: &str = "sqlite";
    pub(super) const WRITERS: usize = 1;
}

/// Runs `statement` for all rows; answers how many rows it touched.
pub async fn execute_rows<T>(
    connection: &mut DbConnection,
    statement: &str,
    rows: Rows<'_, T>,
) -> Result<u64, sqlx::Error> {
    let mut touched = 0;
    for chunk in chunks(statement, rows) {
        touched += chunk.bind().execute(&mut *connection).await?.rows_affected();
    }
    Ok(touched)
}

/// Runs `statement` for all rows; answers what it returns.
pub async fn fetch_rows<T>(
    connection: &mut DbConnection,
    statement: &str,
    rows: Rows<'_, T>,
) -> Result<Vec<DbRow>, sqlx::Error> {
    let mut found = Vec::new();
    for chunk in chunks(statement, rows) {
        found.extend(chunk.bind().fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// The due deliveries of these endpoints, the longest waiting first, at most `most` of each; no lease is on them. One
/// short index scan for each endpoint, so that a long backlog of one costs the others nothing.
pub async fn take_due(
    connection: &mut DbConnection,
    endpoints: &[EndpointId],
    now: Timestamp,
    most: i64,
) -> Result<Vec<DbRow>, sqlx::Error> {
    let select = "SELECT id, endpoint_id, epoch, attempt, next_attempt_at, republished FROM deliveries \
         WHERE endpoint_id = $1 AND state = 'pending' AND next_attempt_at <= $2 AND republish_at <= $2 \
         AND lease_id IS NULL ORDER BY next_attempt_at LIMIT $3";
    let mut due = Vec::new();
    for endpoint in endpoints {
        let rows = sqlx::query(select).bind(*endpoint).bind(now).bind(most);
        due.extend(rows.fetch_all(&mut *connection).await?);
    }
    Ok(due)
}

/// A statement for some of the rows, with their values, row by row.
struct Chunk {
    sql: String,
    values: Vec<Value>,
}

enum Value {
    Uuid(Option<uuid::Uuid>),
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

impl Chunk {
    fn bind(self) -> sqlx::query::Query<'static, Db, sqlx::sqlite::SqliteArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Value::Uuid(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Int(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }
}

/// Splits rows into chunks. A chunk that is not filled has rows of NULLs at its end, which are not bound at all and which
/// the statement leaves out. Only column names are written into the statement, never a value.
fn chunks<T>(statement: &str, rows: Rows<'_, T>) -> Vec<Chunk> {
    let mut left = rows.len();
    let names = rows.names().to_vec();
    let mut columns: Vec<_> = rows.into_columns().into_iter().map(values).collect();
    let mut chunks = Vec::new();
    while left > 0 {
        let length = left.next_power_of_two().min(MOST_IN_A_CHUNK);
        let filled = left.min(length);
        let mut cells = Vec::with_capacity(filled * names.len());
        for _ in 0..filled {
            cells.extend(columns.iter_mut().filter_map(Iterator::next));
        }
        chunks.push(Chunk { sql: statement.replace("{rows}", &source(&names, length)), values: cells });
        left -= filled;
    }
    chunks
}

fn values(column: Column) -> Box<dyn Iterator<Item = Value> + Send> {
    match column {
        Column::Uuid(values) => Box::new(values.into_iter().map(Value::Uuid)),
        Column::Text(values) => Box::new(values.into_iter().map(Value::Text)),
        Column::Int(values) => Box::new(values.into_iter().map(|value| Value::Int(value.map(i64::from)))),
        Column::Big(values) => Box::new(values.into_iter().map(Value::Int)),
        Column::Bool(values) => Box::new(values.into_iter().map(|value| Value::Int(value.map(i64::from)))),
        Column::Time(values) => Box::new(values.into_iter().map(|value| Value::Int(value.map(|time| time.micros())))),
        Column::Amount(values) => {
            Box::new(values.into_iter().map(|value| Value::Int(value.map(|amount| amount.micros()))))
        }
        Column::Bytes(values) => Box::new(values.into_iter().map(Value::Bytes)),
    }
}

/// `(SELECT column1 AS id, … FROM (VALUES (?, …), …) WHERE column1 IS NOT NULL) AS v`. Placeholders without a number,
/// since SQLite looks those with one up one after the other.
fn source(names: &[&str], length: usize) -> String {
    let columns: Vec<_> = names.iter().enumerate().map(|(i, name)| format!("column{} AS {name}", i + 1)).collect();
    let row = format!("({}),", vec!["?"; names.len()].join(","));
    let rows = row.repeat(length);
    let rows = rows.trim_end_matches(',');
    format!("(SELECT {} FROM (VALUES {rows}) WHERE column1 IS NOT NULL) AS v", columns.join(","))
}
