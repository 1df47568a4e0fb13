//! The built program as a process of its own, to be killed, and HTTP to talk to it.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::site::Site;
use super::{eventually, soon};

/// How long a request may take before it is given up: above what the service grants itself.
const GIVE_UP_AFTER: Duration = Duration::from_secs(6);
/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");
/// The signal that a failpoint ends a process with.
const SIGABRT: i32 = 6;

/// `postback serve`, running. Killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    pub address: SocketAddr,
}

impl Process {
    /// Starts it with the settings of `site` and, if there is one, a failpoint; waits until it and its queue are ready.
    pub async fn start(site: &Site, failpoint: Option<&str>) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("serve");
        Self::run(command, site, failpoint).await
    }

    /// The same with more variables in its environment.
    pub async fn start_among(site: &Site, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").envs(variables.iter().copied());
        Self::run(command, site, None).await
    }

    /// The same with files of at most `bytes`, as on a disk that is full then; [`Process::lift_file_limit`] makes room.
    pub async fn start_with_files_up_to(site: &Site, bytes: u64) -> Self {
        // The limit is soft and in blocks of 512 bytes; a write beyond it fails instead of ending the process.
        let limited = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" serve", bytes / 512);
        let mut command = Command::new("sh");
        command.args(["-c", &limited, PROGRAM]);
        Self::run(command, site, None).await
    }

    /// Makes room again after [`Process::start_with_files_up_to`].
    pub async fn lift_file_limit(&self) {
        let id = self.id().to_string();
        let lifted = Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited:"]).status().await.unwrap();
        assert!(lifted.success());
    }

    async fn run(mut command: Command, site: &Site, failpoint: Option<&str>) -> Self {
        command
            .envs(site.variables())
            .envs(failpoint.map(|order| ("POSTBACK_FAILPOINT", order)))
            .env("POSTBACK_LOG_FORMAT", "json")
            .current_dir(site.get("data_dir"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // What is not JSON is a last word, such as a panic's.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(line);
            }
        });
        let address = Mutex::new(None);
        eventually("the service listens", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the service ended with {status}: {:#?}", log.lock().unwrap());
            }
            let found = log.lock().unwrap().iter().find_map(|line| {
                let listening = line["message"] == "listening";
                listening.then(|| line["address"].as_str().unwrap().parse().unwrap())
            });
            *address.lock().unwrap() = found;
            found.is_some()
        })
        .await;
        let address = address.into_inner().unwrap().unwrap();
        let process = Self { child, log, address };
        eventually("the service is ready", async || {
            let ready = request(address, "GET", "/readyz", None).await;
            ready.is_ok_and(|(status, body)| {
                status == 200 && body["queue"]["publishing"] == true && body["queue"]["consuming"] == true
            })
        })
        .await;
        process
    }

    /// Waits until a failpoint has aborted it.
    pub async fn aborted(mut self) {
        let status = soon("the failpoint is passed", self.child.wait()).await.unwrap();
        assert_eq!(status.signal(), Some(SIGABRT), "{status}: {:#?}", self.log());
    }

    /// Kills it where it stands.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub async fn terminate(mut self) -> ExitStatus {
        let id = self.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(told.success());
        soon("the service stops", self.child.wait()).await.unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Its log lines so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log.lock().map(|lines| lines.clone()).unwrap_or_default();
            eprintln!("the service said:");
            lines.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// One request; the status and the JSON body, `Null` where there is none.
///
/// # Errors
/// When no answer comes.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
) -> Result<(u16, Value), Box<dyn std::error::Error>> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(GIVE_UP_AFTER));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = hyper::Request::builder().method(method).uri(format!("http://{address}{path}"));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let exchange = async {
        let answer = client.request(request.body(Full::default())?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    };
    tokio::time::timeout(GIVE_UP_AFTER, exchange).await?
}
