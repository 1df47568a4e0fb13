//! The queries, written once and compiled once for each engine: `super::dialect` names the engine's types.
//! `{rows}` stands for many rows at once, see `store::rows`.

mod alerts;
mod attempts;
mod configuration;
mod deliveries;
mod endpoints;
mod ledger;
mod nouns;
mod outbox;
mod payouts;
mod reading;
mod recording;
mod replays;
mod retention;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::{Database, Row};

use super::dialect::{Db, DbRow, Engine};
use crate::store::{Company, Store, StoreError};

#[async_trait]
impl Store for Engine {
    fn engine(&self) -> &'static str {
        Self::NAME
    }

    fn writers(&self) -> usize {
        Self::WRITERS
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        self.run_migrations().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // A real write, taken back: a full disk or a read-only server shows here and not only when money is at stake.
        sqlx::query("UPDATE config_version SET version = version WHERE id = 1").execute(&mut *transaction).await?;
        Ok(transaction.rollback().await?)
    }

    async fn occupy(&self, company: Company) -> Result<bool, StoreError> {
        self.lock(company).await
    }

    async fn close(&self) {
        self.close_pools().await;
    }
}

/// A statement that reads whole rows, by `*`. It is not kept prepared: a newer instance may add a column while this one runs,
/// and PostgreSQL then refuses a prepared statement for as long as its connection lives. What is asked with every postback
/// names its columns instead.
fn whole_rows(statement: &'static str) -> Query<'static, Db, <Db as Database>::Arguments> {
    sqlx::query(statement).persistent(false)
}

/// A stored JSON document.
fn from_json<T: serde::de::DeserializeOwned>(row: &DbRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

/// As [`from_json`], where the column may be NULL.
fn from_json_opt<T: serde::de::DeserializeOwned>(row: &DbRow, column: &str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

/// A value to be stored as a JSON document.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::json!(value).to_string()
}

/// A stored name of one of an enum's variants, as serde spells it.
fn from_name<T: serde::de::DeserializeOwned>(row: &DbRow, column: &str) -> Result<T, StoreError> {
    let name: String = row.try_get(column)?;
    parse_name(&name, column)
}

/// As [`from_name`], where the column may be NULL.
fn from_name_opt<T: serde::de::DeserializeOwned>(row: &DbRow, column: &str) -> Result<Option<T>, StoreError> {
    let name: Option<String> = row.try_get(column)?;
    name.map(|name| parse_name(&name, column)).transpose()
}

fn parse_name<T: serde::de::DeserializeOwned>(name: &str, column: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

/// The name of an enum's variant, as serde spells it.
fn to_name<T: serde::Serialize>(value: &T) -> String {
    serde_json::json!(value).as_str().unwrap_or_default().to_owned()
}
