//! CPU time and memory of the service, the servers and ourselves, as the operating system counts them (Linux, /proc).
//!
//! A server is its first process with all that descend from it, those that have ended included: PostgreSQL's backends
//! and RabbitMQ's helpers come and go.

use std::collections::BTreeMap;
use std::fs;

/// Microseconds of one tick, the unit of CPU time in /proc: Linux has 100 a second everywhere.
const TICK_MICROS: u64 = 10_000;
/// Where the fields that are needed stand in `/proc/PID/stat` after the name.
const PARENT: usize = 1;
/// User and system time.
const OWN_TIMES: std::ops::RangeInclusive<usize> = 11..=12;
/// The same with that of children that have ended.
const ALL_TIMES: std::ops::RangeInclusive<usize> = 11..=14;

/// The processes that are watched.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The service's: one of each instance.
    pub service: Vec<u32>,
    /// PostgreSQL's first process.
    pub database: Option<u32>,
    /// RabbitMQ's.
    pub broker: Option<u32>,
}

impl Watched {
    /// An amount of each part: the sum over its processes and all that descend from them.
    fn sum(&self, table: &Table, amount: impl Fn(u32) -> u64) -> Parts {
        let of = |roots: &[u32]| {
            let processes = roots.iter().flat_map(|root| tree(table, *root));
            (!roots.is_empty()).then(|| processes.map(&amount).sum())
        };
        Parts { service: of(&self.service), database: of(self.database.as_slice()), broker: of(self.broker.as_slice()) }
    }
}

/// Amounts for each part; `None` where it is not watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The service.
    pub service: Option<u64>,
    /// PostgreSQL. SQLite is in the service.
    pub database: Option<u64>,
    /// RabbitMQ.
    pub broker: Option<u64>,
}

/// CPU time so far, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Of others.
    pub parts: Parts,
    /// Of the thread that fires.
    pub sender: u64,
    /// Of the thread that receives.
    pub receiver: u64,
}

/// CPU time until now; the threads of ours go by their names.
pub fn cpu(watched: &Watched, sender: &str, receiver: &str) -> Cpu {
    let table = processes();
    let (mut fired, mut received) = (0, 0);
    for (name, micros) in own_threads() {
        if name == sender {
            fired += micros;
        } else if name == receiver {
            received += micros;
        }
    }
    let parts = watched.sum(&table, |pid| cpu_of(&table, pid));
    Cpu { parts, sender: fired, receiver: received }
}

/// Bytes in memory now; what processes of one server share is counted once.
pub fn memory(watched: &Watched) -> Parts {
    watched.sum(&processes(), |pid| memory_of(pid).unwrap_or_default())
}

/// The most bytes that a process has ever had in memory.
pub fn peak_memory_of(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

impl Cpu {
    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            parts: self.parts.since(earlier.parts),
            sender: self.sender.saturating_sub(earlier.sender),
            receiver: self.receiver.saturating_sub(earlier.receiver),
        }
    }
}

impl Parts {
    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The larger one of each.
    pub fn max(self, other: Self) -> Self {
        self.with(other, Ord::max)
    }

    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let one = |mine: Option<u64>, its: Option<u64>| mine.map(|mine| its.map_or(mine, |its| both(mine, its)));
        Self {
            service: one(self.service, other.service),
            database: one(self.database, other.database),
            broker: one(self.broker, other.broker),
        }
    }
}

/// Parent and CPU time of each process.
type Table = BTreeMap<u32, (u32, u64)>;

fn processes() -> Table {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile is not there any more.
    pids.filter_map(|pid| Some((pid, stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, ALL_TIMES)?)))
        .collect()
}

/// Parent and CPU time out of a line of `stat`. The name may hold anything, so its last bracket is looked for.
fn stat(line: &str, times: std::ops::RangeInclusive<usize>) -> Option<(u32, u64)> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(times)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some((fields.get(PARENT)?.parse().ok()?, ticks.saturating_mul(TICK_MICROS)))
}

fn cpu_of(table: &Table, pid: u32) -> u64 {
    table.get(&pid).map_or(0, |(_, micros)| *micros)
}

/// A process and all that descend from it.
fn tree(table: &Table, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(table.iter().filter(|(_, (its, _))| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Name and CPU time of each thread of ours.
fn own_threads() -> Vec<(String, u64)> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let one = |path: std::path::PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
        let (_, micros) = stat(&fs::read_to_string(path.join("stat")).ok()?, OWN_TIMES)?;
        Some((name, micros))
    };
    threads.filter_map(|entry| one(entry.path())).collect()
}

/// Its share of what it has in memory, or where we may not know that, all of it.
fn memory_of(pid: u32) -> Option<u64> {
    let share = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let share = share.and_then(|text| kib(&text, "Pss:"));
    share.or_else(|| kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:"))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name() {
        let line = "7 (a) b (c) S 3 1 1 0 -1 0 0 0 0 0 10 20 30 40 20 0 1 0";
        assert_eq!(stat(line, ALL_TIMES), Some((3, 100 * TICK_MICROS)));
        assert_eq!(stat(line, OWN_TIMES), Some((3, 30 * TICK_MICROS)));
        assert_eq!(stat("7 (a) S 3", OWN_TIMES), None);
        assert_eq!(kib("VmPeak:\t 5 kB\nVmHWM:\t  7 kB\n", "VmHWM:"), Some(7 * 1024));
    }

    #[test]
    fn a_tree_is_all_that_descend_from_its_root() {
        let table: Table = [(1, (0, 1)), (2, (1, 10)), (3, (2, 100)), (4, (9, 1_000))].into();
        assert_eq!(tree(&table, 2), [2, 3]);
        assert_eq!(tree(&table, 9), [9, 4], "also where the root itself has ended");
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let watched = Watched { service: vec![std::process::id()], ..Watched::default() };
        let memory = memory(&watched);
        assert!(memory.service > Some(100_000), "{memory:?}");
        assert!(memory.database.is_none());
        assert!(peak_memory_of(std::process::id()) > Some(100_000));
        assert!(!own_threads().is_empty());
    }

    #[test]
    fn parts_are_compared_one_by_one() {
        let parts = |service, broker| Parts { service, database: None, broker };
        assert_eq!(parts(Some(5), Some(7)).since(parts(Some(3), Some(9))), parts(Some(2), Some(0)));
        assert_eq!(parts(Some(5), None).max(parts(Some(9), Some(1))), parts(Some(9), None));
    }
}
