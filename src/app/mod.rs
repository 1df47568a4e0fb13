//! The composition root: opens the store and the queue, starts every task, and hands out what HTTP needs.
//!
//! Nothing else constructs a room from another. `serve`, `demo` and the tests all start here, so what is tested is
//! what runs.

mod company;
mod master_key;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::alerts::Watch;
use crate::alerts::heard::Heard;
use crate::alerts::look::Lookout;
use crate::alerts::tell::{Channel, Form};
use crate::clock::Clock;
use crate::config::{self, DatabaseUrl, Settings};
use crate::delivery::breaker::Breakers;
use crate::delivery::disabling::Disabler;
use crate::delivery::egress::EgressPolicy;
use crate::delivery::holding::Holding;
use crate::delivery::permits::Permits;
use crate::delivery::relay::Relay;
use crate::delivery::sender::{Sender, SenderSettings};
use crate::delivery::sweeper::Sweeper;
use crate::delivery::worker::{Worker, WorkerParts};
use crate::domain::catalog::MacKey;
use crate::domain::click::ClickMacKey;
use crate::domain::retry::RetryPolicy;
use crate::domain::signature::SigningSecret;
use crate::http::state::HttpState;
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::click_writer::ClickWriter;
use crate::intake::customers::Customers;
use crate::intake::holds::Holds;
use crate::intake::parking::Parking;
use crate::intake::recorder::{Booker, Recorder};
use crate::intake::settling::Settling;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::payouts::Payouts;
use crate::payouts::schedule::Schedule;
use crate::queue::Queue;
use crate::queue::embedded::{Embedded, EmbeddedSettings};
use crate::queue::rabbitmq::{RabbitMq, RabbitMqSettings};
use crate::replay::{Jobs, Judge, Replayer};
use crate::retention::Retention;
use crate::store::configuration::Entry;
use crate::store::{Store, StoreError, StoreSettings, postgres, sqlite};

/// Why the service could not start: a sentence that says what to do, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database could not be opened or brought up to date.
    #[error(
        "the database cannot be used: {0}. Check DATABASE_URL, and that the server runs and the folder can be written"
    )]
    Store(String),
    /// Another process works on the same database without a broker between them.
    #[error(
        "another process works on this database. Without AMQP_URL the queue lives in one process, and SQLite serves one \
         process: stop the other one, or set DATABASE_URL to PostgreSQL and AMQP_URL to RabbitMQ for both"
    )]
    NotAlone,
    /// Another process works on the same database and does not know that there are others.
    #[error(
        "a process without a broker works on this database, and believes that it is alone: stop it, or give it AMQP_URL, too"
    )]
    NotInCompany,
    /// The key that encrypts stored secrets is missing or of another shape.
    #[error("{0}")]
    MasterKey(String),
    /// A setting that could only be judged now.
    #[error("{0}")]
    Setting(String),
    /// The address to listen on cannot be had.
    #[error("cannot listen on {0}: {1}. Choose another server.listen (POSTBACK_SERVER_LISTEN)")]
    Listen(SocketAddr, std::io::Error),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Store(format!("{error}{cause}"))
    }
}

/// The service, running except for HTTP.
pub struct App {
    /// What HTTP needs.
    pub state: Arc<HttpState>,
}

/// Opens the database that the settings name, with its tables up to date.
///
/// # Errors
/// [`StartError`] as it says.
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    let store = connect(settings).await?;
    store.migrate().await?;
    Ok(store)
}

/// Opens the database that the settings name, as it is.
async fn connect(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    let url = settings.database_url();
    let of_store = |master_key| StoreSettings {
        max_connections: settings.database.max_connections,
        acquire_timeout: settings.database.acquire_timeout,
        lock_timeout: settings.database.lock_timeout,
        statement_timeout: settings.database.statement_timeout,
        master_key: Arc::new(master_key),
    };
    let given = settings.master_key.as_ref();
    let store: Arc<dyn Store> = match &url {
        DatabaseUrl::Sqlite(path) => {
            make_folder(path)?;
            let master_key = master_key::given_or_kept(given, &path.with_extension("key"))?;
            Arc::new(sqlite::Engine::open(path, &of_store(master_key)).await?)
        }
        DatabaseUrl::Postgres(url) => {
            let master_key = master_key::given(given)?;
            Arc::new(postgres::Engine::connect(url.expose_secret(), &of_store(master_key)).await?)
        }
    };
    Ok(store)
}

fn make_folder(database: &Path) -> Result<(), StartError> {
    let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| StartError::Store(format!("{}: {error}", folder.display())))
}

/// Takes the address that the settings name.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen(settings: &Settings) -> Result<TcpListener, StartError> {
    let address = settings.server.listen;
    TcpListener::bind(address).map_err(|error| StartError::Listen(address, error))
}

/// What every room stands on.
struct Base {
    settings: Arc<Settings>,
    store: Arc<dyn Store>,
    catalog: Arc<CatalogCache>,
    queue: Arc<dyn Queue>,
    sender: Sender,
    permits: Permits,
    breakers: Breakers,
    policy: RetryPolicy,
    clock: Clock,
    metrics: Arc<Metrics>,
    heard: Arc<Heard>,
}

/// Starts everything but HTTP. All tasks belong to `lifecycle`.
///
/// # Errors
/// [`StartError`] as it says; what was started by then stops with `lifecycle`.
pub async fn start(settings: Settings, clock: Clock, lifecycle: &Lifecycle) -> Result<App, StartError> {
    let base = open_base(settings, clock, lifecycle).await?;
    let relay = start_relay(&base, lifecycle);
    let Intake { recorder, booker, clicks, customers } = start_intake(&base, &relay, lifecycle);
    start_delivery(&base, &relay, lifecycle);
    let replays = start_replays(&base, &relay, lifecycle);
    let payouts = start_payouts(&base, &relay, lifecycle);
    start_retention(&base, lifecycle);
    lifecycle.spawn("alerts", watch(&base, &recorder)?.run(lifecycle.stopping()));
    let Base { settings, store, catalog, sender, clock, metrics, .. } = base;
    let state = HttpState {
        store,
        catalog,
        recorder,
        booker,
        clicks,
        customers,
        relay,
        replays,
        payouts,
        sender,
        settings,
        clock,
        metrics,
    };
    Ok(App { state: Arc::new(state) })
}

async fn open_base(settings: Settings, clock: Clock, lifecycle: &Lifecycle) -> Result<Base, StartError> {
    let settings = Arc::new(settings);
    let metrics = Arc::new(Metrics::new().map_err(|error| StartError::Setting(error.to_string()))?);
    let store = connect(&settings).await?;
    let company = company::of(&settings, &*store);
    company::occupy(&*store, company).await?;
    store.migrate().await?;
    if let Some(offset) = store.clock_offset_micros().await? {
        clock.set_offset(offset);
    }
    company::take_over(&*store, company, &clock).await?;
    lifecycle.spawn("company", company::keep(Arc::clone(&store), company, lifecycle.stopping()));
    let catalog = load_catalog(&store, &clock).await?;
    let queue = open_queue(&settings, lifecycle)?;
    let sender = open_sender(&settings)?;
    let permits = Permits::new(settings.delivery.endpoint_in_flight);
    let breakers = Breakers::new(settings.delivery.breaker_after, settings.delivery.breaker_pause);
    let policy = RetryPolicy {
        ladder: settings.delivery.ladder.clone(),
        max_attempts: i32::try_from(settings.delivery.max_attempts).unwrap_or(i32::MAX),
        max_age: settings.delivery.max_age,
    };
    let heard = Arc::default();
    Ok(Base { settings, store, catalog, queue, sender, permits, breakers, policy, clock, metrics, heard })
}

fn start_relay(base: &Base, lifecycle: &Lifecycle) -> Relay {
    let (relay, loops) = Relay::new(
        base.store.clone(),
        Arc::clone(&base.queue),
        (base.permits.clone(), base.breakers.clone()),
        base.clock.clone(),
        Arc::clone(&base.metrics),
        &base.settings,
    );
    let (publish, refill) = loops.into_tasks(lifecycle.stopping(), lifecycle.drained());
    spawn_until_drained(lifecycle, "relay", publish);
    lifecycle.spawn("backlog", refill);
    relay
}

/// Where things are handed in.
struct Intake {
    recorder: Recorder,
    booker: Booker,
    clicks: ClickWriter,
    customers: Customers,
}

/// The recorder, the click writer, what is parked or on hold, and the configuration that they judge by.
fn start_intake(base: &Base, relay: &Relay, lifecycle: &Lifecycle) -> Intake {
    let wake = Arc::new(Notify::new());
    let booker = Booker::new(
        Arc::clone(&base.store),
        Arc::clone(&base.catalog),
        relay.clone(),
        base.clock.clone(),
        Arc::clone(&base.metrics),
        Arc::clone(&base.heard),
        &base.settings,
    )
    .waking(Arc::clone(&wake));
    let (recorder, recorder_loop) = Recorder::new(booker.clone(), &base.settings.intake);
    spawn_until_drained(lifecycle, "recorder", recorder_loop.run(lifecycle.drained()));
    let customers = Customers::new(Arc::clone(&base.store), Arc::clone(&wake));
    let (clicks, click_loop) = ClickWriter::new(Arc::clone(&base.store), &base.settings.clicks, Arc::clone(&wake));
    spawn_until_drained(lifecycle, "clicks", click_loop.run(lifecycle.drained()));
    // What is parked or on hold is looked for as often as what is overdue.
    let every = base.settings.delivery.sweep_every;
    let holds = Holds { booker: booker.clone(), every };
    lifecycle.spawn("holds", holds.run(lifecycle.stopping()));
    let (settling_booker, waiting) = (booker.clone(), booker.clone());
    let parking = Parking { store: Arc::clone(&base.store), booker: waiting, clock: base.clock.clone(), every, wake };
    lifecycle.spawn("parking", parking.run(lifecycle.stopping()));
    let (store, every) = (Arc::clone(&base.store), base.settings.commissions.settle_every);
    let settling = Settling { store, booker: settling_booker, clock: base.clock.clone(), every };
    lifecycle.spawn("settling", settling.run(lifecycle.stopping()));
    lifecycle.spawn("catalog", Arc::clone(&base.catalog).poll(lifecycle.stopping()));
    Intake { recorder, booker, clicks, customers }
}

/// The worker, what is held, and the sweeper.
fn start_delivery(base: &Base, relay: &Relay, lifecycle: &Lifecycle) {
    let parts = WorkerParts {
        store: base.store.clone(),
        queue: Arc::clone(&base.queue),
        catalog: Arc::clone(&base.catalog),
        sender: Arc::new(base.sender.clone()),
        relay: relay.clone(),
        permits: base.permits.clone(),
        breakers: base.breakers.clone(),
        disabler: Disabler {
            store: base.store.clone(),
            catalog: Arc::clone(&base.catalog),
            relay: relay.clone(),
            clock: base.clock.clone(),
            republish_after: base.settings.delivery.republish_after,
        },
        policy: base.policy.clone(),
        clock: base.clock.clone(),
        metrics: Arc::clone(&base.metrics),
    };
    let (worker, loops) = Worker::new(parts, &base.settings);
    let (claim, finish) = loops.into_tasks(lifecycle.drained());
    spawn_until_drained(lifecycle, "claims", claim);
    spawn_until_drained(lifecycle, "finishes", finish);
    lifecycle.spawn("worker", worker.run(lifecycle.stopping()));
    let holding = Holding {
        store: base.store.clone(),
        catalog: Arc::clone(&base.catalog),
        relay: relay.clone(),
        clock: base.clock.clone(),
        release_per_second: base.settings.delivery.release_per_second,
    };
    lifecycle.spawn("holding", holding.run(lifecycle.stopping()));
    let sweeper = Sweeper {
        store: base.store.clone(),
        relay: relay.clone(),
        policy: base.policy.clone(),
        clock: base.clock.clone(),
        every: base.settings.delivery.sweep_every,
    };
    lifecycle.spawn("sweeper", sweeper.run(lifecycle.stopping()));
}

/// Replays at a person's word, and the jobs that replay many.
fn start_replays(base: &Base, relay: &Relay, lifecycle: &Lifecycle) -> Replayer {
    let (store, catalog) = (Arc::clone(&base.store), Arc::clone(&base.catalog));
    let judge = Judge::new(store, catalog, base.clock.clone(), &base.settings);
    let replayer = Replayer::new(judge, relay.clone(), Arc::clone(&base.metrics));
    lifecycle.spawn("replays", Jobs::new(replayer.clone(), base.settings.delivery.lease).run(lifecycle.stopping()));
    replayer
}

/// The use cases of payouts, and the schedule that makes those that fall due.
fn start_payouts(base: &Base, relay: &Relay, lifecycle: &Lifecycle) -> Payouts {
    let (store, catalog) = (Arc::clone(&base.store), Arc::clone(&base.catalog));
    let payouts = Payouts::new(store, catalog, relay.clone(), base.clock.clone(), &base.settings);
    let schedule = Schedule { payouts: payouts.clone(), every: base.settings.payouts.look_every };
    lifecycle.spawn("payouts", schedule.run(lifecycle.stopping()));
    payouts
}

/// What deletes what is old.
fn start_retention(base: &Base, lifecycle: &Lifecycle) {
    let (store, metrics) = (Arc::clone(&base.store), Arc::clone(&base.metrics));
    let retention = Retention { store, clock: base.clock.clone(), metrics, settings: base.settings.retention.clone() };
    lifecycle.spawn("retention", retention.run(lifecycle.stopping()));
}

/// A writer that lasts as long as the service may hand it something: that nobody can call it any more is no failure.
fn spawn_until_drained(lifecycle: &Lifecycle, name: &'static str, writer: impl Future<Output = ()> + Send + 'static) {
    let drained = lifecycle.drained();
    lifecycle.spawn_writer(name, async move {
        writer.await;
        drained.cancelled().await;
    });
}

/// The configuration, with a key that vouches for click ids in it.
async fn load_catalog(store: &Arc<dyn Store>, clock: &Clock) -> Result<Arc<CatalogCache>, StartError> {
    let catalog = CatalogCache::load(store.clone()).await?;
    if catalog.current().newest_mac_key().is_none() {
        let key = MacKey { number: 1, secret: Arc::new(ClickMacKey::generate()) };
        match store.put(&[Entry::MacKey { key, created_at: clock.now() }]).await {
            Ok(_) | Err(StoreError::Exists) => {} // Another instance was first.
            Err(error) => return Err(error.into()),
        }
        catalog.refresh().await?;
    }
    Ok(catalog)
}

fn open_queue(settings: &Settings, lifecycle: &Lifecycle) -> Result<Arc<dyn Queue>, StartError> {
    let ladder = &settings.delivery.ladder;
    let Some(url) = &settings.queue.amqp_url else {
        let capacity = settings.queue.embedded_capacity;
        return Ok(Arc::new(Embedded::new(EmbeddedSettings { capacity, rung_capacity: capacity }, ladder)));
    };
    let of_queue = RabbitMqSettings {
        prefix: settings.queue.prefix.clone(),
        publish_channels: u16::try_from(settings.queue.publish_channels).unwrap_or(u16::MAX),
        prefetch: settings.queue.prefetch,
        max_length: settings.queue.max_length,
        confirm_timeout: settings.queue.confirm_timeout,
        call_timeout: settings.queue.call_timeout,
        ..RabbitMqSettings::new(url.clone())
    };
    // The broker is needed until the last outcome is written, so its tasks outlive the workers.
    let (tracker, stop) = (TaskTracker::new(), lifecycle.drained());
    let queue = RabbitMq::start(of_queue, ladder, tracker.clone(), stop.clone());
    let queue = queue.map_err(|error| StartError::Setting(error.to_string()))?;
    lifecycle.spawn_writer("broker", async move {
        stop.cancelled().await;
        tracker.close();
        tracker.wait().await;
    });
    Ok(queue)
}

fn open_sender(settings: &Settings) -> Result<Sender, StartError> {
    let policy = EgressPolicy::new(settings.outbound.allow_ranges.clone());
    let of_sender = SenderSettings {
        total_timeout: settings.delivery.timeout,
        name_servers: settings.outbound.name_servers.clone(),
        ..SenderSettings::default()
    };
    Sender::new(policy, of_sender).map_err(|error| StartError::Setting(error.to_string()))
}

fn watch(base: &Base, recorder: &Recorder) -> Result<Watch, StartError> {
    let lookout = Lookout::new(
        Arc::clone(&base.store),
        Arc::clone(&base.queue),
        Arc::clone(&base.metrics),
        Arc::clone(&base.heard),
        base.settings.alerts.clone(),
    );
    Ok(Watch {
        lookout,
        store: Arc::clone(&base.store),
        sender: base.sender.clone(),
        clock: base.clock.clone(),
        metrics: Arc::clone(&base.metrics),
        every: base.settings.alerts.evaluate_every,
        channels: alert_channels(&base.settings.alerts)?,
        storing: recorder.storing(),
    })
}

fn alert_channels(settings: &config::Alerts) -> Result<Vec<Channel>, StartError> {
    let mut channels = Vec::new();
    if let (Some(url), Some(secret)) = (&settings.webhook_url, &settings.webhook_secret) {
        let secret = SigningSecret::parse(secret.expose_secret());
        let secret = secret.map_err(|error| StartError::Setting(format!("alerts.webhook_secret: {error}")))?;
        channels.push(Channel { url: url.clone(), form: Form::Webhook(secret) });
    }
    if let Some(url) = &settings.chat_url {
        channels.push(Channel { url: url.clone(), form: Form::Chat });
    }
    Ok(channels)
}
