//! Places for what is worth nothing afterwards: a folder, and the key of a database that holds nothing else.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::domain::encoding::to_hex;

/// A folder that only its owner can read.
pub struct Folder {
    path: PathBuf,
    /// Whether it is ours to take away.
    temporary: bool,
}

impl Folder {
    /// The folder that was given; made if it is not there.
    pub fn given(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self { path: path.to_owned(), temporary: false })
    }

    /// A new one, to be taken away when all went well; its name tells that it is a `purpose`'s.
    pub fn temporary(purpose: &str) -> io::Result<Self> {
        let name: [u8; 8] = rand::random();
        let path = std::env::temp_dir().join(format!("postback-{purpose}-{}", to_hex(&name)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, temporary: true })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a temporary folder away; a given one stays.
    pub fn remove(&self) -> io::Result<()> {
        if self.temporary { fs::remove_dir_all(&self.path) } else { Ok(()) }
    }
}

/// A master key that every demo and bench on this database finds again. What they store is worth nothing, and a
/// database that holds more has another key, under which this one opens nothing: the service then refuses to start.
pub fn master_key(database_url: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"postback demo master key|");
    hash.update(database_url);
    STANDARD.encode(hash.finalize())
}
