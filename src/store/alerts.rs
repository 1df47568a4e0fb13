//! Alerts that are open, and what channels were told. One row for each opening, so that of several instances
//! exactly one opens it, and a channel that was not reached is tried again.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;

/// Something that a channel has not been told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The opening.
    pub id: AlertId,
    /// The alert's name, such as `queue_depth`.
    pub name: String,
    /// The value that opened it.
    pub value: i64,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed; `None` where this tells of the opening.
    pub closed_at: Option<Timestamp>,
}

/// What the alert watch asks of storage.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Opens an alert unless it is open; answers whether it was opened by this call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn open_alert(&self, name: &str, value: i64, now: Timestamp) -> Result<bool, StoreError>;

    /// Closes an alert if it is open; answers whether it was closed by this call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn close_alert(&self, name: &str, now: Timestamp) -> Result<bool, StoreError>;

    /// The names of the alerts that are open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn open_alerts(&self) -> Result<Vec<String>, StoreError>;

    /// Openings and closings that the webhook has not been told, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn untold_alerts(&self, limit: i64) -> Result<Vec<Untold>, StoreError>;

    /// Marks that the webhook was told of an opening (`closing` false) or a closing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn alert_told(&self, id: AlertId, closing: bool, now: Timestamp) -> Result<(), StoreError>;
}
