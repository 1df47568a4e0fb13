//! Both engines' migrations make the same tables, from the same files, however many instances start at once.

use std::collections::BTreeSet;
use std::path::Path;

use postback::store::StoreError;

use crate::support::engines::{self, Kind, Raw, on_both_engines};

on_both_engines!(
    every_file_is_applied,
    instances_may_migrate_at_once,
    a_database_of_a_later_program_is_refused,
    a_store_answers_for_itself,
);

#[test]
fn both_folders_have_the_same_files() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

async fn every_file_is_applied(kind: Kind) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join("sqlite");
    let files = std::fs::read_dir(folder).unwrap().count();
    let database = engines::open(kind).await;
    assert_eq!(database.raw().await.count("_sqlx_migrations").await, i64::try_from(files).unwrap());
}

/// Every column, with a `?` where it may be NULL.
async fn columns(raw: &Raw) -> BTreeSet<String> {
    let select = match raw {
        Raw::Sqlite(_) => {
            "SELECT m.name || '.' || p.name || CASE WHEN p.\"notnull\" OR p.pk THEN '' ELSE '?' END \
             FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'"
        }
        Raw::Postgres(_) => {
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE '?' END \
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    ours(raw.texts(select).await)
}

/// Every unique constraint and index, with its columns in order.
async fn unique(raw: &Raw) -> BTreeSet<String> {
    let select = match raw {
        Raw::Sqlite(_) => {
            "SELECT m.name || '(' || (SELECT group_concat(i.name, ',') FROM pragma_index_info(l.name) i) || ')' \
             || CASE WHEN l.partial THEN ' partial' ELSE '' END \
             FROM sqlite_schema m JOIN pragma_index_list(m.name) l WHERE m.type = 'table' AND l.\"unique\" UNION ALL \
             SELECT m.name || '(' || p.name || ')' FROM sqlite_schema m JOIN pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND p.pk = 1 AND p.type = 'INTEGER' \
             AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) l WHERE l.origin = 'pk')"
        }
        Raw::Postgres(_) => {
            "SELECT c.relname || '(' || string_agg(a.attname, ',' ORDER BY k.place) || ')' \
             || CASE WHEN i.indpred IS NULL THEN '' ELSE ' partial' END \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number \
             WHERE n.nspname = 'public' AND i.indisunique GROUP BY c.relname, i.indexrelid, i.indpred"
        }
    };
    ours(raw.texts(select).await)
}

/// Every other index, by name.
async fn indexes(raw: &Raw) -> BTreeSet<String> {
    let select = match raw {
        Raw::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        Raw::Postgres(_) => {
            "SELECT i.indexname::text FROM pg_indexes i WHERE i.schemaname = 'public' AND NOT EXISTS \
             (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)"
        }
    };
    ours(raw.texts(select).await)
}

/// Without the migrator's own tables.
fn ours(names: Vec<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !name.starts_with("_sqlx")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_have_the_same_tables_columns_and_unique_constraints() {
    let (sqlite, postgres) = (engines::open(Kind::Sqlite).await, engines::open(Kind::Postgres).await);
    let (sqlite, postgres) = (sqlite.raw().await, postgres.raw().await);
    assert_eq!(sqlite.tables().await, postgres.tables().await);
    assert!(sqlite.tables().await.contains(&"dedup_keys".to_owned()));
    assert_eq!(columns(&sqlite).await, columns(&postgres).await);
    assert_eq!(unique(&sqlite).await, unique(&postgres).await);
    assert!(
        unique(&sqlite)
            .await
            .is_superset(&["dedup_keys(key)", "alerts(name,subject) partial"].map(str::to_owned).into())
    );
    assert_eq!(indexes(&sqlite).await, indexes(&postgres).await);
}

async fn instances_may_migrate_at_once(kind: Kind) {
    let database = engines::open(kind).await;
    let tables = database.raw().await.tables().await;
    database.clear().await;
    assert!(database.raw().await.tables().await.is_empty());
    let others = [database.again(&database.settings).await, database.again(&database.settings).await];
    let (one, other) = tokio::join!(others[0].migrate(), others[1].migrate());
    one.unwrap();
    other.unwrap();
    others[0].migrate().await.unwrap();
    assert_eq!(database.raw().await.tables().await, tables);
    assert_eq!(others[1].configuration_version().await.unwrap(), 0);
    for other in others {
        other.close().await;
    }
}

async fn a_database_of_a_later_program_is_refused(kind: Kind) {
    let database = engines::open(kind).await;
    let raw = database.raw().await;
    let later = "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, success, checksum, execution_time \
                 FROM _sqlx_migrations WHERE version = 1";
    raw.execute(later).await.unwrap();
    let refused = database.migrate().await.unwrap_err();
    raw.execute("DELETE FROM _sqlx_migrations WHERE version = 9999").await.unwrap();
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    database.migrate().await.unwrap();
}

async fn a_store_answers_for_itself(kind: Kind) {
    let database = engines::open(kind).await;
    let name = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    assert_eq!(database.engine(), name);
    database.ping().await.unwrap();
    assert_eq!(database.configuration_version().await.unwrap(), 0, "a ping changes nothing");
    let offset = database.clock_offset_micros().await.unwrap().expect("a round trip on this machine");
    assert!(offset.abs() < 10_000_000, "both run on one machine: {offset} µs");
    database.close().await;
    assert!(matches!(database.ping().await, Err(StoreError::Unavailable(_))));
}
