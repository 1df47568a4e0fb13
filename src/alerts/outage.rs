//! The one alert that cannot be kept where the others are: that the database takes no writes.
//!
//! Each instance remembers its own outage and tells of it directly. When the database is back the outage is written down as
//! a past alert, with what was told already, and the usual way tells the rest: that it is over.

use futures_util::future::join_all;

use super::catalogue::Alert;
use super::tell::Channel;
use crate::clock::Clock;
use crate::delivery::sender::Sender;
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;
use crate::store::alerts::{AlertView, Notice, Step};
use crate::store::{Store, StoreError};

/// An outage of the database, while there is one.
#[derive(Debug, Default)]
pub struct Outage(Option<Going>);

#[derive(Debug)]
struct Going {
    view: AlertView,
    /// The channels that know.
    told: Vec<&'static str>,
}

impl Outage {
    /// The database takes no writes: opens the alert, and tells the channels that do not know yet.
    pub async fn goes_on(&mut self, channels: &[Channel], sender: &Sender, clock: &Clock, reason: &str) {
        let now = clock.now();
        let going = self.0.get_or_insert_with(|| {
            let alert = Alert::DatabaseUnreachable;
            tracing::error!(alert = alert.as_str(), reason, "{}", alert.advice());
            let view = AlertView {
                id: AlertId::new(now),
                name: alert.as_str().to_owned(),
                subject: String::new(),
                value: 1,
                opened_at: now,
                closed_at: None,
            };
            Going { view, told: Vec::new() }
        });
        let untold = channels.iter().filter(|channel| !going.told.contains(&channel.name()));
        let telling = untold.map(|channel| {
            let view = &going.view;
            async move { channel.tell(sender, view, Step::Opened, now).await.then(|| channel.name()) }
        });
        let told: Vec<_> = join_all(telling).await.into_iter().flatten().collect();
        going.told.extend(told);
    }

    /// The database answers: writes down what was, if there was something.
    ///
    /// # Errors
    /// [`StoreError`] where that failed; it is tried again.
    pub async fn is_over(&mut self, channels: &[Channel], store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let Some(going) = &self.0 else { return Ok(()) };
        let past = AlertView { closed_at: Some(now), ..going.view.clone() };
        // The notices first: once the alert is there, anybody tells what has no notice.
        for channel in channels.iter().filter(|channel| going.told.contains(&channel.name())) {
            let notice = Notice { alert_id: past.id, channel: channel.name(), step: Step::Opened };
            store.claim_notice(notice, now, now).await?;
            store.end_notice(notice, true, now).await?;
        }
        match store.keep_past_alert(&past).await {
            Ok(()) | Err(StoreError::Exists) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(alert = past.name, "the alert has closed");
        self.0 = None;
        Ok(())
    }
}
