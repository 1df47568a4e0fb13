//! The key that stored secrets are encrypted under: given by the settings, or on SQLite kept in a file beside the
//! database that only its owner can read.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::StartError;
use crate::domain::secret::MasterKey;

/// The key of the settings.
pub fn given(key: Option<&SecretString>) -> Result<MasterKey, StartError> {
    let text = key.ok_or_else(|| {
        let sentence = "PostgreSQL needs POSTBACK_MASTER_KEY, 32 bytes in base64: make one with `openssl rand -base64 32` \
             and keep it, for without it no stored secret can be read";
        StartError::MasterKey(sentence.to_owned())
    })?;
    let wrong = |_| StartError::MasterKey("POSTBACK_MASTER_KEY is not 32 bytes in base64".to_owned());
    MasterKey::parse(text.expose_secret()).map_err(wrong)
}

/// The key of the settings, else the one in `file`, which is made when it is not there.
pub fn given_or_kept(key: Option<&SecretString>, file: &Path) -> Result<MasterKey, StartError> {
    if key.is_some() {
        return given(key);
    }
    let problem = |error: io::Error| StartError::MasterKey(format!("the key file {}: {error}", file.display()));
    match std::fs::read_to_string(file) {
        Ok(text) => MasterKey::parse(text.trim()).map_err(|_| {
            StartError::MasterKey(format!("the key file {} does not hold 32 bytes in base64", file.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = MasterKey::generate();
            write_new(file, key.to_base64().expose_secret()).map_err(problem)?;
            Ok(key)
        }
        Err(error) => Err(problem(error)),
    }
}

/// Writes a file that only its owner can read, and makes it last before it is used.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
