//! Payouts. What an entry, a key or a reference belongs to is decided by unique constraints, never by a read.

mod create;
mod due;
mod reading;
mod rows;
mod step;

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::{DbConnection, Engine};
use super::{ledger, outbox};
use crate::domain::catalog::Catalog;
use crate::domain::ids::{AffiliateId, KeyId, PayoutId};
use crate::domain::outbox::Outbox;
use crate::domain::payout::terms::{DueOutcome, PayoutTerms};
use crate::domain::payout::{self, Payout, PayoutState, Share, Step};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::outbox::{OutboxTerms, Told};
use crate::store::payouts::{Creation, DuePayout, ItemView, NewPayout, PayoutView, Payouts, TakeStep, Taken};
use crate::store::reading::{Filter, Page};

#[async_trait]
impl Payouts for Engine {
    async fn create_payout(
        &self,
        new: &NewPayout,
        catalog: &Catalog,
        terms: OutboxTerms,
    ) -> Result<Creation, StoreError> {
        let mut transaction = self.begin().await?;
        super::recording::require_version(&mut transaction, catalog).await?;
        let creation = create::create(&mut transaction, new, catalog, terms).await?;
        match creation {
            Creation::Made(..) => transaction.commit().await?,
            Creation::Known(_) | Creation::OtherWish(_) | Creation::None(..) => transaction.rollback().await?,
        }
        Ok(creation)
    }

    async fn step_payout(&self, take: &TakeStep, catalog: &Catalog, terms: OutboxTerms) -> Result<Taken, StoreError> {
        let mut transaction = self.begin().await?;
        super::recording::require_version(&mut transaction, catalog).await?;
        let taken = step::step(&mut transaction, take, catalog, terms).await?;
        match taken {
            Taken::Done(..) => transaction.commit().await?,
            Taken::Already(_) | Taken::Refused(_) => transaction.rollback().await?,
        }
        Ok(taken)
    }

    async fn create_due_payout(
        &self,
        due: &DuePayout,
        catalog: &Catalog,
        terms: OutboxTerms,
    ) -> Result<Option<(DueOutcome, Told)>, StoreError> {
        let mut transaction = self.begin().await?;
        super::recording::require_version(&mut transaction, catalog).await?;
        let made = due::create_due(&mut transaction, due, catalog, terms).await?;
        transaction.commit().await?;
        Ok(made)
    }

    async fn due_payout_terms(&self, now: Timestamp, limit: i64) -> Result<Vec<PayoutTerms>, StoreError> {
        due::due(self, now, limit).await
    }

    async fn put_payout_terms(&self, terms: &PayoutTerms) -> Result<PayoutTerms, StoreError> {
        let mut transaction = self.begin().await?;
        let set = due::put(&mut transaction, terms).await?;
        transaction.commit().await?;
        Ok(set)
    }

    async fn payout_terms(&self, affiliate: AffiliateId) -> Result<Vec<PayoutTerms>, StoreError> {
        due::of_affiliate(self, affiliate).await
    }

    async fn payouts(&self, filter: &Filter, page: Page) -> Result<Vec<Payout>, StoreError> {
        reading::payouts(self, filter, page).await
    }

    async fn payout(&self, id: PayoutId) -> Result<Option<PayoutView>, StoreError> {
        reading::payout(self, id).await
    }

    async fn payout_items(&self, id: PayoutId, page: Page) -> Result<Vec<ItemView>, StoreError> {
        reading::items(self, id, page).await
    }

    async fn payouts_stuck(&self, before: Timestamp) -> Result<i64, StoreError> {
        let count = "SELECT count(*) AS stuck FROM payouts \
             WHERE state NOT IN ('completed', 'returned', 'canceled') AND updated_at < $1";
        Ok(sqlx::query(count).bind(before).fetch_one(&self.reader).await?.try_get("stuck")?)
    }
}

/// What a step leaves behind: its row, what is booked, who is told.
struct Trace<'a> {
    from: Option<PayoutState>,
    payout: &'a Payout,
    shares: &'a [Share],
    step: Option<&'a Step>,
    by: Option<KeyId>,
}

async fn leave(
    connection: &mut DbConnection,
    trace: Trace<'_>,
    catalog: &Catalog,
    terms: OutboxTerms,
) -> Result<Told, StoreError> {
    let Trace { from, payout, shares, step, by } = trace;
    let insert = "INSERT INTO payout_steps (payout_id, revision, state, key_id, at, reference, reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(insert)
        .bind(payout.id)
        .bind(payout.revision)
        .bind(payout.state.as_str())
        .bind(by)
        .bind(terms.now)
        .bind(step.and_then(Step::reference).map(|reference| reference.as_str().to_owned()))
        .bind(step.and_then(Step::reason).map(|reason| reason.as_str().to_owned()))
        .execute(&mut *connection)
        .await?;
    let posting = payout::posting(from, payout, shares, terms.now);
    ledger::post(connection, posting.as_slice()).await?;
    let mut told = Outbox::default();
    let reason = step.and_then(Step::reason);
    payout::tell(&mut told, catalog, from, (payout, shares), reason, terms.now);
    outbox::write(connection, &told, terms).await
}

/// The parts of a payout, by operator.
async fn shares(connection: &mut DbConnection, id: PayoutId) -> Result<Vec<Share>, StoreError> {
    let select = "SELECT operator_id, amount FROM payout_shares WHERE payout_id = $1 ORDER BY operator_id";
    let rows = sqlx::query(select).bind(id).fetch_all(connection).await?;
    rows.iter().map(rows::share).collect()
}
