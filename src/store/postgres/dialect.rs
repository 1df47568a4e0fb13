//! What only PostgreSQL needs to know: its limits on waiting, its transactions, its way of taking many rows.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, Postgres, Row, Transaction};
use tokio::sync::Mutex;

use super::super::rows::{Column, Rows};
use super::super::{Company, StoreError, StoreSettings, migrations};
use crate::clock::Clock;
use crate::domain::ids::EndpointId;
use crate::domain::secret::MasterKey;
use crate::domain::time::Timestamp;

/// The database that the queries beside this are compiled for.
pub type Db = Postgres;
/// Its row.
pub type DbRow = PgRow;
/// Its connection.
pub type DbConnection = PgConnection;

/// Appended to a SELECT whose rows will be changed.
pub const FOR_UPDATE: &str = "FOR UPDATE";
/// Appended to a SELECT that takes work which others may be taking too.
pub const SKIP_LOCKED: &str = "FOR UPDATE SKIP LOCKED";

/// The number of the session lock by which instances occupy a database: "postback" in ASCII.
const COMPANY_LOCK: i64 = 0x706f_7374_6261_636b;
/// A round trip that takes longer does not tell what time it is at the server.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(500);
/// How long a connection that comes back to the pool may take to answer, before it is given up.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// A PostgreSQL database, connected.
#[derive(Clone)]
pub struct Engine {
    pub(super) reader: PgPool,
    pub(super) master_key: Arc<MasterKey>,
    options: PgConnectOptions,
    occupied: Arc<Mutex<Option<PgConnection>>>,
}

impl Engine {
    /// Connects to the database at `url`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it does not answer.
    pub async fn connect(url: &str, settings: &StoreSettings) -> Result<Self, StoreError> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        let options =
            PgConnectOptions::from_str(url)?.application_name("postback").statement_cache_capacity(512).options([
                ("lock_timeout", millis(settings.lock_timeout)),
                ("statement_timeout", millis(settings.statement_timeout)),
                ("idle_in_transaction_session_timeout", millis(settings.statement_timeout)),
                ("timezone", "UTC".to_owned()),
                // Compiling a list's plan took it 2 s, running it 60 ms.
                ("jit", "off".to_owned()),
                // An instance that vanished without a word: its locks are free again after a minute.
                ("tcp_keepalives_idle", "30".to_owned()),
                ("tcp_keepalives_interval", "10".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            // The pool's own test waits for ever, and the connection's place in the pool with it, where the server vanished
            // without a word.
            .after_release(|connection, _| {
                Box::pin(async move {
                    let answered = tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await;
                    answered.map_or(Err(sqlx::Error::PoolTimedOut), |alive| alive.map(|()| true))
                })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { reader: pool, master_key: settings.master_key.clone(), options, occupied: Arc::default() })
    }

    /// A transaction that may write. BEGIN runs in a task of its own: dropping sqlx's future of it half-way
    /// leaves the pooled connection inside a transaction, and later writes vanish (RELIABILITY trap 7).
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Db>, StoreError> {
        let pool = self.reader.clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        Ok(begun.map_err(|_| StoreError::Unavailable(sqlx::Error::WorkerCrashed))??)
    }

    /// A transaction that reads one state of the database, for as long as it takes.
    pub(super) async fn begin_snapshot(&self) -> Result<Transaction<'static, Db>, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *transaction).await?;
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    pub(super) async fn run_migrations(&self) -> Result<(), StoreError> {
        // An index over many rows takes longer than any other statement may.
        let options = self.options.clone().options([("statement_timeout", "0")]);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let migrated = migrations::postgres().run(&pool).await.map_err(migrations::failed);
        pool.close().await;
        migrated
    }

    /// The server is asked on a connection that is there already, so that only the round trip counts: an offset that is
    /// wrong by a lease would end the leases of every instance.
    pub(super) async fn measure_offset_micros(&self) -> Result<Option<i64>, StoreError> {
        let mut connection = self.reader.acquire().await?;
        let (here, began) = (Clock::system().now(), Instant::now());
        let row = sqlx::query("SELECT clock_timestamp() AS at").fetch_one(&mut *connection).await?;
        let took = began.elapsed();
        let there: Timestamp = row.try_get("at")?;
        let offset = there.micros().saturating_sub(here.plus(took / 2).micros());
        Ok((took <= LONGEST_ROUND_TRIP).then_some(offset))
    }

    /// A session lock on a connection of its own, shared by those who work in company; the server frees it when the
    /// connection ends.
    pub(super) async fn lock(&self, company: Company) -> Result<bool, StoreError> {
        let mut held = self.occupied.lock().await;
        if let Some(mut connection) = held.take() {
            // One that does not answer is dropped here, also when the caller waits no longer.
            if connection.ping().await.is_ok() {
                *held = Some(connection);
                return Ok(true);
            }
        }
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let select = match company {
            Company::Alone => "SELECT pg_try_advisory_lock($1) AS taken",
            Company::Several => "SELECT pg_try_advisory_lock_shared($1) AS taken",
        };
        let taken: bool = sqlx::query(select).bind(COMPANY_LOCK).fetch_one(&mut connection).await?.try_get("taken")?;
        *held = taken.then_some(connection);
        Ok(taken)
    }

    pub(super) async fn close_pools(&self) {
        self.reader.close().await;
        self.occupied.lock().await.take();
    }

    pub(super) const NAME: &str = "postgres";
    pub(super) const WRITERS: usize = usize::MAX;
}

/// Runs `statement` for all rows; answers how many rows it touched.
pub async fn execute_rows<T>(
    connection: &mut DbConnection,
    statement: &str,
    rows: Rows<'_, T>,
) -> Result<u64, sqlx::Error> {
    if rows.len() == 0 {
        return Ok(0);
    }
    Ok(bind(statement, rows).execute(connection).await?.rows_affected())
}

/// Runs `statement` for all rows; answers what it returns.
pub async fn fetch_rows<T>(
    connection: &mut DbConnection,
    statement: &str,
    rows: Rows<'_, T>,
) -> Result<Vec<DbRow>, sqlx::Error> {
    if rows.len() == 0 {
        return Ok(Vec::new());
    }
    bind(statement, rows).fetch_all(connection).await
}

/// The due deliveries of these endpoints, the longest waiting first, at most `most` of each; no lease is on them and
/// nobody else is taking them. One short index scan for each endpoint, so that a long backlog of one costs the others
/// nothing.
pub async fn take_due(
    connection: &mut DbConnection,
    endpoints: &[EndpointId],
    now: Timestamp,
    most: i64,
) -> Result<Vec<DbRow>, sqlx::Error> {
    let select = "SELECT d.* FROM {rows} CROSS JOIN LATERAL \
         (SELECT id, endpoint_id, epoch, attempt, next_attempt_at, republished FROM deliveries \
         WHERE endpoint_id = v.endpoint AND state = 'pending' AND next_attempt_at <= v.now_at \
         AND republish_at <= v.now_at AND lease_id IS NULL \
         ORDER BY next_attempt_at LIMIT v.most FOR UPDATE SKIP LOCKED) d";
    let rows = Rows::of(endpoints).col("endpoint", |id| *id).col("now_at", move |_| now).col("most", move |_| most);
    fetch_rows(connection, select, rows).await
}

/// Binds one array for each column. Only column names and types are written into the statement, never a value.
fn bind<T>(statement: &str, rows: Rows<'_, T>) -> sqlx::query::Query<'static, Db, sqlx::postgres::PgArguments> {
    let names = rows.names().join(",");
    let columns = rows.into_columns();
    let array = |(index, column): (usize, &Column)| format!("${}::{}[]", index + 1, type_name(column));
    let arrays: Vec<_> = columns.iter().enumerate().map(array).collect();
    let sql = statement.replace("{rows}", &format!("UNNEST({}) AS v ({names})", arrays.join(",")));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for column in columns {
        query = match column {
            Column::Uuid(values) => query.bind(values),
            Column::Text(values) => query.bind(values),
            Column::Int(values) => query.bind(values),
            Column::Big(values) => query.bind(values),
            Column::Bool(values) => query.bind(values),
            Column::Time(values) => query.bind(values),
            Column::Amount(values) => query.bind(values),
            Column::Bytes(values) => query.bind(values),
        };
    }
    query
}

const fn type_name(column: &Column) -> &'static str {
    match column {
        Column::Uuid(_) => "uuid",
        Column::Text(_) => "text",
        Column::Int(_) => "int4",
        Column::Big(_) => "int8",
        Column::Bool(_) => "bool",
        Column::Time(_) => "timestamptz",
        Column::Amount(_) => "numeric",
        Column::Bytes(_) => "bytea",
    }
}
