//! Databases on the test server: made, emptied, handed out again, and dropped when their process is gone.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tokio::sync::OnceCell;

/// What every database's name begins with; the process and a number follow.
const PREFIX: &str = "postback_test_";
/// Databases that no test uses now.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static MADE: AtomicU32 = AtomicU32::new(0);
static SWEPT: OnceCell<()> = OnceCell::const_new();

/// The server that databases are made on.
#[expect(clippy::disallowed_methods, reason = "tests are told their servers by the environment")]
fn server_url() -> String {
    std::env::var("POSTBACK_TEST_POSTGRES_URL")
        .expect("POSTBACK_TEST_POSTGRES_URL names the PostgreSQL to test with; ./scripts/test starts one and sets it")
}

/// The address of `database` on the server.
pub fn url_of(database: &str) -> String {
    let server = server_url();
    let (address, options) = server.split_once('?').map_or((server.as_str(), None), |(a, o)| (a, Some(o)));
    let (authority, _) = address.rsplit_once('/').expect("POSTBACK_TEST_POSTGRES_URL names a database");
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    format!("{authority}/{database}{options}")
}

/// The name of an empty database for one test.
pub async fn database() -> String {
    SWEPT.get_or_init(drop_left_behind).await;
    let free = FREE.lock().unwrap().pop();
    if let Some(name) = free {
        empty(&name).await.unwrap();
        return name;
    }
    new_database().await
}

/// The name of a database without tables.
pub async fn new_database() -> String {
    let name = format!("{PREFIX}{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    run(&server_url(), &format!("CREATE DATABASE {name}")).await.unwrap();
    name
}

/// Takes a database back from a test that is over.
pub fn give_back(name: String) {
    FREE.lock().unwrap().push(name);
}

async fn run(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut server = PgConnection::connect(url).await.expect("POSTBACK_TEST_POSTGRES_URL answers");
    server.execute(AssertSqlSafe(statement.to_owned())).await?;
    server.close().await
}

/// Ends whatever is still connected and deletes every row, append-only or not, but the migrations'.
async fn empty(name: &str) -> Result<(), sqlx::Error> {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'";
    run(&server_url(), &end.replace("{name}", name)).await?;
    let delete = "SET session_replication_role = replica; \
         DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' \
         AND tablename NOT IN ('_sqlx_migrations', 'config_version') LOOP EXECUTE format('DELETE FROM %I', t); \
         END LOOP; END $$; UPDATE config_version SET version = 0";
    run(&url_of(name), delete).await
}

/// Drops the databases of processes that are gone.
async fn drop_left_behind() {
    let mut server = PgConnection::connect(&server_url()).await.expect("POSTBACK_TEST_POSTGRES_URL answers");
    let select = "SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)";
    for row in sqlx::query(select).bind(PREFIX).fetch_all(&mut server).await.unwrap() {
        let name: String = row.get(0);
        let process = name.trim_start_matches(PREFIX).split('_').next().unwrap_or_default();
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            // Another process that starts now may drop it too.
            server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await.unwrap();
        }
    }
}
