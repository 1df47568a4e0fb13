//! What a demo fires, and what must come of it.
//!
//! Every postback follows from its number, so that one sent again after a crash is the same to the byte. What it
//! must come to is worked out here, in whole cents and without a line of the service's own rules: the judge
//! compares the two. A story is what happens to one click; its steps follow one another, stories run side by side.

use serde_json::json;

/// How many affiliates there are; stories go round.
pub const AFFILIATES: usize = 3;
/// The currency of everything.
pub const CURRENCY: &str = "EUR";
/// The goals: name, policy, and the commission in cents.
pub const GOALS: [(&str, &str, i64); 2] = [("lead", "once", 500), ("sale", "many", 1_250)];

/// Where the click of a story comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// A visitor follows the affiliate's link first.
    Own,
    /// The operator imports it first.
    Imported,
    /// The operator imports it after the postback.
    Late,
}

/// What a postback must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Duplicate,
    Updated,
    Parked,
    /// With this code.
    Rejected(&'static str),
}

impl Verdict {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Updated => "updated",
            Self::Parked => "parked",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// One postback.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number over all stories.
    pub number: usize,
    goal: &'static str,
    status: &'static str,
    /// Whether it speaks of the event under another id.
    other_id: bool,
    /// Whether its signature is that of other bytes.
    pub forged: bool,
    /// What it must be answered the first time.
    pub verdict: Verdict,
}

/// What happens to one click.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its number.
    pub number: usize,
    /// Where its click comes from.
    pub click: Click,
    /// Its postbacks in order.
    pub steps: Vec<Step>,
}

/// A message that must arrive, because of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The event type.
    pub event_type: &'static str,
    /// The number of the step that causes it.
    pub step: usize,
}

/// What must come of a story.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The conversion's last status; `None` for no conversion.
    pub status: Option<&'static str>,
    /// What the commission comes to.
    pub commission_cents: i64,
    /// What of it is owed in the end.
    pub owed_cents: i64,
    /// What the affiliate and the operator are each told.
    pub told: Vec<Told>,
}

/// What an affiliate must be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// The number of the affiliate.
    pub affiliate: usize,
    /// How much.
    pub cents: i64,
}

impl Payout {
    /// What its affiliate is told of it, and in which order.
    pub const TOLD: [&str; 4] = ["payout.created", "payout.approved", "payout.sent", COMPLETED];
    /// The messages that are due because of it.
    pub const MESSAGES: usize = Self::TOLD.len() + 1;
}

/// What the operator is told of a payout, and its affiliate too.
pub const COMPLETED: &str = "payout.completed";

/// What an affiliate has earned by these stories, in cents.
pub fn earned_cents(stories: &[Story], affiliate: usize) -> i64 {
    stories.iter().filter(|story| story.affiliate() == affiliate).map(|story| story.outcome().owed_cents).sum()
}

/// The payouts of all that `events` postbacks have earned.
pub fn payouts(events: usize) -> Vec<Payout> {
    let stories = stories(events);
    let payout = |affiliate| Payout { affiliate, cents: earned_cents(&stories, affiliate) };
    (0..AFFILIATES).map(payout).filter(|payout| payout.cents > 0).collect()
}

/// The kinds of stories in the order in which they come round: the click, and for each postback goal, status and
/// verdict. Marks: `'` the event under another id, `!` a forged signature.
type Kind = (Click, &'static [(&'static str, &'static str, Verdict, Mark)]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    OtherId,
    Forged,
}

const NEW_SALE: Kind = (Click::Own, &[("sale", "approved", Verdict::Accepted, Mark::Plain)]);
const NEW_LEAD: Kind = (Click::Imported, &[("lead", "approved", Verdict::Accepted, Mark::Plain)]);
const KINDS: [Kind; 16] = [
    NEW_SALE,
    NEW_LEAD,
    // Sent twice.
    (
        Click::Own,
        &[("sale", "approved", Verdict::Accepted, Mark::Plain), ("sale", "approved", Verdict::Duplicate, Mark::Plain)],
    ),
    NEW_SALE,
    // Approved later.
    (
        Click::Imported,
        &[("sale", "pending", Verdict::Accepted, Mark::Plain), ("sale", "approved", Verdict::Updated, Mark::Plain)],
    ),
    NEW_LEAD,
    // Nothing must come of it.
    (Click::Imported, &[("sale", "approved", Verdict::Rejected("signature_invalid"), Mark::Forged)]),
    // Before its click is known.
    (Click::Late, &[("lead", "approved", Verdict::Parked, Mark::Plain)]),
    NEW_SALE,
    // A refund.
    (
        Click::Own,
        &[("lead", "approved", Verdict::Accepted, Mark::Plain), ("lead", "reversed", Verdict::Updated, Mark::Plain)],
    ),
    NEW_SALE,
    // The same lead under another id.
    (
        Click::Imported,
        &[
            ("lead", "approved", Verdict::Accepted, Mark::Plain),
            ("lead", "approved", Verdict::Duplicate, Mark::OtherId),
        ],
    ),
    // A goal that the program does not have.
    (Click::Imported, &[("trial", "approved", Verdict::Rejected("unknown_goal"), Mark::Plain)]),
    NEW_LEAD,
    // Refused before it was approved.
    (
        Click::Own,
        &[("sale", "pending", Verdict::Accepted, Mark::Plain), ("sale", "rejected", Verdict::Updated, Mark::Plain)],
    ),
    NEW_SALE,
];

/// The stories of `events` postbacks. Those of more postbacks begin with the same ones.
pub fn stories(events: usize) -> Vec<Story> {
    let mut numbers = 0..events;
    let mut stories = Vec::new();
    for (number, (click, rows)) in KINDS.iter().cycle().enumerate() {
        let step = |(goal, status, verdict, mark): &(&'static str, &'static str, Verdict, Mark)| {
            let number = numbers.next()?;
            let (other_id, forged) = (*mark == Mark::OtherId, *mark == Mark::Forged);
            Some(Step { number, goal, status, other_id, forged, verdict: *verdict })
        };
        let steps: Vec<Step> = rows.iter().map_while(step).collect();
        if steps.is_empty() {
            break;
        }
        stories.push(Story { number, click: *click, steps });
    }
    stories
}

impl Story {
    /// The number of its affiliate.
    pub const fn affiliate(&self) -> usize {
        self.number % AFFILIATES
    }

    /// The id of its click, where it is not one of our own.
    pub fn foreign_click(&self, demo: &str) -> String {
        format!("click-{demo}-{}", self.number)
    }

    /// The id of its event.
    pub fn event_id(&self, demo: &str) -> String {
        format!("event-{demo}-{}", self.number)
    }

    /// The body of one of its steps, the same each time.
    pub fn body(&self, step: &Step, demo: &str, click_id: &str) -> String {
        let event_id = self.event_id(demo);
        let event_id = if step.other_id { format!("{event_id}-again") } else { event_id };
        let cents = self.number.wrapping_mul(37) % 90_000;
        json!({
            "click_id": click_id,
            "event_id": event_id,
            "goal": step.goal,
            "status": step.status,
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "currency": CURRENCY,
        })
        .to_string()
    }

    /// What must come of it.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for step in &self.steps {
            let told = |event_type| Told { event_type, step: step.number };
            match (step.verdict, step.status) {
                (Verdict::Accepted | Verdict::Parked, status) => {
                    outcome.status = Some(status);
                    outcome.commission_cents = rate_cents(step.goal);
                    outcome.told.extend([told("conversion.recorded"), told("commission.created")]);
                    if status == "approved" {
                        outcome.owed_cents = outcome.commission_cents;
                        outcome.told.push(told("commission.approved"));
                    }
                }
                (Verdict::Updated, status) => {
                    outcome.status = Some(status);
                    outcome.told.push(told("conversion.updated"));
                    if status == "approved" {
                        outcome.owed_cents = outcome.commission_cents;
                        outcome.told.push(told("commission.approved"));
                    } else {
                        outcome.owed_cents = 0;
                        outcome.told.push(told("commission.reversed"));
                    }
                }
                (Verdict::Duplicate | Verdict::Rejected(_), _) => {}
            }
        }
        outcome
    }
}

fn rate_cents(goal: &str) -> i64 {
    GOALS.iter().find(|(name, ..)| *name == goal).map_or(0, |(_, _, cents)| *cents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_demo_begins_like_a_shorter_one_and_numbers_are_whole() {
        let (short, long) = (stories(21), stories(2_000));
        let steps = |stories: &[Story]| {
            stories.iter().flat_map(|story| &story.steps).map(|step| step.number).collect::<Vec<_>>()
        };
        assert_eq!(steps(&long), (0..2_000).collect::<Vec<_>>());
        assert_eq!(steps(&short), (0..21).collect::<Vec<_>>());
        for (early, late) in short.iter().zip(&long) {
            for (one, other) in early.steps.iter().zip(&late.steps) {
                assert_eq!(early.body(one, "x", "c"), late.body(other, "x", "c"));
            }
        }
        assert!(stories(0).is_empty());
    }

    #[test]
    fn outcomes_by_hand() {
        let all = stories(200);
        let of = |number: usize| all[number].outcome();
        let names = |outcome: &Outcome| outcome.told.iter().map(|told| told.event_type).collect::<Vec<_>>();
        assert_eq!((of(0).status, of(0).owed_cents), (Some("approved"), 1_250));
        assert_eq!(
            names(&of(2)),
            ["conversion.recorded", "commission.created", "commission.approved"],
            "a duplicate tells nothing"
        );
        assert_eq!(
            names(&of(4)),
            ["conversion.recorded", "commission.created", "conversion.updated", "commission.approved"]
        );
        assert_eq!(of(6), Outcome::default(), "forged");
        assert_eq!((of(7).status, of(7).owed_cents), (Some("approved"), 500), "parked, then applied");
        assert_eq!((of(9).status, of(9).owed_cents, of(9).commission_cents), (Some("reversed"), 0, 500));
        assert_eq!(of(12), Outcome::default(), "unknown goal");
        assert_eq!((of(14).status, of(14).owed_cents), (Some("rejected"), 0));
        let paid = |events| payouts(events).iter().map(|payout| (payout.affiliate, payout.cents)).collect::<Vec<_>>();
        assert_eq!(paid(2), [(0, 1_250), (1, 500)]);
        assert_eq!(paid(6), [(0, 2_500), (1, 500), (2, 1_250)], "the sixth postback says that a sale is pending");
    }

    #[test]
    fn every_affiliate_meets_every_kind() {
        let all = stories(2_000);
        for kind in 0..KINDS.len() {
            let affiliates: std::collections::BTreeSet<_> =
                all.iter().filter(|story| story.number % KINDS.len() == kind).map(Story::affiliate).collect();
            assert_eq!(affiliates.len(), AFFILIATES);
        }
    }
}
