//! `postback keys`: makes, lists and revokes API keys, with nothing but access to the database.
//!
//! A key is written to standard output once, alone on its line, and kept as a hash only. A service that runs
//! meanwhile knows of a new key, or of the end of an old one, within seconds.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::ExposeSecret as _;

use super::{Context, Failure, print, with_store};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::catalog::{Key, Role, Source};
use crate::domain::ids::{AffiliateId, KeyId, OperatorId, SourceId};
use crate::domain::secret::ApiKey;
use crate::domain::time::Timestamp;
use crate::store::configuration::Entry;
use crate::store::reading::{Filter, Page};
use crate::store::{Store, StoreError};

/// Rows that are read at once.
const PAGE: i64 = 500;
/// The longest name of a key.
const MAX_NAME_CHARS: usize = 255;

/// Makes, lists and revokes API keys
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Create(Create),
    /// Lists all keys, newest first; the keys themselves are stored nowhere
    #[command(after_help = help!("Example: postback keys list"))]
    List,
    /// Ends a key for good; running services refuse it within 5 seconds
    #[command(after_help = help!("Example: postback keys revoke key_…"))]
    Revoke {
        /// The id of the key, as `keys list` shows it
        id: KeyId,
    },
}

/// Makes a key and prints it, once
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback keys create --role admin --name ops --expires 90d
  postback keys create --role operator --operator op_… --allow 203.0.113.0/24
  postback keys create --role affiliate --affiliate aff_…"))]
struct Create {
    /// What the key may do: set things up, send for a source, or look at an affiliate's own
    #[arg(long)]
    role: RoleName,
    /// The operator to send for, if it has one source only
    #[arg(long, value_name = "op_…", conflicts_with = "source")]
    operator: Option<OperatorId>,
    /// The source to send for
    #[arg(long, value_name = "src_…")]
    source: Option<SourceId>,
    /// The affiliate whose key it is
    #[arg(long, value_name = "aff_…")]
    affiliate: Option<AffiliateId>,
    /// A name for people
    #[arg(long, default_value = "made on the command line", value_parser = name)]
    name: String,
    /// After how long it ends: 90d, 12h or 30m [default: never]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Addresses that it may be used from, as networks [default: anywhere]
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    allow: Vec<IpNet>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RoleName {
    Admin,
    Operator,
    Affiliate,
}

/// Runs the subcommand.
///
/// # Errors
/// When what a key is for does not exist, or the database cannot be used.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let settings = context.settings()?;
    let text = with_store(context, |store| async move {
        match &args.command {
            Command::Create(wish) => create_one(store.as_ref(), wish, &settings).await,
            Command::List => list(store.as_ref()).await,
            Command::Revoke { id } => revoke(store.as_ref(), *id).await,
        }
    })?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A key to be made.
pub(super) struct NewKey {
    /// What it may do.
    pub role: Role,
    /// For people.
    pub name: String,
    /// Where it may be used from; empty means anywhere.
    pub ip_allowlist: Vec<IpNet>,
    /// Requests a minute on one instance.
    pub rate_per_minute: i32,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key of this role without limits of its own.
    pub(super) fn of(role: Role, settings: &Settings) -> Self {
        let rate_per_minute = i32::try_from(settings.intake.key_rate_per_minute).unwrap_or(i32::MAX);
        Self { role, name: String::new(), ip_allowlist: Vec::new(), rate_per_minute, expires_at: None }
    }
}

/// Makes a key; what is returned is the only copy of its secret.
pub(super) async fn create(store: &dyn Store, new: NewKey, now: Timestamp) -> Result<ApiKey, StoreError> {
    let key = ApiKey::generate();
    let row = Key {
        id: KeyId::new(now),
        public_id: key.public_id(),
        hash: key.hash(),
        name: new.name,
        role: new.role,
        ip_allowlist: new.ip_allowlist,
        rate_per_minute: new.rate_per_minute,
        test: false,
        expires_at: new.expires_at,
        revoked_at: None,
        created_at: now,
    };
    store.put(&[Entry::Key(row)]).await?;
    Ok(key)
}

/// Whether an admin key was ever made.
pub(super) async fn has_admin(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(all(store).await?.iter().any(|key| key.role == Role::Admin))
}

async fn all(store: &dyn Store) -> Result<Vec<Key>, StoreError> {
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let before = keys.last().map(|key| key.id.uuid());
        let page = store.keys(&Filter::default(), Page { before, limit: PAGE }).await?;
        if page.is_empty() {
            return Ok(keys);
        }
        keys.extend(page);
    }
}

async fn create_one(store: &dyn Store, wish: &Create, settings: &Settings) -> Result<String, Failure> {
    let now = Clock::system().now();
    let role = role(store, wish).await?;
    let new = NewKey {
        name: wish.name.clone(),
        ip_allowlist: wish.allow.clone(),
        expires_at: wish.expires.map(|lifetime| now.plus(lifetime)),
        ..NewKey::of(role, settings)
    };
    let key = create(store, new, now).await.map_err(|error| match error {
        StoreError::NotFound(_) => Failure::new("what the key is for does not exist".to_owned()),
        other => other.into(),
    })?;
    Ok(format!("{}\n", key.to_text().expose_secret()))
}

async fn role(store: &dyn Store, wish: &Create) -> Result<Role, Failure> {
    let usage = |sentence: &str| Err(Failure::of_input(sentence.to_owned()));
    match (wish.role, wish.affiliate, wish.operator.is_some() || wish.source.is_some()) {
        (RoleName::Admin, None, false) => Ok(Role::Admin),
        (RoleName::Affiliate, Some(affiliate_id), false) => Ok(Role::Affiliate { affiliate_id }),
        (RoleName::Operator, None, true) => {
            let source = source(store, wish).await?;
            Ok(Role::Operator { operator_id: source.operator_id, source_id: source.id })
        }
        (RoleName::Admin, ..) => {
            usage("an admin key is for nobody in particular; leave --operator, --source and --affiliate out")
        }
        (RoleName::Affiliate, ..) => {
            usage("a key of an affiliate needs --affiliate, and nothing else that says for whom")
        }
        (RoleName::Operator, ..) => usage("a key of an operator needs --source, or --operator, and no --affiliate"),
    }
}

/// The source that is named, or the only one of the operator.
async fn source(store: &dyn Store, wish: &Create) -> Result<Source, Failure> {
    let filter = Filter { operator_id: wish.operator, ..Filter::default() };
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let page = store.sources(&filter, Page { before, limit: PAGE }).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.id.uuid());
        found.extend(page.into_iter().filter(|source| wish.source.is_none_or(|id| source.id == id)));
    }
    let ids: Vec<String> = found.iter().map(|source| source.id.to_string()).collect();
    match (found.pop(), ids.len()) {
        (Some(source), 1) => Ok(source),
        (Some(_), _) => {
            Err(Failure::of_input(format!("the operator has several sources; give --source one of {}", ids.join(", "))))
        }
        (None, _) => Err(Failure::new("no such source, or the operator has none".to_owned())),
    }
}

async fn list(store: &dyn Store) -> Result<String, Failure> {
    let now = Clock::system().now();
    let mut text =
        format!("{:<36}  {:<9}  {:<8}  {:<27}  {:<36}  {}\n", "id", "role", "state", "expires", "for", "name");
    for key in all(store).await? {
        let (role, whose) = match key.role {
            Role::Admin => ("admin", "-".to_owned()),
            Role::Operator { source_id, .. } => ("operator", source_id.to_string()),
            Role::Affiliate { affiliate_id } => ("affiliate", affiliate_id.to_string()),
        };
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        };
        let expires = key.expires_at.map_or_else(|| "never".to_owned(), |end| end.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<36}  {role:<9}  {state:<8}  {expires:<27}  {whose:<36}  {}", key.id, key.name);
    }
    Ok(text)
}

async fn revoke(store: &dyn Store, id: KeyId) -> Result<String, Failure> {
    let Some(key) = store.key(id).await? else {
        return Err(Failure::new("there is no key with this id; `postback keys list` shows them".to_owned()));
    };
    if let Some(since) = key.revoked_at {
        return Ok(format!("{id} was revoked at {since} already.\n"));
    }
    let now = Clock::system().now();
    store.put(&[Entry::Key(Key { revoked_at: Some(now), ..key })]).await?;
    Ok(format!("{id} is revoked; running services refuse it within 5 seconds.\n"))
}

fn name(text: &str) -> Result<String, String> {
    let good = (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
        .ok_or_else(|| "a name has 1 to 255 characters, none of them a control character".to_owned())
}

/// A whole number and one of the units d, h and m.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let seconds = [("d", 86_400_u64), ("h", 3_600), ("m", 60)].iter().find_map(|(unit, seconds_each)| {
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u64>().ok()?.checked_mul(*seconds_each)
    });
    // A hundred years are enough for a key that ends.
    let seconds = seconds.filter(|seconds| (60..=3_155_760_000).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "a lifetime is a whole number and its unit: 90d, 12h or 30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("30m"), Ok(Duration::from_secs(1_800)));
        for bad in ["", "d", "90", "1y", "-1d", "+1d", "0m", "99999999999999999999d", "40000d"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
