//! What handlers work with: the use cases of the other rooms, and nothing else.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Settings;
use crate::delivery::relay::Relay;
use crate::delivery::sender::Sender;
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::click_writer::ClickWriter;
use crate::intake::customers::Customers;
use crate::intake::recorder::{Booker, Recorder};
use crate::metrics::Metrics;
use crate::payouts::Payouts;
use crate::replay::Replayer;
use crate::store::Store;

/// Shared by all handlers; made by the composition root.
pub struct HttpState {
    /// Reads, and writes of configuration.
    pub store: Arc<dyn Store>,
    /// The configuration in memory; refreshed after every write of it.
    pub catalog: Arc<CatalogCache>,
    /// Where postbacks go.
    pub recorder: Recorder,
    /// Where clicks go.
    pub clicks: ClickWriter,
    /// What books changes that no postback makes.
    pub booker: Booker,
    /// Where customers are imported.
    pub customers: Customers,
    /// Where replays are hinted at; knows how the queue is.
    pub relay: Relay,
    /// What looks after failures.
    pub replays: Replayer,
    /// Where payouts are made and moved on.
    pub payouts: Payouts,
    /// Judges addresses of endpoints when they are registered.
    pub sender: Sender,
    /// The settings.
    pub settings: Arc<Settings>,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}
