//! Secrets that must be read back: sealed on their way in, each bound to its table, column and row.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};
use sqlx::Row;

use super::super::super::dialect::DbRow;
use super::super::nouns::corrupt;
use super::Statement;
use crate::domain::catalog::{EndpointSecret, MacKey, SourceSecret};
use crate::domain::click::ClickMacKey;
use crate::domain::ids::{EndpointSecretId, SourceSecretId};
use crate::domain::secret::{MasterKey, SealPlace};
use crate::domain::signature::SigningSecret;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

const SOURCE_SECRETS: &str = "source_secrets";
const ENDPOINT_SECRETS: &str = "endpoint_secrets";
const MAC_KEYS: &str = "mac_keys";

pub fn put_source_secret(row: &SourceSecret, key: &MasterKey) -> Result<Statement, StoreError> {
    let sealed = seal(key, SOURCE_SECRETS, &row.id.to_string(), row.secret.text().expose_secret().as_bytes())?;
    Ok(sqlx::query(
        "INSERT INTO source_secrets (id, source_id, sealed, created_at, expires_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at, \
         version = excluded.version WHERE source_secrets.source_id = excluded.source_id",
    )
    .bind(row.id)
    .bind(row.source_id)
    .bind(sealed)
    .bind(row.created_at)
    .bind(row.expires_at))
}

pub fn put_endpoint_secret(row: &EndpointSecret, key: &MasterKey) -> Result<Statement, StoreError> {
    let sealed = seal(key, ENDPOINT_SECRETS, &row.id.to_string(), row.secret.text().expose_secret().as_bytes())?;
    Ok(sqlx::query(
        "INSERT INTO endpoint_secrets (id, endpoint_id, sealed, created_at, expires_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at, \
         version = excluded.version WHERE endpoint_secrets.endpoint_id = excluded.endpoint_id",
    )
    .bind(row.id)
    .bind(row.endpoint_id)
    .bind(sealed)
    .bind(row.created_at)
    .bind(row.expires_at))
}

/// Immutable: click ids made under the key must decode for ever.
pub fn put_mac_key(row: &MacKey, created_at: Timestamp, key: &MasterKey) -> Result<Statement, StoreError> {
    let sealed = seal(key, MAC_KEYS, &row.number.to_string(), row.secret.expose_bytes())?;
    Ok(sqlx::query("INSERT INTO mac_keys (number, sealed, created_at, version) VALUES ($1, $2, $3, $4)")
        .bind(i32::from(row.number))
        .bind(sealed)
        .bind(created_at))
}

/// Every sealed value lies in a column of this name.
const fn place<'a>(table: &'static str, row: &'a str) -> SealPlace<'a> {
    SealPlace { table, column: "sealed", row }
}

fn seal(key: &MasterKey, table: &'static str, row: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
    key.seal(place(table, row), secret).map_err(|error| corrupt(&format!("{table} {row}: {error}")))
}

fn open(row: &DbRow, key: &MasterKey, table: &'static str, id: &str) -> Result<SecretSlice<u8>, StoreError> {
    let sealed: Vec<u8> = row.try_get("sealed")?;
    key.open(place(table, id), &sealed).map_err(|error| corrupt(&format!("{table} {id}: {error}")))
}

fn signing_secret(row: &DbRow, key: &MasterKey, table: &'static str, id: &str) -> Result<SigningSecret, StoreError> {
    let opened = open(row, key, table, id)?;
    let text = std::str::from_utf8(opened.expose_secret()).ok();
    let secret = text.and_then(|text| SigningSecret::parse(text).ok());
    secret.ok_or_else(|| corrupt(&format!("{table} {id}: no signing secret")))
}

pub fn source_secret(row: &DbRow, key: &MasterKey) -> Result<SourceSecret, StoreError> {
    let id: SourceSecretId = row.try_get("id")?;
    Ok(SourceSecret {
        id,
        source_id: row.try_get("source_id")?,
        secret: signing_secret(row, key, SOURCE_SECRETS, &id.to_string())?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

pub fn endpoint_secret(row: &DbRow, key: &MasterKey) -> Result<EndpointSecret, StoreError> {
    let id: EndpointSecretId = row.try_get("id")?;
    Ok(EndpointSecret {
        id,
        endpoint_id: row.try_get("endpoint_id")?,
        secret: signing_secret(row, key, ENDPOINT_SECRETS, &id.to_string())?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

pub fn mac_key(row: &DbRow, key: &MasterKey) -> Result<MacKey, StoreError> {
    let number: i32 = row.try_get("number")?;
    let number = u8::try_from(number).map_err(|_| corrupt("mac_keys.number"))?;
    let opened = open(row, key, MAC_KEYS, &number.to_string())?;
    let bytes: &[u8; 32] = opened.expose_secret().try_into().map_err(|_| corrupt("mac_keys.sealed"))?;
    Ok(MacKey { number, secret: Arc::new(ClickMacKey::from_bytes(*bytes)) })
}
