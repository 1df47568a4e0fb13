//! A service of its own and a shell beside it, as a reader of our pages has them: blocks are run as they are pasted.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");

/// A folder that is removed, and a service that is killed, at the end.
pub struct Tour {
    folder: PathBuf,
    service: Child,
    port: u16,
}

impl Drop for Tour {
    fn drop(&mut self) {
        self.service.kill().unwrap();
        self.service.wait().unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Tour {
    /// Starts the service on an empty folder, and waits until it listens.
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("postback-tour-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        let port = free_port();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let service = variables(&mut command, &folder, port).spawn().unwrap();
        let tour = Self { folder, service, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the service does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        tour
    }

    /// Runs the script as a reader's shell would, and answers all that it printed.
    pub fn paste(&self, script: &str) -> String {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).stdin(Stdio::null());
        let run = variables(&mut shell, &self.folder, self.port).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{said}");
        said
    }
}

fn variables<'a>(command: &'a mut Command, folder: &Path, port: u16) -> &'a mut Command {
    command
        .current_dir(folder)
        .env_remove("DATABASE_URL")
        .env_remove("AMQP_URL")
        .env("POSTBACK_SERVER_LISTEN", format!("127.0.0.1:{port}"))
        .env("POSTBACK_OUTBOUND_ALLOW_RANGES", "127.0.0.0/8")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The blocks of a page that are marked so, one behind the other.
pub fn blocks(page: &str, mark: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let fence = format!("```{mark}\n");
    let blocks: Vec<_> = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 5, "{page} lost its blocks");
    blocks.concat()
}

impl Tour {
    /// The tour of the README, followed by `more` of another page, for this service.
    pub fn script(&self, more: &str) -> String {
        let pasted = blocks("README.md", "sh tour");
        for expected in ["cargo run --release -q --", "127.0.0.1:8080", "9911"] {
            assert!(pasted.contains(expected), "the tour no longer says {expected}");
        }
        let pasted = format!("{pasted}{more}").replace("cargo run --release -q --", PROGRAM);
        let pasted = pasted.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.port));
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/");
        let pasted = pasted.replace("docs/examples/", &examples.display().to_string());
        // The receiver holds the shell's output open, so it is ended whatever happens.
        format!("trap 'kill $(jobs -p)' EXIT\n{}", pasted.replace("9911", &free_port().to_string()))
    }
}
