//! Gives up an endpoint: because its receiver says that it is gone (410), or because a person does.
//!
//! The endpoint's row, the news of it to its owner's other endpoints and their deliveries are one transaction. What waits for
//! the endpoint is held from then on (`delivery::holding`), so nothing is lost when a person makes it active again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clock::Clock;
use crate::delivery::relay::Relay;
use crate::domain::catalog::{Catalog, Owner};
use crate::domain::endpoint::{Endpoint, EndpointStatus};
use crate::domain::event::EventType;
use crate::domain::outbox::{News, Outbox};
use crate::domain::time::Timestamp;
use crate::intake::catalog_cache::CatalogCache;
use crate::store::endpoints::{Disabling, Endpoints};
use crate::store::outbox::OutboxTerms;
use crate::store::{StoreError, in_time};

/// The reason where the receiver answered 410.
pub const GONE: &str = "the receiver answered 410: this address is gone";
/// The reason where a person decided it.
pub const BY_A_PERSON: &str = "disabled by an admin";

/// Disables endpoints.
#[derive(Clone)]
#[expect(missing_docs, reason = "the rooms that it stands between")]
pub struct Disabler {
    pub store: Arc<dyn Endpoints>,
    pub catalog: Arc<CatalogCache>,
    pub relay: Relay,
    pub clock: Clock,
    pub republish_after: Duration,
}

impl Disabler {
    /// Disables an endpoint as it stands, at whatever URL. Answers whether this call did it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn by_a_person(&self, endpoint: &Endpoint) -> Result<bool, StoreError> {
        self.disable(endpoint, None, BY_A_PERSON).await
    }

    /// Disables an endpoint whose receiver is gone, unless it has another URL by now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn gone(&self, endpoint: &Endpoint) -> Result<bool, StoreError> {
        self.disable(endpoint, Some(&endpoint.url), GONE).await
    }

    async fn disable(&self, endpoint: &Endpoint, only_at: Option<&str>, reason: &str) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let outbox = news(&*self.catalog.refresh().await?, endpoint, reason, now);
        let terms = OutboxTerms { now, republish_after: self.republish_after, room: self.relay.room() };
        let disabling = Disabling { endpoint_id: endpoint.id, only_at, reason };
        let Some(told) = in_time(self.store.disable_endpoint(disabling, &outbox, terms)).await? else {
            return Ok(false);
        };
        tracing::warn!(endpoint_id = %endpoint.id, reason, "an endpoint is disabled; what waits for it is held");
        self.relay.announce(told.hints);
        if told.deferred > 0 {
            self.relay.wake();
        }
        self.catalog.refresh().await?;
        Ok(true)
    }
}

/// What the owner's other endpoints are told.
fn news(catalog: &Catalog, endpoint: &Endpoint, reason: &str, now: Timestamp) -> Outbox {
    let (affiliate_id, operator_id) = match endpoint.owner {
        Owner::Affiliate(id) => (Some(id), None),
        Owner::Operator(id) => (None, Some(id)),
    };
    let data = json!({
        "endpoint_id": endpoint.id,
        "kind": endpoint.kind,
        "status": EndpointStatus::Disabled,
        "reason": reason,
        "affiliate_id": affiliate_id,
        "operator_id": operator_id,
    });
    let news = News { event_type: EventType::EndpointDisabled, operator_id, affiliate_id, test: false, data };
    let mut outbox = Outbox::default();
    outbox.tell_others(catalog, &[endpoint.owner], endpoint.id, news, now);
    outbox
}
