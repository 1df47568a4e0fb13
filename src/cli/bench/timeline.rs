//! A long run slice by slice, to see whether latency and memory stay flat.

use serde::Serialize;

use super::sender::Shot;
use crate::cli::outside::figures::quantile;

/// Shorter runs have no slices.
const LONG_MICROS: u64 = 60_000_000;
/// Slices of a run.
const SLICES: u64 = 30;

/// The service's memory at one time.
#[derive(Clone, Copy, Debug)]
pub struct MemoryAt {
    /// When, in the book's microseconds.
    pub at_micros: u64,
    /// How much.
    pub bytes: u64,
}

/// One slice of a run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Where it begins, counted from the run's beginning.
    pub from_seconds: u64,
    acknowledged_per_second: u64,
    acknowledged_p50_micros: u64,
    acknowledged_p99_micros: u64,
    /// The most in it.
    service_memory_bytes: Option<u64>,
}

impl Slice {
    /// As the rest of a row: rate, p50 and p99 in microseconds, memory in bytes.
    pub const fn figures(&self) -> (u64, u64, u64, Option<u64>) {
        (
            self.acknowledged_per_second,
            self.acknowledged_p50_micros,
            self.acknowledged_p99_micros,
            self.service_memory_bytes,
        )
    }
}

/// The slices of a run that lasted from `began` to `ended`; none of a short one.
pub fn slices(shots: &[Shot], memory: &[MemoryAt], began_micros: u64, ended_micros: u64) -> Vec<Slice> {
    let length = ended_micros.saturating_sub(began_micros);
    if length < LONG_MICROS {
        return Vec::new();
    }
    let width = length.div_ceil(SLICES);
    (0..SLICES).map(|number| slice(shots, memory, began_micros, (number * width, width))).collect()
}

fn slice(shots: &[Shot], memory: &[MemoryAt], began_micros: u64, (offset, width): (u64, u64)) -> Slice {
    let from = began_micros + offset;
    let is_in = |at: u64| (from..from + width).contains(&at);
    let mut acks: Vec<u64> = shots.iter().filter(|shot| is_in(shot.at_micros)).map(|shot| shot.micros).collect();
    acks.sort_unstable();
    let count = u64::try_from(acks.len()).unwrap_or(u64::MAX);
    Slice {
        from_seconds: offset / 1_000_000,
        acknowledged_per_second: count.saturating_mul(1_000_000) / width.max(1),
        acknowledged_p50_micros: quantile(&acks, 500),
        acknowledged_p99_micros: quantile(&acks, 990),
        service_memory_bytes: memory.iter().filter(|at| is_in(at.at_micros)).map(|at| at.bytes).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_cut_and_every_shot_is_in_one_slice() {
        let shots: Vec<Shot> =
            (0..6_000).map(|number| Shot { at_micros: 5 + number * 10_000, micros: 7 + number / 3_000 }).collect();
        let memory = [MemoryAt { at_micros: 10, bytes: 1 }, MemoryAt { at_micros: 20, bytes: 9 }];
        let slices = slices(&shots, &memory, 5, 60_000_005);
        assert_eq!(slices.len(), 30);
        assert!(slices.iter().all(|slice| slice.acknowledged_per_second == 100), "{slices:?}");
        assert_eq!((slices[1].from_seconds, slices[0].service_memory_bytes), (2, Some(9)));
        assert_eq!((slices[0].acknowledged_p99_micros, slices[29].acknowledged_p99_micros), (7, 8));
        assert!(super::slices(&shots, &memory, 0, LONG_MICROS - 1).is_empty());
    }
}
