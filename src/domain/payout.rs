//! Payouts: money that is owed to an affiliate, on its way to it (DOMAIN 3.4).
//!
//! Who acts: an admin's key, or the schedule ([`terms`]). A payout is made of every unpaid ledger entry of the
//! affiliate's payable account in one currency, debts too, so that its amount is exactly what is owed. What it books
//! (DOMAIN 3.3) follows from where it stood and where it goes: [`posting`]. Who is told: [`tell`].
//!
//! Deliberately absent here: which entries are unpaid. The database decides that, by a unique constraint.

pub mod terms;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::catalog::{Catalog, Owner};
use super::event::{self, EventType};
use super::ids::{AffiliateId, KeyId, OperatorId, PayoutId};
use super::ledger::{self, Account, Posting, PostingKind, Subject};
use super::money::{Amount, Money};
use super::outbox::{News, Outbox};
use super::time::Timestamp;

/// The longest name of a payment, and the longest reason, in characters.
const MAX_TEXT_CHARS: usize = 255;

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// Put together; its money is set aside, nobody is told yet.
    Draft,
    /// Waits for somebody to approve it.
    PendingApproval,
    /// May be paid.
    Approved,
    /// Being paid.
    Processing,
    /// Handed to whoever moves the money, under a reference.
    Sent,
    /// The affiliate has it.
    Completed,
    /// It could not be paid: to be tried again or returned.
    Failed,
    /// Given back to the affiliate's balance.
    Returned,
    /// Given back to the affiliate's balance before anybody began to pay.
    Canceled,
}

impl PayoutState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Draft,
        Self::PendingApproval,
        Self::Approved,
        Self::Processing,
        Self::Sent,
        Self::Completed,
        Self::Failed,
        Self::Returned,
        Self::Canceled,
    ];

    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::PendingApproval => "pending_approval",
            Self::Approved => "approved",
            Self::Processing => "processing",
            Self::Sent => "sent",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Returned => "returned",
            Self::Canceled => "canceled",
        }
    }

    /// Whether its entries lie in the affiliate's balance again.
    #[must_use]
    pub const fn gave_back(self) -> bool {
        matches!(self, Self::Returned | Self::Canceled)
    }

    /// Whether its money lies in the clearing account.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        !matches!(self, Self::Completed | Self::Returned | Self::Canceled)
    }
}

/// The provider's name of a payment: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

/// Not a provider's name of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference has 1 to 255 visible ASCII characters")]
pub struct BadReference;

impl Reference {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let fits = (1..=MAX_TEXT_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or(BadReference)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a payout failed or was given back, in words that the affiliate reads too: 1 to 255 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason(String);

impl Reason {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=MAX_TEXT_CHARS).contains(&text.chars().count()) && !text.trim().is_empty();
        if !fits || text.chars().any(char::is_control) {
            return Err(serde::de::Error::custom("a reason has 1 to 255 characters and no control characters"));
        }
        Ok(Self(text))
    }
}

/// What somebody does with a payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A draft goes to approval.
    Submit,
    /// It may be paid.
    Approve,
    /// Somebody begins to pay it, or tries again after a failure.
    Process,
    /// It was handed to whoever moves the money.
    Send(Reference),
    /// The affiliate has it.
    Complete,
    /// It could not be paid.
    Fail(Reason),
    /// It goes back to the balance, also after it had arrived.
    Return(Reason),
    /// It goes back to the balance before anybody began to pay.
    Cancel(Reason),
}

impl Step {
    /// Where it leads.
    #[must_use]
    pub const fn target(&self) -> PayoutState {
        match self {
            Self::Submit => PayoutState::PendingApproval,
            Self::Approve => PayoutState::Approved,
            Self::Process => PayoutState::Processing,
            Self::Send(_) => PayoutState::Sent,
            Self::Complete => PayoutState::Completed,
            Self::Fail(_) => PayoutState::Failed,
            Self::Return(_) => PayoutState::Returned,
            Self::Cancel(_) => PayoutState::Canceled,
        }
    }

    /// From where it leads there. Whoever pays by hand may send what is approved without saying that he begins.
    #[must_use]
    pub const fn leads_from(&self, state: PayoutState) -> bool {
        use PayoutState::{Approved, Completed, Draft, Failed, PendingApproval, Processing, Sent};
        match self {
            Self::Submit => matches!(state, Draft),
            Self::Approve => matches!(state, PendingApproval),
            Self::Process => matches!(state, Approved | Failed),
            Self::Send(_) => matches!(state, Approved | Processing),
            Self::Complete => matches!(state, Sent),
            Self::Fail(_) => matches!(state, Processing | Sent),
            Self::Return(_) => matches!(state, Sent | Completed | Failed),
            Self::Cancel(_) => matches!(state, Draft | PendingApproval | Approved),
        }
    }

    /// The provider's name of the payment, where there is one.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Send(reference) => Some(reference),
            _ => None,
        }
    }

    /// Why, where that is said.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Fail(reason) | Self::Return(reason) | Self::Cancel(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not lead on from where the payout stands.
    NotFrom(PayoutState),
    /// The payout is above the limit, and the approver's key is the creator's.
    SecondPerson,
    /// The reference is another payout's.
    ReferenceTaken,
}

/// Why there is no payout. Both carry the balance on: nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoPayout {
    /// What was taken back is more than what is owed.
    Debt,
    /// What is owed is nothing, or less than the minimum.
    BelowMinimum,
}

/// Whether a balance is paid.
///
/// # Errors
/// [`NoPayout`] as it says.
pub fn judge_balance(balance: Amount, minimum: Amount) -> Result<(), NoPayout> {
    if balance.is_negative() {
        Err(NoPayout::Debt)
    } else if balance.is_zero() || balance < minimum {
        Err(NoPayout::BelowMinimum)
    } else {
        Ok(())
    }
}

/// Money that is owed to an affiliate, on its way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Its id.
    pub id: PayoutId,
    /// Who is paid.
    pub affiliate_id: AffiliateId,
    /// How much; the sum of its items.
    pub money: Money,
    /// How many ledger entries it pays.
    pub items: i64,
    /// Where it stands.
    pub state: PayoutState,
    /// Counts its steps, from 1; subscribers order messages by it.
    pub revision: i32,
    /// The provider's name of the payment, once it was sent; after a retry the later one.
    pub reference: Option<Reference>,
    /// Whose key made it; `None` for the schedule.
    pub created_by: Option<KeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it took its last step.
    pub updated_at: Timestamp,
}

/// One operator's part of a payout: the sum of the items that come from its programs. Below nothing where more of
/// it was taken back than earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose programs they are.
    pub operator_id: OperatorId,
    /// How much.
    pub amount: Amount,
}

impl Payout {
    /// Where a step of the holder of `by` leads; `None` where it has been taken already, so that a request that is
    /// repeated changes nothing. Above `one_person_up_to` the approver's key must be another than the creator's.
    ///
    /// # Errors
    /// [`Refusal`] as it says.
    pub fn after(
        &self,
        step: &Step,
        by: KeyId,
        one_person_up_to: Amount,
        now: Timestamp,
    ) -> Result<Option<Self>, Refusal> {
        let same_payment = step.reference().is_none_or(|reference| self.reference.as_ref() == Some(reference));
        if self.state == step.target() && same_payment {
            return Ok(None);
        }
        if !step.leads_from(self.state) {
            return Err(Refusal::NotFrom(self.state));
        }
        let alone = self.created_by == Some(by) && self.money.amount > one_person_up_to;
        if *step == Step::Approve && alone {
            return Err(Refusal::SecondPerson);
        }
        Ok(Some(Self {
            state: step.target(),
            revision: self.revision.saturating_add(1),
            reference: step.reference().or(self.reference.as_ref()).cloned(),
            updated_at: now,
            ..self.clone()
        }))
    }
}

/// What is booked when a payout goes from `from` (nowhere, when it is made) to where it stands now; amounts are
/// copied, never recomputed.
#[must_use]
pub fn posting(from: Option<PayoutState>, payout: &Payout, shares: &[Share], now: Timestamp) -> Option<Posting> {
    let (payable, total) = (Account::Payable(payout.affiliate_id), payout.money.amount);
    let settled = |sign: fn(Amount) -> Amount| {
        shares.iter().map(move |share| (Account::Settled(share.operator_id), sign(share.amount)))
    };
    let (kind, sides): (_, Vec<(Account, Amount)>) = match (from, payout.state) {
        (None, _) => (PostingKind::Payout, vec![(payable, total), (Account::Clearing, total.negated())]),
        (Some(_), PayoutState::Completed) => {
            let sides = std::iter::once((Account::Clearing, total)).chain(settled(Amount::negated));
            (PostingKind::PayoutCompleted, sides.collect())
        }
        (Some(PayoutState::Completed), PayoutState::Returned) => {
            let sides = settled(|amount| amount).chain([(payable, total.negated())]);
            (PostingKind::PayoutReturned, sides.collect())
        }
        (Some(_), PayoutState::Returned | PayoutState::Canceled) => {
            (PostingKind::PayoutReturned, vec![(Account::Clearing, total), (payable, total.negated())])
        }
        _ => return None,
    };
    Some(ledger::posting(kind, Subject::Payout(payout.id), sides, payout.money.currency, now))
}

/// Tells the affiliate of a payout that went from `from` to where it stands now, and each operator of its own part
/// once it has arrived or came back from there.
pub fn tell(
    outbox: &mut Outbox,
    catalog: &Catalog,
    from: Option<PayoutState>,
    (payout, shares): (&Payout, &[Share]),
    reason: Option<&Reason>,
    now: Timestamp,
) {
    let Some(event_type) = event_of(from, payout.state) else { return };
    let affiliate_id = Some(payout.affiliate_id);
    let news = |operator_id, data| News { event_type, operator_id, affiliate_id, test: false, data };
    let data = event::payout_data(payout, reason);
    outbox.tell(catalog, &[Owner::Affiliate(payout.affiliate_id)], news(None, data), now);
    if payout.state == PayoutState::Completed || from == Some(PayoutState::Completed) {
        for share in shares {
            let data = event::payout_share_data(payout, share);
            outbox.tell(catalog, &[Owner::Operator(share.operator_id)], news(Some(share.operator_id), data), now);
        }
    }
}

/// A draft is nobody's business; that a payout was canceled is told as its return, since the money is back.
const fn event_of(from: Option<PayoutState>, to: PayoutState) -> Option<EventType> {
    Some(match (from, to) {
        (Some(PayoutState::Draft), PayoutState::Canceled) => return None,
        (_, PayoutState::Draft | PayoutState::Processing) => return None,
        (_, PayoutState::PendingApproval) => EventType::PayoutCreated,
        (_, PayoutState::Approved) => EventType::PayoutApproved,
        (_, PayoutState::Sent) => EventType::PayoutSent,
        (_, PayoutState::Completed) => EventType::PayoutCompleted,
        (_, PayoutState::Failed) => EventType::PayoutFailed,
        (_, PayoutState::Returned | PayoutState::Canceled) => EventType::PayoutReturned,
    })
}

#[cfg(test)]
mod tests;
