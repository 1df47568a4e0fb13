//! When a delivery is tried again, and when it is given up: pure functions over what is known.

use std::time::Duration;

/// The ladder of waits between attempts; the last rung repeats (DESIGN section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// A ladder of these rungs, shortest first.
    ///
    /// # Errors
    /// A sentence when it is empty, has a rung of nothing, or does not ascend.
    pub fn new(rungs: Vec<Duration>) -> Result<Self, &'static str> {
        if rungs.is_empty() || rungs.iter().any(Duration::is_zero) {
            return Err("the ladder needs at least one rung, each longer than nothing");
        }
        if !rungs.is_sorted() {
            return Err("the ladder's rungs go from the shortest to the longest");
        }
        Ok(Self(rungs))
    }

    /// The rungs, shortest first.
    #[must_use]
    pub fn rungs(&self) -> &[Duration] {
        &self.0
    }
}
