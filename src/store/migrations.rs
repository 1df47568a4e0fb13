//! The migrations of both engines, compiled into the program. Forward only; the same files in both folders.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// What went wrong: the database's own failure, or migrations that do not fit this program's.
pub fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source.into(),
        other => StoreError::Corrupt(other.to_string()),
    }
}

macro_rules! migrations {
    ($engine:literal: $($version:literal $name:literal,)+) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $version,
            Cow::Borrowed($name),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $engine, "/", $name, ".sql")).into_sql_str(),
            false,
        )),+])
    };
}

macro_rules! both {
    ($($version:literal $name:literal,)+) => {
        /// What an SQLite database goes through.
        pub fn sqlite() -> Migrator {
            migrations!("sqlite": $($version $name,)+)
        }

        /// What a PostgreSQL database goes through.
        pub fn postgres() -> Migrator {
            migrations!("postgres": $($version $name,)+)
        }
    };
}

both! {
    1 "0001_configuration",
    2 "0002_intake",
    3 "0003_money",
    4 "0004_deliveries",
    5 "0005_alerts",
    6 "0006_payout_postings",
    7 "0007_conversions_live",
    8 "0008_earning",
    9 "0009_payouts",
    10 "0010_endpoints",
    11 "0011_replays",
    12 "0012_more_alerts",
    13 "0013_job_leases",
    14 "0014_list_indexes",
}
