//! One fault on one stack, from the first postback to the verdict.

mod closing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use url::Url;

use super::catalogue::{Fault, Through};
use super::inbox::Inbox;
use super::instance::{Instance, Program, Start, last_words};
use super::load::{Answers, Load};
use super::place::{Place, Stack, free_address};
use super::proxy::Proxy;
use super::recovery::{End, Recovery};
use super::servers::{Servers, output, until_within};
use super::watch::Watch;
use super::world::{self, AFFILIATES, World};
use crate::cli::Failure;
use crate::cli::outside::book::Book;
use crate::cli::outside::client::Client;
use crate::cli::outside::lane::Lane;

/// How long the sender may take to have everything acknowledged once the fault is over, and the service to settle it.
const PATIENCE: Duration = Duration::from_secs(90);
/// How much memory may be used more after a fault, in KiB.
const FLAT_KIB: u64 = 100 * 1_024;
/// How many postbacks have arrived before the first fault.
const WARM: usize = 100;

/// Everybody who takes part.
pub struct Scene {
    /// Where it is played.
    pub place: Place,
    /// The servers; `None` on the smaller stack.
    pub servers: Option<Arc<Servers>>,
    /// The proxy before the database or the broker, if the fault wants one.
    pub proxy: Option<Proxy>,
    /// The processes of the service.
    pub instances: Vec<Instance>,
    /// Whom it is about.
    pub world: World,
    /// What was fired.
    pub book: Arc<Book>,
    /// The operator.
    pub load: Load,
    /// What `/readyz` said.
    pub watch: Watch,
    /// The answers while the last fault lasted.
    pub answers: Answers,
    /// The answers while any of them lasted.
    all_answers: Answers,
    name: &'static str,
    admin_key: String,
    program: Program,
    recoveries: Vec<Recovery>,
    last_end: Option<End>,
    wrong: Vec<String>,
    notes: Vec<String>,
    receivers: Lane,
}

impl Scene {
    /// Sets everything up and fires until the first postbacks have arrived.
    pub async fn open(
        fault: &Fault,
        stack: Stack,
        servers: Option<&Arc<Servers>>,
        rate: u64,
        keep: Option<&Path>,
    ) -> Result<Self, Failure> {
        let servers = servers.filter(|_| stack == Stack::Postgres).map(Arc::clone);
        let mut place = Place::new(fault.name, stack, servers.as_deref(), keep).await?;
        for (name, value) in fault.settings {
            place.set(name, value);
        }
        // The key is made past the proxy, which is there for the service alone.
        let admin_key =
            Program::new(place.variables())?.run(&["keys", "create", "--role", "admin", "--name", "faults"]).await?;
        let admin_key = admin_key.trim().to_owned();
        let proxy = match (&servers, fault.through) {
            (Some(servers), Through::Database) => {
                Some(before(&mut place, servers.database_address()?, "database.url").await?)
            }
            (Some(servers), Through::Broker) => {
                Some(before(&mut place, servers.broker_address()?, "queue.amqp_url").await?)
            }
            _ => None,
        };
        let program = Program::new(place.variables())?;
        let mut instances = Vec::new();
        for number in 0..fault.instances {
            let log = place.file(&format!("service-{number}.log"));
            let mut instance = program.serve(free_address()?, &(fault.start)(&place), &log)?;
            instance.ready(true).await?;
            instances.push(instance);
        }
        let addresses: Vec<SocketAddr> = instances.iter().map(|instance| instance.address).collect();
        let first = addresses.first().copied().ok_or_else(|| Failure::new("there is no instance".to_owned()))?;
        let receivers = Lane::start("receivers");
        let receivers = receivers.map_err(|error| Failure::new(format!("no thread can be started: {error}")))?;
        let book = Arc::new(Book::new(format!("fault-{}-", place.tag), AFFILIATES));
        let mut admin = Client::new(first, Some(admin_key.clone()));
        let world = world::set_up(first, &mut admin, &place.tag, &book, &receivers).await;
        let world = world.map_err(|error| Failure::new(format!("the set-up failed: {error}")))?;
        let load = Load::start(Arc::clone(&world.recipe), Arc::clone(&book), addresses, rate);
        let scene = Self {
            place,
            servers,
            proxy,
            instances,
            world,
            book,
            load,
            watch: Watch::start(first),
            answers: Answers::default(),
            all_answers: Answers::default(),
            name: fault.name,
            admin_key,
            program,
            recoveries: Vec::new(),
            last_end: None,
            wrong: Vec::new(),
            notes: Vec::new(),
            receivers,
        };
        let warm = until_within(PATIENCE, "the first postbacks have arrived", async || scene.arrived() >= WARM).await;
        warm.map_err(|failure| scene.explain(&failure))?;
        Ok(scene)
    }

    /// How many postbacks have arrived.
    pub fn arrived(&self) -> usize {
        self.world.inboxes.iter().map(|inbox| inbox.look().told.len()).sum()
    }

    /// The servers of the larger stack.
    pub fn servers(&self) -> Result<Arc<Servers>, Failure> {
        self.servers.clone().ok_or_else(|| Failure::new("this fault is one of the larger stack".to_owned()))
    }

    /// The proxy that the fault asked for.
    pub fn proxy(&self) -> Result<&Proxy, Failure> {
        self.proxy.as_ref().ok_or_else(|| Failure::new("this fault has no proxy".to_owned()))
    }

    /// A receiver.
    pub fn inbox(&self, number: usize) -> Result<&Arc<Inbox>, Failure> {
        self.world.inboxes.get(number).ok_or_else(|| Failure::new(format!("there is no receiver {number}")))
    }

    /// An instance.
    pub fn instance(&mut self, number: usize) -> Result<&mut Instance, Failure> {
        self.instances.get_mut(number).ok_or_else(|| Failure::new(format!("there is no instance {number}")))
    }

    /// The file that an instance writes its log to.
    pub fn log(&self, number: usize) -> PathBuf {
        self.place.file(&format!("service-{number}.log"))
    }

    /// A client with an admin key.
    pub fn admin(&self) -> Client {
        Client::new(self.world.recipe.service, Some(self.admin_key.clone()))
    }

    /// The fault begins: from here on answers and `/readyz` are its own.
    pub fn begin(&mut self) {
        self.load.forget_answers();
        self.watch.turn(true);
    }

    /// Lets a fault last.
    pub async fn last(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The fault is over; waits until the service is itself again.
    pub async fn recover(&mut self) -> Result<(), Failure> {
        self.watch.turn(false);
        self.answers = self.load.answers();
        self.all_answers.add(&self.answers);
        let end = End::now(&self.book, &self.world.inboxes, self.load.next());
        let first = end.first(&self.book, &self.world.inboxes, || self.load.next()).await?;
        self.recoveries.push(Recovery { first, drained: None });
        self.last_end = Some(end);
        Ok(())
    }

    /// Something that must hold, or is told as wrong.
    pub fn demand(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.wrong.push(otherwise.into());
        }
    }

    /// The most memory that the first instance has used, in KiB.
    pub fn peak_memory_kib(&mut self) -> Result<u64, Failure> {
        self.instance(0)?.peak_memory_kib()
    }

    /// Whatever happened since the peak of memory was `before`, it grew by little.
    pub fn demand_flat_memory(&mut self, before: u64) -> Result<(), Failure> {
        let grown = self.peak_memory_kib()?.saturating_sub(before);
        self.note(format!("the peak of memory grew by {} MiB", grown / 1_024));
        self.demand(grown <= FLAT_KIB, format!("the peak of memory grew by {grown} KiB"));
        Ok(())
    }

    /// Something worth telling.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Starts an instance again, at its own address, and waits until it is ready. The one before must have ended.
    pub async fn restart(&mut self, number: usize, start: &Start, with_queue: bool) -> Result<(), Failure> {
        self.respawn(number, start)?;
        self.instance(number)?.ready(with_queue).await
    }

    /// Starts an instance again, and does not wait for it.
    pub fn respawn(&mut self, number: usize, start: &Start) -> Result<(), Failure> {
        let log = self.log(number);
        let address = self.instance(number)?.address;
        *self.instance(number)? = self.program.serve(address, start, &log)?;
        Ok(())
    }

    /// Kills an instance where it stands.
    pub async fn kill(&mut self, number: usize) -> Result<(), Failure> {
        self.instance(number)?.kill().await
    }

    /// Runs SQL past the service; answers what it prints.
    pub async fn sql(&self, sql: &str) -> Result<String, Failure> {
        if let Some(servers) = &self.servers {
            return servers.psql(self.place.database(), sql).await;
        }
        let mut command = Command::new("sqlite3");
        command.args(["-bail", "-cmd", ".timeout 20000"]).arg(self.place.file("postback.sqlite")).arg(sql);
        output(&mut command, "sqlite3").await
    }

    /// A failure with what the service said last.
    pub fn explain(&self, failure: &Failure) -> Failure {
        let said: Vec<String> = (0..self.instances.len()).map(|number| last_words(&self.log(number))).collect();
        Failure::new(format!("{}\nthe service's last words:\n{}", failure.sentence, said.join("\n---\n")))
    }
}

/// Puts a proxy before a server: the setting leads to it from now on.
async fn before(place: &mut Place, upstream: String, setting: &'static str) -> Result<Proxy, Failure> {
    let proxy = Proxy::start(upstream).await?;
    let wrong = || Failure::new(format!("{setting} is no address"));
    let mut url = Url::parse(place.get(setting).ok_or_else(wrong)?).map_err(|_| wrong())?;
    url.set_ip_host(proxy.address().ip()).map_err(|()| wrong())?;
    url.set_port(Some(proxy.address().port())).map_err(|()| wrong())?;
    place.set(setting, url.as_str());
    Ok(proxy)
}
