//! What came of it: a table for people, and the same as a document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::catalogue::FAULTS;
use super::judge::Findings;
use super::load::Answers;
use super::place::Stack;
use super::recovery::Recovery;
use crate::cli::Failure;

/// What one fault came to on one stack.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Row {
    fault: String,
    stack: String,
    times: u32,
    acknowledged: u64,
    lost: u64,
    doubled: u64,
    extra_posts: u64,
    recovery: Option<Duration>,
    drained: Option<Duration>,
    answers: Answers,
    readyz: String,
    alerts: BTreeMap<String, u64>,
    notes: Vec<String>,
    judged_green: bool,
    wrong: Vec<String>,
}

impl Row {
    /// A fault that was judged.
    pub fn new(fault: &'static str, stack: Stack, times: u32, findings: &Findings, recoveries: &[Recovery]) -> Self {
        Self {
            fault: fault.to_owned(),
            stack: stack.name().to_owned(),
            times,
            acknowledged: findings.acknowledged,
            lost: findings.lost,
            doubled: findings.doubled,
            extra_posts: findings.extra_posts,
            judged_green: findings.is_green(),
            recovery: recoveries.iter().map(|recovery| recovery.first).max(),
            drained: recoveries.iter().filter_map(|recovery| recovery.drained).max(),
            ..Self::default()
        }
    }

    /// With what else is known.
    pub fn with(
        mut self,
        answers: Answers,
        readyz: String,
        alerts: BTreeMap<String, u64>,
        notes: Vec<String>,
        wrong: Vec<String>,
    ) -> Self {
        self.answers = answers;
        self.readyz = readyz;
        self.alerts = alerts;
        self.notes = notes;
        self.wrong = wrong;
        self
    }

    /// A fault that could not be carried through.
    pub fn failed(fault: &'static str, stack: Stack, times: u32, why: String) -> Self {
        let (fault, stack) = (fault.to_owned(), stack.name().to_owned());
        Self { fault, stack, times, wrong: vec![why], ..Self::default() }
    }

    /// Whether nothing is wrong.
    pub fn is_green(&self) -> bool {
        self.judged_green && self.wrong.is_empty()
    }

    /// One line as soon as it is known, with everything that is wrong.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}: {}", self.fault, self.stack, if self.is_green() { "ok" } else { "FAILED" });
        let cells = self.cells();
        // Writing to a string does not fail.
        let _ = write!(line, " [{}]", cells.get(2..).unwrap_or_default().join(" | "));
        for wrong in &self.wrong {
            let _ = write!(line, "\n    {}", wrong.replace('\n', "\n    "));
        }
        line
    }

    /// Adds it to a file of rows, a line of JSON each.
    pub fn keep(&self, file: &Path) -> Result<(), Failure> {
        let line = serde_json::json!(self).to_string() + "\n";
        let opened = OpenOptions::new().append(true).create(true).open(file);
        let kept = opened.and_then(|mut opened| opened.write_all(line.as_bytes()));
        kept.map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))
    }

    /// The rows of such a file, in the order of the catalogue.
    pub fn kept(file: &Path) -> Result<Vec<Self>, Failure> {
        let wrong = |why: String| Failure::of_input(format!("{} cannot be read: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let rows = text.lines().map(serde_json::from_str::<Self>).collect::<Result<Vec<_>, _>>();
        let mut rows = rows.map_err(|error| wrong(error.to_string()))?;
        let place = |row: &Self| FAULTS.iter().position(|fault| fault.name == row.fault);
        rows.sort_by_key(|row| (place(row), row.stack == Stack::Postgres.name(), row.times));
        Ok(rows)
    }

    fn cells(&self) -> Vec<String> {
        let seconds =
            |time: Option<Duration>| time.map_or_else(|| "–".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()));
        let statuses = self.answers.statuses.iter().map(|(status, count)| (status.to_string(), *count));
        let none = [("broken".to_owned(), self.answers.broken), ("none in 15 s".to_owned(), self.answers.late)];
        let answers = statuses.chain(none).filter(|(_, count)| *count > 0);
        let answers: Vec<String> = answers.map(|(what, count)| format!("{what} ×{count}")).collect();
        let mut answers = answers.join(", ");
        if self.answers.slowest_refusal_micros > 0 {
            let _ = write!(answers, "; slowest refusal {} ms", self.answers.slowest_refusal_micros / 1_000);
        }
        let alerts: Vec<String> = self.alerts.iter().map(|(name, count)| format!("{name} ×{count}")).collect();
        let alerts = if alerts.is_empty() { "–".to_owned() } else { alerts.join(", ") };
        vec![
            self.fault.clone(),
            self.stack.clone(),
            self.times.to_string(),
            self.acknowledged.to_string(),
            self.lost.to_string(),
            self.doubled.to_string(),
            self.extra_posts.to_string(),
            seconds(self.recovery),
            seconds(self.drained),
            answers,
            self.readyz.clone(),
            alerts,
            self.notes.join("; "),
        ]
    }
}

/// The columns.
const HEAD: [&str; 13] = [
    "fault",
    "stack",
    "times",
    "acknowledged",
    "lost",
    "booked twice",
    "extra POSTs",
    "recovery",
    "drained",
    "answers",
    "/readyz meanwhile",
    "alerts",
    "notes",
];
/// The columns that the table on a terminal has.
const NARROW: usize = 9;

/// The table for a terminal.
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(HEAD.iter().map(ToString::to_string).collect())
        .chain(rows.iter().map(Row::cells))
        .map(|cells: Vec<String>| cells.into_iter().take(NARROW).collect())
        .collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..NARROW).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        let row = index.checked_sub(1).and_then(|index| rows.get(index));
        let _ = writeln!(text, "{}", row.map_or("", |row| if row.is_green() { "ok" } else { "FAILED" }));
    }
    let wrong = rows.iter().filter(|row| !row.is_green()).count();
    let _ = match wrong {
        0 => writeln!(text, "\nNothing was lost and nothing doubled in {} runs.", rows.len()),
        _ => writeln!(text, "\n{wrong} of {} runs FAILED; what is wrong stands above.", rows.len()),
    };
    text
}

/// What faults there are.
pub fn list() -> String {
    let mut text = String::new();
    for fault in FAULTS {
        let stacks: Vec<&str> = fault.stacks.iter().map(|stack| stack.name()).collect();
        let (name, stacks) = (fault.name, stacks.join(" and "));
        let _ = writeln!(text, "{name:24} {:>4} {:>6}  {stacks:20}  {}", fault.short, fault.long, fault.what);
    }
    text
}

/// What all rows came to.
fn sum(rows: &[Row]) -> String {
    let (mut acknowledged, mut lost, mut doubled, mut times) = (0, 0, 0, 0);
    for row in rows {
        acknowledged += row.acknowledged;
        lost += row.lost;
        doubled += row.doubled;
        times += u64::from(row.times);
    }
    format!(
        "In {} runs faults happened {times} times while {acknowledged} postbacks were acknowledged: {lost} were lost, {doubled} booked twice.",
        rows.len()
    )
}

/// The table as a document. `measured` says when and where.
pub fn document(rows: &[Row], measured: &str, rate: u64) -> String {
    let mut text = format!(
        "# What the fault suite found\n\nWritten by `scripts/faults`; do not edit. {measured}While each fault happened an operator \
         fired {rate} signed postbacks a second at a test build of the service (one process, unless the fault says otherwise) and \
         repeated what was not acknowledged; three receivers wrote down every POST; a judge outside the process compared both with \
         what is booked.\n\n\
         *Lost*: acknowledged and not booked, or not told. *Booked twice*: booked, earned or accepted again, or told under two ids. \
         *Extra POSTs*: repeats under the same `webhook-id`; each is an attempt that the service knows of, or the run fails. \
         *Recovery*: the longest time from the end of a fault until a postback that was first sent after it was acknowledged and had \
         arrived. *Drained*: from the end of the last fault until everything that was fired before had arrived. *Answers* and \
         */readyz* are those while a fault lasted; alerts are those that opened at any time of the run.\n\n\
         {}\n\n",
        sum(rows)
    );
    let line = |text: &mut String, cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(&mut text, &HEAD.map(str::to_owned));
    line(&mut text, &HEAD.map(|_| "---".to_owned()));
    for row in rows {
        line(&mut text, &row.cells());
    }
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.is_green()).collect();
    if !wrong.is_empty() {
        text.push_str("\n## What failed\n\n");
        for row in wrong {
            for sentence in &row.wrong {
                let first = sentence.lines().next().unwrap_or_default();
                let _ = writeln!(text, "- {} on {}: {first}", row.fault, row.stack);
            }
        }
    }
    text.push_str("\n## The faults\n\n");
    for fault in FAULTS {
        let _ = writeln!(text, "- `{}`: {}.", fault.name, fault.what);
    }
    text
}
