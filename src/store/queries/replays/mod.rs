//! What people decide about what failed, and the jobs that do it.

mod acknowledging;
mod deliveries;
pub mod jobs;
mod matching;
mod receipts;

pub use self::acknowledging::acknowledgement;

use std::time::Duration;

use async_trait::async_trait;

use super::super::dialect::Engine;
use super::recording;
use crate::domain::catalog::Catalog;
use crate::domain::ids::{DeliveryId, LeaseId, ReceiptId, ReplayId};
use crate::domain::replay::{DeliveryFilter, Note, Person, ReceiptFilter};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::reading::{DeliveryView, Page};
use crate::store::recording::RecordTerms;
use crate::store::replays::{
    Acknowledged, Canceled, NewReplay, ReceiptsReplayed, Rejudging, ReplayView, Replays, Step, Stepped, StoredRequest,
};

#[async_trait]
impl Replays for Engine {
    async fn acknowledge(
        &self,
        delivery_id: DeliveryId,
        note: &Note,
        by: Person,
        now: Timestamp,
    ) -> Result<Acknowledged, StoreError> {
        acknowledging::acknowledge(self, delivery_id, note, by, now).await
    }

    async fn dead_waiting(&self) -> Result<i64, StoreError> {
        acknowledging::dead_waiting(self).await
    }

    async fn matching_deliveries(
        &self,
        filter: &DeliveryFilter,
        now: Timestamp,
        sample: i64,
    ) -> Result<(i64, Vec<DeliveryView>), StoreError> {
        deliveries::matching(self, filter, now, sample).await
    }

    async fn create_replay(&self, new: &NewReplay) -> Result<ReplayView, StoreError> {
        jobs::create(self, new).await
    }

    async fn replay_job(&self, id: ReplayId) -> Result<Option<ReplayView>, StoreError> {
        jobs::one(self, id).await
    }

    async fn replay_jobs(&self, state: Option<String>, page: Page) -> Result<Vec<ReplayView>, StoreError> {
        jobs::list(self, state, page).await
    }

    async fn cancel_replay(&self, id: ReplayId, by: Person, now: Timestamp) -> Result<Canceled, StoreError> {
        jobs::cancel(self, id, by, now).await
    }

    async fn claim_replay(
        &self,
        lease_id: LeaseId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ReplayView>, StoreError> {
        jobs::claim(self, lease_id, now, lease_until).await
    }

    async fn release_replay(&self, id: ReplayId, lease_id: LeaseId) -> Result<(), StoreError> {
        jobs::release(self, id, lease_id).await
    }

    async fn replay_deliveries(
        &self,
        step: Step,
        republish_after: Duration,
        room: usize,
    ) -> Result<Stepped, StoreError> {
        deliveries::step(self, step, republish_after, room).await
    }

    async fn matching_receipts(
        &self,
        filter: &ReceiptFilter,
        now: Timestamp,
        limit: i64,
    ) -> Result<(i64, Vec<StoredRequest>), StoreError> {
        receipts::matching(self, filter, now, limit).await
    }

    async fn stored_request(&self, id: ReceiptId) -> Result<Option<StoredRequest>, StoreError> {
        receipts::one(self, id).await
    }

    async fn next_receipts(&self, step: Step) -> Result<Option<Vec<StoredRequest>>, StoreError> {
        receipts::next(self, step).await
    }

    async fn replay_receipts(
        &self,
        work: &Rejudging,
        catalog: &Catalog,
        terms: RecordTerms,
    ) -> Result<ReceiptsReplayed, StoreError> {
        recording::replay(self, work, catalog, terms).await
    }

    async fn skip_receipt(&self, step: Step, receipt_id: ReceiptId) -> Result<(), StoreError> {
        receipts::skip(self, step, receipt_id).await
    }
}
