//! Figures out of many durations, in whole microseconds.

/// The value below which `per_mille` of a thousand values lie, by the nearest rank; 0 of an empty list, which must be
/// sorted.
pub fn quantile(sorted_micros: &[u64], per_mille: usize) -> u64 {
    let index = sorted_micros.len().saturating_mul(per_mille).div_ceil(1_000).saturating_sub(1);
    sorted_micros.get(index).copied().unwrap_or_default()
}

/// Microseconds as milliseconds with one decimal, cut off.
pub fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_list() {
        let both = |list: &[u64]| (quantile(list, 500), quantile(list, 990));
        assert_eq!(both(&(1..=100).collect::<Vec<_>>()), (50, 99));
        assert_eq!(both(&[7]), (7, 7));
        assert_eq!(both(&[]), (0, 0));
        assert_eq!(both(&[1, 2, 3]), (2, 3));
        assert_eq!(millis(12_345), "12.3 ms");
    }
}
