//! Turns the parameters of a request into a [`Postback`]: which parameter plays which role is data (a [`Mapping`]),
//! what a value must look like is here.
//!
//! A parameter without a role is not an error: senders add their own, and refusing money over one would be worse. It is
//! answered with a warning and kept in the receipt only. Whether the click, goal or program exists is not judged here.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::time::Duration;

use super::fields::Fields;
use super::mapping::{Mapping, Role};
use crate::domain::money::{Amount, Currency, MoneyError};
use crate::domain::postback::{ConversionStatus, Identifier, IdentifierError, Postback};
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection, Warning, WarningCode};

/// How far ahead of now a sender's time may be.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// The most free fields of one postback.
const MAX_SUBS: usize = 50;
/// The most characters of a free field's name.
const MAX_SUB_NAME_CHARS: usize = 64;
/// The most characters of a free field's value, and of the reason.
const MAX_TEXT_CHARS: usize = 1024;
/// The most warnings of one kind in an answer.
const MAX_WARNINGS: usize = 20;
/// The highest number of a free field `sub<n>`.
const MAX_SUB_NUMBER: u8 = 30;

/// What a source may do beyond reporting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// May say what the affiliate is paid.
    pub override_payout: bool,
    /// May send a negative amount, which means a refund of so much.
    pub negative_amount: bool,
}

/// A postback, and what was odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What the sender said.
    pub postback: Postback,
    /// What was taken all the same.
    pub warnings: Vec<Warning>,
}

/// Reads a postback out of the parameters.
///
/// # Errors
/// `id_format`, `bad_amount`, `bad_currency`, `bad_status`, `bad_timestamp`, `override_not_permitted`, `malformed` (the
/// remaining fields), or `missing_field` when nothing says what the postback is about.
pub fn parse(
    fields: &Fields,
    mapping: &Mapping,
    permissions: Permissions,
    now: Timestamp,
) -> Result<Parsed, Rejection> {
    let sent = Sent::new(fields, mapping);
    let postback = Postback {
        click_id: sent.read(Role::ClickId, identifier)?,
        event_id: sent.read(Role::EventId, identifier)?,
        goal: sent.read(Role::Goal, identifier)?,
        amount: sent.read(Role::Amount, |text| amount(text, permissions))?,
        currency: sent.read(Role::Currency, currency)?,
        payout: sent.read(Role::Payout, |text| payout(text, permissions))?,
        status: sent.read(Role::Status, |text| status(text, mapping))?,
        customer_id: sent.read(Role::CustomerId, identifier)?,
        occurred_at: sent.read(Role::OccurredAt, |text| timestamp(text, now))?,
        coupon: sent.read(Role::Coupon, optional_identifier)?.flatten(),
        reason: sent.read(Role::Reason, optional_text)?.flatten(),
        test: sent.read(Role::Test, flag)?.unwrap_or(false),
        version: sent.read(Role::Version, version)?,
        updated_at: sent.read(Role::UpdatedAt, |text| timestamp(text, now))?,
        original_event_id: sent.read(Role::OriginalEventId, identifier)?,
        subs: subs(fields, &sent)?,
    };
    refuse_unattributable(&postback, &sent)?;
    let unknown = fields.list.iter().filter(|field| !sent.has_role(&field.name) && !is_sub_name(&field.name));
    let unknown = unknown.map(|field| Warning::of_field(WarningCode::UnknownField, &field.name));
    let warnings = fields.warnings.iter().cloned().chain(unknown.take(MAX_WARNINGS)).collect();
    Ok(Parsed { postback, warnings })
}

/// The parameters of one request by their role.
struct Sent<'a> {
    by_role: HashMap<Role, (&'a str, &'a str)>,
    mapping: &'a Mapping,
}

impl<'a> Sent<'a> {
    fn new(fields: &'a Fields, mapping: &'a Mapping) -> Self {
        let by_name: HashMap<_, _> =
            fields.list.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        let mut by_role = HashMap::new();
        for (role, names) in &mapping.roles {
            let mut present = names.iter().filter_map(|name| by_name.get_key_value(name.as_str()));
            let first = present.clone().next();
            if let Some((name, value)) = present.find(|(_, value)| !value.is_empty()).or(first) {
                by_role.insert(*role, (*name, *value));
            }
        }
        Self { by_role, mapping }
    }

    /// Reads the value of a role, if it was sent; a refusal names the parameter as the sender does.
    fn read<T>(&self, role: Role, reader: impl Fn(&str) -> Result<T, Rejection>) -> Result<Option<T>, Rejection> {
        let Some((name, value)) = self.by_role.get(&role) else { return Ok(None) };
        let named = |refused: Rejection| Rejection { field: Rejection::of_field(refused.code, name).field, ..refused };
        reader(value).map(Some).map_err(named)
    }

    fn has_role(&self, name: &str) -> bool {
        self.mapping.roles.values().flatten().any(|other| other == name)
    }

    /// The sender's first name for a role.
    fn name_of(&self, role: Role) -> &str {
        self.mapping.roles.get(&role).and_then(|names| names.first()).map_or(role.as_str(), String::as_str)
    }
}

fn identifier(text: &str) -> Result<Identifier, Rejection> {
    Identifier::from_str(text).map_err(|error| match error {
        IdentifierError::Length => Code::IdFormat.into(),
        IdentifierError::Character => Code::Character.into(),
    })
}

/// An id that trackers send empty when there is none.
fn optional_identifier(text: &str) -> Result<Option<Identifier>, Rejection> {
    if text.is_empty() { Ok(None) } else { identifier(text).map(Some) }
}

fn optional_text(text: &str) -> Result<Option<String>, Rejection> {
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(Rejection::new(Code::Malformed).because("The text has more than 1024 characters."));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn amount(text: &str, permissions: Permissions) -> Result<Amount, Rejection> {
    let amount = signed_amount(text)?;
    if amount.is_negative() && !permissions.negative_amount {
        return Err(Rejection::new(Code::BadAmount).because(
            "Amounts are not negative: for a refund send the positive amount to take off with original_event_id and an \
             event_id of its own, or the sale's own event_id with the status reversed or the amount that is left.",
        ));
    }
    Ok(amount)
}

fn signed_amount(text: &str) -> Result<Amount, Rejection> {
    let refused = Rejection::new(Code::BadAmount);
    text.parse::<Amount>().map_err(|error| match error {
        MoneyError::OutOfRange => refused.because("The amount is larger than 100000000000."),
        MoneyError::Malformed | MoneyError::UnknownCurrency | MoneyError::CurrencyMismatch => refused,
    })
}

fn payout(text: &str, permissions: Permissions) -> Result<Amount, Rejection> {
    if !permissions.override_payout {
        return Err(Code::OverrideNotPermitted.into());
    }
    amount(text, Permissions::default())
}

fn currency(text: &str) -> Result<Currency, Rejection> {
    text.parse().map_err(|_| Code::BadCurrency.into())
}

fn status(text: &str, mapping: &Mapping) -> Result<ConversionStatus, Rejection> {
    mapping.statuses.get(text).copied().ok_or_else(|| Code::BadStatus.into())
}

/// RFC 3339 with a zone, or a Unix time: ten digits are seconds, thirteen are milliseconds.
fn timestamp(text: &str, now: Timestamp) -> Result<Timestamp, Rejection> {
    let refused = Rejection::new(Code::BadTimestamp);
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let time = match text.len() {
        10 if digits => text.parse().ok().and_then(Timestamp::from_seconds),
        13 if digits => text.parse().ok().and_then(|millis: i64| millis.checked_mul(1_000)).map(Timestamp::from_micros),
        _ => Timestamp::parse_rfc3339(text),
    };
    let time = time.ok_or_else(|| refused.clone())?;
    if time > now.plus(MAX_AHEAD) {
        return Err(refused.because("The time is more than 24 hours ahead."));
    }
    Ok(time)
}

fn flag(text: &str) -> Result<bool, Rejection> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Rejection::new(Code::Malformed).because("Send true, false, 1 or 0.")),
    }
}

fn version(text: &str) -> Result<i64, Rejection> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let refused = || Rejection::new(Code::Malformed).because("A version is a whole number from 0 to 2^63 - 1.");
    text.parse().ok().filter(|_| digits).ok_or_else(refused)
}

/// The free fields. Empty ones count as not sent, since trackers fill a macro without a value with nothing.
fn subs(fields: &Fields, sent: &Sent<'_>) -> Result<BTreeMap<String, String>, Rejection> {
    let mut subs = BTreeMap::new();
    for field in &fields.list {
        if sent.has_role(&field.name) || !is_sub_name(&field.name) || field.value.is_empty() {
            continue;
        }
        if field.value.chars().count() > MAX_TEXT_CHARS {
            return Err(Rejection::of_field(Code::Malformed, &field.name)
                .because("A free field has more than 1024 characters."));
        }
        subs.insert(field.name.clone(), field.value.clone());
    }
    if subs.len() > MAX_SUBS {
        return Err(Rejection::new(Code::Malformed).because("A postback has at most 50 free fields."));
    }
    Ok(subs)
}

/// Whether this names a free field: `sub1` to `sub30`, or `sub.` and a name.
fn is_sub_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("sub") else { return false };
    match rest.strip_prefix('.') {
        Some(free) => (1..=MAX_SUB_NAME_CHARS).contains(&free.chars().count()),
        None => {
            rest.parse::<u8>().is_ok_and(|number| (1..=MAX_SUB_NUMBER).contains(&number) && rest == number.to_string())
        }
    }
}

/// Refuses what names neither a click nor a customer nor an event: it can never be applied to anything.
fn refuse_unattributable(postback: &Postback, sent: &Sent<'_>) -> Result<(), Rejection> {
    let ids = [&postback.click_id, &postback.customer_id, &postback.event_id, &postback.original_event_id];
    if ids.into_iter().all(Option::is_none) {
        return Err(Rejection::of_field(Code::MissingField, sent.name_of(Role::ClickId))
            .because("A postback names a click, a customer or an event."));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
