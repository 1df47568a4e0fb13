//! The keys that decide whether a postback is new (DOMAIN 2.5).
//!
//! Two kinds: an *event key* says "this event of this source", a *once key* says "this goal of this
//! click, whatever the source". Both are rows under one unique constraint; inserting them decides, never
//! a read. A key's text is unambiguous: fixed-length parts first, the sender's text last.

use super::ids::{GoalId, OperatorId, ProgramId, SourceId};

/// Who stands for the visitor in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor<'a> {
    /// A click id.
    Click(&'a str),
    /// The operator's customer id, where there is no click.
    Customer(&'a str),
}

impl Visitor<'_> {
    fn key_part(&self) -> String {
        match self {
            Self::Click(id) => format!("c:{id}"),
            Self::Customer(id) => format!("u:{id}"),
        }
    }
}

/// `t` or `l`: a test never takes the key of the real event.
const fn mode(test: bool) -> char {
    if test { 't' } else { 'l' }
}

/// The key of an event id at its source.
#[must_use]
pub fn event_key(source: SourceId, event_id: &str, test: bool) -> String {
    format!("e:{}:{}:{event_id}", mode(test), source.uuid().simple())
}

/// The event key of a postback that carries no event id.
#[must_use]
pub fn unnamed_event_key(source: SourceId, goal: GoalId, visitor: Visitor<'_>, test: bool) -> String {
    format!("n:{}:{}:{}:{}", mode(test), source.uuid().simple(), goal.uuid().simple(), visitor.key_part())
}

/// The key of a goal that counts once for each click.
#[must_use]
pub fn once_key(program: ProgramId, goal: GoalId, visitor: Visitor<'_>, test: bool) -> String {
    format!("o:{}:{}:{}:{}", mode(test), program.uuid().simple(), goal.uuid().simple(), visitor.key_part())
}

/// What a postback of an unknown visitor waits for. Lives in `parked.wait_key`, beside event keys.
#[must_use]
pub fn wait_key(operator: OperatorId, visitor: Visitor<'_>) -> String {
    format!("w:{}:{}", operator.uuid().simple(), visitor.key_part())
}

/// The key under which a goal's conversions of one customer, or of one click, are counted from their first (DOMAIN 3.2,
/// "recurring"). Lives in `recurrences.key`; a goal belongs to one program.
#[must_use]
pub fn recurrence_key(goal: GoalId, visitor: Visitor<'_>) -> String {
    format!("r:{}:{}", goal.uuid().simple(), visitor.key_part())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_test_and_a_real_event_never_share_a_key() {
        let now = Timestamp::from_micros(0);
        let (source, goal, program) = (SourceId::new(now), GoalId::new(now), ProgramId::new(now));
        assert_ne!(event_key(source, "1", true), event_key(source, "1", false));
        let visitor = Visitor::Click("x");
        assert_ne!(once_key(program, goal, visitor, true), once_key(program, goal, visitor, false));
        assert_ne!(unnamed_event_key(source, goal, visitor, true), unnamed_event_key(source, goal, visitor, false));
    }

    #[test]
    fn a_click_and_a_customer_of_the_same_text_differ() {
        let operator = OperatorId::new(Timestamp::from_micros(0));
        assert_ne!(wait_key(operator, Visitor::Click("7")), wait_key(operator, Visitor::Customer("7")));
    }
}
