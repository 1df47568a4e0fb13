//! Alerts that are open or were, and what channels were told of them. One row for each opening, so that of several
//! instances exactly one opens it; one notice for each thing to be told, so that exactly one tells it.

use async_trait::async_trait;

use super::StoreError;
use super::reading::{Filter, Page};
use crate::domain::ids::{AlertId, SourceId};
use crate::domain::time::Timestamp;

/// One opening of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// The opening.
    pub id: AlertId,
    /// The alert's name, such as `queue_depth`.
    pub name: String,
    /// What it is about, such as a source's id; empty where there is only one.
    pub subject: String,
    /// The value when it was last seen to hold.
    pub value: i64,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed; `None` while it is open.
    pub closed_at: Option<Timestamp>,
}

/// What a channel is told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// That it opened.
    Opened,
    /// That it closed.
    Closed,
}

impl Step {
    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "open",
            Self::Closed => "closed",
        }
    }
}

/// One thing to be told by one channel.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The opening.
    pub alert_id: AlertId,
    /// The channel's name.
    pub channel: &'a str,
    /// What of it.
    pub step: Step,
}

/// What can be seen of the configuration and the traffic alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Active sources that were heard once, but not since a given time; and when each was last heard.
    pub silent: Vec<(SourceId, Timestamp)>,
    /// Active sources that sign with a secret made before a given time; and when it was made.
    pub old_secrets: Vec<(SourceId, Timestamp)>,
}

/// What the alert watch asks of storage. Every method fails with [`StoreError::Unavailable`].
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Opens an alert unless it is open; answers whether it was opened by this call.
    ///
    /// # Errors
    /// See the trait.
    async fn open_alert(&self, name: &str, subject: &str, value: i64, now: Timestamp) -> Result<bool, StoreError>;

    /// Notes that an open alert still holds, with its value now.
    ///
    /// # Errors
    /// See the trait.
    async fn alert_seen(&self, id: AlertId, value: i64, now: Timestamp) -> Result<(), StoreError>;

    /// Closes an open alert unless somebody saw it hold after `unseen_since`; answers whether this call closed it.
    ///
    /// # Errors
    /// See the trait.
    async fn close_alert(&self, id: AlertId, unseen_since: Timestamp, now: Timestamp) -> Result<bool, StoreError>;

    /// Keeps an alert that could not be kept while it was open.
    ///
    /// # Errors
    /// See the trait.
    async fn keep_past_alert(&self, past: &AlertView) -> Result<(), StoreError>;

    /// Every alert that is open, by name and subject; with when it was last seen to hold.
    ///
    /// # Errors
    /// See the trait.
    async fn open_alerts(&self) -> Result<Vec<(AlertView, Timestamp)>, StoreError>;

    /// Alerts open and past, newest first; the filter's status is `open` or `closed`.
    ///
    /// # Errors
    /// See the trait.
    async fn alerts(&self, filter: &Filter, page: Page) -> Result<Vec<AlertView>, StoreError>;

    /// What happened since `since` and a channel was not told, oldest first.
    ///
    /// # Errors
    /// See the trait.
    async fn untold_alerts(
        &self,
        channel: &str,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<(AlertView, Step)>, StoreError>;

    /// Claims a notice that nobody has told and nobody claimed after `free_before`; answers whether this call got it.
    ///
    /// # Errors
    /// See the trait.
    async fn claim_notice(
        &self,
        notice: Notice<'_>,
        free_before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Marks a claimed notice as told, or gives it back (`told` false) to be tried again.
    ///
    /// # Errors
    /// See the trait.
    async fn end_notice(&self, notice: Notice<'_>, told: bool, now: Timestamp) -> Result<(), StoreError>;

    /// Notes when sources were last heard; an earlier time than the known one changes nothing.
    ///
    /// # Errors
    /// See the trait.
    async fn sources_heard(&self, heard: &[(SourceId, Timestamp)]) -> Result<(), StoreError>;

    /// Looks for signs of trouble at `now`: sources silent since `silent_since` (not looked for without it), secrets made
    /// before `secrets_before`. At most a hundred of each.
    ///
    /// # Errors
    /// See the trait.
    async fn signs(
        &self,
        silent_since: Option<Timestamp>,
        secrets_before: Timestamp,
        now: Timestamp,
    ) -> Result<Signs, StoreError>;
}
