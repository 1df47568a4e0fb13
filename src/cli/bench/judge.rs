//! What was wrong: compares what was fired and acknowledged with what was booked and told. Pure, and it knows none of
//! the service's rules but one: an acknowledged postback is booked once and told once to each endpoint.

use std::collections::BTreeMap;

use super::receiver::Told;
use crate::cli::outside::book::{Entry, index};

/// Sentences that are kept of each kind.
const SHOWN: usize = 5;

/// What an endpoint has seen.
pub struct InboxEvidence {
    /// What it is called.
    pub name: String,
    /// The affiliate whose postbacks it is told.
    pub affiliate: usize,
    /// Whether it was out on purpose to the end: then nothing is missing there.
    pub was_out: bool,
    /// Whether its messages carry an id: webhooks do, postbacks with macros do not.
    pub has_ids: bool,
    /// What came, by the postback's number.
    pub told: Vec<Told>,
    /// Messages whose signature does not fit.
    pub wrongly_signed: u64,
    /// Messages about nothing that was fired.
    pub strange: u64,
}

/// Everything to be judged.
pub struct Evidence {
    /// How many affiliates the postbacks go round.
    pub affiliates: usize,
    /// The postbacks by their number.
    pub fired: Vec<Entry>,
    /// The endpoints.
    pub inboxes: Vec<InboxEvidence>,
    /// From this number on it was looked up how many times each postback is booked; `None` if it was not.
    pub booked: Option<(u64, BTreeMap<u64, u64>)>,
    /// Attempts that the service holds for failed and that we did not make fail. Each may explain one message that came
    /// twice: at least once is what is promised.
    pub failed_attempts: u64,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, and not told to an endpoint or not booked.
    pub lost: u64,
    /// Booked twice, told under two ids, or one id for two postbacks; and repeats that nothing explains.
    pub doubled: u64,
    /// Repeats of a message under its own id that a failed attempt explains.
    pub repeated: u64,
    /// Messages whose signature does not fit.
    pub wrongly_signed: u64,
    /// Messages about nothing that was fired.
    pub strange: u64,
    /// Some of it in words.
    pub sentences: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub const fn is_green(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.wrongly_signed == 0 && self.strange == 0
    }

    fn say(&mut self, kind: &str, sentence: impl FnOnce() -> String) {
        let begin = format!("{kind}: ");
        if self.sentences.iter().filter(|said| said.starts_with(&begin)).count() < SHOWN {
            self.sentences.push(begin + &sentence());
        }
    }
}

/// Judges a bench.
pub fn judge(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    judge_answers(evidence, &mut findings);
    judge_bookings(evidence, &mut findings);
    let repeats: u64 = evidence.inboxes.iter().map(|inbox| judge_inbox(evidence, inbox, &mut findings)).sum();
    findings.repeated = repeats.min(evidence.failed_attempts);
    let unexplained = repeats - findings.repeated;
    if unexplained > 0 {
        findings.doubled += unexplained;
        findings.say("doubled", || format!("{unexplained} messages came again although no attempt had failed"));
    }
    findings
}

fn judge_answers(evidence: &Evidence, findings: &mut Findings) {
    for (number, entry) in evidence.fired.iter().enumerate().filter(|(_, entry)| entry.accepted > 1) {
        findings.doubled += entry.accepted - 1;
        findings.say("doubled", || format!("postback {number} was accepted {} times", entry.accepted));
    }
}

fn judge_bookings(evidence: &Evidence, findings: &mut Findings) {
    let Some((from, booked)) = &evidence.booked else { return };
    for (number, entry) in (0_u64..).zip(&evidence.fired).filter(|(number, _)| number >= from) {
        match booked.get(&number).copied().unwrap_or_default() {
            0 if entry.acknowledged => {
                findings.lost += 1;
                findings.say("lost", || format!("postback {number} was acknowledged and is not booked"));
            }
            0 | 1 => {}
            times => {
                findings.doubled += times - 1;
                findings.say("doubled", || format!("postback {number} is booked {times} times"));
            }
        }
    }
}

/// Answers how many messages came again under their own id.
fn judge_inbox(evidence: &Evidence, inbox: &InboxEvidence, findings: &mut Findings) -> u64 {
    let (mut repeats, name) = (0, &inbox.name);
    let mut ids: Vec<u64> = Vec::with_capacity(inbox.told.len());
    for (number, entry) in (0_u64..).zip(&evidence.fired) {
        let told = inbox.told.get(index(number)).copied().unwrap_or_default();
        let is_its = index(number) % evidence.affiliates.max(1) == inbox.affiliate;
        if told.count == 0 {
            if is_its && entry.acknowledged && !inbox.was_out {
                findings.lost += 1;
                findings.say("lost", || format!("postback {number} was acknowledged and not told to {name}"));
            }
            continue;
        }
        ids.push(told.id);
        repeats += u64::from(told.count - 1 - told.other_ids);
        if told.other_ids > 0 {
            findings.doubled += u64::from(told.other_ids);
            findings.say("doubled", || format!("postback {number} was told to {name} under several ids"));
        }
    }
    if inbox.has_ids {
        ids.sort_unstable();
        let different = ids.chunk_by(|one, other| one == other).count();
        let shared = u64::try_from(ids.len() - different).unwrap_or(u64::MAX);
        if shared > 0 {
            findings.doubled += shared;
            findings.say("doubled", || format!("{shared} messages to {name} have the id of another one"));
        }
    }
    if inbox.wrongly_signed > 0 {
        findings.wrongly_signed += inbox.wrongly_signed;
        findings.say("wrongly signed", || format!("{} messages to {name}", inbox.wrongly_signed));
    }
    if inbox.strange > 0 {
        findings.strange += inbox.strange;
        findings.say("strange", || format!("{} messages to {name} are about nothing that was fired", inbox.strange));
    }
    repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { fired_micros: 1, acknowledged: true, accepted: 1 }
    }

    fn told(id: u64) -> Told {
        Told { id, count: 1, other_ids: 0 }
    }

    /// Four postbacks of one affiliate, all of them booked and told.
    fn sound() -> Evidence {
        let inbox = InboxEvidence {
            name: "hook".into(),
            affiliate: 0,
            was_out: false,
            has_ids: true,
            told: (10..14).map(told).collect(),
            wrongly_signed: 0,
            strange: 0,
        };
        let booked = (0..4).map(|number| (number, 1)).collect();
        Evidence {
            affiliates: 1,
            fired: vec![entry(); 4],
            inboxes: vec![inbox],
            booked: Some((0, booked)),
            failed_attempts: 0,
        }
    }

    fn found(change: impl FnOnce(&mut Evidence)) -> Findings {
        let mut evidence = sound();
        change(&mut evidence);
        let findings = judge(&evidence);
        assert_eq!(findings.is_green(), findings.sentences.is_empty(), "{findings:?}");
        findings
    }

    #[test]
    fn nothing_is_wrong_with_what_is_sound() {
        assert_eq!(found(|_| {}), Findings::default());
    }

    #[test]
    fn what_was_not_told_or_not_booked_is_lost() {
        assert_eq!(found(|evidence| evidence.inboxes[0].told[2].count = 0).lost, 1);
        assert_eq!(found(|evidence| evidence.inboxes[0].told.truncate(1)).lost, 3);
        let unbooked = found(|evidence| assert_eq!(evidence.booked.as_mut().unwrap().1.remove(&3), Some(1)));
        assert_eq!(unbooked.lost, 1);
        let unacknowledged = found(|evidence| {
            evidence.fired[3] = Entry { acknowledged: false, accepted: 0, ..entry() };
            evidence.inboxes[0].told.truncate(3);
            evidence.booked.as_mut().unwrap().1.remove(&3);
        });
        assert!(unacknowledged.is_green(), "nothing was promised");
        let out = found(|evidence| {
            evidence.inboxes[0].told.clear();
            evidence.inboxes[0].was_out = true;
        });
        assert!(out.is_green(), "{out:?}");
        let others = found(|evidence| {
            evidence.affiliates = 2;
            evidence.inboxes[0].told[1].count = 0;
        });
        assert!(others.is_green(), "postback 1 is another affiliate's");
        let not_asked = found(|evidence| evidence.booked = Some((2, [(2, 1), (3, 1)].into())));
        assert!(not_asked.is_green(), "{not_asked:?}");
    }

    #[test]
    fn whatever_is_there_twice_is_doubled() {
        assert_eq!(found(|evidence| evidence.fired[1].accepted = 3).doubled, 2);
        assert_eq!(found(|evidence| *evidence.booked.as_mut().unwrap().1.get_mut(&0).unwrap() = 2).doubled, 1);
        assert_eq!(found(|evidence| evidence.inboxes[0].told[0].id = 11).doubled, 1, "one id for two postbacks");
        let two_ids = found(|evidence| {
            evidence.inboxes[0].told[0] = Told { id: 10, count: 2, other_ids: 1 };
            evidence.failed_attempts = 9;
        });
        assert_eq!((two_ids.doubled, two_ids.repeated), (1, 0), "no failure explains a second id");
    }

    #[test]
    fn a_repeat_is_explained_by_a_failure_and_by_nothing_else() {
        let with = |failed_attempts| {
            let findings = found(|evidence| {
                evidence.inboxes[0].told[0].count = 3;
                evidence.failed_attempts = failed_attempts;
            });
            (findings.doubled, findings.repeated)
        };
        assert_eq!([with(0), with(1), with(2), with(5)], [(2, 0), (1, 1), (0, 2), (0, 2)]);
    }

    #[test]
    fn postbacks_with_macros_have_no_ids_to_share() {
        let without = |evidence: &mut Evidence, has_ids| {
            evidence.inboxes[0].told = vec![told(7); 4];
            evidence.inboxes[0].has_ids = has_ids;
        };
        assert!(found(|evidence| without(evidence, false)).is_green());
        assert_eq!(found(|evidence| without(evidence, true)).doubled, 3);
    }

    #[test]
    fn forged_and_strange_messages_are_told() {
        assert_eq!(found(|evidence| evidence.inboxes[0].wrongly_signed = 2).wrongly_signed, 2);
        assert_eq!(found(|evidence| evidence.inboxes[0].strange = 1).strange, 1);
    }

    #[test]
    fn a_broken_bench_does_not_fill_the_screen() {
        let findings = found(|evidence| {
            evidence.fired = vec![entry(); 100];
            evidence.booked = None;
        });
        assert_eq!((findings.lost, findings.sentences.len()), (96, SHOWN));
    }
}
