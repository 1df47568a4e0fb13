//! When an alert opens, stays and closes: pure.

use std::collections::HashMap;
use std::time::Duration;

use super::catalogue::{Alert, Reach};
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;
use crate::store::alerts::AlertView;

/// What was seen of one alert and subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The alert.
    pub alert: Alert,
    /// What it is about; empty where there is only one.
    pub subject: String,
    /// The value that is shown.
    pub value: i64,
    /// Whether it holds.
    pub level: Level,
}

/// Whether an alert holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It holds: it opens, or stays open.
    High,
    /// In between, or not known: what is open stays open, what is closed stays closed.
    Between,
}

impl Finding {
    /// About the only subject.
    pub fn of(alert: Alert, value: i64, level: Level) -> Self {
        Self { alert, subject: String::new(), value, level }
    }

    /// A measure with hysteresis: high above `above`, over only when below `below`. `None` when it is over.
    pub fn of_measure(alert: Alert, value: u64, above: u64, below: u64) -> Option<Self> {
        let level = match value {
            _ if value > above => Level::High,
            _ if value >= below => Level::Between,
            _ => return None,
        };
        Some(Self::of(alert, i64::try_from(value).unwrap_or(i64::MAX), level))
    }
}

/// Where a measure that has one threshold only is over: below four fifths of it, but at zero for the smallest.
#[must_use]
pub const fn over_below(above: u64) -> u64 {
    let below = above - above / 5;
    if below == 0 { 1 } else { below }
}

/// What is to be done about one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It holds and is not open.
    Open(Finding),
    /// It is open and still holds.
    Seen(AlertId, i64),
    /// It is open and over, unless somebody has seen it hold after this time.
    Close(Alert, AlertId, Timestamp),
}

/// What follows from what was found, given what is open and when each was last seen to hold. An alert that no instance but
/// one can see closes after nobody has seen it for `unseen_for`; names of another version are left alone.
#[must_use]
pub fn changes(
    findings: Vec<Finding>,
    open: &[(AlertView, Timestamp)],
    now: Timestamp,
    unseen_for: Duration,
) -> Vec<Change> {
    let mut found: HashMap<(Alert, String), Finding> =
        findings.into_iter().map(|finding| ((finding.alert, finding.subject.clone()), finding)).collect();
    let mut changes = Vec::new();
    for (view, seen_at) in open {
        let Some(alert) = Alert::from_name(&view.name) else { continue };
        match found.remove(&(alert, view.subject.clone())) {
            Some(Finding { level: Level::High, value, .. }) => changes.push(Change::Seen(view.id, value)),
            Some(_) => {}
            None => {
                let unseen_since = match alert.reach() {
                    Reach::Everyone => now,
                    Reach::EachItsOwn => now.minus(unseen_for),
                };
                if *seen_at <= unseen_since {
                    changes.push(Change::Close(alert, view.id, unseen_since));
                }
            }
        }
    }
    let mut new: Vec<Finding> = found.into_values().filter(|finding| finding.level == Level::High).collect();
    new.sort_by(|one, other| (one.alert, &one.subject).cmp(&(other.alert, &other.subject)));
    changes.extend(new.into_iter().map(Change::Open));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn open(alert: Alert, subject: &str, seen: i64) -> (AlertView, Timestamp) {
        let view = AlertView {
            id: AlertId::new(at(1)),
            name: alert.as_str().to_owned(),
            subject: subject.to_owned(),
            value: 1,
            opened_at: at(1),
            closed_at: None,
        };
        (view, at(seen))
    }

    const FOR: Duration = Duration::from_secs(45);

    #[test]
    fn a_measure_has_room_between_opening_and_closing() {
        let level = |value| Finding::of_measure(Alert::QueueDepth, value, 100, 80).map(|finding| finding.level);
        assert_eq!(
            (level(101), level(100), level(80), level(79)),
            (Some(Level::High), Some(Level::Between), Some(Level::Between), None)
        );
        assert_eq!((over_below(100), over_below(0), over_below(1), over_below(3_600)), (80, 1, 1, 2_880));
    }

    #[test]
    fn what_everyone_sees_closes_at_once_and_what_one_sees_when_it_is_unseen() {
        let shared = open(Alert::QueueDepth, "", 100);
        let own = open(Alert::BrokerUnreachable, "", 100);
        let both = [shared.clone(), own.clone()];
        assert_eq!(changes(vec![], &both, at(101), FOR), [Change::Close(Alert::QueueDepth, shared.0.id, at(101))]);
        let closed = changes(vec![], &both, at(145), FOR);
        assert_eq!(closed.last(), Some(&Change::Close(Alert::BrokerUnreachable, own.0.id, at(100))));
        let between = Finding::of(Alert::QueueDepth, 90, Level::Between);
        assert_eq!(changes(vec![between.clone()], &[shared], at(101), FOR), []);
        assert_eq!(changes(vec![between], &[], at(101), FOR), [], "in between nothing opens");
    }

    #[test]
    fn each_subject_is_an_alert_of_its_own() {
        let finding =
            |subject: &str| Finding { subject: subject.to_owned(), ..Finding::of(Alert::SourceSilent, 7, Level::High) };
        let known = [open(Alert::SourceSilent, "src_a", 1), open(Alert::SourceSilent, "src_b", 1)];
        let changes = changes(vec![finding("src_c"), finding("src_b")], &known, at(9), FOR);
        let expected = [
            Change::Close(Alert::SourceSilent, known[0].0.id, at(9)),
            Change::Seen(known[1].0.id, 7),
            Change::Open(finding("src_c")),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_name_of_another_version_is_left_alone() {
        let mut later = open(Alert::QueueDepth, "", 1);
        later.0.name = "of_a_later_version".to_owned();
        assert_eq!(changes(vec![], &[later], at(9_999), FOR), []);
    }
}
