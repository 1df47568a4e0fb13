//! The README's tour, as pasted: the blocks marked `sh tour` are run in one shell against a service of their own.
//! Only the program's path and the two ports differ from what a reader pastes.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_postback");

/// A folder that is removed, and a service that is killed, at the end.
struct Tour {
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
    fn start() -> Self {
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
    fn paste(&self, script: &str) -> String {
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

/// The blocks of the README, one behind the other, and the tour's own last words.
fn script(port: u16) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks: Vec<_> = readme.split("```sh tour\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "the tour lost its blocks");
    let pasted = blocks.concat();
    for expected in ["cargo run --release -q --", "127.0.0.1:8080", "9911"] {
        assert!(pasted.contains(expected), "the tour no longer says {expected}");
    }
    let pasted = pasted.replace("cargo run --release -q --", PROGRAM);
    let pasted = pasted.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    // The receiver holds the shell's output open, so it is ended whatever happens.
    format!("trap 'kill $(jobs -p)' EXIT\n{}", pasted.replace("9911", &free_port().to_string()))
}

#[test]
fn the_tour_of_the_readme_works_as_pasted() {
    let tour = Tour::start();
    let said = tour.paste(&script(tour.port));
    assert_eq!(said.matches("\"verdict\":\"accepted\"").count(), 2, "{said}");
    for expected in ["\"verdict\":\"duplicate\"", "commission.approved", "\"amount\":\"5.00\"", "signature_invalid"] {
        assert!(said.contains(expected), "no {expected} in: {said}");
    }
}
