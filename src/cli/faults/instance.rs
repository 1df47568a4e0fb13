//! One process of the service under test: this very program, started, killed, stopped and started again.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::servers::output;
use crate::cli::Failure;
use crate::cli::outside::client::Client;

/// How long a process may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of its log that are shown when something went wrong.
const SHOWN_LINES: usize = 12;

/// How a process is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Where it is aborted or stalled, as `POSTBACK_FAILPOINT` has it.
    pub failpoint: Option<String>,
    /// A file that steps its clock while it runs, as `POSTBACK_CLOCK_STEP` has it.
    pub clock_step: Option<PathBuf>,
    /// The longest file that it may write, as on a disk that is full then.
    pub file_bytes: Option<u64>,
}

/// The process. Killed when dropped.
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// What a process is started with at a place.
pub struct Program {
    path: PathBuf,
    variables: Vec<(String, String)>,
}

impl Program {
    /// This very program with these variables and nothing else in its environment but where programs are found.
    pub fn new(variables: Vec<(String, String)>) -> Result<Self, Failure> {
        let path = std::env::current_exe();
        let path = path.map_err(|error| Failure::new(format!("this program cannot be found: {error}")))?;
        Ok(Self { path, variables })
    }

    /// Runs a subcommand to its end; answers what it prints.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new(&self.path);
        command.args(arguments).env_clear().envs(self.variables.iter().cloned());
        output(&mut command, &format!("postback {}", arguments.join(" "))).await
    }

    /// Starts the service at an address; it writes its log to `log`, after what is there already.
    pub fn serve(&self, address: SocketAddr, start: &Start, log: &Path) -> Result<Instance, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("the service cannot be started: {error}"));
        let file = OpenOptions::new().append(true).create(true).open(log).map_err(failed)?;
        let mut command = match start.file_bytes {
            // The limit is soft and in blocks of 512 bytes; a write beyond it fails instead of ending the process.
            Some(bytes) => {
                let mut shell = Command::new("/bin/sh");
                let limited = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" serve", bytes / 512);
                shell.args(["-c", &limited]).arg(&self.path);
                shell
            }
            None => {
                let mut command = Command::new(&self.path);
                command.arg("serve");
                command
            }
        };
        command.env_clear().envs(self.variables.iter().cloned()).env("POSTBACK_SERVER_LISTEN", address.to_string());
        command.envs(start.failpoint.iter().map(|order| ("POSTBACK_FAILPOINT", order)));
        command.envs(start.clock_step.iter().map(|file| ("POSTBACK_CLOCK_STEP", file)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).kill_on_drop(true);
        Ok(Instance { address, child: command.spawn().map_err(failed)?, log: log.to_owned() })
    }
}

impl Instance {
    /// Waits until it takes postbacks in, and, if `with_queue`, until its queue works.
    pub async fn ready(&mut self, with_queue: bool) -> Result<(), Failure> {
        let (mut client, began) = (Client::new(self.address, None), Instant::now());
        while began.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failure(&format!("ended with {status}")));
            }
            if let Ok(answer) = client.get("/readyz").await
                && answer.status == 200
                && (!with_queue || queue_works(&answer.json()))
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(self.failure("is not ready"))
    }

    /// Its process.
    pub fn pid(&self) -> Result<String, Failure> {
        self.child.id().map(|pid| pid.to_string()).ok_or_else(|| self.failure("has ended"))
    }

    /// Kills it where it stands.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| self.failure(&format!("cannot be killed: {error}")))
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(self.failure(&format!("cannot be waited for: {error}"))),
            Err(_) => Err(self.failure("does not end")),
        }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn terminate(&mut self) -> Result<ExitStatus, Failure> {
        self.signal("-TERM").await?;
        self.ended().await
    }

    /// Sends it a signal.
    pub async fn signal(&self, signal: &str) -> Result<(), Failure> {
        output(Command::new("kill").args([signal, &self.pid()?]), "kill").await.map(drop)
    }

    /// Lets it write files of any length again.
    pub async fn lift_file_limit(&self) -> Result<(), Failure> {
        let pid = self.pid()?;
        output(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]), "prlimit").await.map(drop)
    }

    /// The most memory that it has used, in KiB.
    pub fn peak_memory_kib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?));
        let status = status.map_err(|error| self.failure(&format!("has no /proc: {error}")))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak.ok_or_else(|| self.failure("has no peak of memory"))
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(format!("the service {what}; its last words:\n{}", last_words(&self.log)))
    }
}

/// The end of a log.
pub fn last_words(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_else(|error| format!("(no log: {error})"));
    let lines: Vec<&str> = said.lines().collect();
    lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
}

/// Lines of a log that nothing may cause: a panic.
pub fn panics(log: &Path) -> usize {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    said.lines().filter(|line| line.contains("panicked at")).count()
}

/// Whether `/readyz` says that the queue publishes and consumes.
pub fn queue_works(state: &Value) -> bool {
    let is = |pointer| state.pointer(pointer).and_then(Value::as_bool) == Some(true);
    is("/queue/publishing") && is("/queue/consuming")
}
