//! Sender, payer, receiver and world of one run, and the run itself: fire, pay, wait until all is told, show how far
//! it is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

use super::books;
use super::journal::Journal;
use super::kept::Kept;
use super::payer::Payer;
use super::plan::{self, Payout, Story};
use super::receiver::{self, Receiver};
use super::sender::{Sender, SenderParts};
use super::world::{self, World};
use crate::cli::keys::{self, NewKey};
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::SetUpError;
use crate::cli::outside::throwaway::Folder;
use crate::cli::{Failure, print};
use crate::domain::catalog::Role;
use crate::domain::secret::ApiKey;
use crate::http::state::HttpState;
use crate::lifecycle::Lifecycle;
use crate::store::Store;

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked whether all is told.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When nothing was delivered for so long, what is missing will not come. Longer than any lease, wait or sweep.
const STILLNESS: Duration = Duration::from_secs(40);
/// The same where nothing even waits to be delivered: longer than it takes to find a parked postback's click.
const EMPTINESS: Duration = Duration::from_secs(10);

/// Everybody who takes part beside the service.
pub struct Stage {
    /// Whom it is about.
    pub world: Arc<World>,
    /// The operator's server.
    pub sender: Sender,
    /// The subscribers' server.
    pub receiver: Arc<Receiver>,
    payer: Payer,
    stories: Vec<Story>,
    /// How many postbacks were fired when the affiliates were paid; nothing as long as they were not.
    paid_after: (Journal, Option<usize>),
    payouts: Vec<Payout>,
    /// How many messages the payouts have caused.
    told_of_payouts: AtomicUsize,
    /// For each step the messages that it causes.
    messages: Vec<usize>,
}

impl Stage {
    /// Makes or finds again what the demo needs, and starts the receiver.
    pub async fn set(
        folder: &Folder,
        kept: &mut Kept,
        state: &HttpState,
        service: SocketAddr,
        lifecycle: &Lifecycle,
    ) -> Result<Self, Failure> {
        let run = kept.runs;
        save(kept, folder)?;
        let admin_key = admin_key(kept, folder, state).await?;
        let listener = find_world(kept, folder, &mut Client::new(service, Some(admin_key.clone()))).await?;
        let world = kept.world.take().ok_or_else(|| Failure::new("the set-up is not there".to_owned()))?;
        let world = Arc::new(world);

        let (journal, earlier) = open(&folder.path().join("received.journal"))?;
        let secrets = world.endpoints.iter().map(|endpoint| (endpoint.name.clone(), endpoint.secret.clone()));
        let receiver = Receiver::new(secrets, journal, earlier, state.clock.clone(), run);
        let receiver = receiver.map_err(|error| Failure::new(format!("an endpoint's secret: {error}")))?;
        let receiver = Arc::new(receiver);
        // It outlives the service's workers, whose last attempts want their answers.
        lifecycle.spawn_writer("demo receiver", Arc::clone(&receiver).run(listener, lifecycle.drained()));

        let (paid_after, marks) = open::<usize>(&folder.path().join("paid.journal"))?;
        let mark = marks.first().copied();
        let payer = Payer { demo: kept.name.clone(), service, maker_key: admin_key };
        let stories = plan::stories(kept.events);
        let sender = Sender::new(SenderParts {
            demo: kept.name.clone(),
            run,
            service,
            world: Arc::clone(&world),
            clock: state.clock.clone(),
            stories: stories.clone(),
            acks: open(&folder.path().join("sent.journal"))?,
            clicks: open(&folder.path().join("clicks.journal"))?,
        });
        let sender = sender.map_err(|error| Failure::new(error.to_string()))?;
        let mut messages = vec![0; kept.events];
        for told in stories.iter().flat_map(|story| story.outcome().told) {
            // The affiliate is told, and the operator.
            if let Some(count) = messages.get_mut(told.step) {
                *count += 2;
            }
        }
        let (paid_after, payouts) = ((paid_after, mark), plan::payouts(mark.unwrap_or(kept.events)));
        Ok(Self {
            world,
            sender,
            receiver,
            payer,
            stories,
            paid_after,
            payouts,
            told_of_payouts: AtomicUsize::new(0),
            messages,
        })
    }

    /// Who takes part, for whoever watches.
    pub fn opening(&self, state: &HttpState, kept: &Kept, service: SocketAddr, folder: &Folder) -> String {
        let engine = state.store.engine();
        let queue = if state.settings.queue.amqp_url.is_some() { "RabbitMQ" } else { "the queue in this process" };
        let earlier = self.sender.acknowledged();
        let again =
            if kept.runs > 1 { format!(", of which {earlier} were acknowledged before") } else { String::new() };
        format!(
            "The service listens on http://{service} ({engine}, {queue}); the demo's folder is {}\n\
             Firing {} signed postbacks{again}; {} messages are due to {} endpoints, some of which fail on purpose.\n",
            folder.path().display(),
            kept.events,
            self.due(),
            self.world.endpoints.len(),
        )
    }

    /// How to look around in a service that goes on.
    pub fn addresses(&self, admin_key: &str, service: SocketAddr) -> String {
        let mut text = format!(
            "Look around (these keys work in this demo only):\n\
             \x20 curl -H 'Authorization: Bearer {admin_key}' 'http://{service}/v1/admin/commissions?limit=3'\n\
             \x20 the interface, to browse: http://{service}/docs\n\
             \x20 operator {}: {}\n",
            self.world.operator_id, self.world.operator_key
        );
        for affiliate in &self.world.affiliates {
            text.push_str(&format!(
                "  affiliate {}: {}, link http://{service}/c/{}\n",
                affiliate.id, affiliate.key, affiliate.link
            ));
        }
        text
    }

    /// Fires what is left, pays the affiliates once, and waits until everything is told, showing how far it is.
    ///
    /// # Errors
    /// When a journal cannot be written or the database cannot be read. What is not told within a time is no error
    /// here: the judge will miss it.
    pub async fn play(&self, store: &dyn Store) -> Result<(), Failure> {
        let work = async {
            // What was begun is ended first: what comes now is not paid any more.
            if self.paid_after.1.is_some() {
                self.pay().await?;
            }
            self.sender.fire_all().await.map_err(|error| Failure::new(error.to_string()))?;
            if self.paid_after.1.is_none() {
                self.all_told(store, self.messages.iter().sum()).await?;
                let written = self.paid_after.0.write(&self.messages.len());
                written.map_err(|error| Failure::new(format!("paid.journal cannot be written: {error}")))?;
                self.pay().await?;
            }
            self.all_told(store, self.due()).await
        };
        tokio::select! {
            done = work => { done?; }
            failed = self.show_progress() => failed?,
        }
        print(&self.progress())
    }

    async fn pay(&self) -> Result<(), Failure> {
        let paid = self.payer.pay(&self.world, &self.payouts).await;
        paid.map_err(|error| Failure::new(format!("the affiliates cannot be paid: {error}")))?;
        self.told_of_payouts.store(self.due_of_payouts(), Ordering::Relaxed);
        Ok(())
    }

    /// Waits until so many messages were delivered and none is left.
    async fn all_told(&self, store: &dyn Store, due: usize) -> Result<(), Failure> {
        let (mut last, mut since) = (self.receiver.delivered(), Instant::now());
        loop {
            let (delivered, waiting) = (self.receiver.delivered(), books::is_waiting(store, &self.world).await?);
            if delivered >= due && !waiting {
                return Ok(());
            }
            if delivered != last {
                (last, since) = (delivered, Instant::now());
            }
            if since.elapsed() > if waiting { STILLNESS } else { EMPTINESS } {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Shows progress for ever; ends when it cannot be shown.
    async fn show_progress(&self) -> Result<(), Failure> {
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            print(&self.progress())?;
        }
    }

    fn progress(&self) -> String {
        let (acks, delivered) = (self.sender.acks(), self.receiver.delivered());
        let caused: usize = acks.iter().filter_map(|ack| self.messages.get(ack.step)).sum();
        let caused = caused.saturating_add(self.told_of_payouts.load(Ordering::Relaxed));
        let (fired, acknowledged, total) = (self.sender.fired(), acks.len(), self.messages.len());
        let (due, waiting) = (self.due(), caused.saturating_sub(delivered));
        format!(
            "  fired {fired:>6}   acknowledged {acknowledged:>6} of {total}   delivered {delivered:>6} of {due}   waiting {waiting:>6}\n"
        )
    }

    /// How many messages must arrive in all.
    fn due(&self) -> usize {
        self.messages.iter().sum::<usize>().saturating_add(self.due_of_payouts())
    }

    /// How many of them tell of payouts.
    fn due_of_payouts(&self) -> usize {
        self.payouts.len().saturating_mul(Payout::MESSAGES)
    }

    /// What was to be paid.
    pub fn payouts(&self) -> Vec<Payout> {
        self.payouts.clone()
    }

    /// What was to happen.
    pub fn stories(&self) -> Vec<Story> {
        self.stories.clone()
    }
}

fn save(kept: &Kept, folder: &Folder) -> Result<(), Failure> {
    kept.save(folder).map_err(|error| Failure::new(format!("demo.json cannot be written: {error}")))
}

fn open<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(Journal, Vec<T>), Failure> {
    Journal::open(path).map_err(|error| Failure::new(format!("{} cannot be used: {error}", path.display())))
}

/// The admin key of the runs before, or a new one.
async fn admin_key(kept: &mut Kept, folder: &Folder, state: &HttpState) -> Result<String, Failure> {
    if let Some(key) = &kept.admin_key {
        let known = ApiKey::parse(key).is_some_and(|key| state.catalog.current().key(key.public_id()).is_some());
        if !known {
            return Err(Failure::of_input("this folder belongs to a demo on another database".to_owned()));
        }
        return Ok(key.clone());
    }
    let new = NewKey { name: "demo".to_owned(), ..NewKey::of(Role::Admin, &state.settings) };
    let key = keys::create(state.store.as_ref(), new, state.clock.now()).await?;
    state.catalog.refresh().await?;
    let key = key.to_text().expose_secret().to_owned();
    kept.admin_key = Some(key.clone());
    save(kept, folder)?;
    Ok(key)
}

/// The receiver's listener, with a world whose endpoints point at it in `kept`.
async fn find_world(kept: &mut Kept, folder: &Folder, admin: &mut Client) -> Result<TcpListener, Failure> {
    let no_port = |error: std::io::Error| Failure::new(format!("the demo's receiver cannot listen: {error}"));
    let listener = match receiver::listen(kept.receiver_port).await {
        Ok(listener) => listener,
        // Somebody else has the port of the runs before: the endpoints move.
        Err(_) if kept.receiver_port.is_some() => receiver::listen(None).await.map_err(no_port)?,
        Err(error) => return Err(no_port(error)),
    };
    let port = listener.local_addr().map_err(no_port)?.port();
    let failed = |error: SetUpError| Failure::new(format!("the set-up failed: {error}"));
    match &kept.world {
        Some(world) if kept.receiver_port != Some(port) => {
            world::move_endpoints(admin, world, port).await.map_err(failed)?
        }
        Some(_) => {}
        None => kept.world = Some(world::set_up(admin, &kept.name, port).await.map_err(failed)?),
    }
    kept.receiver_port = Some(port);
    save(kept, folder)?;
    Ok(listener)
}
