//! What is kept in the demo's folder, so that the same command goes on where a killed one stopped.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::world::World;
use crate::cli::outside::throwaway::Folder;
use crate::domain::encoding::to_hex;

/// What the next run of the same demo needs to know: `demo.json`. It holds the demo's keys and secrets.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// What tells this demo's events and queues from another's.
    pub name: String,
    /// How many postbacks are to be fired.
    pub events: usize,
    /// How many times it was started.
    pub runs: u32,
    /// The port of the receiver; endpoints name it.
    pub receiver_port: Option<u16>,
    /// The key that the set-up uses.
    pub admin_key: Option<String>,
    /// Operator, program, affiliates and endpoints, once all are made.
    pub world: Option<World>,
}

impl Kept {
    /// What the folder keeps, or the beginning of a new demo.
    pub fn load(folder: &Folder) -> io::Result<Self> {
        match fs::read(file_in(folder)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name: [u8; 5] = rand::random();
                Ok(Self { name: to_hex(&name), events: 0, runs: 0, receiver_port: None, admin_key: None, world: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes it as a whole: the old file or the new one, never half of one.
    pub fn save(&self, folder: &Folder) -> io::Result<()> {
        let (target, new) = (file_in(folder), folder.path().join("demo.json.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(new, target)
    }
}

fn file_in(folder: &Folder) -> PathBuf {
    folder.path().join("demo.json")
}
