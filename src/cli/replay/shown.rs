//! What a person reads about replays: plain lines, the same on a terminal and in a file.

use std::fmt::Write as _;

use crate::domain::replay::ReplayState;
use crate::replay::DryRun;
use crate::store::reading::DeliveryView;
use crate::store::replays::{Judged, ReplayView};

/// How many of a job have been looked at.
pub fn seen(job: &ReplayView) -> i64 {
    job.skipped.values().fold(job.replayed, |seen, count| seen.saturating_add(*count))
}

/// That a job was made.
pub fn made(job: &ReplayView) -> String {
    let seconds = job.matched.saturating_add(i64::from(job.rate) - 1).div_euclid(i64::from(job.rate).max(1));
    format!(
        "{id}: {matched} {kind}, at most {rate} a second, so at least {seconds} s. Ctrl-C leaves it running; `postback \
         replay show {id}` looks on, `postback replay cancel {id}` ends it.\n",
        id = job.id,
        matched = job.matched,
        kind = job.selection.kind(),
        rate = job.rate,
    )
}

/// How far a job has come.
pub fn progress(job: &ReplayView) -> String {
    format!("{} of {} looked at, {} replayed\n", seen(job), job.matched, job.replayed)
}

/// A job as it stands.
pub fn job(job: &ReplayView) -> String {
    let state = job.state.as_str();
    let mut text =
        format!("{} is {state}: {} of {} {} replayed", job.id, job.replayed, job.matched, job.selection.kind());
    // Writing to a string does not fail.
    for (reason, count) in &job.skipped {
        let _ = write!(text, ", {count} skipped ({})", reason.as_str());
    }
    for (verdict, count) in &job.verdicts {
        let _ = write!(text, ", {count} {verdict}");
    }
    if let (ReplayState::Canceled, Some(by)) = (job.state, job.canceled_by) {
        let _ = write!(text, ", canceled by {by}");
    }
    text.push('\n');
    text
}

/// Jobs, a line each.
pub fn jobs(jobs: &[ReplayView]) -> String {
    if jobs.is_empty() {
        return "Nothing was ever replayed by a job.\n".to_owned();
    }
    jobs.iter().map(|one| format!("{}  {}", one.created_at, job(one))).collect()
}

/// What a replay of deliveries would be about.
pub fn deliveries(matched: i64, sample: &[DeliveryView]) -> String {
    let mut text = format!("{matched} deliveries match; nothing was changed.\n");
    for row in sample {
        let why = row.dead_reason.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{}  {}  {}  {:<22}  {why}",
            row.id,
            row.created_at,
            row.endpoint_id,
            row.event_type.as_str()
        );
    }
    more(&mut text, matched, sample.len());
    text
}

/// What a replay of receipts would come to.
pub fn dry_run(run: &DryRun, sample: usize) -> String {
    let mut text = format!("{} receipts match; nothing was changed.\n", run.matched);
    if !run.judged.is_empty() {
        let verdicts: Vec<String> =
            run.verdicts().into_iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let _ = writeln!(text, "Of the oldest {}: {}.", run.judged.len(), verdicts.join(", "));
    }
    for one in run.judged.iter().take(sample) {
        text.push_str(&judged(one, true));
    }
    more(&mut text, run.matched, run.judged.len().min(sample));
    text
}

fn more(text: &mut String, matched: i64, shown: usize) {
    let left = matched.saturating_sub(i64::try_from(shown).unwrap_or(i64::MAX));
    if left > 0 {
        let _ = writeln!(text, "… and {left} more");
    }
}

/// What became of one receipt, or would.
pub fn judged(judged: &Judged, dry_run: bool) -> String {
    let outcome = &judged.outcome;
    let would = if dry_run { "would be " } else { "" };
    let mut text = format!("{}  {would}{}", outcome.receipt_id, outcome.verdict.as_str());
    if let Some(code) = outcome.verdict.reason() {
        let _ = write!(text, " {code}");
    }
    if let Some(field) = outcome.rejection.as_ref().and_then(|rejection| rejection.field.as_deref()) {
        let _ = write!(text, " ({field})");
    }
    if let Some(booked) = &judged.booked {
        let conversion = &booked.conversion;
        let _ = write!(text, "  {} {}", booked.goal, conversion.status.as_str());
        if let Some(amount) = conversion.content.amount {
            let _ = write!(text, " {amount} {}", conversion.currency);
        }
        if let Some(earned) = &booked.commission {
            let _ = write!(text, "  commission {} {}", earned.money.amount_text(), earned.money.currency);
        }
    }
    text.push('\n');
    text
}
