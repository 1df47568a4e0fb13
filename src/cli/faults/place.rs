//! Where one fault is played: a folder, a database and queues that nobody else uses, and the settings for them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::servers::Servers;
use crate::cli::Failure;
use crate::cli::outside::throwaway::{Folder, master_key};
use crate::domain::encoding::to_hex;

/// Ports below those that the kernel hands out by itself, so that a service finds its own free after it was killed.
const PORTS: std::ops::Range<u16> = 5_000..9_999;
/// How many of them are tried.
const TRIES: u32 = 100;

/// Settings of every service here: short waits, so that what is waited for comes soon. A fault that is about one of them
/// has its own.
const SETTINGS: &[(&str, &str)] = &[
    ("server.drain", "10s"),
    ("outbound.allow_ranges", "127.0.0.0/8"),
    ("log.format", "json"),
    ("log.filter", "warn"),
    ("delivery.ladder", "500ms, 1s, 2s"),
    ("delivery.max_attempts", "1000"),
    ("delivery.timeout", "2s"),
    ("delivery.lease", "4s"),
    ("delivery.republish_after", "5s"),
    ("delivery.hand_back_after", "500ms"),
    ("delivery.direct_after", "10s"),
    ("delivery.sweep_every", "1s"),
    ("delivery.breaker_pause", "1s"),
    ("alerts.evaluate_every", "1s"),
];

/// The two ways in which the service is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stack {
    /// SQLite and the queue in the process.
    Sqlite,
    /// PostgreSQL and RabbitMQ.
    Postgres,
}

impl Stack {
    /// Its name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The place.
pub struct Place {
    /// Which stack it is on.
    pub stack: Stack,
    /// What tells it from all others.
    pub tag: String,
    folder: Folder,
    database: Option<String>,
    settings: Vec<(String, String)>,
}

impl Place {
    /// A new place; `keep` says where its folder is to be, if it shall stay.
    pub async fn new(
        fault: &str,
        stack: Stack,
        servers: Option<&Servers>,
        keep: Option<&Path>,
    ) -> Result<Self, Failure> {
        let tag: [u8; 4] = rand::random();
        let tag = to_hex(&tag);
        let folder = match keep {
            Some(keep) => Folder::given(&keep.join(format!("{fault}-{}", stack.name()))),
            None => Folder::temporary("faults"),
        };
        let folder = folder.map_err(|error| Failure::new(format!("the fault's folder cannot be made: {error}")))?;
        let mut place = Self { stack, tag, folder, database: None, settings: Vec::new() };
        for (name, value) in SETTINGS {
            place.set(name, value);
        }
        let data = place.folder.path().display().to_string();
        place.set("data_dir", &data);
        if let (Stack::Postgres, Some(servers)) = (stack, servers) {
            let database = format!("faults_{}", place.tag);
            servers.psql(None, &format!("CREATE DATABASE {database}")).await?;
            let url = servers.database_url(&database);
            place.set("database.url", &url);
            place.set("master_key", &master_key(&url));
            place.set("queue.amqp_url", &servers.amqp_url);
            place.set("queue.prefix", &format!("faults-{}", place.tag));
            place.database = Some(database);
        }
        Ok(place)
    }

    /// Changes a setting for what is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a setting that was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The settings as environment variables.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variable = |name: &str| format!("POSTBACK_{}", name.replace('.', "_").to_ascii_uppercase());
        self.settings.iter().map(|(name, value)| (variable(name), value.clone())).collect()
    }

    /// The name of a queue or exchange of this place.
    pub fn queue(&self, name: &str) -> String {
        format!("faults-{}.{name}.v1", self.tag)
    }

    /// The name of its database on PostgreSQL.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes it away, unless it was to be kept.
    pub async fn remove(&self, servers: Option<&Servers>) -> Result<(), Failure> {
        if let (Some(database), Some(servers)) = (&self.database, servers) {
            servers.psql(None, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await?;
        }
        let path = self.folder.path().display();
        self.folder.remove().map_err(|error| Failure::new(format!("{path} cannot be removed: {error}")))
    }
}

/// An address that is free, and stays the service's own while it is restarted.
pub fn free_address() -> Result<SocketAddr, Failure> {
    for _ in 0..TRIES {
        let offset = rand::random::<u16>() % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + offset));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new(format!("no free port after {TRIES} tries")))
}
