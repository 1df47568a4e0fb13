//! The private servers that scripts/servers starts, and what may be done to them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use url::Url;

use crate::cli::Failure;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often is asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// PostgreSQL and RabbitMQ.
pub struct Servers {
    /// The broker.
    pub amqp_url: String,
    postgres_url: String,
    pgctl: PathBuf,
    broker_pid: PathBuf,
    broker_program: PathBuf,
    broker_ctl: PathBuf,
}

impl Servers {
    /// What the variables of scripts/servers tell; `None` without them.
    pub fn of(variables: &[(OsString, OsString)]) -> Option<Self> {
        let value = |name: &str| {
            let found =
                variables.iter().find(|(known, _)| known.to_str() == Some(format!("POSTBACK_TEST_{name}").as_str()));
            found.and_then(|(_, value)| value.clone().into_string().ok())
        };
        Some(Self {
            amqp_url: value("AMQP_URL")?,
            postgres_url: value("POSTGRES_URL")?,
            pgctl: value("POSTGRES_PGCTL")?.into(),
            broker_pid: value("RABBITMQ_PID_FILE")?.into(),
            broker_program: value("RABBITMQ_SERVER")?.into(),
            broker_ctl: value("RABBITMQ_CTL")?.into(),
        })
    }

    /// The address of a database.
    pub fn database_url(&self, database: &str) -> String {
        let server = self.postgres_url.rsplit_once('/').map_or(self.postgres_url.as_str(), |(server, _)| server);
        format!("{server}/{database}")
    }

    /// Where PostgreSQL listens, as `host:port`.
    pub fn database_address(&self) -> Result<String, Failure> {
        authority(&self.postgres_url, 5_432)
    }

    /// Where the broker listens, as `host:port`.
    pub fn broker_address(&self) -> Result<String, Failure> {
        authority(&self.amqp_url, 5_672)
    }

    /// Runs SQL, in a database or beside all of them; answers what it prints.
    pub async fn psql(&self, database: Option<&str>, sql: &str) -> Result<String, Failure> {
        let url = database.map_or_else(|| self.postgres_url.clone(), |database| self.database_url(database));
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        output(command.arg(url), "psql").await
    }

    /// Stops PostgreSQL as a crash would.
    pub async fn stop_database(&self) -> Result<(), Failure> {
        output(Command::new(&self.pgctl).args(["stop", "-m", "immediate"]), "pg_ctl stop").await.map(drop)
    }

    /// Starts PostgreSQL and waits until it takes connections. What it says goes to its own log.
    pub async fn start_database(&self) -> Result<(), Failure> {
        let mut command = Command::new(&self.pgctl);
        command.arg("start").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().await.map_err(|error| Failure::new(format!("pg_ctl start: {error}")))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("pg_ctl start: {status}"))) }
    }

    /// Kills the broker where it stands, or asks it to stop; waits until it is gone.
    pub async fn stop_broker(&self, signal: &str) -> Result<(), Failure> {
        let pid = std::fs::read_to_string(&self.broker_pid)
            .map_err(|error| Failure::new(format!("the broker's process is unknown: {error}")))?;
        let pid = pid.trim();
        output(Command::new("kill").args([signal, pid]), "kill").await?;
        // A child that has ended and was not waited for has no command line any more.
        let command_line = format!("/proc/{pid}/cmdline");
        let gone = || std::fs::read(&command_line).map_or(true, |line| line.is_empty());
        until("the broker stops", async || gone()).await
    }

    /// Starts the broker again, with the same port and the same data, and waits until it listens.
    pub async fn start_broker(&self) -> Result<(), Failure> {
        let mut command = Command::new(&self.broker_program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| Failure::new(format!("the broker cannot be started: {error}")))?;
        // It outlives this fault, and scripts/servers stops it; only its end is noticed here.
        tokio::spawn(async move {
            // However it ends, somebody wanted it to.
            let _ = child.wait().await;
        });
        self.await_broker().await
    }

    async fn await_broker(&self) -> Result<(), Failure> {
        let address = self.broker_address()?;
        until("the broker listens", async || TcpStream::connect(&address).await.is_ok()).await
    }

    /// Whatever a fault did to the servers, they run again.
    pub async fn restore(&self) -> Result<(), Failure> {
        let database = self.database_address()?;
        if TcpStream::connect(&database).await.is_err() {
            self.start_database().await?;
        }
        if TcpStream::connect(self.broker_address()?).await.is_err() {
            self.start_broker().await?;
        }
        Ok(())
    }

    /// Runs rabbitmqctl; answers what it prints.
    pub async fn broker_ctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        output(Command::new(&self.broker_ctl).args(arguments), "rabbitmqctl").await
    }
}

fn authority(url: &str, port: u16) -> Result<String, Failure> {
    let wrong = || Failure::of_input("the address of a server cannot be read".to_owned());
    let url = Url::parse(url).map_err(|_| wrong())?;
    Ok(format!("{}:{}", url.host_str().ok_or_else(wrong)?, url.port().unwrap_or(port)))
}

/// Runs a program to its end; answers what it prints.
pub async fn output(command: &mut Command, name: &str) -> Result<String, Failure> {
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| Failure::new(format!("{name} cannot be run: {error}")))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let (said, told) = (String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    Err(Failure::new(format!("{name} ended with {}: {} {}", ran.status, said.trim(), told.trim())))
}

/// Waits for a condition.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) -> Result<(), Failure> {
    until_within(PATIENCE, what, holds).await
}

/// Waits for a condition for so long at most.
pub async fn until_within(patience: Duration, what: &str, holds: impl AsyncFn() -> bool) -> Result<(), Failure> {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let waited = tokio::time::timeout(patience, waiting).await;
    waited.map_err(|_| Failure::new(format!("waited {} s in vain: {what}", patience.as_secs())))
}
