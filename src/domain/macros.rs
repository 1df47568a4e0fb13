//! Macro postbacks: a URL with `{click_id}` and the like in it becomes the URL that a tracker is called at (DOMAIN
//! section 4).
//!
//! A subscriber writes the template, senders and visitors write the values. Guaranteed, whatever the values are: scheme,
//! host and port stay those of the template, no parameter and no path segment is added or taken away, and
//! percent-decoding gives each value back. A value that is missing is empty. The values come from the event's message as
//! it is stored, so a retry and a replay call the very same URL.
//!
//! Deliberately not done: defaults, conditions and functions in templates; a tracker that needs more takes a webhook.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

use super::encoding::percent_encode;
use super::event::{about_conversion, conversion_status};
use super::time::Timestamp;

/// The longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 2048;
/// The highest number of a sub-id.
const MAX_SUB_NUMBER: u8 = 30;
/// The longest name that is repeated in an error.
const MAX_SHOWN_NAME_BYTES: usize = 32;

/// A placeholder in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Macro {
    /// The click that is credited.
    ClickId,
    /// A sub-id of that click, by its number from 1 to 30.
    Sub(u8),
    /// The conversion.
    ConversionId,
    /// The operator's own id of the conversion.
    EventId,
    /// The goal's name.
    Goal,
    /// The conversion's status; of what concerns no conversion, its state.
    Status,
    /// The conversion's amount, where it is in the currency that [`Macro::Currency`] names.
    Amount,
    /// What the affiliate gets: the commission's amount, or the payout's.
    Payout,
    /// The currency of what is told: the commission's, the payout's, else the conversion's.
    Currency,
    /// The program.
    ProgramId,
    /// The affiliate.
    AffiliateId,
    /// When it happened, in seconds since 1970.
    Timestamp,
    /// The coupon that was used.
    Coupon,
    /// `1` for a test, else `0`.
    Test,
}

/// The macros with a name of their own; sub-ids are `sub1` to `sub30`.
const NAMED: [(&str, Macro); 13] = [
    ("click_id", Macro::ClickId),
    ("conversion_id", Macro::ConversionId),
    ("event_id", Macro::EventId),
    ("goal", Macro::Goal),
    ("status", Macro::Status),
    ("amount", Macro::Amount),
    ("payout", Macro::Payout),
    ("currency", Macro::Currency),
    ("program_id", Macro::ProgramId),
    ("affiliate_id", Macro::AffiliateId),
    ("timestamp", Macro::Timestamp),
    ("coupon", Macro::Coupon),
    ("test", Macro::Test),
];

/// Why a text is no template, in a sentence for the person who registers it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Longer than [`MAX_TEMPLATE_BYTES`].
    #[error("the URL is longer than {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
    /// A macro that does not exist, by its name where that can be shown.
    #[error("{0} is no macro: take {{click_id}}, {{sub1}} to {{sub30}} or another of docs/macro-postbacks.md")]
    Unknown(ShownName),
    /// A brace that belongs to no macro.
    #[error("a brace that belongs to no macro is written %7B or %7D")]
    Brace,
    /// A macro in the scheme, the host, the port or the fragment.
    #[error("macros stand in the path and the query only, behind https://host")]
    Place,
    /// A part of the path in which a macro stands beside nothing but dots.
    #[error("a macro in the path cannot stand beside nothing but dots")]
    Dots,
    /// A macro that follows an escape which is not complete: a value would complete it.
    #[error("a percent sign before a macro is written %25")]
    Escape,
}

/// The name of an unknown macro, as far as it can be repeated to the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownName(Option<String>);

impl ShownName {
    fn of(name: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let fits = (1..=MAX_SHOWN_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain);
        Self(fits.then(|| name.to_owned()))
    }
}

impl fmt::Display for ShownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "{{{name}}}"),
            None => f.write_str("what stands between the braces"),
        }
    }
}

impl FromStr for Macro {
    type Err = TemplateError;

    fn from_str(name: &str) -> Result<Self, TemplateError> {
        let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, found)| *found);
        let sub = || {
            let digits = name.strip_prefix("sub")?;
            let number: u8 = digits.parse().ok()?;
            ((1..=MAX_SUB_NUMBER).contains(&number) && digits == number.to_string()).then_some(Self::Sub(number))
        };
        named.or_else(sub).ok_or_else(|| TemplateError::Unknown(ShownName::of(name)))
    }
}

impl Macro {
    /// What stands for it in a call about `message`, not yet encoded.
    fn value(self, message: &Value) -> String {
        let data = message.get("data").unwrap_or(&Value::Null);
        let field = |name: &str| text(data.get(name));
        let of_conversion = message.get("type").and_then(Value::as_str).is_some_and(about_conversion);
        match self {
            Self::ClickId => field("click_id"),
            Self::Sub(number) => text(data.get("sub_ids").and_then(|subs| subs.get(format!("sub{number}")))),
            Self::ConversionId => field("conversion_id"),
            Self::EventId => field("event_id"),
            Self::Goal => field("goal"),
            Self::Status => conversion_status(data).map_or_else(|| field("state"), str::to_owned),
            Self::Amount if of_conversion => field("amount"),
            Self::Amount if field("conversion_currency") == field("currency") => field("conversion_amount"),
            Self::Payout if !of_conversion => field("amount"),
            Self::Amount | Self::Payout => String::new(),
            Self::Currency => field("currency"),
            Self::ProgramId => field("program_id"),
            Self::AffiliateId => field("affiliate_id"),
            Self::Timestamp => {
                let at = message.get("timestamp").and_then(Value::as_str).and_then(Timestamp::parse_rfc3339);
                at.map(|at| at.seconds().to_string()).unwrap_or_default()
            }
            Self::Coupon => field("coupon"),
            Self::Test => if message.get("test") == Some(&Value::Bool(true)) { "1" } else { "0" }.to_owned(),
        }
    }
}

/// A value of a message as text; nothing for what is missing and for what has parts.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

/// A judged template. What it is made of has been read once, so expanding it cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Scheme and authority, as written.
    origin: String,
    /// What stands between the slashes of the path, the first of them before it.
    segments: Vec<Vec<Part>>,
    /// The query with its question mark, and the fragment.
    rest: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro(Macro),
}

impl Template {
    /// Reads a template. Whether its host may be called is not judged here: that is asked about [`Template::sample`].
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        let (origin, behind) = text.split_at(origin_bytes(text));
        if origin.contains(['{', '}']) {
            return Err(TemplateError::Place);
        }
        let (requested, fragment) = behind.split_at(behind.find('#').unwrap_or(behind.len()));
        if fragment.contains(['{', '}']) {
            return Err(TemplateError::Place);
        }
        let (path, query) = requested.split_at(requested.find('?').unwrap_or(requested.len()));
        let segments = path.split('/').map(parts).collect::<Result<Vec<_>, _>>()?;
        if segments.iter().any(|segment| leans_on_dots(segment)) {
            return Err(TemplateError::Dots);
        }
        let mut rest = parts(query)?;
        rest.push(Part::Text(fragment.to_owned()));
        Ok(Self { origin: origin.to_owned(), segments, rest })
    }

    /// The template with a harmless value for each macro: what is judged as the URL that will be called.
    #[must_use]
    pub fn sample(&self) -> String {
        self.filled(|_| "x".to_owned())
    }

    /// The URL to call about this event's message.
    #[must_use]
    pub fn expand(&self, message: &Value) -> String {
        self.filled(|wanted| percent_encode(wanted.value(message).as_bytes()))
    }

    fn filled(&self, value: impl Fn(Macro) -> String) -> String {
        let fill = |parts: &[Part]| -> String {
            let filled = parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Macro(wanted) => value(*wanted),
            });
            filled.collect()
        };
        let segment = |parts: &Vec<Part>| {
            let filled = fill(parts);
            // Such a segment would take another one away, and encoding it would not help: encoded dots count as dots.
            if has_macro(parts) && matches!(filled.as_str(), "." | "..") { String::new() } else { filled }
        };
        let path: Vec<String> = self.segments.iter().map(segment).collect();
        format!("{}{}{}", self.origin, path.join("/"), fill(&self.rest))
    }
}

/// How far scheme, host and port reach. All of the text where they do not stand at its beginning as `scheme://host`.
fn origin_bytes(text: &str) -> usize {
    let Some(authority) = text.find("://").map(|at| at + "://".len()) else { return text.len() };
    let length = text.get(authority..).and_then(|rest| rest.find(['/', '?', '#', '\\']));
    match length {
        // Without a host here, parsers take the next thing for it.
        None | Some(0) => text.len(),
        Some(length) => authority + length,
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or(TemplateError::Brace)?;
        if before.bytes().rev().take(2).any(|byte| byte == b'%') {
            return Err(TemplateError::Escape);
        }
        parts.push(plain(before)?);
        parts.push(Part::Macro(name.parse()?));
        rest = behind;
    }
    parts.push(plain(rest)?);
    Ok(parts)
}

fn plain(text: &str) -> Result<Part, TemplateError> {
    if text.contains('}') { Err(TemplateError::Brace) } else { Ok(Part::Text(text.to_owned())) }
}

fn has_macro(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Macro(_)))
}

/// Whether a value could make this part of a path `.` or `..` together with the dots that stand there.
fn leans_on_dots(parts: &[Part]) -> bool {
    let written = parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Macro(_) => "",
    });
    let written: String = written.collect();
    has_macro(parts) && is_dots(&written)
}

/// Whether `text` is nothing but dots, as they are or percent-encoded, and at least one.
fn is_dots(text: &str) -> bool {
    let plain = text.replace("%2e", ".").replace("%2E", ".");
    !plain.is_empty() && plain.bytes().all(|byte| byte == b'.')
}

#[cfg(test)]
mod tests;
