//! Deliveries from postback to receiver, by the real code, in a world that goes wrong by a seed.
//!
//! Real: relay, worker, commits, permits, breakers, sweeper, holding, lifecycle, the retry policy, and for one instance alone
//! the embedded queue; several instances in one runtime whose time is held and jumps. Simulated: the store
//! (`model`, which `agreement` holds to the real ones), the broker, receivers, clocks, crashes. The judge looks at every
//! step. A seed is one run and always the same one, so a failure can be played again:
//! `scripts/simulate --seed N`. What it can and cannot find: docs/decisions/0015.

mod agreement;
mod alone;
mod chance;
mod instance;
mod judge;
mod model;
mod plan;
mod planted;
mod queue;
mod receivers;
mod rows_as_text;
mod run;
mod scripted;
mod store;
mod trace;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use postback::domain::catalog::{EndpointSecret, Owner};
use postback::domain::event::{Event, EventType};
use postback::domain::ids::{AffiliateId, EndpointId, EndpointSecretId, EventId};
use postback::domain::signature::SigningSecret;
use postback::metrics::Metrics;
use uuid::Uuid;

use self::model::Model;
use self::plan::Plan;
use self::planted::{PLANTED, Planted};
use self::run::{Outcome, play};
use self::world::START;
use crate::support::world::endpoint;

/// Seeds that the suite plays.
const SEEDS: u64 = 2_000;
/// Lines of a trace that a failure shows.
const LAST_LINES: usize = 60;

/// The id with this number, of the time at which runs begin.
fn id_of(number: u32) -> Uuid {
    let millis = u128::from(u64::try_from(START.millis()).unwrap());
    Uuid::from_u128(millis << 80 | 0x7 << 76 | 0x2 << 62 | u128::from(number))
}

/// The number of an endpoint in its run.
fn endpoint_of(id: EndpointId) -> usize {
    usize::try_from(id.uuid().as_u128() & 0xFFFF_FFFF).unwrap()
}

/// The event that tells of the postback with this key.
fn event_of(key: u32) -> Event {
    Event {
        id: EventId::from_uuid(id_of(key)),
        event_type: EventType::ConversionRecorded,
        operator_id: None,
        affiliate_id: None,
        created_at: START,
        body: String::new(),
    }
}

/// The endpoints of a run, each of another affiliate, so that none is told of the others.
fn endpoints_of(plan: &Plan, model: &mut Model) {
    let secret = SigningSecret::generate();
    for number in 0..u32::try_from(plan.endpoints).unwrap() {
        let owner = Owner::Affiliate(AffiliateId::from_uuid(id_of(number)));
        let mut endpoint = endpoint(START, owner, &[]);
        endpoint.id = EndpointId::from_uuid(id_of(number));
        endpoint.url = receivers::url_of(usize::try_from(number).unwrap());
        model.secrets.push(EndpointSecret {
            id: EndpointSecretId::from_uuid(id_of(number)),
            endpoint_id: endpoint.id,
            secret: secret.clone(),
            created_at: START,
            expires_at: None,
        });
        model.put_endpoint(endpoint);
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// Plays seeds on all processors; answers the lowest one that was found to fail, if one did.
fn play_all(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Option<(u64, Outcome)> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let found: Mutex<Option<(u64, Outcome)>> = Mutex::default();
    let work = || {
        let metrics = metrics();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = play(seed, planted, &metrics, false);
            if outcome.violated.is_some() {
                failed.store(true, Ordering::Relaxed);
                let mut found = found.lock().unwrap();
                if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *found = Some((seed, outcome));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    found.into_inner().unwrap()
}

/// A number that the environment gives a test. This is no setting of the service.
#[expect(clippy::disallowed_methods, reason = "how scripts/simulate tells the test what to play")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_booked_twice() {
    if let Some(seed) = asked("POSTBACK_SIMULATE_SEED") {
        let outcome = play(seed, None, &metrics(), true);
        eprintln!("{}", outcome.trace.join("\n"));
        eprintln!("seed {seed} lasted {:.3} s: {:?}", outcome.lasted.as_secs_f64(), outcome.violated);
        assert!(outcome.violated.is_none(), "seed {seed}: {}", outcome.violated.unwrap());
        return;
    }
    let (first, begun) = (asked("POSTBACK_SIMULATE_FROM").unwrap_or(0), Instant::now());
    let seeds = asked("POSTBACK_SIMULATE_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, outcome)) = play_all(first..first + seeds, None) {
        let last = outcome.trace.len().saturating_sub(LAST_LINES);
        let last = outcome.trace[last..].join("\n");
        panic!(
            "seed {seed}: {}\n{last}\nseed {seed}; again with its whole trace: scripts/simulate --seed {seed}",
            outcome.violated.unwrap()
        );
    }
    eprintln!("{seeds} seeds from {first} on in {:.1} s", begun.elapsed().as_secs_f64());
}

/// Every fault that is planted around the code is found, within as many seeds as the suite plays.
#[test]
fn the_simulation_finds_planted_faults() {
    for planted in PLANTED {
        let found = play_all(0..SEEDS, Some(planted));
        let (seed, outcome) = found.unwrap_or_else(|| panic!("{planted:?} was not found in {SEEDS} seeds"));
        eprintln!("{planted:?}: seed {seed}, {}", outcome.violated.unwrap());
    }
}

/// A simulation in which nothing happens finds nothing.
#[test]
fn the_simulation_comes_to_everything_that_it_is_about() {
    let metrics = metrics();
    let seen: BTreeSet<_> = (0..400).flat_map(|seed| play(seed, None, &metrics, false).seen).collect();
    let wanted = [
        "a success",
        "a late success",
        "a failure",
        "an unknown end",
        "death of age",
        "death after all attempts",
        "a hint that came early",
        "a hint lost again and again",
        "claim",
        "claim_next",
        "hand_back",
        "take_due",
        "take_over",
        "unpublished",
        "replay",
        "hold",
        "release",
    ];
    assert!(wanted.iter().all(|what| seen.contains(what)), "{seen:?}");
}

#[test]
fn a_seed_is_always_the_same_run() {
    let metrics = metrics();
    for seed in 0..40 {
        let (one, other) = (play(seed, None, &metrics, true), play(seed, None, &metrics, true));
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(one.hash, other.hash, "seed {seed} was played otherwise the second time: {differs:?}");
    }
}
