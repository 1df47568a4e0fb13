//! API keys. The text of a key is shown once, when it is made; only its hash is stored.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::body::Json;
use super::super::context::Context;
use super::super::extract::{AdminKey, PathId};
use super::super::page::{ListQuery, Listed, PageParams, list};
use super::super::problem::{Problem, Problems};
use super::{Name, affiliate, created, source};
use crate::domain::catalog::{Catalog, Key, Role};
use crate::domain::ids::{AffiliateId, KeyId, OperatorId, SourceId};
use crate::domain::secret::ApiKey;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::configuration::Entry;

/// The highest rate of a key, in requests a minute.
const MAX_RATE_PER_MINUTE: u32 = 100_000_000;
/// The most ranges of an allowlist.
const MAX_ALLOWLIST: usize = 256;

/// What a key may do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Sets things up and looks at everything.
    Admin,
    /// Sends for one source.
    Operator,
    /// Looks at its own.
    Affiliate,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    name: Name,
    role: RoleName,
    /// What an operator's key sends for.
    source_id: Option<SourceId>,
    /// Whose an affiliate's key is.
    affiliate_id: Option<AffiliateId>,
    /// Where it may be used from, such as `192.0.2.0/24`; empty means anywhere.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    ip_allowlist: Vec<IpNet>,
    /// Requests a minute on each instance; the setting `intake.key_rate_per_minute`, if it is left out.
    #[schema(minimum = 1, maximum = 100000000)]
    rate_per_minute: Option<u32>,
    /// Whether all that it sends is a test; for an operator's key.
    #[serde(default)]
    test: bool,
    /// From when on it is refused.
    expires_at: Option<Timestamp>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyBody {
    id: KeyId,
    /// The part of the key's text that names it: it follows `pbk_`.
    #[schema(example = "0123456789abcdef")]
    public_id: String,
    name: String,
    role: RoleName,
    operator_id: Option<OperatorId>,
    source_id: Option<SourceId>,
    affiliate_id: Option<AffiliateId>,
    #[schema(value_type = Vec<String>)]
    ip_allowlist: Vec<IpNet>,
    rate_per_minute: i32,
    /// Whether all that it sends is a test.
    test: bool,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedKey {
    /// The key. It is not shown again.
    key: String,
    #[serde(flatten)]
    body: KeyBody,
}

impl From<Key> for KeyBody {
    fn from(row: Key) -> Self {
        let (role, operator_id, source_id, affiliate_id) = match row.role {
            Role::Admin => (RoleName::Admin, None, None, None),
            Role::Operator { operator_id, source_id } => (RoleName::Operator, Some(operator_id), Some(source_id), None),
            Role::Affiliate { affiliate_id } => (RoleName::Affiliate, None, None, Some(affiliate_id)),
        };
        Self {
            id: row.id,
            public_id: row.public_id.to_string(),
            name: row.name,
            role,
            operator_id,
            source_id,
            affiliate_id,
            ip_allowlist: row.ip_allowlist,
            rate_per_minute: row.rate_per_minute,
            test: row.test,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            created_at: row.created_at,
        }
    }
}

fn role(catalog: &Catalog, new: &NewKey) -> Result<Role, Problem> {
    match (new.role, new.source_id, new.affiliate_id) {
        (RoleName::Admin, None, None) => Ok(Role::Admin),
        (RoleName::Operator, Some(id), None) => {
            let source = source(catalog, id)?;
            Ok(Role::Operator { operator_id: source.operator_id, source_id: source.id })
        }
        (RoleName::Affiliate, None, Some(id)) => Ok(Role::Affiliate { affiliate_id: affiliate(catalog, id)?.id }),
        (RoleName::Operator, None, None) => Err(Problem::of_field("source_id", "An operator's key names its source.")),
        (RoleName::Affiliate, None, None) => {
            Err(Problem::of_field("affiliate_id", "An affiliate's key names its affiliate."))
        }
        _ => Err(Problem::of_field("role", "This role goes with other fields.")),
    }
}

/// Makes a key.
#[utoipa::path(
    tag = "admin",
    request_body = NewKey,
    responses((status = 201, body = CreatedKey), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[post("/v1/admin/keys")]
pub async fn create_key(
    _admin: AdminKey,
    body: Json<NewKey>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let (new, now) = (body.0, context.parts().clock.now());
    let rate = new.rate_per_minute.unwrap_or(context.parts().settings.intake.key_rate_per_minute);
    let rate = i32::try_from(rate).ok().filter(|_| (1..=MAX_RATE_PER_MINUTE).contains(&rate));
    if new.test && !matches!(new.role, RoleName::Operator) {
        return Err(Problem::of_field("test", "Only an operator's key sends anything; leave this out."));
    }
    if new.ip_allowlist.len() > MAX_ALLOWLIST {
        return Err(Problem::of_field("ip_allowlist", "An allowlist has at most 256 ranges."));
    }
    let secret = ApiKey::generate();
    let key = Key {
        id: KeyId::new(now),
        public_id: secret.public_id(),
        hash: secret.hash(),
        role: role(&context.catalog(), &new)?,
        name: new.name.0,
        ip_allowlist: new.ip_allowlist,
        rate_per_minute: rate
            .ok_or_else(|| Problem::of_field("rate_per_minute", "A rate is 1 to 100000000 requests a minute."))?,
        test: new.test,
        expires_at: new.expires_at,
        revoked_at: None,
        created_at: now,
    };
    context.put(vec![Entry::Key(key.clone())]).await?;
    Ok(created(CreatedKey { key: secret.to_text().expose_secret().to_owned(), body: key.into() }))
}

/// All keys, newest first, revoked ones too.
#[utoipa::path(
    tag = "admin",
    params(
        PageParams,
        ("operator_id" = Option<OperatorId>, Query),
        ("source_id" = Option<SourceId>, Query),
        ("affiliate_id" = Option<AffiliateId>, Query)
    ),
    responses((status = 200, body = Listed<KeyBody>), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[get("/v1/admin/keys")]
pub async fn list_keys(
    _admin: AdminKey,
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery::read(request.query_string(), &["operator_id", "source_id", "affiliate_id"])?;
    let ask = |store: Arc<dyn Store>, filter, page| async move { store.keys(&filter, page).await };
    list::<KeyBody, _, _>(&context, query, ask, |row| row.id.uuid()).await
}

/// Revokes a key: at once on this instance, within seconds everywhere. To revoke it again changes nothing.
#[utoipa::path(
    tag = "admin",
    params(("id" = KeyId, Path)),
    responses((status = 200, body = KeyBody), Problems),
    security(("bearer" = []), ("api_key" = []))
)]
#[delete("/v1/admin/keys/{id}")]
pub async fn revoke_key(
    _admin: AdminKey,
    id: PathId<KeyId>,
    context: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    let found = context.ask(move |store| async move { store.key(id.0).await }).await?;
    let key = found.ok_or_else(Problem::not_found)?;
    let revoked_at = key.revoked_at.or(Some(context.parts().clock.now()));
    let key = Key { revoked_at, ..key };
    context.put(vec![Entry::Key(key.clone())]).await?;
    Ok(HttpResponse::Ok().json(KeyBody::from(key)))
}
