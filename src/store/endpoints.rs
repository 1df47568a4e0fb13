//! What happens to an endpoint as a whole: it is given up, what waits for it is held, and released again.

use async_trait::async_trait;

use super::StoreError;
use super::outbox::{OutboxTerms, Told};
use crate::domain::ids::EndpointId;
use crate::domain::outbox::Outbox;
use crate::domain::time::Timestamp;

/// An endpoint to be given up.
#[derive(Clone, Copy, Debug)]
pub struct Disabling<'a> {
    /// Which.
    pub endpoint_id: EndpointId,
    /// Only while this is its URL: what a receiver said holds for the URL that was called.
    pub only_at: Option<&'a str>,
    /// Why, for people.
    pub reason: &'a str,
}

/// What holding a page came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many deliveries were moved.
    pub deliveries: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// What workers, admins and the holding task ask of storage.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Disables an endpoint and writes what is told about it, in one transaction. `None` where it was disabled already or
    /// has another URL now: nothing is written then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn disable_endpoint(
        &self,
        disabling: Disabling<'_>,
        outbox: &Outbox,
        terms: OutboxTerms,
    ) -> Result<Option<Told>, StoreError>;

    /// Holds up to `limit` deliveries that wait for an attempt at an endpoint that is not active. What is being attempted is
    /// left alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn hold(&self, now: Timestamp, limit: i64) -> Result<Moved, StoreError>;

    /// Lets go of held deliveries whose endpoint is active, the oldest first: at most `per_endpoint` of each. They are due
    /// as before or now, for the relay to find, and the time that they were held does not count for their age.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release(&self, now: Timestamp, per_endpoint: i64) -> Result<Moved, StoreError>;
}
