//! What is watched, and who is told.
//!
//! Every instance looks ([`look`]) and judges ([`judge`]) at every round; a unique row decides which of them opened an alert,
//! so it opens once, and it closes by itself. Channels ([`tell`]): the log, metrics, a signed webhook, and a line of text
//! for chat systems. Alert messages do not travel through the queue that they speak of, and a channel that does not answer
//! holds up nobody. While the database is away nothing can be agreed: then each instance tells for itself ([`outage`]).
//!
//! Deliberately not done: alerts about what only a look from outside can see, such as a process that is gone; the rules in
//! `deploy/prometheus` do that.

pub mod catalogue;
pub mod heard;
pub mod judge;
pub mod look;
pub mod outage;
pub mod tell;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::catalogue::Alert;
use self::judge::{Change, changes};
use self::look::Lookout;
use self::outage::Outage;
use self::tell::{Channel, tell_all};
use crate::clock::Clock;
use crate::delivery::sender::Sender;
use crate::domain::time::Timestamp;
use crate::intake::storing::{ALERTS_FOR, Storing};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, in_time};

/// After so many rounds an alert that only one instance can see, and that none has seen, closes.
const UNSEEN_ROUNDS: u32 = 3;

/// Judges round after round, and tells.
#[expect(missing_docs, reason = "the rooms that it stands between, and settings of config::Alerts")]
pub struct Watch {
    pub lookout: Lookout,
    pub store: Arc<dyn Store>,
    pub sender: Sender,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub every: Duration,
    pub channels: Vec<Channel>,
    pub storing: Arc<Storing>,
}

impl Watch {
    /// Round after round until told to stop. Telling goes on beside judging.
    pub async fn run(self, stopping: CancellationToken) {
        let Self { lookout, store, sender, clock, metrics, every, channels, storing } = self;
        Alert::ALL.iter().for_each(|alert| metrics.alert(alert.as_str(), false));
        let news: Vec<Notify> = channels.iter().map(|_| Notify::new()).collect();
        let desk = Desk {
            store: &*store,
            sender: &sender,
            clock: &clock,
            metrics: &metrics,
            channels: &channels,
            news: &news,
            storing: &storing,
            unseen_for: every.saturating_mul(UNSEEN_ROUNDS),
        };
        let telling = join_all(channels.iter().zip(&news).map(|(channel, news)| desk.tell_on(channel, news)));
        tokio::select! {
            () = stopping.cancelled() => {}
            _never = async { tokio::join!(desk.judge_on(lookout, every), telling) } => {}
        }
    }
}

/// What judging and telling share.
struct Desk<'a> {
    store: &'a dyn Store,
    sender: &'a Sender,
    clock: &'a Clock,
    metrics: &'a Metrics,
    channels: &'a [Channel],
    /// Wakes the teller of each channel.
    news: &'a [Notify],
    storing: &'a Storing,
    unseen_for: Duration,
}

impl Desk<'_> {
    async fn judge_on(&self, mut lookout: Lookout, every: Duration) {
        let mut outage = Outage::default();
        let mut rounds = tokio::time::interval(every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            if let Some(reason) = self.out_of_order().await {
                self.metrics.alert(Alert::DatabaseUnreachable.as_str(), true);
                outage.goes_on(self.channels, self.sender, self.clock, &reason).await;
                continue;
            }
            match in_time(self.round(&mut lookout, &mut outage)).await {
                Ok(()) => self.news.iter().for_each(Notify::notify_one),
                Err(error) => tracing::warn!(%error, "alerts could not be judged; they are at the next round"),
            }
        }
    }

    /// Why the database takes no writes, if it takes none.
    async fn out_of_order(&self) -> Option<String> {
        if let Err(error) = in_time(self.store.ping()).await {
            return Some(error.to_string());
        }
        self.storing.refused_within(ALERTS_FOR).then(|| "the latest postbacks could not be stored".to_owned())
    }

    async fn tell_on(&self, channel: &Channel, news: &Notify) {
        loop {
            news.notified().await;
            if let Err(error) = tell_all(channel, self.store, self.sender, self.clock).await {
                let channel = channel.name();
                tracing::warn!(%error, channel, "alerts could not be told; they are at the next round");
            }
        }
    }

    async fn round(&self, lookout: &mut Lookout, outage: &mut Outage) -> Result<(), StoreError> {
        let now = self.clock.now();
        outage.is_over(self.channels, self.store, now).await?;
        let findings = lookout.look(now).await?;
        let open = self.store.open_alerts().await?;
        for change in changes(findings, &open, now, self.unseen_for) {
            self.apply(change, now).await?;
        }
        let open = self.store.open_alerts().await?;
        for alert in Alert::ALL {
            self.metrics.alert(alert.as_str(), open.iter().any(|(view, _)| view.name == alert.as_str()));
        }
        Ok(())
    }

    async fn apply(&self, change: Change, now: Timestamp) -> Result<(), StoreError> {
        match change {
            Change::Open(finding) => {
                let (alert, subject, value) = (finding.alert, finding.subject, finding.value);
                if self.store.open_alert(alert.as_str(), &subject, value, now).await? {
                    tracing::error!(alert = alert.as_str(), subject, value, "{}", alert.advice());
                }
            }
            Change::Seen(id, value) => self.store.alert_seen(id, value, now).await?,
            Change::Close(alert, id, unseen_since) => {
                if self.store.close_alert(id, unseen_since, now).await? {
                    tracing::info!(alert = alert.as_str(), "the alert has closed");
                }
            }
        }
        Ok(())
    }
}
