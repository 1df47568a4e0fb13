//! Compares what must have come of a demo with what came: pure, over what the journals and the database tell.
//!
//! The rules: nothing acknowledged is missing, nothing is booked twice, every signature fits, every cent is where it
//! belongs. A second POST of a delivered message is fine after a crash only (RELIABILITY section 3).

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{self, AFFILIATES, Outcome, Payout, Step, Story, Verdict};
use super::receiver::Arrival;
use super::sender::Ack;
use super::world::{OPERATOR_ENDPOINT, affiliate_endpoint};

/// Micro-units in a cent.
pub const MICROS_PER_CENT: i64 = 10_000;

/// What the database holds of this demo.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The conversions.
    pub conversions: Vec<BookedConversion>,
    /// The commissions.
    pub commissions: Vec<BookedCommission>,
    /// The deliveries.
    pub deliveries: Vec<BookedDelivery>,
    /// The ids of receipts.
    pub receipts: BTreeSet<String>,
    /// What each affiliate is owed by the ledger, in micro-units.
    pub owed_micros: Vec<i64>,
    /// The payouts.
    pub payouts: Vec<BookedPayout>,
    /// What `ledger verify` found.
    pub findings: Vec<String>,
}

/// A conversion.
#[derive(Clone, Debug)]
pub struct BookedConversion {
    pub id: String,
    pub event_id: String,
    pub status: String,
}

/// A commission.
#[derive(Clone, Debug)]
pub struct BookedCommission {
    pub conversion_id: String,
    pub amount_micros: i64,
    pub booked_micros: i64,
    pub paid_micros: i64,
}

/// A payout.
#[derive(Clone, Debug)]
pub struct BookedPayout {
    pub id: String,
    /// The number of its affiliate.
    pub affiliate: usize,
    pub amount_micros: i64,
    pub state: String,
}

/// A delivery.
#[derive(Clone, Debug)]
pub struct BookedDelivery {
    pub state: String,
    pub attempts: u64,
}

/// Everything that a judgement is made on.
#[derive(Clone)]
pub struct Evidence {
    /// The demo's name.
    pub demo: String,
    /// What was to happen.
    pub stories: Vec<Story>,
    /// What was to be paid.
    pub payouts: Vec<Payout>,
    /// What was answered.
    pub acks: Vec<Ack>,
    /// What came in.
    pub arrivals: Vec<Arrival>,
    /// What was booked.
    pub books: Books,
    /// How many times the demo was started.
    pub runs: u32,
}

/// What was found wrong, in sentences.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged or due, and not there.
    pub lost: Vec<String>,
    /// Booked or told as two.
    pub doubled: Vec<String>,
    /// A signature that does not fit was sent, or taken.
    pub wrongly_signed: Vec<String>,
    /// Anything else that is not as it must be.
    pub otherwise: Vec<String>,
    /// Messages that were delivered again, by how often.
    pub resent: usize,
}

impl Findings {
    /// Whether nothing is wrong.
    pub const fn is_green(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.wrongly_signed.is_empty() && self.otherwise.is_empty()
    }
}

/// The judgement.
pub fn judge(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    let acks: BTreeMap<usize, &Ack> = evidence.acks.iter().map(|ack| (ack.step, ack)).collect();
    for story in &evidence.stories {
        for step in &story.steps {
            judge_answer(evidence, step, acks.get(&step.number).copied(), &mut findings);
        }
    }
    judge_conversions(evidence, &acks, &mut findings);
    judge_payouts(evidence, &mut findings);
    judge_balances(evidence, &mut findings);
    judge_messages(evidence, &mut findings);
    findings.otherwise.extend(evidence.books.findings.iter().map(|found| format!("ledger verify: {found}")));
    findings
}

/// What was answered to one postback, and whether its receipt is there.
fn judge_answer(evidence: &Evidence, step: &Step, ack: Option<&Ack>, findings: &mut Findings) {
    let number = step.number;
    let Some(ack) = ack else {
        findings.lost.push(format!("postback {number} was never acknowledged"));
        return;
    };
    let refusal_fits = match step.verdict {
        Verdict::Rejected(code) => ack.code.as_deref() == Some(code),
        _ => true,
    };
    // What was sent more than once may have been taken the first time, its answer lost on the way.
    let again = ack.tries > 1 || ack.run > 1;
    let fits = ack.verdict == step.verdict.as_str() && refusal_fits;
    let taken_before = again && ack.verdict == "duplicate" && !matches!(step.verdict, Verdict::Rejected(_));
    if step.forged && ack.verdict != "rejected" {
        findings.wrongly_signed.push(format!("postback {number} was forged and got {}", ack.verdict));
    } else if !fits && !taken_before {
        let (code, expected) = (ack.code.as_deref().unwrap_or_default(), step.verdict.as_str());
        let (status, verdict) = (ack.status, &ack.verdict);
        findings.otherwise.push(format!("postback {number} got {status} {verdict} {code}, not {expected}"));
    }
    if !matches!(step.verdict, Verdict::Rejected(_)) {
        match &ack.receipt_id {
            Some(id) if evidence.books.receipts.contains(id) => {}
            Some(id) => findings.lost.push(format!("receipt {id} of postback {number} is not there")),
            None => findings.lost.push(format!("postback {number} was answered without a receipt")),
        }
    }
}

/// Each story's conversion and commission: exactly the one that must be there.
fn judge_conversions(evidence: &Evidence, acks: &BTreeMap<usize, &Ack>, findings: &mut Findings) {
    let mut by_event: BTreeMap<&str, Vec<&BookedConversion>> = BTreeMap::new();
    for conversion in &evidence.books.conversions {
        by_event.entry(&conversion.event_id).or_default().push(conversion);
    }
    let mut by_conversion: BTreeMap<&str, Vec<&BookedCommission>> = BTreeMap::new();
    for commission in &evidence.books.commissions {
        by_conversion.entry(&commission.conversion_id).or_default().push(commission);
    }
    for story in &evidence.stories {
        let (event_id, outcome) = (story.event_id(&evidence.demo), story.outcome());
        let found = by_event.remove(event_id.as_str()).unwrap_or_default();
        match (outcome.status, found.as_slice()) {
            (None, []) => {}
            (None, _) => findings.doubled.push(format!("{event_id} was refused and has a conversion all the same")),
            (Some(_), []) => findings.lost.push(format!("{event_id} has no conversion")),
            (Some(status), [one]) => {
                let commissions = by_conversion.remove(one.id.as_str()).unwrap_or_default();
                judge_conversion(one, status, &commissions, &outcome, findings);
                let named = story.steps.iter().filter_map(|step| acks.get(&step.number)?.conversion_id.as_ref());
                if named.into_iter().any(|id| *id != one.id) {
                    findings.otherwise.push(format!("{event_id} was answered with another conversion's id"));
                }
            }
            (Some(_), several) => findings.doubled.push(format!("{event_id} has {} conversions", several.len())),
        }
    }
    findings.doubled.extend(by_event.keys().map(|event_id| format!("a conversion of {event_id} that nobody sent")));
}

fn judge_conversion(
    conversion: &BookedConversion,
    status: &str,
    commissions: &[&BookedCommission],
    outcome: &Outcome,
    findings: &mut Findings,
) {
    let event_id = &conversion.event_id;
    if conversion.status != status {
        findings.otherwise.push(format!("{event_id} is {} and must be {status}", conversion.status));
    }
    match commissions {
        [] => findings.lost.push(format!("{event_id} has no commission")),
        [one] => {
            let expected = (outcome.commission_cents, outcome.owed_cents);
            let (amount, booked) = (one.amount_micros, one.booked_micros);
            if (amount, booked)
                != (expected.0.saturating_mul(MICROS_PER_CENT), expected.1.saturating_mul(MICROS_PER_CENT))
            {
                let sentence =
                    format!("{event_id}: {amount} micros computed and {booked} booked, not {expected:?} cents");
                findings.otherwise.push(sentence);
            }
        }
        several => findings.doubled.push(format!("{event_id} has {} commissions", several.len())),
    }
}

/// Each affiliate was paid what it had earned, to the cent and once, and its commissions say so.
fn judge_payouts(evidence: &Evidence, findings: &mut Findings) {
    for affiliate in 0..AFFILIATES {
        let due = evidence.payouts.iter().find(|payout| payout.affiliate == affiliate);
        let made: Vec<_> = evidence.books.payouts.iter().filter(|payout| payout.affiliate == affiliate).collect();
        match (due, made.as_slice()) {
            (None, []) => {}
            (Some(_), []) => findings.lost.push(format!("affiliate {affiliate} has no payout")),
            (Some(due), [one]) => {
                let cents = due.cents;
                if (one.amount_micros, one.state.as_str()) != (cents.saturating_mul(MICROS_PER_CENT), "completed") {
                    let (micros, state) = (one.amount_micros, &one.state);
                    let sentence =
                        format!("affiliate {affiliate}: {micros} micros are {state}, not {cents} cents paid");
                    findings.otherwise.push(sentence);
                }
            }
            (_, several) => findings.doubled.push(format!("affiliate {affiliate} has {} payouts", several.len())),
        }
    }
    let paid: i64 = evidence.books.commissions.iter().map(|commission| commission.paid_micros).sum();
    let cents: i64 = evidence.payouts.iter().map(|payout| payout.cents).sum();
    if paid != cents.saturating_mul(MICROS_PER_CENT) {
        findings.otherwise.push(format!("of all commissions {paid} micros were paid, not {cents} cents"));
    }
}

/// What each affiliate is owed after it was paid, added up from the plan of the demo alone.
fn judge_balances(evidence: &Evidence, findings: &mut Findings) {
    for affiliate in 0..AFFILIATES {
        let paid = evidence.payouts.iter().filter(|payout| payout.affiliate == affiliate).map(|payout| payout.cents);
        let cents = plan::earned_cents(&evidence.stories, affiliate).saturating_sub(paid.sum());
        let owed = evidence.books.owed_micros.get(affiliate).copied().unwrap_or_default();
        if owed != cents.saturating_mul(MICROS_PER_CENT) {
            findings.otherwise.push(format!("affiliate {affiliate} is owed {owed} micros, not {cents} cents"));
        }
    }
}

/// What subscribers were told: each message that is due, at least once, under one id, well signed.
fn judge_messages(evidence: &Evidence, findings: &mut Findings) {
    let mut delivered: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut ids: BTreeMap<(String, String, String), BTreeSet<&str>> = BTreeMap::new();
    for arrival in &evidence.arrivals {
        if !arrival.verified {
            let (id, endpoint) = (&arrival.webhook_id, &arrival.endpoint);
            findings.wrongly_signed.push(format!("{id} at {endpoint} has a signature that does not fit"));
        } else if arrival.delivered() {
            *delivered.entry((&arrival.endpoint, &arrival.webhook_id)).or_default() += 1;
            let what = (arrival.endpoint.clone(), arrival.event_type.clone(), arrival.subject.clone());
            ids.entry(what).or_default().insert(&arrival.webhook_id);
        }
    }
    for what in due(evidence) {
        let (endpoint, event_type, subject) = &what;
        match ids.remove(&what).map_or(0, |ids| ids.len()) {
            0 => findings.lost.push(format!("{event_type} of {subject} did not arrive at {endpoint}")),
            1 => {}
            ids => findings.doubled.push(format!("{event_type} of {subject} was told to {endpoint} under {ids} ids")),
        }
    }
    let unexpected = ids.keys().map(|(endpoint, event_type, subject)| {
        format!("{event_type} of {subject} was told to {endpoint}, and never happened")
    });
    findings.doubled.extend(unexpected);
    findings.resent = delivered.values().map(|times| times.saturating_sub(1)).sum();
    // Each crash may cut off the end of one attempt of a message, no more.
    let crashes = usize::try_from(evidence.runs).unwrap_or(usize::MAX).saturating_sub(1);
    let too_often = delivered.values().filter(|times| times.saturating_sub(1) > crashes).count();
    if too_often > 0 {
        findings
            .otherwise
            .push(format!("{too_often} messages were delivered again more often than {crashes} crashes allow"));
    }
    judge_deliveries(evidence, findings);
}

/// The messages that must arrive: endpoint, event type, and the event or payout that it is about.
fn due(evidence: &Evidence) -> Vec<(String, String, String)> {
    let mut due = Vec::new();
    for story in &evidence.stories {
        for told in story.outcome().told {
            for endpoint in [OPERATOR_ENDPOINT.to_owned(), affiliate_endpoint(story.affiliate())] {
                due.push((endpoint, told.event_type.to_owned(), story.event_id(&evidence.demo)));
            }
        }
    }
    for payout in &evidence.payouts {
        // One that was never made is missed as a whole, not message by message.
        let made = evidence.books.payouts.iter().find(|made| made.affiliate == payout.affiliate);
        let Some(BookedPayout { id, .. }) = made else { continue };
        let affiliate = affiliate_endpoint(payout.affiliate);
        due.extend(Payout::TOLD.map(|event_type| (affiliate.clone(), event_type.to_owned(), id.clone())));
        due.push((OPERATOR_ENDPOINT.to_owned(), plan::COMPLETED.to_owned(), id.clone()));
    }
    due
}

fn judge_deliveries(evidence: &Evidence, findings: &mut Findings) {
    let expected = due(evidence).len();
    let found = evidence.books.deliveries.len();
    if found < expected {
        findings.lost.push(format!("{found} deliveries were recorded, not {expected}"));
    } else if found > expected {
        findings.doubled.push(format!("{found} deliveries were recorded, not {expected}"));
    }
    let not_delivered = evidence.books.deliveries.iter().filter(|delivery| delivery.state != "delivered").count();
    if not_delivered > 0 {
        findings.lost.push(format!("{not_delivered} deliveries are dead or still waiting"));
    }
}

#[cfg(test)]
mod tests;
