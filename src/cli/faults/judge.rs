//! What was lost or doubled: compares what was fired and acknowledged with what is booked and what arrived. Pure, and it
//! knows none of the service's rules but these: an acknowledged postback is booked once, with its amount and its
//! commission, and told at least once to its receiver, under one id; and every POST is an attempt that the service knows of.

use std::collections::BTreeMap;

use super::audit::Booking;
use super::inbox::Seen;
use super::world::EARNED_CENTS;
use crate::cli::outside::book::{Entry, index};
use crate::cli::outside::postback::amount;

/// Sentences that are kept of each kind.
const SHOWN: usize = 3;

/// What a receiver has seen.
pub struct ReceiverEvidence {
    /// What it is called.
    pub name: String,
    /// The affiliate whose postbacks it is told.
    pub affiliate: usize,
    /// What came.
    pub seen: Seen,
}

/// Everything to be judged.
pub struct Evidence {
    /// How many affiliates the postbacks go round.
    pub affiliates: usize,
    /// The postbacks by their number.
    pub fired: Vec<Entry>,
    /// What is booked, by the postback's number.
    pub booked: BTreeMap<u64, Vec<Booking>>,
    /// The receivers.
    pub receivers: Vec<ReceiverEvidence>,
    /// How many attempts the service knows of, by the message's id.
    pub attempts: BTreeMap<String, u64>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Postbacks that were acknowledged.
    pub acknowledged: u64,
    /// Acknowledged, and not booked or not told.
    pub lost: u64,
    /// Booked, earned or accepted more than once, or told under two ids.
    pub doubled: u64,
    /// Booked with another amount than was sent, or with another commission than is due.
    pub wrong_amounts: u64,
    /// POSTs beyond the first of each message.
    pub extra_posts: u64,
    /// Those of them that are more than the attempts that the service knows of.
    pub unexplained_posts: u64,
    /// Messages wrongly signed, about nothing that was fired, or at an address that only a redirect names.
    pub strange: u64,
    /// Some of it in words.
    pub sentences: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub const fn is_green(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.wrong_amounts == 0
            && self.unexplained_posts == 0
            && self.strange == 0
    }

    fn say(&mut self, kind: &str, sentence: String) {
        let begin = format!("{kind}: ");
        if self.sentences.iter().filter(|said| said.starts_with(&begin)).count() < SHOWN {
            self.sentences.push(begin + &sentence);
        }
    }
}

/// Judges what became of the postbacks of one fault.
pub fn judge(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    judge_bookings(evidence, &mut findings);
    for receiver in &evidence.receivers {
        judge_receiver(evidence, receiver, &mut findings);
    }
    findings
}

fn judge_bookings(evidence: &Evidence, findings: &mut Findings) {
    for (number, entry) in (0_u64..).zip(&evidence.fired) {
        findings.acknowledged += u64::from(entry.acknowledged);
        if entry.accepted > 1 {
            findings.doubled += entry.accepted - 1;
            findings.say("doubled", format!("postback {number} was accepted {} times", entry.accepted));
        }
        match evidence.booked.get(&number).map(Vec::as_slice).unwrap_or_default() {
            [] if entry.acknowledged => {
                findings.lost += 1;
                findings.say("lost", format!("postback {number} was acknowledged and is not booked"));
            }
            [] => {}
            [booking] => judge_booking(number, booking, findings),
            [booking, others @ ..] => {
                findings.doubled += u64::try_from(others.len()).unwrap_or(u64::MAX);
                findings.say("doubled", format!("postback {number} is booked {} times", 1 + others.len()));
                judge_booking(number, booking, findings);
            }
        }
    }
    let fired = u64::try_from(evidence.fired.len()).unwrap_or(u64::MAX);
    for number in evidence.booked.range(fired..).map(|(number, _)| number) {
        findings.strange += 1;
        findings.say("strange", format!("postback {number} is booked and was never fired"));
    }
}

fn judge_booking(number: u64, booking: &Booking, findings: &mut Findings) {
    if booking.amount != amount(number) {
        findings.wrong_amounts += 1;
        findings.say("wrong amount", format!("postback {number} is booked with {}", booking.amount));
    }
    let due = format!("{}.{:02}", EARNED_CENTS / 100, EARNED_CENTS % 100);
    match booking.commissions.as_slice() {
        [] => {
            findings.lost += 1;
            findings.say("lost", format!("nothing was earned by postback {number}"));
        }
        [(amount, booked)] if *amount == due && *booked == due => {}
        [(amount, booked)] => {
            findings.wrong_amounts += 1;
            findings.say("wrong amount", format!("postback {number} earned {amount}, and {booked} of it are booked"));
        }
        several => {
            findings.doubled += u64::try_from(several.len() - 1).unwrap_or(u64::MAX);
            findings.say("doubled", format!("postback {number} has {} commissions", several.len()));
        }
    }
}

fn judge_receiver(evidence: &Evidence, receiver: &ReceiverEvidence, findings: &mut Findings) {
    let (name, seen) = (&receiver.name, &receiver.seen);
    for (number, entry) in (0_u64..).zip(&evidence.fired) {
        let is_its = index(number) % evidence.affiliates.max(1) == receiver.affiliate;
        let Some(told) = seen.told.get(&number) else {
            if is_its && entry.acknowledged {
                findings.lost += 1;
                findings.say("lost", format!("postback {number} was acknowledged and {name} was not told"));
            }
            continue;
        };
        if told.good == 0 && entry.acknowledged {
            findings.lost += 1;
            findings.say("lost", format!("postback {number} was told to {name} and never with success"));
        }
        if told.ids.len() > 1 {
            findings.doubled += 1;
            findings.say("doubled", format!("postback {number} was told to {name} under several ids"));
        }
        let posts = u64::try_from(told.posts.len()).unwrap_or(u64::MAX);
        findings.extra_posts += posts.saturating_sub(1);
        let attempts = seen.ids.get(&number).and_then(|id| evidence.attempts.get(id)).copied().unwrap_or_default();
        if posts > attempts {
            findings.unexplained_posts += posts - attempts;
            let sentence = format!("{name} got {posts} POSTs about postback {number}, in {attempts} attempts");
            findings.say("unexplained", sentence);
        }
    }
    let strange = [
        (seen.wrongly_signed, "wrongly signed"),
        (seen.strange, "about nothing that was fired"),
        (seen.followed, "at an address that only a redirect names"),
    ];
    for (count, what) in strange.into_iter().filter(|(count, _)| *count > 0) {
        findings.strange += count;
        findings.say("strange", format!("{count} messages to {name} are {what}"));
    }
}

#[cfg(test)]
mod tests;
