//! The service on a database and a queue of its own, composed as `serve` composes it, without HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use postback::app::{self, StartError};
use postback::clock::Clock;
use postback::config::Settings;
use postback::domain::delivery::DeliveryState;
use postback::domain::secret::MasterKey;
use postback::http::state::HttpState;
use postback::lifecycle::{Lifecycle, Stopped};
use postback::store::Store;
use postback::store::reading::{DeliveryView, Filter, Page};
use secrecy::ExposeSecret;

use super::engines::server as databases;
use super::{eventually, soon};

/// The two ways in which the service is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// SQLite and the queue in the process.
    Embedded,
    /// PostgreSQL and RabbitMQ.
    Brokered,
}

/// Runs each named test function, which takes a [`Stack`], on both stacks.
macro_rules! on_both_stacks {
    ($($name:ident)+) => {$(
        mod $name {
            #[tokio::test]
            async fn on_sqlite_and_embedded() {
                super::$name($crate::support::site::Stack::Embedded).await;
            }

            #[tokio::test]
            async fn on_postgres_and_rabbitmq() {
                super::$name($crate::support::site::Stack::Brokered).await;
            }
        }
    )+};
}
pub(crate) use on_both_stacks;

/// Where one test's data lies, and the settings for it.
pub struct Site {
    pub stack: Stack,
    place: Arc<Place>,
    pairs: Vec<(String, String)>,
}

/// A folder and perhaps a database, removed when nobody needs them any more.
struct Place {
    folder: PathBuf,
    database: Option<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary folder.
        drop(std::fs::remove_dir_all(&self.folder));
        if let Some(database) = self.database.take() {
            databases::give_back(database);
        }
    }
}

/// The service, running.
pub struct Service {
    pub state: Arc<HttpState>,
    pub life: Lifecycle,
    _place: Arc<Place>,
}

/// A variable that `scripts/test` sets.
#[expect(clippy::disallowed_methods, reason = "tests are told their servers by the environment")]
pub fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; ./scripts/test starts servers and sets it"))
}

impl Site {
    /// An empty database and, on the larger stack, a queue prefix that nobody else uses. Everything is quick: rungs of
    /// 200 and 400 ms, leases of 900 ms, forgotten hints after 600 ms.
    pub async fn new(stack: Stack) -> Self {
        let name = format!("test_{:016x}", rand::random::<u64>());
        let folder = std::env::temp_dir().join(format!("postback-{name}"));
        std::fs::create_dir(&folder).unwrap();
        let data = folder.display().to_string();
        let quick = [
            ("data_dir", data.as_str()),
            ("server.listen", "127.0.0.1:0"),
            ("server.drain", "10s"),
            ("database.max_connections", "5"),
            ("delivery.ladder", "200ms, 400ms"),
            ("delivery.max_attempts", "4"),
            ("delivery.timeout", "400ms"),
            ("delivery.lease", "900ms"),
            ("delivery.republish_after", "600ms"),
            ("delivery.hand_back_after", "300ms"),
            ("delivery.sweep_every", "200ms"),
            ("commissions.settle_every", "200ms"),
            ("alerts.evaluate_every", "100ms"),
            ("outbound.allow_ranges", "127.0.0.0/8"),
        ];
        let pairs = quick.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let database = match stack {
            Stack::Embedded => None,
            Stack::Brokered => Some(databases::database().await),
        };
        let site = Self { stack, place: Arc::new(Place { folder, database: database.clone() }), pairs };
        let Some(database) = database else { return site };
        site.with("database.url", &databases::url_of(&database))
            .with("master_key", MasterKey::generate().to_base64().expose_secret())
            .with("queue.amqp_url", &server("POSTBACK_TEST_AMQP_URL"))
            .with("queue.prefix", &name.replace('_', "-"))
    }

    /// The same place, for settings of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { stack: self.stack, place: Arc::clone(&self.place), pairs: self.pairs.clone() }
    }

    /// With another setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Changes a setting for what is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.pairs.retain(|(known, _)| known != name);
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a setting that was given.
    pub fn get(&self, name: &str) -> &str {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} was not given"))
    }

    /// The settings as environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let variable = |name: &str| format!("POSTBACK_{}", name.replace('.', "_").to_uppercase());
        self.pairs.iter().map(move |(name, value)| (variable(name), value.as_str()))
    }

    /// The settings, validated.
    pub fn settings(&self) -> Settings {
        let pairs: Vec<(&str, &str)> = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Settings::from_pairs(&pairs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The database alone, with its tables.
    pub async fn store(&self) -> Arc<dyn Store> {
        app::open_store(&self.settings()).await.unwrap()
    }

    /// Starts the service, or says why it does not start.
    pub async fn try_start(&self) -> Result<Service, StartError> {
        self.try_start_at(Clock::system()).await
    }

    /// The same by another clock.
    pub async fn try_start_at(&self, clock: Clock) -> Result<Service, StartError> {
        let settings = self.settings();
        let life = Lifecycle::new(settings.server.drain);
        let started = app::start(settings, clock, &life).await;
        match started {
            Ok(app) => Ok(Service { state: app.state, life, _place: Arc::clone(&self.place) }),
            Err(error) => {
                life.stop();
                Err(error)
            }
        }
    }

    /// Starts the service and waits until its queue works.
    pub async fn start(&self) -> Service {
        let service = self.try_start().await.unwrap_or_else(|error| panic!("{error}"));
        let relay = &service.state.relay;
        eventually("the queue works", async || relay.health().publishing && relay.health().consuming).await;
        service
    }
}

impl Service {
    /// Stops as a signal would stop it, and lets go of the database.
    pub async fn stop(self) -> Stopped {
        self.life.stop();
        let stopped = soon("the service stops", self.life.run_until_stopped()).await.unwrap();
        self.state.store.close().await;
        stopped
    }

    /// Waits until so many deliveries are in this state and none is in any other.
    pub async fn settled(&self, state: DeliveryState, count: i64) {
        let store = &self.state.store;
        eventually(&format!("{count} deliveries are {state:?}"), async || {
            store.count_in_state(state).await.unwrap() == count
        })
        .await;
        for other in [DeliveryState::Pending, DeliveryState::Held, DeliveryState::Delivered, DeliveryState::Dead] {
            if other != state {
                assert_eq!(store.count_in_state(other).await.unwrap(), 0, "{other:?}");
            }
        }
    }

    /// All deliveries with their attempts, oldest first.
    pub async fn deliveries(&self) -> Vec<DeliveryView> {
        deliveries(&*self.state.store).await
    }
}

/// All deliveries with their attempts, oldest first; at most 1 000.
pub async fn deliveries(store: &dyn Store) -> Vec<DeliveryView> {
    let page = Page { before: None, limit: 1_000 };
    let listed = store.deliveries(&Filter::default(), page).await.unwrap();
    let mut found = Vec::with_capacity(listed.len());
    for delivery in listed.iter().rev() {
        found.push(store.delivery(delivery.id).await.unwrap().unwrap());
    }
    found
}
