//! What the recorder writes: receipts, conversions, commissions, ledger, events and deliveries in one
//! transaction; and clicks, which it reads.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::outbox::OutboxTerms;
use crate::domain::booking::{ClickFacts, Item, Outcome, OwnChange};
use crate::domain::catalog::Catalog;
use crate::domain::customer::{Binding, NewCustomer};
use crate::domain::delivery::Hint;
use crate::domain::ids::{AffiliateId, ConversionId, CustomerId, KeyId, LinkId, OperatorId, ProgramId, RequestId};
use crate::domain::time::Timestamp;
use crate::domain::verdict::Rejection;

/// The request that a postback came in, as it is kept: secrets are already taken out.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Whose key it carried.
    pub operator_id: OperatorId,
    /// The key.
    pub key_id: KeyId,
    /// The request's id, as answered in `X-Request-Id`.
    pub request_id: RequestId,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The raw query string.
    pub query: String,
    /// The raw body.
    pub body: Vec<u8>,
    /// The client's address, judged through the trusted proxies.
    pub peer: String,
}

/// A postback that arrived now, with the request that brought it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The request.
    pub request: ReceivedRequest,
    /// What it said.
    pub item: Item,
}

/// What a batch is recorded under.
#[derive(Clone, Copy, Debug)]
pub struct RecordTerms {
    /// The time of the batch.
    pub now: Timestamp,
    /// How long a parked postback waits.
    pub park_for: Duration,
    /// How long after its commit an unclaimed delivery is hinted at again.
    pub republish_after: Duration,
    /// For how many deliveries the queue's window has room; the rest are left to the relay.
    pub room: usize,
}

impl RecordTerms {
    /// What the outbox is written under.
    #[must_use]
    pub const fn outbox(self) -> OutboxTerms {
        OutboxTerms { now: self.now, republish_after: self.republish_after, room: self.room }
    }
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The answer to each arrival, in their order.
    pub outcomes: Vec<Outcome>,
    /// The answers to postbacks that were parked earlier and were judged with this batch.
    pub unparked: Vec<Outcome>,
    /// The answers to receipts that a person had judged again.
    pub replayed: Vec<Outcome>,
    /// Deliveries to be hinted at now.
    pub hints: Vec<Hint>,
    /// How many deliveries found no room and are due for the relay to pick up.
    pub deferred: usize,
    /// How many customers were bound; what waits for them may be woken.
    pub bound: usize,
    /// How many conversions changed that existed before.
    pub changed: usize,
    /// Why a change was refused; nothing was written then.
    pub refused: Option<Rejection>,
    /// How many commissions that waited for a rate were booked.
    pub settled: usize,
}

/// A click to be stored.
#[derive(Clone, Debug)]
pub struct NewClick {
    /// The operator in whose name the id is unique.
    pub operator_id: OperatorId,
    /// The id.
    pub click_id: String,
    /// The program clicked into.
    pub program_id: ProgramId,
    /// Who sent the visitor.
    pub affiliate_id: AffiliateId,
    /// The link, if it was ours.
    pub link_id: Option<LinkId>,
    /// When it happened.
    pub clicked_at: Timestamp,
    /// When we learned of it.
    pub received_at: Timestamp,
    /// The affiliate's sub-ids.
    pub subs: BTreeMap<String, String>,
    /// A keyed hash of the visitor's address.
    pub ip_hash: Option<Vec<u8>>,
    /// The visitor's user agent, cut to a bounded length.
    pub user_agent: Option<String>,
}

/// What intake asks of storage.
#[async_trait]
pub trait Recording: Send + Sync {
    /// Records arrivals in one transaction, judged one after the other, after those parked earlier for the same
    /// click and before those that waited for an event among them.
    ///
    /// # Errors
    /// [`StoreError::StaleConfiguration`] when the configuration is newer than `catalog`; the others as named.
    /// Nothing is written on any error, except that after [`StoreError::Unavailable`] in the commit itself
    /// nobody knows; a retry then answers `duplicate`.
    async fn record_batch(
        &self,
        arrivals: &[Arrival],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError>;

    /// Judges again what is parked under these wait keys, in the order received.
    ///
    /// # Errors
    /// As [`Recording::record_batch`].
    async fn apply_parked(
        &self,
        wait_keys: &[String],
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError>;

    /// Books commissions that wait for an exchange rate which `catalog` has, at most `limit`. Only they are touched.
    ///
    /// # Errors
    /// As [`Recording::record_batch`].
    async fn book_awaiting(&self, catalog: &Catalog, limit: i64, terms: RecordTerms) -> Result<Recorded, StoreError>;

    /// Makes commissions payable whose lock period is over at `now`, at most `limit`; answers how many. Safe on several
    /// instances at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release_held(&self, now: Timestamp, limit: i64) -> Result<usize, StoreError>;

    /// Changes a conversion without a postback, through the same booking. Where the change is refused (`not_found`,
    /// `illegal_transition`) nothing is written.
    ///
    /// # Errors
    /// As [`Recording::record_batch`].
    async fn change_conversion(
        &self,
        id: ConversionId,
        change: &OwnChange,
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<Recorded, StoreError>;

    /// Approves conversions whose hold is over, at most `limit`. Safe on several instances at once.
    ///
    /// # Errors
    /// As [`Recording::record_batch`].
    async fn approve_held(&self, limit: i64, catalog: &Catalog, terms: RecordTerms) -> Result<Recorded, StoreError>;

    /// The wait keys of parked postbacks whose click, customer or original event has arrived: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn parked_ready(&self, limit: i64) -> Result<Vec<String>, StoreError>;

    /// Rejects parked postbacks whose time is over, at most `limit`; answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn expire_parked(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError>;

    /// Stores clicks; answers for each whether it was new. A click that is known stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn record_clicks(&self, clicks: &[NewClick]) -> Result<Vec<bool>, StoreError>;

    /// The stored clicks among these ids.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn find_clicks(
        &self,
        wanted: &[(OperatorId, String)],
    ) -> Result<HashMap<(OperatorId, String), ClickFacts>, StoreError>;

    /// Binds customers that are not known yet; answers for each whether it was new. One that is known stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn import_customers(&self, customers: &[NewCustomer], now: Timestamp) -> Result<Vec<bool>, StoreError>;

    /// Replaces the binding of this revision by `next`, and keeps the one before; `false` where it has moved on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn rebind_customer(&self, id: CustomerId, revision: i32, next: &Binding) -> Result<bool, StoreError>;
}
