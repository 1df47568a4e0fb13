//! Runs that are planned by hand: what a seed has found once, told so that it stays found.

use std::time::Duration;

use postback::config::Settings;
use postback::domain::retry::{Ladder, RetryPolicy};

use super::metrics;
use super::plan::{Action, Kind, Mood, Plan};
use super::planted::Planted;
use super::run::play_plan;

/// One endpoint, two instances with a broker between them, the defaults with one short rung.
fn plan(kinds: &[Kind], actions: &[(u64, Action)]) -> Plan {
    let mut settings = Settings::from_pairs(&[]).unwrap();
    settings.delivery.ladder = Ladder::new(vec![Duration::from_secs(5)]).unwrap();
    let delivery = &settings.delivery;
    let policy = RetryPolicy { ladder: delivery.ladder.clone(), max_attempts: 15, max_age: delivery.max_age };
    Plan {
        seed: 0,
        kinds: kinds.to_vec(),
        settings,
        policy,
        alone: false,
        slots: 2,
        endpoints: 1,
        postbacks: Vec::new(),
        actions: actions.iter().map(|(at, action)| (Duration::from_millis(*at), *action)).collect(),
        calm_at: Duration::from_secs(80),
        stays_paused: None,
    }
}

/// Seed 1809 of the first generation: an instance whose clock had been stepped could not ask for the database's, went by
/// what it had measured before, and ended leases that others held.
#[test]
fn a_sweeper_that_cannot_ask_for_the_time_ends_no_lease() {
    let silent = Action::Mood { endpoint: 0, mood: Mood::Silent };
    let step = Action::StepClock { slot: 0, micros: 600_000_000 };
    let mut plan = plan(&[Kind::ClockSteps], &[(900, silent), (1_000, step)]);
    plan.postbacks = (45..65).map(Duration::from_secs).collect();
    let outcome = play_plan(plan, Some(Planted::ClockIsNotTold), &metrics(), true);
    assert!(outcome.violated.is_none(), "{}\n{:?}", outcome.trace.join("\n"), outcome.violated);
}
