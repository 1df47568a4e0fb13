//! The ladder of the design, and what holds for every ladder.

use proptest::prelude::*;

use super::*;

fn policy() -> RetryPolicy {
    let ladder = Ladder::new([30, 120, 600, 3_600].map(Duration::from_secs).to_vec()).unwrap();
    RetryPolicy { ladder, max_attempts: 15, max_age: Duration::from_secs(24 * 3_600) }
}

fn start() -> Timestamp {
    Timestamp::from_seconds(1_000_000).unwrap()
}

#[test]
fn the_ladder_of_the_design_takes_11_h_12_min() {
    let mut now = start();
    let mut history = History { failures: 0, unknowns: 0, first_attempt_at: now };
    let mut waits = Vec::new();
    let reason = loop {
        match policy().after_failure(history, now, None) {
            Next::Retry { failures, at, .. } => {
                waits.push(at.since(now).as_secs());
                history.failures = failures;
                now = at;
            }
            Next::Dead { reason, failures } => break (reason, failures),
        }
    };
    assert_eq!(waits, [vec![30, 120, 600], vec![3_600; 11]].concat());
    assert_eq!(reason, (DeadReason::AttemptsExhausted, 15));
    assert_eq!(now.since(start()), Duration::from_secs(11 * 3_600 + 12 * 60 + 30));
}

#[test]
fn retry_after_picks_the_next_rung_that_is_long_enough() {
    let history = History { failures: 0, unknowns: 0, first_attempt_at: start() };
    let rung = |seconds| match policy().after_failure(history, start(), Some(Duration::from_secs(seconds))) {
        Next::Retry { rung, .. } => rung,
        Next::Dead { .. } => None,
    };
    assert_eq!(rung(1), Some(0));
    assert_eq!(rung(31), Some(1));
    assert_eq!(rung(601), Some(3));
    assert_eq!(rung(86_400), Some(3), "longer than the ladder: the last rung");
}

#[test]
fn five_unknown_in_a_row_count_as_one_failure() {
    let mut history = History { failures: 2, unknowns: 0, first_attempt_at: start() };
    for expected in 1..=4 {
        let next = policy().after_unknown(history, start());
        assert_eq!(next, Next::Retry { failures: 2, unknowns: expected, rung: None, at: start() });
        history.unknowns = expected;
    }
    let next = policy().after_unknown(history, start());
    let at = start().plus(Duration::from_secs(600));
    assert_eq!(next, Next::Retry { failures: 3, unknowns: 0, rung: Some(2), at });
}

proptest! {
    #[test]
    fn a_retry_is_never_early_never_past_the_age_and_never_endless(
        failures in 0..20i32, age in 0u64..200_000, wish in proptest::option::of(0u64..10_000),
    ) {
        let now = start().plus(Duration::from_secs(age));
        let history = History { failures, unknowns: 0, first_attempt_at: start() };
        match policy().after_failure(history, now, wish.map(Duration::from_secs)) {
            Next::Retry { failures: next, at, .. } => {
                prop_assert!(next < 15 && next == failures + 1);
                prop_assert!(at >= now.plus(Duration::from_secs(wish.unwrap_or(0).clamp(30, 3_600))));
                prop_assert!(at <= start().plus(Duration::from_secs(24 * 3_600)));
            }
            Next::Dead { .. } => prop_assert!(failures + 1 >= 15 || age + 30 > 20 * 3_600),
        }
    }
}

fn ladders() -> impl Strategy<Value = Ladder> {
    prop::collection::vec(1_u64..100_000, 1..8).prop_map(|mut seconds| {
        seconds.sort_unstable();
        Ladder::new(seconds.into_iter().map(Duration::from_secs).collect()).unwrap()
    })
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    (ladders(), 1..40_i32, 1_u64..1_000_000).prop_map(|(ladder, max_attempts, seconds)| RetryPolicy {
        ladder,
        max_attempts,
        max_age: Duration::from_secs(seconds),
    })
}

proptest! {
    #[test]
    fn more_failures_and_longer_wishes_never_wait_shorter(
        ladder in ladders(), failures in 0..50_i32, more in 0..50_i32, wish in 0_u64..200_000, longer in 0_u64..200_000,
    ) {
        let rung = |failures, seconds| ladder.rung(failures, Some(Duration::from_secs(seconds)));
        prop_assert!(rung(failures, wish) <= rung(failures + more, wish));
        prop_assert!(rung(failures, wish) <= rung(failures, wish + longer));
        prop_assert!(ladder.rung(failures, None) <= rung(failures, wish));
    }

    #[test]
    fn the_rung_is_the_first_that_will_do(ladder in ladders(), failures in 0..50_i32, wish in 0_u64..200_000) {
        let wish = Duration::from_secs(wish);
        let (index, wait) = ladder.rung(failures, Some(wish));
        prop_assert_eq!(ladder.rungs()[index], wait);
        let last = ladder.rungs().len() - 1;
        let climbed = usize::try_from(failures).unwrap().saturating_sub(1).min(last);
        prop_assert!(index >= climbed);
        prop_assert!(wait >= wish || index == last);
        prop_assert!(ladder.rungs()[climbed..index].iter().all(|rung| *rung < wish));
    }

    /// Failures, wishes and unknown ends in any order: time only goes on, the limits hold, and it ends.
    #[test]
    fn every_history_ends_within_the_limits(
        policy in policies(), ends in prop::collection::vec(prop::option::weighted(0.7, 0_u64..10_000), 1..80),
    ) {
        let mut history = History { failures: 0, unknowns: 0, first_attempt_at: start() };
        let (mut now, mut attempts) = (start(), 0);
        for end in ends.iter().cycle() {
            attempts += 1;
            prop_assert!(attempts <= policy.max_attempts * UNKNOWNS_PER_FAILURE, "endless");
            let next = match end {
                Some(wish) => policy.after_failure(history, now, Some(Duration::from_secs(*wish))),
                None => policy.after_unknown(history, now),
            };
            match next {
                Next::Retry { failures, unknowns, rung, at } => {
                    prop_assert!((history.failures..=history.failures + 1).contains(&failures));
                    prop_assert!(failures < policy.max_attempts && unknowns < UNKNOWNS_PER_FAILURE);
                    prop_assert!(at <= start().plus(policy.max_age) || rung.is_none());
                    prop_assert_eq!(at.since(now), rung.map_or(Duration::ZERO, |rung| policy.ladder.rungs()[rung]));
                    prop_assert_eq!(rung.is_some(), failures == history.failures + 1, "who waits has failed");
                    history = History { failures, unknowns, ..history };
                    now = at;
                }
                Next::Dead { failures, reason } => {
                    prop_assert_eq!(reason == DeadReason::AttemptsExhausted, failures == policy.max_attempts);
                    break;
                }
            }
        }
    }
}
