//! The HTTP interface of the production application: booted in this process on SQLite and a free port, driven over
//! plain TCP, so that malformed requests can be sent too.

mod admin;
mod auth;
mod client;
mod input;
mod observed;
mod postbacks;
pub mod roles;
mod signatures;
mod visitors;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use client::Call;
use postback::clock::Clock;
use postback::config::Settings;
use postback::domain::catalog::{Key, Role};
use postback::domain::ids::KeyId;
use postback::domain::secret::ApiKey;
use postback::http::state::HttpState;
use postback::lifecycle::Lifecycle;
use postback::store::configuration::Entry;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

/// A running service. Stopped, and its folder removed, when it is dropped.
pub struct Service {
    address: SocketAddr,
    state: Arc<HttpState>,
    admin_key: String,
    lifecycle: Lifecycle,
    folder: PathBuf,
}

impl Service {
    /// A service with the defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with some settings of its own.
    pub async fn with(pairs: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("postback-http-{}", Uuid::now_v7().simple()));
        let data_dir = folder.to_str().unwrap().to_owned();
        let base = [
            ("data_dir", data_dir.as_str()),
            ("server.listen", "127.0.0.1:0"),
            ("outbound.allow_ranges", "127.0.0.0/8"),
        ];
        let settings = Settings::from_pairs(&[&base, pairs].concat()).unwrap();
        let lifecycle = Lifecycle::new(settings.server.drain);
        let listener = postback::app::listen(&settings).unwrap();
        let address = listener.local_addr().unwrap();
        let state = postback::app::start(settings, Clock::system(), &lifecycle).await.unwrap().state;
        let serving = postback::http::serve(listener, Arc::clone(&state)).unwrap();
        let stopping = lifecycle.stopping();
        lifecycle.spawn("http", async move { serving.run(stopping).await.unwrap() });
        let admin_key = first_key(&state).await;
        Self { address, state, admin_key, lifecycle, folder }
    }

    /// A request.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// A request of the admin's.
    pub fn admin(&self, method: &str, target: &str) -> Call {
        self.call(method, target).key(&self.admin_key)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.lifecycle.stop();
        // The service may still be writing; what is left then is a file in the folder for temporary files.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// An admin's key, made as the command line makes it.
async fn first_key(state: &HttpState) -> String {
    let (secret, now) = (ApiKey::generate(), state.clock.now());
    let key = Key {
        id: KeyId::new(now),
        public_id: secret.public_id(),
        hash: secret.hash(),
        name: "first".to_owned(),
        role: Role::Admin,
        ip_allowlist: Vec::new(),
        rate_per_minute: 1_000_000,
        expires_at: None,
        revoked_at: None,
        created_at: now,
    };
    state.store.put(&[Entry::Key(key)]).await.unwrap();
    state.catalog.refresh().await.unwrap();
    secret.to_text().expose_secret().to_owned()
}
