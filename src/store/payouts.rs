//! Payouts: made of unpaid ledger entries, moved step by step, each step one transaction.
//!
//! Guaranteed: an entry is paid by one payout at a time, whoever asks for payouts at once, because a unique constraint
//! decides; a step is taken from the state that was judged; what subscribers are told is written in the same
//! transaction. A call that collided with another wrote nothing and may be made again.

use async_trait::async_trait;

use super::StoreError;
use super::outbox::{OutboxTerms, Told};
use super::reading::{Filter, Page};
use crate::domain::catalog::Catalog;
use crate::domain::ids::{AffiliateId, CommissionId, KeyId, LedgerEntryId, OperatorId, PayoutId};
use crate::domain::money::{Amount, Currency, Money};
use crate::domain::payout::terms::{DueOutcome, PayoutTerms};
use crate::domain::payout::{NoPayout, Payout, PayoutState, Refusal, Share, Step};
use crate::domain::time::Timestamp;

/// A payout that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewPayout {
    /// Who is paid.
    pub affiliate_id: AffiliateId,
    /// In which currency.
    pub currency: Currency,
    /// From how much on; the minimum of the affiliate's terms where nobody says.
    pub minimum: Option<Amount>,
    /// Whether it is put together without going to approval.
    pub draft: bool,
    /// What tells this wish from others: the same key answers the same payout.
    pub idempotency_key: String,
    /// Whose key asks; `None` for the schedule.
    pub created_by: Option<KeyId>,
}

/// What became of a wish for a payout.
#[derive(Debug)]
pub enum Creation {
    /// It was made.
    Made(Payout, Told),
    /// It had been made under this key.
    Known(Payout),
    /// The key stands for a payout of another affiliate or currency.
    OtherWish(PayoutId),
    /// There is none, and why; with what is owed.
    None(NoPayout, Money),
}

/// A step that somebody takes.
#[derive(Clone, Debug)]
pub struct TakeStep {
    /// With which payout.
    pub id: PayoutId,
    /// What.
    pub step: Step,
    /// Whose key.
    pub by: KeyId,
    /// Up to how much the creator may approve.
    pub one_person_up_to: Amount,
}

/// What became of a step.
#[derive(Debug)]
pub enum Taken {
    /// It was taken.
    Done(Payout, Told),
    /// It had been taken before; nothing changed.
    Already(Payout),
    /// It was refused.
    Refused(Refusal),
}

/// A payout with its parts and its steps.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "said above")]
pub struct PayoutView {
    pub payout: Payout,
    pub shares: Vec<Share>,
    /// Oldest first.
    pub steps: Vec<StepView>,
}

/// A step that was taken.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of payout_steps, see the migration")]
pub struct StepView {
    pub revision: i32,
    pub state: PayoutState,
    pub key_id: Option<KeyId>,
    pub at: Timestamp,
    pub reference: Option<String>,
    pub reason: Option<String>,
}

/// A ledger entry that a payout pays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of payout_items, see the migration")]
pub struct ItemView {
    pub entry_id: LedgerEntryId,
    pub commission_id: CommissionId,
    pub operator_id: OperatorId,
    pub money: Money,
    pub released_at: Option<Timestamp>,
}

/// Terms under which a payout fell due.
#[derive(Clone, Debug)]
pub struct DuePayout {
    /// The terms, as they were read.
    pub terms: PayoutTerms,
    /// When the next one falls due.
    pub next_due_at: Timestamp,
}

/// What is asked of payouts. Every method fails with [`StoreError::Unavailable`]; those that write also with
/// [`StoreError::Collision`], and those that tell subscribers with [`StoreError::StaleConfiguration`].
#[async_trait]
pub trait Payouts: Send + Sync {
    /// Makes a payout of everything that is unpaid, unless that is too little.
    ///
    /// # Errors
    /// See the trait.
    async fn create_payout(
        &self,
        new: &NewPayout,
        catalog: &Catalog,
        terms: OutboxTerms,
    ) -> Result<Creation, StoreError>;

    /// Takes a step.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; see the trait.
    async fn step_payout(&self, take: &TakeStep, catalog: &Catalog, terms: OutboxTerms) -> Result<Taken, StoreError>;

    /// Makes the payout that fell due, if it is worth one, and moves the terms on; `None` where another instance has.
    ///
    /// # Errors
    /// See the trait.
    async fn create_due_payout(
        &self,
        due: &DuePayout,
        catalog: &Catalog,
        terms: OutboxTerms,
    ) -> Result<Option<(DueOutcome, Told)>, StoreError>;

    /// Terms that are switched on and due, longest waiting first.
    ///
    /// # Errors
    /// See the trait.
    async fn due_payout_terms(&self, now: Timestamp, limit: i64) -> Result<Vec<PayoutTerms>, StoreError>;

    /// Sets the terms of an affiliate in a currency; answers them as they are then. What is due already stays due,
    /// unless the period changes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such affiliate; see the trait.
    async fn put_payout_terms(&self, terms: &PayoutTerms) -> Result<PayoutTerms, StoreError>;

    /// The terms of an affiliate, by currency.
    ///
    /// # Errors
    /// See the trait.
    async fn payout_terms(&self, affiliate: AffiliateId) -> Result<Vec<PayoutTerms>, StoreError>;

    /// Payouts, newest first; narrowed by affiliate and state.
    ///
    /// # Errors
    /// See the trait.
    async fn payouts(&self, filter: &Filter, page: Page) -> Result<Vec<Payout>, StoreError>;

    /// One payout.
    ///
    /// # Errors
    /// See the trait.
    async fn payout(&self, id: PayoutId) -> Result<Option<PayoutView>, StoreError>;

    /// The entries that a payout pays, newest first.
    ///
    /// # Errors
    /// See the trait.
    async fn payout_items(&self, id: PayoutId, page: Page) -> Result<Vec<ItemView>, StoreError>;

    /// How many payouts under way have taken no step since `before`.
    ///
    /// # Errors
    /// See the trait.
    async fn payouts_stuck(&self, before: Timestamp) -> Result<i64, StoreError>;
}
