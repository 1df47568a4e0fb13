//! What a run came to, as a table and as one line of JSON.
//!
//! Everything is whole numbers with the unit at the end of the name. CPU time is that of the part that is measured, from
//! the first request until the last delivery is stored, for a thousand answered requests; of a backlog, for a thousand
//! deliveries.

use std::fmt::Write as _;

use serde::Serialize;

use super::judge::Findings;
use super::measure::{Bench, Measured, Part};
use super::receiver::Arrival;
use super::runs::Run;
use super::service::Stack;
use super::timeline::{Slice, slices};
use crate::cli::outside::figures::{millis, quantile};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    run: &'static str,
    engine: String,
    queue: String,
    #[serde(flatten)]
    settings: Settings,
    #[serde(flatten)]
    speed: Speed,
    accepted: u64,
    duplicate: u64,
    busy: u64,
    resent: u64,
    refused: u64,
    unanswered: u64,
    behind: u64,
    /// CPU time for a thousand.
    cpu_micros_per_thousand: Costs,
    /// Messages that the queue took for a thousand.
    messages_per_thousand: u64,
    peak_memory_bytes: Memory,
    lost: u64,
    doubled: u64,
    repeated: u64,
    wrongly_signed: u64,
    strange: u64,
    /// The same speed while all neighbours were well.
    before: Option<Speed>,
    /// Of a run of a minute or more.
    timeline: Vec<Slice>,
    green: bool,
}

/// How a run was set up.
#[derive(Debug, Serialize)]
pub struct Settings {
    /// Processes of the service.
    pub instances: usize,
    /// Connections that fire.
    pub connections: usize,
    /// Of an open loop.
    pub rate_per_second: Option<u64>,
    /// Postbacks that were booked before.
    pub prefilled: u64,
}

/// How fast a part of a run was.
#[derive(Debug, Serialize)]
struct Speed {
    acknowledged: u64,
    acknowledged_per_second: u64,
    acknowledged_p50_micros: u64,
    acknowledged_p95_micros: u64,
    acknowledged_p99_micros: u64,
    acknowledged_max_micros: u64,
    delivered: u64,
    /// From the first request, or the moment a backlog was let go, to the last delivery.
    delivered_per_second: u64,
    /// From the same beginning to the first delivery, to that of 99 %, and to the last one.
    delivered_first_after_micros: u64,
    /// See `delivered_first_after_micros`: a last one that is much later shows stragglers.
    delivered_99_after_micros: u64,
    /// See `delivered_first_after_micros`.
    delivered_last_after_micros: u64,
    end_to_end_p50_micros: u64,
    end_to_end_p99_micros: u64,
    end_to_end_max_micros: u64,
}

#[derive(Debug, Serialize)]
struct Costs {
    service: Option<u64>,
    database: Option<u64>,
    broker: Option<u64>,
    sender: u64,
    receiver: u64,
}

#[derive(Debug, Serialize)]
struct Memory {
    service: Option<u64>,
    database: Option<u64>,
    broker: Option<u64>,
}

impl Report {
    /// The figures of what was measured and judged.
    pub fn new(bench: &Bench, stack: Stack, settings: Settings, measured: &Measured, findings: &Findings) -> Self {
        let (part, fired) = (&measured.part, &measured.part.fired);
        let speed = speed(bench, part);
        let thousandth = if bench.run == Run::Backlog { speed.delivered } else { speed.acknowledged };
        let cost = |micros: u64| micros.saturating_mul(1_000) / thousandth.max(1);
        let (cpu, memory) = (part.cpu, measured.memory);
        let clean = findings.is_green() && fired.refused == 0 && fired.unanswered == 0;
        Self {
            run: bench.run.name(),
            engine: stack.engine,
            queue: stack.queue,
            settings,
            accepted: fired.accepted,
            duplicate: fired.duplicate,
            busy: fired.busy,
            resent: fired.resent,
            refused: fired.refused,
            unanswered: fired.unanswered,
            behind: fired.behind,
            cpu_micros_per_thousand: Costs {
                service: cpu.parts.service.map(cost),
                database: cpu.parts.database.map(cost),
                broker: cpu.parts.broker.map(cost),
                sender: cost(cpu.sender),
                receiver: cost(cpu.receiver),
            },
            messages_per_thousand: part.messages.saturating_mul(1_000) / thousandth.max(1),
            peak_memory_bytes: Memory { service: memory.service, database: memory.database, broker: memory.broker },
            lost: findings.lost,
            doubled: findings.doubled,
            repeated: findings.repeated,
            wrongly_signed: findings.wrongly_signed,
            strange: findings.strange,
            before: measured.before.as_ref().map(|part| self::speed(bench, part)),
            timeline: slices(&fired.shots, &measured.memory_over_time, fired.began_micros, fired.ended_micros),
            green: clean,
            speed,
        }
    }

    /// Whether nothing was wrong.
    pub const fn is_green(&self) -> bool {
        self.green
    }

    /// As a table, with the findings under it.
    pub fn table(&self, findings: &Findings, refusal: Option<&str>) -> String {
        let mut text = String::from("\n");
        for (name, value) in self.rows() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<34} {value:>14}");
        }
        text.push('\n');
        for slice in &self.timeline {
            let (rate, p50, p99, memory) = slice.figures();
            let (p50, p99, memory) = (millis(p50), millis(p99), or_dash(memory.map(mebibytes)));
            let from = slice.from_seconds;
            let _ = writeln!(text, "  from {from:>5} s   {rate:>6} /s   p50 {p50:>9}   p99 {p99:>9}   memory {memory}");
        }
        for sentence in &findings.sentences {
            let _ = writeln!(text, "  {sentence}");
        }
        if let Some(refusal) = refusal {
            let _ = writeln!(text, "  refused: {refusal}");
        }
        text.push_str(if self.green {
            "Nothing was lost, nothing doubled, every signature fits.\n"
        } else {
            "This bench FAILED: see above.\n"
        });
        text
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("run".to_owned(), self.run.to_owned()),
            ("database".to_owned(), self.engine.clone()),
            ("queue".to_owned(), self.queue.clone()),
            ("instances".to_owned(), self.settings.instances.to_string()),
            ("connections".to_owned(), self.settings.connections.to_string()),
        ];
        rows.extend(self.settings.rate_per_second.map(|rate| ("rate /s".to_owned(), rate.to_string())));
        rows.extend(self.speed.rows(""));
        if let Some(before) = &self.before {
            rows.extend(before.rows("all well: "));
        }
        let counts = [
            ("accepted", self.accepted),
            ("duplicate", self.duplicate),
            ("asked to come again", self.busy),
            ("resent without an answer", self.resent),
            ("refused", self.refused),
            ("never answered", self.unanswered),
            ("due and not fired", self.behind),
        ];
        rows.extend(counts.iter().map(|(name, count)| ((*name).to_owned(), count.to_string())));
        let costs = &self.cpu_micros_per_thousand;
        let costs = [
            ("service", costs.service),
            ("database", costs.database),
            ("broker", costs.broker),
            ("sender", Some(costs.sender)),
            ("receiver", Some(costs.receiver)),
        ];
        let cost =
            |(name, micros): &(&str, Option<u64>)| (format!("CPU per 1000: {name}"), or_dash(micros.map(seconds)));
        rows.extend(costs.iter().map(cost));
        let memory = &self.peak_memory_bytes;
        let memory = [("service", memory.service), ("database", memory.database), ("broker", memory.broker)];
        let room =
            |(name, bytes): &(&str, Option<u64>)| (format!("peak memory: {name}"), or_dash(bytes.map(mebibytes)));
        rows.extend(memory.iter().map(room));
        let wrong = [
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("repeated after a failed attempt", self.repeated),
            ("wrongly signed", self.wrongly_signed),
            ("about nothing that was fired", self.strange),
        ];
        rows.extend(wrong.iter().map(|(name, count)| ((*name).to_owned(), count.to_string())));
        rows
    }
}

impl Speed {
    fn rows(&self, prefix: &str) -> Vec<(String, String)> {
        let mut rows = vec![
            ("acknowledged", self.acknowledged.to_string()),
            ("acknowledged /s", self.acknowledged_per_second.to_string()),
            ("acknowledged p50", millis(self.acknowledged_p50_micros)),
            ("acknowledged p95", millis(self.acknowledged_p95_micros)),
            ("acknowledged p99", millis(self.acknowledged_p99_micros)),
            ("acknowledged at the latest", millis(self.acknowledged_max_micros)),
        ];
        if self.delivered > 0 {
            rows.extend([
                ("delivered", self.delivered.to_string()),
                ("delivered /s", self.delivered_per_second.to_string()),
                ("delivered: the first after", millis(self.delivered_first_after_micros)),
                ("delivered: 99 % after", millis(self.delivered_99_after_micros)),
                ("delivered: all after", millis(self.delivered_last_after_micros)),
                ("end to end p50", millis(self.end_to_end_p50_micros)),
                ("end to end p99", millis(self.end_to_end_p99_micros)),
                ("end to end at the latest", millis(self.end_to_end_max_micros)),
            ]);
        }
        rows.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
    }
}

fn speed(bench: &Bench, part: &Part) -> Speed {
    let fired = &part.fired;
    let mut acks: Vec<u64> = fired.shots.iter().map(|shot| shot.micros).collect();
    acks.sort_unstable();
    let its = |arrival: &Arrival| {
        (part.first..fired.next).contains(&arrival.number) && arrival.at_micros >= part.began_micros
    };
    let arrivals: Vec<Arrival> = bench.inboxes().flat_map(|inbox| inbox.seen().arrivals).filter(its).collect();
    let mut ends: Vec<u64> = arrivals.iter().map(|arrival| arrival.micros).collect();
    ends.sort_unstable();
    let mut after: Vec<u64> =
        arrivals.iter().map(|arrival| arrival.at_micros.saturating_sub(part.began_micros)).collect();
    after.sort_unstable();
    let last_after_micros = quantile(&after, 1_000);
    Speed {
        acknowledged: count(acks.len()),
        acknowledged_per_second: per_second(acks.len(), fired.ended_micros.saturating_sub(fired.began_micros)),
        acknowledged_p50_micros: quantile(&acks, 500),
        acknowledged_p95_micros: quantile(&acks, 950),
        acknowledged_p99_micros: quantile(&acks, 990),
        acknowledged_max_micros: quantile(&acks, 1_000),
        delivered: count(arrivals.len()),
        delivered_per_second: per_second(arrivals.len(), last_after_micros),
        delivered_first_after_micros: after.first().copied().unwrap_or_default(),
        delivered_99_after_micros: quantile(&after, 990),
        delivered_last_after_micros: last_after_micros,
        end_to_end_p50_micros: quantile(&ends, 500),
        end_to_end_p99_micros: quantile(&ends, 990),
        end_to_end_max_micros: quantile(&ends, 1_000),
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn per_second(length: usize, micros: u64) -> u64 {
    count(length).saturating_mul(1_000_000) / micros.max(1)
}

/// Microseconds as seconds with four decimals, cut off.
fn seconds(micros: u64) -> String {
    format!("{}.{:04} s", micros / 1_000_000, micros % 1_000_000 / 100)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_in_their_units() {
        assert_eq!(seconds(123_456), "0.1234 s");
        assert_eq!(mebibytes(150 * 1024 * 1024), "150 MiB");
        assert_eq!(per_second(500, 250_000), 2_000);
        assert_eq!(per_second(0, 0), 0);
    }
}
