//! The service that is measured: one that runs already, or one that is started as a process of its own, so that its CPU
//! time is not mixed with ours.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::Failure;
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::{self, SetUpError};

/// How long a service may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is asked.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The service's last words that are kept.
const KEPT_LINES: usize = 20;

/// Where the service is.
pub struct Service {
    /// Its address.
    pub address: SocketAddr,
    /// An admin key.
    pub admin_key: String,
    /// The process that was started.
    child: Option<Child>,
    said: Lines,
    /// The instances beside this one.
    others: Vec<Self>,
}

type Lines = Arc<Mutex<VecDeque<String>>>;

/// What `/readyz` says of the servers behind the service.
pub struct Stack {
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// `embedded` or `rabbitmq`.
    pub queue: String,
}

impl Service {
    /// A service that runs already, by its `http://` address.
    pub fn at(url: &str, admin_key: String) -> Result<Self, Failure> {
        let unusable = || Failure::of_input(format!("{url} is not http://host:port of a service that can be reached"));
        let rest = url.strip_prefix("http://").ok_or_else(unusable)?;
        let mut addresses = rest.trim_end_matches('/').to_socket_addrs().map_err(|_| unusable())?;
        let address = addresses.next().ok_or_else(unusable)?;
        Ok(Self { address, admin_key, child: None, said: Lines::default(), others: Vec::new() })
    }

    /// Starts so many instances with these settings, as environment variables, and nothing else in their environment.
    pub async fn start(variables: &[(String, String)], instances: usize) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("the service cannot be started: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(&program);
        command.env_clear().envs(variables.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        let made = command.args(["keys", "create", "--role", "admin", "--name", "bench"]).output().await;
        let made = made.map_err(failed)?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            return Err(Failure::new(format!("an admin key cannot be made: {said}")));
        }
        let admin_key = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let mut service = Self::serve(&program, variables, &admin_key).await?;
        for _ in 1..instances {
            service.others.push(Self::serve(&program, variables, &admin_key).await?);
        }
        Ok(service)
    }

    async fn serve(program: &Path, variables: &[(String, String)], admin_key: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("the service cannot be started: {error}"));
        let mut command = Command::new(program);
        command.arg("serve").env_clear().envs(variables.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(failed)?;
        let said = Lines::default();
        let (address, listens) = tokio::sync::oneshot::channel();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(BufReader::new(stderr).lines(), Arc::clone(&said), address));
        }
        let address = tokio::time::timeout(PATIENCE, listens).await.ok().and_then(Result::ok);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin_key = admin_key.to_owned();
        let mut service = Self { address: nowhere, admin_key, child: Some(child), said, others: Vec::new() };
        let Some(address) = address else { return Err(service.failed("does not start")) };
        service.address = address;
        Ok(service)
    }

    /// The processes that were started.
    pub fn pids(&self) -> Vec<u32> {
        self.instances().filter_map(|instance| instance.child.as_ref().and_then(Child::id)).collect()
    }

    /// Where its instances are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.instances().map(|instance| instance.address).collect()
    }

    fn instances(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// A client with the admin key.
    pub fn admin(&self) -> Client {
        Client::new(self.address, Some(self.admin_key.clone()))
    }

    /// Waits until every instance can take postbacks in and its queue works; answers what stands behind the first.
    pub async fn ready(&self) -> Result<Stack, Failure> {
        for other in &self.others {
            other.ready_itself().await?;
        }
        self.ready_itself().await
    }

    async fn ready_itself(&self) -> Result<Stack, Failure> {
        let (mut admin, began) = (self.admin(), Instant::now());
        loop {
            let state = setup::read(&mut admin, "/readyz").await;
            if let Ok(state) = &state
                && let Some(stack) = stack(state)
            {
                return Ok(stack);
            }
            if began.elapsed() > PATIENCE {
                return Err(self.failed("is not ready"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A sum over the lines of one metric that hold one of `labels`, of all instances.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<u64, SetUpError> {
        let mut sum = 0;
        for address in self.addresses() {
            let answer = Client::new(address, None).get("/metrics").await?;
            sum += sum_of(&answer.text(), name, labels);
        }
        Ok(sum)
    }

    /// Stops it, if it was started here: asked first, killed when it takes too long.
    pub async fn stop(mut self) {
        for other in std::mem::take(&mut self.others) {
            other.stop_itself().await;
        }
        self.stop_itself().await;
    }

    async fn stop_itself(mut self) {
        let Some(mut child) = self.child.take() else { return };
        let asked = match child.id() {
            Some(pid) => Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.is_ok(),
            None => false,
        };
        if !asked || tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            // It may have ended meanwhile; what it kept is thrown away.
            let _ = child.kill().await;
        }
    }

    fn failed(&self, what: &str) -> Failure {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = said.iter().map(String::as_str).collect();
        Failure::new(format!("the service {what}; its last words:\n{}", last.join("\n")))
    }
}

fn stack(state: &Value) -> Option<Stack> {
    let is = |pointer| state.pointer(pointer).and_then(Value::as_bool) == Some(true);
    let text = |pointer| state.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let works = is("/ready") && is("/queue/publishing") && is("/queue/consuming");
    let stack = Stack { engine: text("/engine")?, queue: text("/queue/kind")? };
    works.then_some(stack)
}

/// Keeps the last lines of its log, and tells where it listens.
async fn listen(
    mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    said: Lines,
    address: tokio::sync::oneshot::Sender<SocketAddr>,
) {
    let mut address = Some(address);
    while let Ok(Some(line)) = lines.next_line().await {
        if address.is_some()
            && let Some(found) = address_in(&line)
            && let Some(waiting) = address.take()
        {
            // Whoever waited may have given up.
            let _ = waiting.send(found);
        }
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= KEPT_LINES {
            said.pop_front();
        }
        said.push_back(line);
    }
}

/// The address in the log line that tells it.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line.get("message")?.as_str()? == "listening").then_some(())?;
    line.get("address")?.as_str()?.parse().ok()
}

/// The sum of the samples of a metric whose labels hold one of `labels`; of all samples if there are none.
fn sum_of(text: &str, name: &str, labels: &[&str]) -> u64 {
    let value = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        let rest = sample.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('{'))?;
        let wanted = labels.is_empty() || labels.iter().any(|label| rest.contains(label));
        wanted.then(|| value.split('.').next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# HELP a_total x\na_total{outcome=\"failed\"} 3\na_total{outcome=\"unknown\"} 4\n\
                    a_total{outcome=\"delivered\"} 90\na_total_more 7\n";
        assert_eq!(sum_of(text, "a_total", &["\"failed\"", "\"unknown\""]), 7);
        assert_eq!(sum_of(text, "a_total", &[]), 97);
        assert_eq!(sum_of(text, "b", &[]), 0);
    }

    #[test]
    fn the_address_is_in_one_line_of_the_log() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:81"}"#;
        assert_eq!(address_in(line), "127.0.0.1:81".parse().ok());
        assert_eq!(address_in(r#"{"message":"stopping"}"#), None);
        assert_eq!(address_in("plain"), None);
    }
}
