//! What a demo came to, as a table, and what was found wrong, in sentences.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::judge::{Evidence, Findings, MICROS_PER_CENT};
use super::plan::{CURRENCY, Click, Verdict};
use super::world::{OPERATOR_ENDPOINT, affiliate_endpoint};
use crate::cli::outside::figures::{millis, quantile};

/// Sentences that are shown of each kind; a broken demo would fill the screen.
const SHOWN: usize = 10;

/// The table, with the findings under it.
pub fn report(evidence: &Evidence, findings: &Findings) -> String {
    let mut text = String::from("\n");
    for (name, value) in rows(evidence, findings) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<22} {value:>12}");
    }
    text.push('\n');
    let kinds = [
        ("lost", &findings.lost),
        ("doubled", &findings.doubled),
        ("wrongly signed", &findings.wrongly_signed),
        ("otherwise wrong", &findings.otherwise),
    ];
    for (kind, sentences) in kinds {
        for sentence in sentences.iter().take(SHOWN) {
            let _ = writeln!(text, "  {kind}: {sentence}");
        }
        if sentences.len() > SHOWN {
            let _ = writeln!(text, "  {kind}: … and {} more", sentences.len().saturating_sub(SHOWN));
        }
    }
    let verdict = if findings.is_green() {
        "Nothing was lost, nothing booked twice, every signature fits, and the ledger is sound."
    } else {
        "This demo FAILED: see above."
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn rows(evidence: &Evidence, findings: &Findings) -> Vec<(&'static str, String)> {
    let verdicts = |name: &str| evidence.acks.iter().filter(|ack| ack.verdict == name).count().to_string();
    let deliveries =
        |state: &str| evidence.books.deliveries.iter().filter(|row| row.state == state).count().to_string();
    let paid: i64 = evidence.books.payouts.iter().map(|payout| payout.amount_micros / MICROS_PER_CENT).sum();
    let retried: u64 = evidence.books.deliveries.iter().map(|row| row.attempts.saturating_sub(1)).sum();
    let mut acks: Vec<u64> = evidence.acks.iter().map(|ack| ack.micros).collect();
    let mut ends = end_to_end(evidence);
    acks.sort_unstable();
    ends.sort_unstable();
    vec![
        ("received", evidence.acks.len().to_string()),
        ("accepted", verdicts("accepted")),
        ("duplicate", verdicts("duplicate")),
        ("updated", verdicts("updated")),
        ("parked", verdicts("parked")),
        ("rejected", verdicts("rejected")),
        ("commissions", evidence.books.commissions.len().to_string()),
        ("payouts", evidence.books.payouts.len().to_string()),
        ("paid", format!("{}.{:02} {CURRENCY}", paid / 100, paid % 100)),
        ("delivered", deliveries("delivered")),
        ("retried", retried.to_string()),
        ("resent", findings.resent.to_string()),
        ("dead", deliveries("dead")),
        ("lost", findings.lost.len().to_string()),
        ("doubled", findings.doubled.len().to_string()),
        ("wrongly signed", findings.wrongly_signed.len().to_string()),
        ("otherwise wrong", findings.otherwise.len().to_string()),
        ("acknowledged p50", millis(quantile(&acks, 500))),
        ("acknowledged p99", millis(quantile(&acks, 990))),
        ("end to end p50", millis(quantile(&ends, 500))),
        ("end to end p99", millis(quantile(&ends, 990))),
    ]
}

/// From the first sending of a postback to the delivery of each message that it caused, the retries after failures on
/// purpose included; what waited for its click or over a crash is left out.
fn end_to_end(evidence: &Evidence) -> Vec<u64> {
    let acks: BTreeMap<usize, _> = evidence.acks.iter().map(|ack| (ack.step, ack)).collect();
    let mut delivered = BTreeMap::new();
    for arrival in evidence.arrivals.iter().filter(|arrival| arrival.delivered()) {
        let what = (arrival.endpoint.as_str(), arrival.event_type.as_str(), arrival.subject.as_str());
        delivered.entry(what).or_insert(arrival);
    }
    let mut micros = Vec::new();
    for story in evidence.stories.iter().filter(|story| story.click != Click::Late) {
        let event_id = story.event_id(&evidence.demo);
        for told in story.outcome().told {
            for endpoint in [OPERATOR_ENDPOINT, &affiliate_endpoint(story.affiliate())] {
                let ack = acks.get(&told.step).filter(|ack| ack.verdict != Verdict::Duplicate.as_str());
                let arrival = delivered.get(&(endpoint, told.event_type, event_id.as_str()));
                if let (Some(ack), Some(arrival)) = (ack, arrival)
                    && ack.run == arrival.run
                {
                    micros.push(u64::try_from(arrival.at.saturating_sub(ack.sent_at)).unwrap_or_default());
                }
            }
        }
    }
    micros
}
