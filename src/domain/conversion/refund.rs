//! A refund that is an event of its own: what it says, and what it takes off its original (DOMAIN 2.5).
//!
//! The amount that a sender reports under the sale's own event id is what the sale is worth before these refunds, so
//! that sale, refunds and later versions of the sale come to the same in any order. [`super::Conversion`] holds what
//! is left.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Change, Conversion, after, judge_other_event};
use crate::domain::money::Amount;
use crate::domain::postback::{ConversionStatus, Identifier, Postback};
use crate::domain::verdict::{Code, Rejection};

/// What one refund took off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The refund's own event id.
    pub event_id: Identifier,
    /// How much, more than nothing.
    pub amount: Amount,
}

/// How much a refund asks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole original: sent with the status `reversed` and without an amount.
    All,
    /// So much of it.
    Part(Amount),
}

/// What `sent` asks back, if it is a refund: it names its original, or its amount is negative (which only a source that
/// may can send).
///
/// # Errors
/// What is missing, or contradicts itself.
pub fn asked(sent: &Postback) -> Result<Option<Asked>, Rejection> {
    let negative = sent.amount.is_some_and(Amount::is_negative);
    if sent.original_event_id.is_none() && !negative {
        return Ok(None);
    }
    if !matches!(sent.status, None | Some(ConversionStatus::Approved | ConversionStatus::Reversed)) {
        return Err(Rejection::of_field(Code::BadStatus, "status")
            .because("A refund is sent when it is final: without a status, or as approved or reversed."));
    }
    if sent.payout.is_some() {
        return Err(Rejection::of_field(Code::OverrideNotPermitted, "payout")
            .because("A refund sets no payout: what is earned follows from the amount that is left."));
    }
    let Some(amount) = sent.amount else {
        let whole = sent.status == Some(ConversionStatus::Reversed);
        return if whole { Ok(Some(Asked::All)) } else { Err(no_amount()) };
    };
    if amount.is_zero() {
        return Err(Rejection::of_field(Code::BadAmount, "amount").because("A refund takes off more than nothing."));
    }
    if sent.event_id.is_none() {
        return Err(Rejection::of_field(Code::MissingField, "event_id").because(
            "A refund of a part needs an event_id of its own: without it a copy cannot be told from a second refund.",
        ));
    }
    Ok(Some(Asked::Part(if amount.is_negative() { amount.negated() } else { amount })))
}

fn no_amount() -> Rejection {
    Rejection::of_field(Code::MissingField, "amount")
        .because("Send the amount to take off, or the status reversed to take all of it back.")
}

/// What a refund does to its original. `goal` is the name of the original's goal.
pub fn judge_refund(conversion: &Conversion, goal: &str, sent: &Postback, asked: Asked) -> Change {
    let hash = sent.sent_hash();
    if conversion.seen.contains(&hash) {
        return Change::None { remember: Vec::new() };
    }
    let click_differs = sent.click_id.is_some() && sent.click_id != conversion.content.click_id;
    let goal_differs = sent.goal.as_ref().is_some_and(|name| name.as_str() != goal);
    let currency_differs = sent.currency.is_some_and(|currency| currency != conversion.currency);
    if click_differs || goal_differs || currency_differs {
        return Change::Refused(Rejection::new(Code::ConflictingRevision).because(
            "A refund has the click, the goal and the currency of its original; leave them out, or send the same.",
        ));
    }
    match (asked, &sent.event_id) {
        (Asked::Part(amount), Some(event_id)) => take_off(conversion, sent, event_id, amount),
        _ => judge_other_event(conversion, sent),
    }
}

fn take_off(conversion: &Conversion, sent: &Postback, event_id: &Identifier, amount: Amount) -> Change {
    let remember = vec![sent.sent_hash()];
    if let Some(known) = conversion.refunds.iter().find(|refund| refund.event_id == *event_id) {
        return if known.amount == amount {
            Change::None { remember }
        } else {
            Change::Refused(
                Rejection::new(Code::ConflictingRevision)
                    .because("This refund is booked with another amount; the first stands."),
            )
        };
    }
    let over = matches!(conversion.status, ConversionStatus::Rejected | ConversionStatus::Reversed);
    let Some(stands) = conversion.content.amount.filter(|_| !over) else {
        return Change::Refused(Rejection::of_field(Code::BadAmount, "amount").because(if over {
            "All of the original has been taken back; nothing is left."
        } else {
            "The original has no amount to take a part off; take all of it back with the status reversed."
        }));
    };
    let Some((left, status)) = reduced(conversion.status, stands, amount) else {
        return Change::Refused(
            Rejection::of_field(Code::BadAmount, "amount").because("The refund is more than what is left."),
        );
    };
    let mut content = conversion.content.clone();
    content.amount = Some(left);
    if sent.reason.is_some() {
        content.reason.clone_from(&sent.reason);
    }
    let refund = Some(Refund { event_id: event_id.clone(), amount });
    Change::Revision { content: Box::new(content), status, refund, remember }
}

/// What stays of `gross` without `taken`, and the status then: all taken off is taken back. `None` where it is less
/// than nothing.
pub fn reduced(status: ConversionStatus, gross: Amount, taken: Amount) -> Option<(Amount, ConversionStatus)> {
    let left = Amount::new(gross.decimal() - taken.decimal()).ok().filter(|left| !left.is_negative())?;
    let status = if left.is_zero() && !taken.is_zero() {
        after(status, Some(ConversionStatus::Reversed)).unwrap_or(status)
    } else {
        status
    };
    Some((left, status))
}

/// All that refunds took off.
pub fn total(refunds: &[Refund]) -> Amount {
    let sum: Decimal = refunds.iter().map(|refund| refund.amount.decimal()).sum();
    // Never more than the original's amount, which is in range.
    Amount::new(sum).unwrap_or(Amount::ZERO)
}
