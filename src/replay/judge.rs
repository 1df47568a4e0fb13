//! Receipts judged again: their stored requests are read by today's mapping and go through the recorder's transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::booking::Item;
use crate::domain::catalog::Catalog;
use crate::domain::replay::{Person, ReceiptFilter};
use crate::intake::catalog_cache::CatalogCache;
use crate::intake::mapping::Mapping;
use crate::intake::recorder::Tries;
use crate::intake::service::hear_again;
use crate::store::recording::RecordTerms;
use crate::store::replays::{Judged, ReceiptsReplayed, Rejudging, StoredRequest};
use crate::store::{Store, StoreError, in_time};

/// How many receipts are judged in one transaction at most, and so in a dry run.
pub const JUDGED_AT_ONCE: i64 = 500;

/// What judging needs; the command line has it without a running service.
#[derive(Clone)]
pub struct Judge {
    /// Where receipts lie.
    pub store: Arc<dyn Store>,
    /// What they are judged by.
    pub catalog: Arc<CatalogCache>,
    /// What time it is.
    pub clock: Clock,
    /// How long what must wait is parked.
    pub park_for: Duration,
    /// How long after its commit an unclaimed delivery is hinted at again.
    pub republish_after: Duration,
}

/// What a replay by filter would come to.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// How many receipts match.
    pub matched: i64,
    /// What would become of the oldest of them, at most [`JUDGED_AT_ONCE`].
    pub judged: Vec<Judged>,
}

impl DryRun {
    /// How many of those judged would get which verdict.
    #[must_use]
    pub fn verdicts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for judged in &self.judged {
            *counts.entry(judged.outcome.verdict.as_str()).or_default() += 1;
        }
        counts
    }
}

impl Judge {
    /// What judging needs, by these settings.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, catalog: Arc<CatalogCache>, clock: Clock, settings: &Settings) -> Self {
        let (park_for, republish_after) = (settings.intake.park_for, settings.delivery.republish_after);
        Self { store, catalog, clock, park_for, republish_after }
    }

    /// Judges these requests again; `work` says for whom, and gets their items from here.
    ///
    /// # Errors
    /// [`StoreError`] as the transaction met it, after the tries that make sense.
    pub async fn judge(
        &self,
        requests: &[StoredRequest],
        work: Rejudging,
        room: usize,
    ) -> Result<ReceiptsReplayed, StoreError> {
        let mut tries = Tries::default();
        loop {
            match self.once(requests, &work, room).await {
                Ok(replayed) => return Ok(replayed),
                Err(failure) => tries.again(&self.catalog, failure).await?,
            }
        }
    }

    async fn once(
        &self,
        requests: &[StoredRequest],
        work: &Rejudging,
        room: usize,
    ) -> Result<ReceiptsReplayed, StoreError> {
        let (catalog, mapping) = (self.catalog.current(), Mapping::canonical());
        let items = requests.iter().map(|request| item(&catalog, &mapping, request)).collect();
        let work = Rejudging { items, ..work.clone() };
        let terms =
            RecordTerms { now: self.clock.now(), park_for: self.park_for, republish_after: self.republish_after, room };
        in_time(self.store.replay_receipts(&work, &catalog, terms)).await
    }

    /// What a replay of the receipts that match now would come to. Everything is judged by the very transaction of a
    /// replay, which is taken back in the end.
    ///
    /// # Errors
    /// As [`Judge::judge`].
    pub async fn dry_run(&self, filter: &ReceiptFilter, by: Person) -> Result<DryRun, StoreError> {
        let (matched, requests) = self.store.matching_receipts(filter, self.clock.now(), JUDGED_AT_ONCE).await?;
        let work = Rejudging { items: Vec::new(), by, dry_run: true, step: None };
        let judged = match self.judge(&requests, work, 0).await? {
            ReceiptsReplayed::Judged(judgements) => judgements.judged,
            ReceiptsReplayed::Lost => Vec::new(),
        };
        Ok(DryRun { matched, judged })
    }
}

fn item(catalog: &Catalog, mapping: &Mapping, request: &StoredRequest) -> Item {
    Item {
        receipt_id: request.receipt_id,
        source_id: request.source_id,
        received_at: request.received_at,
        said: hear_again(catalog, mapping, request),
        parked: false,
    }
}
