//! The HTTP interface of the production application: booted in this process on either engine and a free port, driven
//! over plain TCP, so that malformed requests can be sent too.

mod admin;
mod alerts;
mod bad_input;
mod client;
mod conversions;
mod customers;
mod endpoints;
mod observed;
mod payouts;
mod postbacks;
mod replays;
pub mod roles;
mod signatures;
mod upgrades;
mod visitors;
mod world;

use std::any::Any;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use client::Call;
use postback::clock::Clock;
use postback::config::Settings;
use postback::domain::catalog::{Key, Role};
use postback::domain::ids::KeyId;
use postback::domain::secret::{ApiKey, MasterKey};
use postback::domain::time::Timestamp;
use postback::http::state::HttpState;
use postback::lifecycle::Lifecycle;
use postback::store::Store;
use postback::store::configuration::Entry;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::engines::{Kind, server as databases};
use crate::support::site::Site;

/// Where a service is reached, and an admin's key for it.
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    pub admin_key: String,
}

impl Api {
    /// A request.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// A request of the admin's.
    pub fn admin(&self, method: &str, target: &str) -> Call {
        self.call(method, target).key(&self.admin_key)
    }
}

/// A service that runs in this process. Stopped, and what it stored removed, when it is dropped.
pub struct Service {
    api: Api,
    pub state: Arc<HttpState>,
    lifecycle: Lifecycle,
    _place: Box<dyn Any + Send + Sync>,
}

/// A folder and perhaps a database, for one service.
struct Place {
    folder: PathBuf,
    database: Option<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The service may still be writing; what is left then is a file in the folder for temporary files.
        drop(std::fs::remove_dir_all(&self.folder));
        if let Some(database) = self.database.take() {
            databases::give_back(database);
        }
    }
}

impl Service {
    /// A service with the defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with some settings of its own, on SQLite.
    pub async fn with(pairs: &[(&str, &str)]) -> Self {
        Self::on(Kind::Sqlite, pairs).await
    }

    /// A service on an empty database of this engine, with some settings of its own.
    pub async fn on(engine: Kind, pairs: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("postback-http-{}", Uuid::now_v7().simple()));
        let database = match engine {
            Kind::Sqlite => None,
            Kind::Postgres => Some(databases::database().await),
        };
        let (data_dir, url) = (folder.display().to_string(), database.as_deref().map(databases::url_of));
        let master_key = MasterKey::generate().to_base64();
        let mut base = vec![
            ("data_dir", data_dir.as_str()),
            ("server.listen", "127.0.0.1:0"),
            ("outbound.allow_ranges", "127.0.0.0/8"),
        ];
        if let Some(url) = &url {
            base.extend([("database.url", url.as_str()), ("master_key", master_key.expose_secret())]);
        }
        let settings = Settings::from_pairs(&[&base, pairs].concat()).unwrap();
        Self::run(settings, Place { folder, database }).await
    }

    /// A service with the settings of `site`.
    pub async fn at(site: &Site) -> Self {
        Self::run(site.settings(), site.again()).await
    }

    async fn run(settings: Settings, place: impl Any + Send + Sync) -> Self {
        let lifecycle = Lifecycle::new(settings.server.drain);
        let listener = postback::app::listen(&settings).unwrap();
        let address = listener.local_addr().unwrap();
        let state = postback::app::start(settings, Clock::system(), &lifecycle).await.unwrap().state;
        let serving = postback::http::serve(listener, Arc::clone(&state)).unwrap();
        let stopping = lifecycle.stopping();
        lifecycle.spawn("http", async move { serving.run(stopping).await.unwrap() });
        let admin_key = first_key(&*state.store, state.clock.now()).await;
        state.catalog.refresh().await.unwrap();
        Self { api: Api { address, admin_key }, state, lifecycle, _place: Box::new(place) }
    }
}

impl Deref for Service {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

/// An admin's key, made as the command line makes it.
async fn first_key(store: &dyn Store, now: Timestamp) -> String {
    let secret = ApiKey::generate();
    let key = Key {
        id: KeyId::new(now),
        public_id: secret.public_id(),
        hash: secret.hash(),
        name: "first".to_owned(),
        role: Role::Admin,
        ip_allowlist: Vec::new(),
        rate_per_minute: 1_000_000,
        test: false,
        expires_at: None,
        revoked_at: None,
        created_at: now,
    };
    store.put(&[Entry::Key(key)]).await.unwrap();
    secret.to_text().expose_secret().to_owned()
}
