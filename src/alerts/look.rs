//! What can be seen at this moment: in the database, of the queue, in this instance's own counts.

use std::sync::Arc;
use std::time::Duration;

use super::catalogue::Alert;
use super::heard::Heard;
use super::judge::{Finding, Level, over_below};
use crate::config;
use crate::domain::time::Timestamp;
use crate::metrics::{Metrics, Published};
use crate::queue::Queue;
use crate::store::{Store, StoreError};

/// How long after the start a queue may take to be reached before that counts as trouble.
const STARTING: Duration = Duration::from_secs(10);
/// A day, in which the age of secrets is told.
const SECONDS_A_DAY: u64 = 86_400;

/// Looks round after round.
pub struct Lookout {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Where counts are shown, and read.
    pub metrics: Arc<Metrics>,
    /// Which sources were heard.
    pub heard: Arc<Heard>,
    /// The thresholds.
    pub limits: config::Alerts,
    own: Own,
}

/// What this instance remembers from one round to the next.
#[derive(Default)]
struct Own {
    started_at: Option<Timestamp>,
    /// Whether the queue has worked since the start.
    was_connected: bool,
    /// What became of messages by the round before.
    published: Published,
    /// What became of them in the last round in which there were any.
    lately: Published,
}

impl Lookout {
    /// Ready to look.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        metrics: Arc<Metrics>,
        heard: Arc<Heard>,
        limits: config::Alerts,
    ) -> Self {
        Self { store, queue, metrics, heard, limits, own: Own::default() }
    }

    /// Everything that holds, or might.
    ///
    /// # Errors
    /// [`StoreError`] where the database could not be asked.
    pub async fn look(&mut self, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        self.own.note(self.metrics.published_so_far());
        let mut findings = self.deliveries(now).await?;
        findings.extend(self.sources(now).await?);
        findings.extend(self.payouts(now).await?);
        findings.extend(self.poison().await);
        findings.extend(self.connection(now));
        findings.extend(self.refusals());
        Ok(findings)
    }

    /// The waiting line, and what was given up.
    async fn deliveries(&self, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        let limits = &self.limits;
        let backlog = self.store.backlog(now.minus(limits.queue_depth_grace)).await?;
        self.metrics.deliveries_due.set(backlog.waiting);
        let oldest = backlog.oldest_first_due_at.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.metrics.deliveries_oldest_due_seconds.set(oldest.as_secs_f64());
        let depth = u64::try_from(backlog.waiting).unwrap_or(0);
        let depth = Finding::of_measure(Alert::QueueDepth, depth, limits.queue_depth_above, limits.queue_depth_below);
        let above = limits.oldest_due_above.as_secs();
        let oldest = Finding::of_measure(Alert::OldestDue, oldest.as_secs(), above, over_below(above));
        let dead = self.store.dead_waiting().await?;
        self.metrics.deliveries_dead.set(dead);
        let (dead, above) = (u64::try_from(dead).unwrap_or(0), limits.dead_letters_above);
        let dead = Finding::of_measure(Alert::DeadLetters, dead, above, over_below(above));
        Ok(depth.into_iter().chain(oldest).chain(dead).collect())
    }

    async fn sources(&self, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        let heard = self.heard.take();
        if !heard.is_empty()
            && let Err(error) = self.store.sources_heard(&heard).await
        {
            heard.into_iter().for_each(|(source, at)| self.heard.note([source], at));
            return Err(error);
        }
        let silent_since = self.limits.source_silent_after.map(|after| now.minus(after));
        let signs = self.store.signs(silent_since, now.minus(self.limits.secret_max_age), now).await?;
        let mut findings = Vec::new();
        let about = |alert, subject: String, value: u64| Finding {
            subject,
            ..Finding::of(alert, i64::try_from(value).unwrap_or(i64::MAX), Level::High)
        };
        for (source, heard_at) in signs.silent {
            findings.push(about(Alert::SourceSilent, source.to_string(), now.since(heard_at).as_secs()));
        }
        for (source, made_at) in signs.old_secrets {
            let days = now.since(made_at).as_secs() / SECONDS_A_DAY;
            findings.push(about(Alert::SecretOld, source.to_string(), days));
        }
        Ok(findings)
    }

    async fn payouts(&self, now: Timestamp) -> Result<Option<Finding>, StoreError> {
        let stuck = self.store.payouts_stuck(now.minus(self.limits.payout_stuck_after)).await?;
        Ok(Finding::of_measure(Alert::PayoutStuck, u64::try_from(stuck).unwrap_or(0), 0, 1))
    }

    /// While the broker cannot be asked, nobody knows.
    async fn poison(&self) -> Option<Finding> {
        let Ok(depths) = self.queue.depths().await else {
            return Some(Finding::of(Alert::PoisonNotEmpty, 0, Level::Between));
        };
        let messages: u64 = depths.iter().filter(|depth| depth.is_poison()).map(|depth| depth.messages).sum();
        Finding::of_measure(Alert::PoisonNotEmpty, messages, 0, 1)
    }

    /// Whether the queue is in order: connected, and the latest messages were answered for. One without a leader is connected
    /// most of the time.
    fn connection(&mut self, now: Timestamp) -> Option<Finding> {
        let health = self.queue.health();
        let started_at = *self.own.started_at.get_or_insert(now);
        if health.publishing && health.consuming && self.own.lately.unavailable == 0 {
            self.own.was_connected = true;
            return None;
        }
        let counts = self.own.was_connected || now.since(started_at) >= STARTING;
        counts.then(|| Finding::of(Alert::BrokerUnreachable, 1, Level::High))
    }

    /// Refusing is over when messages were taken and none was refused.
    fn refusals(&self) -> Option<Finding> {
        let value = i64::try_from(self.own.lately.refused).unwrap_or(i64::MAX);
        (value > 0).then(|| Finding::of(Alert::PublishRefused, value, Level::High))
    }
}

impl Own {
    /// Takes in what became of messages since the round before; a round without any tells nothing new.
    fn note(&mut self, published: Published) {
        let since = published.since(self.published);
        self.published = published;
        if since != Published::default() {
            self.lately = since;
        }
    }
}
