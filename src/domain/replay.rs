//! What a person decides about what failed: lets it be with a note, or has it sent or judged again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::EventType;
use super::ids::{AffiliateId, EndpointId, IdError, KeyId, OperatorId, SourceId};
use super::retry::DeadReason;
use super::time::Timestamp;
use super::verdict::{Code, ParkReason};

/// What stands for a person who worked on the database's own machine, without a key.
const COMMAND_LINE: &str = "command line";
/// The most characters of a note.
const MAX_NOTE_CHARS: usize = 1_000;

/// Who decided. As text: the id of the key that was used, or `command line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Whoever holds this key.
    Key(KeyId),
    /// Whoever has the command line and the settings.
    CommandLine,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::CommandLine => f.write_str(COMMAND_LINE),
        }
    }
}

impl FromStr for Person {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == COMMAND_LINE { Ok(Self::CommandLine) } else { text.parse().map(Self::Key) }
    }
}

impl Serialize for Person {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Person {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a person lets something be: 1 to 1 000 characters, not only blanks, no control characters but line ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note(String);

/// The text is no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a note has 1 to 1000 characters, not only blanks and no control characters")]
pub struct NoteError;

impl Note {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let fits = (1..=MAX_NOTE_CHARS).contains(&text.chars().count()) && !text.trim().is_empty();
        let plain = text.chars().all(|character| character == '\n' || !character.is_control());
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NoteError) }
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A part of time: from the first to just before the second; open where one is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first instant in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The first instant after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// Where a delivery stands that is replayed with many others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledState {
    /// Given up.
    #[default]
    Dead,
    /// Received once already; it is sent again under the same `webhook-id`.
    Delivered,
}

impl SettledState {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Delivered => "delivered",
        }
    }
}

/// Which deliveries are sent again. What is left out narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveryFilter {
    /// To this operator's endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_id: Option<OperatorId>,
    /// To this affiliate's endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affiliate_id: Option<AffiliateId>,
    /// To this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<EndpointId>,
    /// About this kind of event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// That stand here.
    pub state: SettledState,
    /// That died for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_reason: Option<DeadReason>,
    /// Those too that a person lets be.
    pub acknowledged: bool,
    /// Made in this time.
    #[serde(flatten)]
    pub window: Window,
}

/// Where a receipt stands that is judged again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unbooked {
    /// Refused.
    #[default]
    Rejected,
    /// Waiting for what it refers to.
    Parked,
}

impl Unbooked {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Parked => "parked",
        }
    }
}

/// Why a receipt was refused or parked: one of the codes of DOMAIN 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause(&'static str);

impl Cause {
    /// The slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// The text is no code of a refusal or of parking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a code of a refusal or of parking, such as unknown_click")]
pub struct CauseError;

impl FromStr for Cause {
    type Err = CauseError;

    fn from_str(text: &str) -> Result<Self, CauseError> {
        let parked = [ParkReason::UnknownClick, ParkReason::UnknownCustomer, ParkReason::OriginalMissing];
        let parked = parked.into_iter().map(ParkReason::as_str).find(|slug| *slug == text);
        parked.or_else(|| Code::from_slug(text).map(Code::as_str)).map(Self).ok_or(CauseError)
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which receipts are judged again. What is left out narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiptFilter {
    /// Of this operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_id: Option<OperatorId>,
    /// That came through this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<SourceId>,
    /// That stand here.
    pub verdict: Unbooked,
    /// For this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cause>,
    /// Received in this time.
    #[serde(flatten)]
    pub window: Window,
}

/// What is replayed by one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Selection {
    /// Deliveries are sent again.
    Deliveries(DeliveryFilter),
    /// Receipts are judged again.
    Receipts(ReceiptFilter),
}

impl Selection {
    /// The kind in storage and API.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Deliveries(_) => "deliveries",
            Self::Receipts(_) => "receipts",
        }
    }

    /// Whether this may be made a job.
    ///
    /// # Errors
    /// [`SelectionError`]: a window that is empty, or no beginning of it where everything ever delivered would be sent
    /// again.
    pub fn check(&self) -> Result<(), SelectionError> {
        let window = match self {
            Self::Deliveries(filter) => filter.window,
            Self::Receipts(filter) => filter.window,
        };
        if window.from.zip(window.to).is_some_and(|(from, to)| from >= to) {
            return Err(SelectionError { field: "to", why: "The window ends before it begins." });
        }
        match self {
            Self::Deliveries(filter) if filter.state == SettledState::Delivered && window.from.is_none() => {
                Err(SelectionError {
                    field: "from",
                    why: "Say from when on: else everything that was ever delivered would be sent again.",
                })
            }
            Self::Deliveries(_) | Self::Receipts(_) => Ok(()),
        }
    }
}

/// Why a selection is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct SelectionError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// At work, on whichever instance.
    Running,
    /// Everything was looked at.
    Done,
    /// Ended by a person; what was replayed stays so.
    Canceled,
}

impl ReplayState {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Canceled => "canceled",
        }
    }
}

/// Why something that matched when the job was made was not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// An attempt was running.
    AttemptRunning,
    /// It no longer stood as the filter says: somebody else replayed it, or let it be.
    Changed,
    /// The database refused to take it.
    Refused,
}

impl Skip {
    /// The name in storage and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptRunning => "attempt_running",
            Self::Changed => "changed",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_a_key_or_the_command_line() {
        let key = Person::Key(KeyId::new(Timestamp::from_micros(1)));
        for person in [key, Person::CommandLine] {
            assert_eq!(person.to_string().parse(), Ok(person));
        }
        assert!("somebody".parse::<Person>().is_err());
    }

    #[test]
    fn a_selection_is_stored_as_it_is_asked_for() {
        let filter = DeliveryFilter { event_type: Some(EventType::CommissionCreated), ..DeliveryFilter::default() };
        let selection = Selection::Deliveries(filter);
        let text = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), selection, "{text}");
        let from = Timestamp::from_micros(5);
        let text = format!(r#"{{"kind": "receipts", "code": "bad_amount", "from": "{from}"}}"#);
        let Selection::Receipts(filter) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert_eq!((filter.verdict, filter.window.from), (Unbooked::Rejected, Some(from)));
        assert_eq!(filter.code.map(Cause::as_str), Some("bad_amount"));
        assert!("unknown_click".parse::<Cause>().is_ok() && "nonsense".parse::<Cause>().is_err());
    }

    #[test]
    fn nobody_sends_everything_again_by_accident() {
        let from = Timestamp::from_micros(5);
        let filter = |state, from, to| {
            Selection::Deliveries(DeliveryFilter { state, window: Window { from, to }, ..DeliveryFilter::default() })
        };
        assert_eq!(filter(SettledState::Dead, None, None).check(), Ok(()));
        assert_eq!(filter(SettledState::Delivered, Some(from), None).check(), Ok(()));
        assert_eq!(filter(SettledState::Delivered, None, Some(from)).check().unwrap_err().field, "from");
        assert_eq!(filter(SettledState::Dead, Some(from), Some(from)).check().unwrap_err().field, "to");
    }

    #[test]
    fn names_spell_alike_everywhere() {
        for state in [ReplayState::Running, ReplayState::Done, ReplayState::Canceled] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for reason in [Skip::AttemptRunning, Skip::Changed, Skip::Refused] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for state in [SettledState::Dead, SettledState::Delivered] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in [Unbooked::Rejected, Unbooked::Parked] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_note_says_something() {
        assert!("gone for good,\nsays their CTO".parse::<Note>().is_ok());
        for text in ["", " \n ", "a\u{0}b", &"x".repeat(1_001)] {
            assert_eq!(text.parse::<Note>(), Err(NoteError));
        }
    }
}
