//! What the sender learns: a verdict, and for a refusal a stable code with a sentence that says what to do.
//!
//! Codes are part of the interface and never change (DOMAIN 2.3). Each row of the catalogue below names its slug,
//! its HTTP status and its sentence, so a new code does not compile until it has all three. No text made here ever
//! repeats what the sender sent: names of parameters are shown only if they are plain, values never.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:literal, $sentence:literal;)+) => {
        /// Why a request was refused. The slug is stable; the sentence may be reworded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* #[doc = concat!("`", $slug, "`, HTTP ", stringify!($status), ".")] $name,)+
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable slug.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// The status that goes with it where the sender reads JSON (DOMAIN 2.3, RELIABILITY section 5).
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// What the sender should do, in one or two plain sentences.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }
    };
}

codes! {
    /// One identical answer for a missing, unknown, revoked, expired or wrong key.
    Unauthenticated = "unauthenticated", 401, "Send a valid API key as `Authorization: Bearer …` or `X-Api-Key`.";
    /// The key is good, but not for this.
    Scope = "scope", 403, "This key does not have the scope for this request; ask for one that has.";
    /// The client's address is not on the key's or source's list.
    IpDenied = "ip_denied", 403, "Send from an address on the allowlist, or have this address added to it.";
    /// The source requires a signature and there is none, or a part of it is missing.
    SignatureMissing = "signature_missing", 401, "This source requires signed requests; sign this one and send it again.";
    /// The signature does not fit what arrived.
    SignatureInvalid = "signature_invalid", 401, "Sign exactly the bytes that are sent, with a current secret of this source, and change nothing afterwards.";
    /// The signature's time is too far from now, or no number.
    SignatureStale = "signature_stale", 401, "Set the sending clock and sign each try anew with the current Unix time in seconds.";
    /// Over the rate of the key or source.
    RateLimited = "rate_limited", 429, "Wait as long as `Retry-After` says, then send again.";
    /// An admin has switched the source off.
    SourceDisabled = "source_disabled", 403, "This source is switched off; ask the operator of this service to enable it.";
    /// Neither GET nor POST, or not what this route takes.
    BadMethod = "bad_method", 405, "Use one of the methods in the `Allow` header.";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time; send it again.";
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", 413, "Send a smaller body, or split a batch.";
    /// The address with its query is too long.
    UriTooLong = "uri_too_long", 414, "Shorten the query, or send the parameters in the body of a POST.";
    /// The head is too large.
    HeadersTooLarge = "headers_too_large", 431, "Send fewer or shorter headers.";
    /// Neither JSON nor a form, or compressed, or not UTF-8.
    UnsupportedMediaType = "unsupported_media_type", 415, "Send application/json or application/x-www-form-urlencoded in UTF-8, not compressed.";
    /// The request cannot be read as what it claims to be.
    Malformed = "malformed", 400, "Mend the form of the request; it cannot be read as it is.";
    /// Broken percent-encoding, or not UTF-8.
    Encoding = "encoding", 400, "Percent-encode values once, as UTF-8.";
    /// A control character.
    Character = "character", 400, "Remove control characters such as NUL, tab and line ends.";
    /// A parameter or JSON key twice.
    DuplicateParameter = "duplicate_parameter", 400, "Send each parameter once, either in the query or in the body.";
    /// A placeholder of the sending system was not replaced by its value.
    UnexpandedMacro = "unexpanded_macro", 422, "A macro was sent in place of its value; check its spelling in the sending system.";
    /// Something needed is not there.
    MissingField = "missing_field", 422, "Send the field that is named.";
    /// An id is empty or too long.
    IdFormat = "id_format", 422, "Ids have 1 to 255 characters.";
    /// Not an amount that can be booked.
    BadAmount = "bad_amount", 422, "Amounts are plain decimals with a point and at most six decimals, such as 12.50, and not negative.";
    /// Not a currency, or not the one that is needed.
    BadCurrency = "bad_currency", 422, "Currencies are ISO 4217 codes in capitals, such as EUR, and fit the program.";
    /// Not a name of a status.
    BadStatus = "bad_status", 422, "The status is one of pending, approved, hold, rejected and reversed, or one that the source maps to them.";
    /// Not a time, without a zone, or too far ahead.
    BadTimestamp = "bad_timestamp", 422, "Times are RFC 3339 with a zone (in a query `+` is written `%2B`) or Unix seconds, at most 24 hours ahead.";
    /// The program has no such goal.
    UnknownGoal = "unknown_goal", 422, "Use the name of a goal of this program, or have the goal created.";
    /// The click belongs to another program.
    ClickProgramMismatch = "click_program_mismatch", 422, "The click belongs to another program; use the connection of that program.";
    /// The program takes no conversions.
    ProgramInactive = "program_inactive", 422, "The program is not active; have it activated, then replay.";
    /// The affiliate takes no conversions.
    AffiliateInactive = "affiliate_inactive", 422, "The affiliate is not active; have it activated, then replay.";
    /// Too long after the click.
    OutsideWindow = "outside_window", 422, "The event lies outside the attribution window of its click.";
    /// Too soon after the click.
    BelowMinClickTime = "below_min_click_time", 422, "The event came sooner after its click than the goal allows.";
    /// The event id is known with another click, goal or currency.
    ConflictingRevision = "conflicting_revision", 409, "This event id stands for another click, goal or currency; the first stands. Use an id of its own for a new event.";
    /// The status cannot change like that.
    IllegalTransition = "illegal_transition", 409, "The conversion cannot go to this status from where it stands; an admin may.";
    /// The source may not say what is paid.
    OverrideNotPermitted = "override_not_permitted", 422, "This source may not set the payout; leave the field out, or have the permission granted.";
    /// A cap is reached.
    OverCap = "over_cap", 422, "The cap is reached; the event is stored and can be replayed if the cap is raised.";
    /// Marked as fraud.
    FraudFlagged = "fraud_flagged", 422, "The event was marked as fraud; ask the operator of this service to review it.";
    /// Nothing could be stored.
    Unavailable = "unavailable", 503, "Nothing was stored; send it again after `Retry-After`.";
    /// No such object, or not one of the caller's.
    NotFound = "not_found", 404, "There is no such object for this key; check the id.";
    /// The object is not in a state that allows this.
    Conflict = "conflict", 409, "The object has changed or does not allow this now; read it again and decide anew.";
    /// More was taken back from the affiliate than it is owed.
    Debt = "debt", 422, "There is no payout while the balance is below nothing; what is earned next is set against it.";
    /// Less is owed than the minimum of a payout.
    BelowMinimum = "below_minimum", 422, "There is no payout below the minimum; ask again when more is owed, or with a lower `minimum`.";
    /// The step does not lead on from where the payout stands.
    PayoutState = "payout_state", 409, "Read the payout again and take a step that leads on from its state.";
    /// The payout is above the limit and the approver made it.
    SecondPerson = "second_person", 403, "A payout of this size is approved with another key than the one that made it.";
    /// The reference is another payout's.
    ReferenceTaken = "reference_taken", 409, "This reference stands for another payout; send the reference of this payment.";
    /// A field of an administrative request is not acceptable.
    Validation = "validation", 422, "Mend the field that is named and send the request again.";
}

impl Code {
    /// The code with this slug, as read from storage.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == slug)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slug = String::deserialize(deserializer)?;
        Self::from_slug(&slug).ok_or_else(|| serde::de::Error::custom("expected a known code"))
    }
}

/// What a parked postback waits for (DOMAIN 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// The click is not known, or belongs to another operator; the answer is the same.
    UnknownClick,
    /// The customer is not known and no click attributes the event.
    UnknownCustomer,
    /// The sale that this takes back has not arrived.
    OriginalMissing,
}

impl ParkReason {
    /// The stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownClick => "unknown_click",
            Self::UnknownCustomer => "unknown_customer",
            Self::OriginalMissing => "original_missing",
        }
    }

    /// What the sender may do, in one or two plain sentences.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::UnknownClick => "The click is not known yet; the event is kept and applied as soon as it is.",
            Self::UnknownCustomer => "The customer is not known yet; the event is kept and applied as soon as it is.",
            Self::OriginalMissing => "The original event is not known yet; this is kept and applied as soon as it is.",
        }
    }
}

/// What became of a postback (DOMAIN 2.3). As JSON: `{"verdict": "parked", "reason": "unknown_click"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// A new conversion was stored.
    Accepted,
    /// Known already; nothing changed.
    Duplicate,
    /// A known conversion was changed.
    Updated,
    /// Kept until what it refers to arrives.
    Parked(ParkReason),
    /// Refused; kept as a receipt that can be replayed.
    Rejected(Code),
}

impl Verdict {
    /// The verdict without its reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Updated => "updated",
            Self::Parked(_) => "parked",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The slug of the reason, for what was parked or rejected.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Accepted | Self::Duplicate | Self::Updated => None,
            Self::Parked(reason) => Some(reason.as_str()),
            Self::Rejected(code) => Some(code.as_str()),
        }
    }

    /// The status under the response profile `json`.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Accepted | Self::Duplicate | Self::Updated | Self::Parked(_) => 200,
            Self::Rejected(code) => code.http_status(),
        }
    }
}

/// A refusal: the code, which parameter it is about, and more words where the code's sentence is not enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}{}", .field.as_deref().map(|field| format!(" ({field})")).unwrap_or_default())]
pub struct Rejection {
    /// Why.
    pub code: Code,
    /// The parameter that is meant, by the name that the sender used, if that name is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong in this case; never a part of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
}

impl Rejection {
    /// A refusal about the request as a whole.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, field: None, detail: None }
    }

    /// A refusal about one parameter.
    #[must_use]
    pub fn of_field(code: Code, name: &str) -> Self {
        Self { code, field: plain_name(name), detail: None }
    }

    /// The same with a sentence about this case. It must not repeat the input.
    #[must_use]
    pub fn because(mut self, detail: &'static str) -> Self {
        self.detail = Some(Cow::Borrowed(detail));
        self
    }
}

impl From<Code> for Rejection {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// Something odd about a postback that was taken all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What.
    pub code: WarningCode,
    /// The parameter that is meant, if its name is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Warning {
    /// A warning about the request as a whole.
    #[must_use]
    pub const fn new(code: WarningCode) -> Self {
        Self { code, field: None }
    }

    /// A warning about one parameter.
    #[must_use]
    pub fn of_field(code: WarningCode, name: &str) -> Self {
        Self { code, field: plain_name(name) }
    }
}

/// The kinds of warning. The slugs are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// No role for this parameter; it is kept in the receipt only.
    UnknownField,
    /// `&currency=` arrived as `¤cy=`, pasted through HTML; it was read as `currency`.
    CurrencyEntity,
    /// Customer, click and coupon do not name the same affiliate; the receipt says whom each of them names.
    AttributionDisagreement,
}

impl WarningCode {
    /// The stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "unknown_field",
            Self::CurrencyEntity => "currency_entity",
            Self::AttributionDisagreement => "attribution_disagreement",
        }
    }
}

/// The longest name of a parameter that is shown.
const MAX_SHOWN_NAME_CHARS: usize = 64;

/// `name` if it is made of letters, digits, `_`, `-` and `.` and not long: only such a name is shown or logged.
fn plain_name(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let fits = (1..=MAX_SHOWN_NAME_CHARS).contains(&name.len());
    (fits && name.bytes().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The list of DOMAIN 2.3, word for word.
    const DOMAIN_CODES: &str = "unauthenticated scope ip_denied signature_missing signature_invalid signature_stale \
        rate_limited source_disabled bad_method payload_too_large unsupported_media_type malformed encoding character \
        duplicate_parameter unexpanded_macro missing_field id_format bad_amount bad_currency bad_status bad_timestamp \
        unknown_goal click_program_mismatch program_inactive affiliate_inactive outside_window below_min_click_time \
        conflicting_revision illegal_transition override_not_permitted over_cap fraud_flagged unavailable";

    #[test]
    fn every_code_of_the_domain_has_a_name() {
        for slug in DOMAIN_CODES.split_whitespace() {
            assert!(Code::from_slug(slug).is_some(), "{slug}");
        }
        let slugs: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(slugs.len(), Code::ALL.len(), "slugs are unique");
        assert_eq!(Code::ALL.len(), DOMAIN_CODES.split_whitespace().count() + 11, "the rest is HTTP and admin");
    }

    #[test]
    fn no_refusal_looks_like_success() {
        for code in Code::ALL {
            assert!((400..=503).contains(&code.http_status()), "{code}");
            assert!(code.sentence().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn verdicts_as_json() {
        let json = |verdict: Verdict| serde_json::to_string(&verdict).unwrap();
        assert_eq!(json(Verdict::Accepted), r#"{"verdict":"accepted"}"#);
        assert_eq!(json(Verdict::Parked(ParkReason::UnknownClick)), r#"{"verdict":"parked","reason":"unknown_click"}"#);
        let rejected = Verdict::Rejected(Code::BadAmount);
        assert_eq!(json(rejected), r#"{"verdict":"rejected","reason":"bad_amount"}"#);
        assert_eq!(serde_json::from_str::<Verdict>(&json(rejected)).unwrap(), rejected);
        assert_eq!(rejected.http_status(), 422);
        assert_eq!((rejected.as_str(), rejected.reason()), ("rejected", Some("bad_amount")));
        assert_eq!(Verdict::Parked(ParkReason::OriginalMissing).http_status(), 200);
    }

    #[test]
    fn park_reasons_spell_alike_everywhere() {
        for reason in [ParkReason::UnknownClick, ParkReason::UnknownCustomer, ParkReason::OriginalMissing] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for code in [WarningCode::UnknownField, WarningCode::CurrencyEntity, WarningCode::AttributionDisagreement] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn only_plain_names_are_shown() {
        assert_eq!(Rejection::of_field(Code::BadAmount, "sale.amount-1").field.as_deref(), Some("sale.amount-1"));
        for odd in ["<script>", "a b", "", "é", &"x".repeat(65)] {
            assert_eq!(Rejection::of_field(Code::BadAmount, odd).field, None, "{odd}");
        }
        assert_eq!(Rejection::of_field(Code::BadAmount, "amount").to_string(), "bad_amount (amount)");
    }
}
