//! Starts the built binary in a folder of its own, reads what it writes, and stops it by its process id.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::support::eventually;

/// How long one command may take: a demo in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A folder that is gone when the test is.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("postback-cli-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// A started command. It is killed when the test forgets it.
pub struct Program {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// What a command came to.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What it wrote to standard output, if it ended with 0.
    pub fn succeeded(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.out, self.err);
        self.out
    }

    /// What it wrote to standard error, if it ended with this code.
    pub fn failed_with(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.out, self.err);
        self.err
    }
}

/// Starts `postback` with these arguments and nothing in its environment but `variables`.
pub fn start(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let (out, err) = (folder.join(&format!("{name}.out")), folder.join(&format!("{name}.err")));
    let child = Command::new(env!("CARGO_BIN_EXE_postback"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    Program { child, out, err }
}

/// Starts `postback`, and waits for its end.
pub fn run(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> impl Future<Output = Ended> + use<> {
    start(folder, arguments, variables).ended()
}

impl Program {
    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let status = waited.unwrap_or_else(|_| panic!("it does not end\n{}\n{}", self.out(), self.err()));
        Ended { status, out: self.out(), err: self.err() }
    }

    /// Kills it as `kill -9` does.
    pub async fn kill(mut self) {
        assert!(self.is_running(), "it ended before it was killed\n{}\n{}", self.out(), self.err());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a supervisor does.
    pub fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The address that a started service says it listens on.
    pub async fn address(&mut self) -> String {
        let find = |log: &str| {
            let plain = log.split("address=").nth(1)?;
            plain.split_whitespace().next().map(str::to_owned)
        };
        eventually("the service says where it listens", async || {
            assert!(self.is_running(), "{}", self.err());
            find(&self.err()).is_some()
        })
        .await;
        find(&self.err()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_running() {
            self.child.kill().unwrap_or_default();
            drop(self.child.wait());
        }
    }
}

/// The status that a service answers to a GET, with a key if there is one; 0 where it does not answer.
pub fn status_of(address: &str, path: &str, key: Option<&str>) -> u16 {
    use std::io::{Read as _, Write as _};
    let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let exchange = || {
        let mut connection = std::net::TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    exchange().ok().and_then(|answer| answer.get(9..12)?.parse().ok()).unwrap_or_default()
}
