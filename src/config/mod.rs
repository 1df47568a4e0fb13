//! Typed settings from a file and the environment, validated once; all errors are reported together.
//!
//! `table.rs` is the one list of settings: structs, defaults, limits, names and `docs/configuration.md` come
//! from it. Nobody here reads a file or the environment: both are handed in by the command line, so
//! tests hand in their own. A [`Settings`] that exists is right; nobody validates it again.
//!
//! Guaranteed: no secret is in an error, in `Debug`, or in what [`Settings::shown`] shows. Not done on purpose:
//! settings never change while the service runs.

mod agreement;
mod check;
mod docs;
mod error;
mod names;
mod sources;
mod table;
mod types;
mod value;

pub use docs::markdown;
pub use error::{ConfigErrors, Problem};
pub use sources::Sources;
pub use table::{
    Alerts, Clicks, Commissions, Database, Delivery, Intake, Log, Outbound, Payouts, Queue, Retention, Server, Settings,
};
pub use types::{ByteSize, DatabaseUrl, LogFormat};

impl Settings {
    /// The defaults with some settings given by name, as in the file: `("delivery.lease", "2s")`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigErrors> {
        let mut sources = Sources::new();
        pairs.iter().for_each(|(name, text)| sources.set(name, text));
        sources.settings()
    }

    /// The database to use: the one that is set, or the SQLite file in the data folder.
    #[must_use]
    pub fn database_url(&self) -> DatabaseUrl {
        let in_data_dir = || DatabaseUrl::Sqlite(self.data_dir.join("postback.sqlite"));
        self.database.url.clone().unwrap_or_else(in_data_dir)
    }
}
