//! The settings that a demo runs under: its own, whatever the environment and `postback.toml` say, so that it
//! touches nothing but what it was given.

use super::Args;
use super::kept::Kept;
use crate::cli::outside::throwaway::{Folder, master_key};
use crate::config::{ConfigErrors, Settings, Sources};

/// What is not the default. Short waits, so that retries and crashes show within seconds.
const PAIRS: [(&str, &str); 13] = [
    ("server.drain", "10s"),
    ("delivery.ladder", "300ms, 600ms, 1s, 2s"),
    ("delivery.max_attempts", "50"),
    ("delivery.timeout", "4s"),
    ("delivery.lease", "6s"),
    ("delivery.republish_after", "5s"),
    ("delivery.hand_back_after", "500ms"),
    ("delivery.sweep_every", "1s"),
    ("outbound.allow_ranges", "127.0.0.0/8"),
    // One demo sends with one key, as fast as it is answered.
    ("intake.key_rate_per_minute", "100000000"),
    ("intake.rejected_receipts_per_minute", "1000000"),
    ("database.max_connections", "10"),
    ("log.filter", "warn"),
];

/// The settings of a demo in `folder`.
pub fn settings(args: &Args, folder: &Folder, kept: &Kept) -> Result<Settings, ConfigErrors> {
    let mut sources = Sources::new();
    PAIRS.iter().for_each(|(name, text)| sources.set(name, text));
    sources.set("data_dir", &folder.path().display().to_string());
    sources.set("server.listen", &args.listen.to_string());
    sources.set("queue.prefix", &format!("postback-demo-{}", kept.name));
    if let Some(filter) = &args.log {
        sources.set("log.filter", filter);
    }
    if let Some(url) = &args.amqp_url {
        sources.set("queue.amqp_url", url);
    }
    if let Some(url) = &args.database_url {
        sources.set("database.url", url);
        sources.set("master_key", &master_key(url));
    }
    sources.settings()
}
