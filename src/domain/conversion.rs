//! A converted event, its current state, and what a later postback for it may change (DOMAIN 2.4, 2.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::commission::NoCommission;
use super::ids::{AffiliateId, ConversionId, GoalId, KeyId, OperatorId, ProgramId, ReceiptId, SourceId};
use super::money::{Amount, Currency};
use super::postback::{ContentHash, ConversionStatus, Postback};
use super::time::Timestamp;
use super::verdict::{Code, Rejection};

mod refund;

pub use self::refund::{Asked, Refund, asked};

/// The current state of one converted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Its id.
    pub id: ConversionId,
    /// Whose program it converted in.
    pub operator_id: OperatorId,
    /// The source that it first came through.
    pub source_id: SourceId,
    /// The program.
    pub program_id: ProgramId,
    /// The goal that was reached.
    pub goal_id: GoalId,
    /// Who is credited.
    pub affiliate_id: AffiliateId,
    /// The receipt that made its current revision.
    pub receipt_id: ReceiptId,
    /// Where it stands.
    pub status: ConversionStatus,
    /// The currency of its amount: as sent, else the program's.
    pub currency: Currency,
    /// When it happened: as sent, else when it was received.
    pub occurred_at: Timestamp,
    /// When it first arrived.
    pub received_at: Timestamp,
    /// When its current revision was made.
    pub updated_at: Timestamp,
    /// Counts its states, from 1; subscribers order messages by it.
    pub revision: i32,
    /// Whether it is a test: the whole way, no ledger entry.
    pub test: bool,
    /// Every field that was ever sent, the latest of each; the amount is what `refunds` left of it.
    pub content: Postback,
    /// What refunds with event ids of their own took off.
    pub refunds: Vec<Refund>,
    /// The sub-ids of its click, for the affiliate's tracker.
    pub click_subs: BTreeMap<String, String>,
    /// Until when it is on hold, if it is and the goal says how long.
    pub hold_until: Option<Timestamp>,
    /// The month in which it was first approved, as `2026-01` in UTC; when it happened may be long before.
    pub booked_period: Option<String>,
    /// Who made the current revision.
    pub changed_by: ChangedBy,
    /// What was ever judged for it.
    pub seen: Seen,
    /// Why it earns nothing, if it does.
    pub no_commission: Option<NoCommission>,
    /// The key under which it counts for rates that are paid for some months, if there are any.
    pub recurrence: Option<String>,
}

/// Who made a revision of a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum ChangedBy {
    /// The sender, by the receipt that the revision names.
    #[default]
    Sender,
    /// The goal's hold days were over.
    HoldOver,
    /// An admin.
    Admin {
        /// The admin's key.
        key_id: KeyId,
        /// Why.
        reason: String,
    },
}

impl Conversion {
    /// The content as the sender said it: with the amount before refunds.
    fn spoken(&self) -> Postback {
        let mut content = self.content.clone();
        let gross = |left: Amount| Amount::new(left.decimal() + refund::total(&self.refunds).decimal()).unwrap_or(left);
        content.amount = content.amount.map(gross);
        content
    }
}

/// The hashes of every postback judged for a conversion: of the fields sent and of the merged content. A
/// known one is a stale duplicate, so that a delayed retry never undoes what came later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(Vec<ContentHash>);

impl Seen {
    /// Whether this was judged before.
    #[must_use]
    pub fn contains(&self, hash: &ContentHash) -> bool {
        self.0.contains(hash)
    }

    /// Remembers; answers whether it was new.
    pub fn insert(&mut self, hash: ContentHash) -> bool {
        let new = !self.contains(&hash);
        if new {
            self.0.push(hash);
        }
        new
    }

    /// All hashes behind one another, for storage.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(ContentHash::bytes).copied().collect()
    }

    /// What [`Seen::to_bytes`] wrote. `None` where the length is no multiple of a hash's.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<16>();
        rest.is_empty().then(|| Self(hashes.iter().copied().map(ContentHash::from_bytes).collect()))
    }
}

/// Which of its keys led to a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The event key: the sender speaks of this very event.
    Event,
    /// The once key only: the same goal of the same click under another event id.
    Once,
}

/// What a later postback does to a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: same content, or seen before.
    None {
        /// The hashes by which a later copy is recognised.
        remember: Vec<ContentHash>,
    },
    /// Nothing: it contradicts the conversion, and the first stands.
    Refused(Rejection),
    /// A new revision.
    Revision {
        /// All fields, the latest of each; the amount is what is left.
        content: Box<Postback>,
        /// The status afterwards.
        status: ConversionStatus,
        /// What a refund took off just now.
        refund: Option<Refund>,
        /// The hashes by which a later copy is recognised.
        remember: Vec<ContentHash>,
    },
}

/// What `sent` does to `conversion`. `goal` is the name of the conversion's goal. Pure; the caller remembers
/// the hashes and books the revision.
#[must_use]
pub fn judge(conversion: &Conversion, goal: &str, sent: &Postback, named_by: NamedBy) -> Change {
    match (asked(sent), named_by) {
        (Err(rejection), _) => Change::Refused(rejection),
        (Ok(Some(asked)), _) => refund::judge_refund(conversion, goal, sent, asked),
        (Ok(None), NamedBy::Event) => judge_same_event(conversion, goal, sent),
        (Ok(None), NamedBy::Once) => judge_other_event(conversion, sent),
    }
}

fn judge_same_event(conversion: &Conversion, goal: &str, sent: &Postback) -> Change {
    let known = conversion.spoken();
    let content = merged(&known, sent);
    let remember = vec![sent.sent_hash(), content.sent_hash()];
    let seen = remember.iter().any(|hash| conversion.seen.contains(hash));
    if sent.event_id.is_some() && sent.event_id != known.event_id {
        // The id is a refund's: it leads here, but speaks of what was taken off.
        let refused = Rejection::new(Code::ConflictingRevision).because("This event id stands for a refund.");
        return if seen { Change::None { remember } } else { Change::Refused(refused) };
    }
    if seen || is_older(&known, sent) || repeats(conversion, &known, goal, sent) {
        return Change::None { remember };
    }
    if contradicts(conversion, goal, sent) {
        return Change::Refused(Code::ConflictingRevision.into());
    }
    let Some(status) = after(conversion.status, sent.status) else {
        return Change::Refused(Code::IllegalTransition.into());
    };
    match less_refunds(content, status, &conversion.refunds) {
        Some((content, status)) => Change::Revision { content: Box::new(content), status, refund: None, remember },
        None => Change::Refused(Rejection::of_field(Code::BadAmount, "amount").because(
            "Refunds have taken more off than this; the amount under the sale's own event_id is the one before them.",
        )),
    }
}

/// What is left of `content` after refunds; all taken off is taken back. `None` where they took more than it has.
fn less_refunds(
    mut content: Postback,
    status: ConversionStatus,
    refunds: &[Refund],
) -> Option<(Postback, ConversionStatus)> {
    let Some(gross) = content.amount else { return Some((content, status)) };
    let (left, status) = refund::reduced(status, gross, refund::total(refunds))?;
    content.amount = Some(left);
    Some((content, status))
}

/// Another event id for a goal that counts once, or a refund of all: a refusal or reversal is meant for the conversion,
/// all else is a duplicate. The conversion keeps its event id.
fn judge_other_event(conversion: &Conversion, sent: &Postback) -> Change {
    let duplicate = Change::None { remember: vec![sent.sent_hash()] };
    let undoes = matches!(sent.status, Some(ConversionStatus::Reversed | ConversionStatus::Rejected));
    if !undoes || conversion.seen.contains(&sent.sent_hash()) || sent_status(conversion, sent) == conversion.status {
        return duplicate;
    }
    let mut content = conversion.spoken();
    content.status = sent.status;
    if sent.reason.is_some() {
        content.reason.clone_from(&sent.reason);
    }
    let merged_hash = content.sent_hash();
    if conversion.seen.contains(&merged_hash) {
        return duplicate;
    }
    let Some(status) = after(conversion.status, sent.status) else {
        return Change::Refused(Code::IllegalTransition.into());
    };
    content.amount = conversion.content.amount;
    Change::Revision { content: Box::new(content), status, refund: None, remember: vec![sent.sent_hash(), merged_hash] }
}

/// The status after `sent`, or `None` where DOMAIN 2.4 has no such transition. A sender's `rejected` for an
/// approved conversion means `reversed`, and its `reversed` before approval means `rejected`: else a refund that
/// overtook the approval of its sale would be refused, and the approval booked. What is rejected or reversed
/// stays as it is.
#[must_use]
pub fn after(current: ConversionStatus, sent: Option<ConversionStatus>) -> Option<ConversionStatus> {
    use ConversionStatus::{Approved, Hold, Pending, Rejected, Reversed};
    match (current, sent.unwrap_or(current)) {
        (Rejected | Reversed, _) => None,
        (Approved, Rejected | Reversed) => Some(Reversed),
        (Pending | Hold, Rejected | Reversed) => Some(Rejected),
        (Pending | Hold | Approved, Approved) => Some(Approved),
        (Pending | Hold, Hold) => Some(Hold),
        (Pending, Pending) => Some(Pending),
        (Approved, Pending | Hold) | (Hold, Pending) => None,
    }
}

/// The status that `sent` means for `conversion`: of a conversion that is over, `rejected` and `reversed` both say so.
fn sent_status(conversion: &Conversion, sent: &Postback) -> ConversionStatus {
    use ConversionStatus::{Rejected, Reversed};
    match (conversion.status, sent.status) {
        (over @ (Rejected | Reversed), Some(Rejected | Reversed)) => over,
        (current, sent) => sent.unwrap_or(current),
    }
}

/// Whether every field that was sent says what is so already, be it by default: status, goal, currency and time of
/// the conversion itself count, not only what was sent for it. Of a conversion that is over, a later version of the
/// same says nothing new either.
fn repeats(conversion: &Conversion, spoken: &Postback, goal: &str, sent: &Postback) -> bool {
    if sent.goal.as_ref().is_some_and(|name| name.as_str() != goal) {
        return false;
    }
    let known = Postback {
        status: Some(conversion.status),
        goal: sent.goal.clone(),
        currency: Some(conversion.currency),
        occurred_at: Some(conversion.occurred_at),
        ..spoken.clone()
    };
    let mut sent = Postback { status: Some(sent_status(conversion, sent)), ..sent.clone() };
    if matches!(conversion.status, ConversionStatus::Rejected | ConversionStatus::Reversed) {
        (sent.version, sent.updated_at) = (None, None);
    }
    merged(&known, &sent) == known
}

/// Whether `sent` names another click, goal or currency than the conversion has.
fn contradicts(conversion: &Conversion, goal: &str, sent: &Postback) -> bool {
    let click_differs = sent.click_id.is_some() && sent.click_id != conversion.content.click_id;
    let goal_differs = sent.goal.as_ref().is_some_and(|name| name.as_str() != goal);
    let currency_differs = sent.currency.is_some_and(|currency| currency != conversion.currency);
    let version_reused = sent.version.is_some() && sent.version == conversion.content.version;
    click_differs || goal_differs || currency_differs || version_reused
}

/// Whether the sender itself says that this is older than what we have: a lower `version`, or without
/// versions an earlier `updated_at`.
fn is_older(known: &Postback, sent: &Postback) -> bool {
    match (known.version, sent.version) {
        (Some(known), Some(sent)) => sent < known,
        _ => matches!((known.updated_at, sent.updated_at), (Some(known), Some(sent)) if sent < known),
    }
}

/// `known` with every field that `sent` carries laid over it.
fn merged(known: &Postback, sent: &Postback) -> Postback {
    let mut subs = known.subs.clone();
    subs.extend(sent.subs.clone());
    Postback {
        click_id: sent.click_id.clone().or_else(|| known.click_id.clone()),
        event_id: sent.event_id.clone().or_else(|| known.event_id.clone()),
        goal: sent.goal.clone().or_else(|| known.goal.clone()),
        amount: sent.amount.or(known.amount),
        currency: sent.currency.or(known.currency),
        payout: sent.payout.or(known.payout),
        status: sent.status.or(known.status),
        customer_id: sent.customer_id.clone().or_else(|| known.customer_id.clone()),
        occurred_at: sent.occurred_at.or(known.occurred_at),
        coupon: sent.coupon.clone().or_else(|| known.coupon.clone()),
        reason: sent.reason.clone().or_else(|| known.reason.clone()),
        test: known.test,
        version: sent.version.or(known.version),
        updated_at: sent.updated_at.or(known.updated_at),
        original_event_id: sent.original_event_id.clone().or_else(|| known.original_event_id.clone()),
        subs,
    }
}

#[cfg(test)]
mod tests;
