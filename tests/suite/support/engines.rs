//! A store of one's own on either engine, gone when the test is.
//!
//! SQLite lives in a temporary folder, PostgreSQL in a database of its own on the server that
//! `POSTBACK_TEST_POSTGRES_URL` names. Making and dropping a database costs half a second and a checkpoint, so one
//! that a test is done with is emptied for the next test of this process; what a process leaves behind, the next one
//! drops. [`Database::raw`] goes past the store, to look at tables and to plant faults.

pub mod server;

use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use postback::domain::secret::MasterKey;
use postback::store::{Store, StoreSettings, postgres, sqlite};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Runs each of these tests, `async fn(Kind)`, on both engines.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::support::engines::Kind::Sqlite).await })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::support::engines::Kind::Postgres).await })+
        }
    };
}
pub(crate) use on_both_engines;

/// A store with its tables made, and where it lives.
pub struct Database {
    pub kind: Kind,
    pub store: Arc<dyn Store>,
    pub settings: StoreSettings,
    place: Place,
}

enum Place {
    Folder(PathBuf),
    Database(String),
}

impl Deref for Database {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Settings for tests: few connections, and locks waited for as long as a slow machine needs.
pub fn settings() -> StoreSettings {
    StoreSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
        master_key: Arc::new(MasterKey::generate()),
    }
}

/// A fresh, migrated store.
pub async fn open(kind: Kind) -> Database {
    let place = match kind {
        Kind::Sqlite => {
            let folder = std::env::temp_dir().join(format!("postback_test_{}", Uuid::new_v4().simple()));
            std::fs::create_dir(&folder).unwrap();
            Place::Folder(folder)
        }
        Kind::Postgres => {
            let name = server::database().await;
            Place::Database(name)
        }
    };
    let settings = settings();
    let store = connect(&place, &settings).await;
    store.migrate().await.unwrap();
    Database { kind, store, settings, place }
}

async fn connect(place: &Place, settings: &StoreSettings) -> Arc<dyn Store> {
    match place {
        Place::Folder(folder) => Arc::new(sqlite::Engine::open(&folder.join("test.db"), settings).await.unwrap()),
        Place::Database(name) => Arc::new(postgres::Engine::connect(&server::url_of(name), settings).await.unwrap()),
    }
}

impl Database {
    /// A second store over the same database, as another instance or a restarted one has it.
    pub async fn again(&self, settings: &StoreSettings) -> Arc<dyn Store> {
        connect(&self.place, settings).await
    }

    /// The value of `DATABASE_URL` that names this database.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Folder(folder) => format!("sqlite://{}", folder.join("test.db").display()),
            Place::Database(name) => server::url_of(name),
        }
    }

    /// Takes every table away, as before the first migration.
    pub async fn clear(&self) {
        let raw = self.raw().await;
        match self.kind {
            Kind::Sqlite => {
                raw.execute("PRAGMA foreign_keys = off").await.unwrap();
                let select = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
                for table in raw.texts(select).await {
                    raw.execute(&format!("DROP TABLE {table}")).await.unwrap();
                }
            }
            Kind::Postgres => {
                raw.execute("DROP SCHEMA public CASCADE").await.unwrap();
                raw.execute("CREATE SCHEMA public").await.unwrap();
            }
        }
    }

    /// Everything in the database, as bytes to be searched: SQLite's files as they are, PostgreSQL's rows with texts as
    /// texts and bytes as bytes.
    pub async fn dump(&self) -> Vec<u8> {
        let raw = self.raw().await;
        match &self.place {
            Place::Folder(folder) => {
                let files = ["test.db", "test.db-wal"].map(|file| std::fs::read(folder.join(file)).unwrap_or_default());
                files.concat()
            }
            Place::Database(_) => {
                let mut everything = Vec::new();
                for table in raw.tables().await {
                    for row in raw.texts(&format!("SELECT t::text FROM {table} t")).await {
                        everything.extend(row.split("\\\\x").skip(1).flat_map(hex_start));
                        everything.extend(row.into_bytes());
                    }
                }
                everything
            }
        }
    }

    /// Past the store, with the rights of the service's own user.
    pub async fn raw(&self) -> Raw {
        match self.kind {
            Kind::Sqlite => {
                let options = SqliteConnectOptions::from_str(&self.url()).unwrap();
                let options = options.busy_timeout(Duration::from_secs(20)).pragma("recursive_triggers", "on");
                Raw::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap())
            }
            Kind::Postgres => {
                Raw::Postgres(PgPoolOptions::new().max_connections(1).connect(&self.url()).await.unwrap())
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        match &self.place {
            Place::Folder(folder) => std::fs::remove_dir_all(folder).unwrap_or_default(),
            Place::Database(name) => server::give_back(name.clone()),
        }
    }
}

/// The bytes that a text spells in hexadecimal, up to the first other character.
fn hex_start(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map_while(|digit| digit.to_digit(16)).collect();
    digits.as_chunks::<2>().0.iter().filter_map(|[high, low]| u8::try_from(high * 16 + low).ok()).collect()
}

/// A connection past the store.
pub enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Raw {
    /// Runs a statement; answers how many rows it touched.
    pub async fn execute(&self, statement: &str) -> Result<u64, sqlx::Error> {
        let statement = AssertSqlSafe(statement.to_owned());
        Ok(match self {
            Self::Sqlite(pool) => sqlx::query(statement).execute(pool).await?.rows_affected(),
            Self::Postgres(pool) => sqlx::query(statement).execute(pool).await?.rows_affected(),
        })
    }

    /// The first column of all rows, which must be text.
    pub async fn texts(&self, select: &str) -> Vec<String> {
        let statement = AssertSqlSafe(select.to_owned());
        match self {
            Self::Sqlite(pool) => {
                sqlx::query(statement).fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
            Self::Postgres(pool) => {
                sqlx::query(statement).fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// The one number that `select` answers, such as a count.
    pub async fn number(&self, select: &str) -> i64 {
        let statement = AssertSqlSafe(select.to_owned());
        match self {
            Self::Sqlite(pool) => sqlx::query(statement).fetch_one(pool).await.unwrap().get(0),
            Self::Postgres(pool) => sqlx::query(statement).fetch_one(pool).await.unwrap().get(0),
        }
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    /// The names of the tables that migrations made, in order.
    pub async fn tables(&self) -> Vec<String> {
        let select = match self {
            Self::Sqlite(_) => {
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' \
                 AND name NOT LIKE 'sqlite%' ORDER BY name"
            }
            Self::Postgres(_) => {
                "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' \
                 AND tablename NOT LIKE '\\_%' ORDER BY tablename COLLATE \"C\""
            }
        };
        self.texts(select).await
    }
}
