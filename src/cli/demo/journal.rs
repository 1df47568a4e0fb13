//! What a demo must not forget when its process is killed: files of JSON lines that only grow.
//!
//! A line is handed to the operating system in one write before what it tells is counted, so a killed process loses
//! none of it. A line that was cut off is taken out when the file is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One file that grows.
pub struct Journal(Mutex<File>);

impl Journal {
    /// Opens or makes the file; answers what it tells already.
    pub fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<T>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last.saturating_add(1));
        if whole < text.len() {
            file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
            file.seek(SeekFrom::End(0))?;
            text.truncate(whole);
        }
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let told = lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect::<Result<_, _>>()?;
        Ok((Self(Mutex::new(file)), told))
    }

    /// Appends a line. It outlives this process once this returns.
    pub fn write<T: Serialize>(&self, told: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::outside::throwaway::Folder;

    #[test]
    fn what_was_written_is_read_again_and_a_cut_line_is_not() {
        let folder = Folder::temporary("demo").unwrap();
        let path = folder.path().join("x.journal");
        let (journal, told) = Journal::open::<u32>(&path).unwrap();
        assert!(told.is_empty());
        journal.write(&1).unwrap();
        journal.write(&22).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"33").unwrap();
        let (journal, told) = Journal::open::<u32>(&path).unwrap();
        assert_eq!(told, [1, 22], "the last line has no end");
        journal.write(&4).unwrap();
        assert_eq!(Journal::open::<u32>(&path).unwrap().1, [1, 22, 4]);
        folder.remove().unwrap();
    }
}
