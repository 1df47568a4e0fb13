//! Leaves an endpoint alone that cannot take more for the moment (RELIABILITY section 6).
//!
//! One breaker for each endpoint on each instance. It opens when the receiver asks for time (429 or 503 with
//! `Retry-After`), and after some attempts in a row that were answered 502, 503 or 504 or not at all in time. While it is
//! open nothing is attempted: the deliveries stay due and are counted in the queue depth, and no attempt of theirs is spent.
//! When its pause is over one attempt goes through as a probe; what becomes of it closes the breaker, or opens it for twice
//! as long. Nothing is stored: an instance that starts finds out by itself.
//!
//! Any other answer, a 500 too, is no reason to wait: that is what the ladder of each delivery is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::delivery::{AttemptOutcome, AttemptResult};
use crate::domain::ids::EndpointId;
use crate::domain::time::Timestamp;

/// How many times a pause doubles.
const MOST_DOUBLINGS: u32 = 5;
/// The longest pause that a receiver may ask all its deliveries to wait; the one delivery may wait longer on its rung.
const MOST_ASKED: Duration = Duration::from_secs(3_600);

/// The breakers of all endpoints on this instance. Clones share them. A closed breaker with nothing to remember takes no
/// memory.
#[derive(Clone, Debug)]
pub struct Breakers {
    opens_after: u32,
    pause: Duration,
    breakers: Arc<Mutex<HashMap<EndpointId, Breaker>>>,
}

#[derive(Debug, Default)]
struct Breaker {
    /// Attempts in a row that found the endpoint strained, while it is closed.
    strained: u32,
    /// Until when nothing is attempted; `None` while it is closed.
    until: Option<Timestamp>,
    /// How often in a row it opened.
    openings: u32,
    /// Whether a probe is on its way.
    probing: bool,
}

/// The right to attempt one delivery to an endpoint. A probe that is dropped unreported leaves room for another one.
#[derive(Debug)]
pub struct Pass {
    breakers: Breakers,
    endpoint: EndpointId,
    probe: bool,
}

/// What an attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// It can take more.
    None,
    /// It, or what stands before it, is overloaded or away.
    Strained,
    /// It asked for so much time.
    Asked(Duration),
}

impl Strain {
    /// What the result of an attempt says; `timeout` is how long it could have taken.
    #[must_use]
    pub fn of(result: &AttemptResult, timeout: Duration) -> Self {
        match (result.outcome, result.status) {
            (AttemptOutcome::Failed { retry_after: Some(wait) }, _) => Self::Asked(wait.min(MOST_ASKED)),
            (AttemptOutcome::Failed { .. }, Some(502..=504)) => Self::Strained,
            (AttemptOutcome::Failed { .. }, None) if result.duration >= timeout => Self::Strained,
            _ => Self::None,
        }
    }
}

impl Breakers {
    /// Breakers that open after `opens_after` strained attempts in a row, for `pause` at first.
    #[must_use]
    pub fn new(opens_after: u32, pause: Duration) -> Self {
        Self { opens_after, pause, breakers: Arc::default() }
    }

    /// A pass, unless the endpoint is to be left alone at `now`.
    #[must_use]
    pub fn admit(&self, endpoint: EndpointId, now: Timestamp) -> Option<Pass> {
        let mut breakers = self.lock();
        let probe = match breakers.get_mut(&endpoint) {
            Some(Breaker { until: Some(until), probing, .. }) => {
                if now < *until || *probing {
                    return None;
                }
                *probing = true;
                true
            }
            _ => false,
        };
        drop(breakers);
        Some(Pass { breakers: self.clone(), endpoint, probe })
    }

    /// Whether any number of attempts may go to the endpoint: its breaker is closed.
    #[must_use]
    pub fn is_closed(&self, endpoint: EndpointId) -> bool {
        self.lock().get(&endpoint).is_none_or(|breaker| breaker.until.is_none())
    }

    /// The endpoints that are left alone at `now`.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> Vec<EndpointId> {
        let left_alone = |breaker: &Breaker| breaker.until.is_some_and(|until| now < until || breaker.probing);
        self.lock().iter().filter(|(_, breaker)| left_alone(breaker)).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// The endpoint is left alone for so long.
    Opened(Duration),
    /// It takes everything again.
    Closed,
}

impl Pass {
    /// Whose pass it is.
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Says at `now` what the attempt came to.
    #[must_use]
    pub fn report(mut self, strain: Strain, now: Timestamp) -> Turn {
        let breakers = self.breakers.clone();
        let mut all = breakers.lock();
        let probe = std::mem::take(&mut self.probe);
        if strain == Strain::None {
            return match all.get(&self.endpoint) {
                // What was on its way when it opened says nothing about now.
                Some(breaker) if breaker.until.is_some() && !probe => Turn::None,
                Some(breaker) => {
                    let turn = if breaker.until.is_some() { Turn::Closed } else { Turn::None };
                    all.remove(&self.endpoint);
                    turn
                }
                None => Turn::None,
            };
        }
        let breaker = all.entry(self.endpoint).or_default();
        let pause = match strain {
            Strain::Asked(wait) => wait,
            _ => breakers.pause.saturating_mul(1 << breaker.openings.min(MOST_DOUBLINGS)),
        };
        let until = now.plus(pause);
        if let Some(open_until) = breaker.until
            && !probe
        {
            let asked = matches!(strain, Strain::Asked(_)).then_some(until);
            breaker.until = Some(asked.map_or(open_until, |asked| asked.max(open_until)));
            return Turn::None;
        }
        breaker.strained = breaker.strained.saturating_add(1);
        if probe || matches!(strain, Strain::Asked(_)) || breaker.strained >= breakers.opens_after {
            *breaker =
                Breaker { until: Some(until), openings: breaker.openings.saturating_add(1), ..Breaker::default() };
            return Turn::Opened(pause);
        }
        Turn::None
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe
            && let Some(breaker) = self.breakers.lock().get_mut(&self.endpoint)
        {
            breaker.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn set_up() -> (Breakers, EndpointId, Timestamp) {
        let now = Timestamp::from_micros(0);
        (Breakers::new(3, PAUSE), EndpointId::new(now), now)
    }

    fn say(breakers: &Breakers, endpoint: EndpointId, strain: Strain, now: Timestamp) -> Turn {
        breakers.admit(endpoint, now).expect("it is admitted").report(strain, now)
    }

    #[test]
    fn strain_in_a_row_opens_and_a_probe_closes() {
        let (breakers, id, now) = set_up();
        for strain in [Strain::Strained, Strain::Strained, Strain::None, Strain::Strained, Strain::Strained] {
            assert_eq!(say(&breakers, id, strain, now), Turn::None, "three in a row are needed");
        }
        assert_eq!(say(&breakers, id, Strain::Strained, now), Turn::Opened(PAUSE));
        let just_before = now.plus(PAUSE - Duration::from_micros(1));
        assert!(breakers.admit(id, just_before).is_none() && !breakers.is_closed(id));
        assert_eq!((breakers.open(just_before), breakers.open(now.plus(PAUSE))), (vec![id], vec![]));

        let later = now.plus(PAUSE);
        let probe = breakers.admit(id, later).unwrap();
        assert!(breakers.admit(id, later).is_none(), "one probe at a time");
        assert_eq!(breakers.open(later), [id]);
        drop(probe);
        assert!(breakers.open(later).is_empty(), "a probe that came to nothing leaves room for another");
        assert_eq!(say(&breakers, id, Strain::None, later), Turn::Closed);
        assert!(breakers.is_closed(id) && breakers.lock().is_empty(), "nothing is kept of a sound endpoint");
    }

    #[test]
    fn pauses_double_while_probes_fail() {
        let (breakers, id, mut now) = set_up();
        for _ in 0..2 {
            assert_eq!(say(&breakers, id, Strain::Strained, now), Turn::None);
        }
        for doublings in [0, 1, 2, 3, 4, 5, 5] {
            let pause = PAUSE * 2_u32.pow(doublings);
            assert_eq!(say(&breakers, id, Strain::Strained, now), Turn::Opened(pause));
            now = now.plus(pause);
        }
        assert_eq!(say(&breakers, id, Strain::None, now), Turn::Closed);
        for turn in [Turn::None, Turn::None, Turn::Opened(PAUSE)] {
            assert_eq!(say(&breakers, id, Strain::Strained, now), turn, "it starts anew");
        }
    }

    #[test]
    fn who_asks_for_time_gets_it_at_once_and_others_are_not_touched() {
        let (breakers, id, now) = set_up();
        let other = EndpointId::new(now);
        let (one, late, later) = (breakers.admit(id, now).unwrap(), breakers.admit(id, now), breakers.admit(id, now));
        let asked = Duration::from_secs(60);
        assert_eq!(one.report(Strain::Asked(asked), now), Turn::Opened(asked));
        assert!(breakers.admit(other, now).is_some());
        // What was on its way meanwhile: a success changes nothing, a longer wish does.
        assert_eq!(late.unwrap().report(Strain::None, now), Turn::None);
        assert_eq!(later.unwrap().report(Strain::Asked(asked * 2), now), Turn::None);
        assert!(breakers.admit(id, now.plus(asked)).is_none());
        assert!(breakers.admit(id, now.plus(asked * 2)).is_some());
    }

    #[test]
    fn results_say_how_strained_an_endpoint_is() {
        let timeout = Duration::from_secs(10);
        let result = |status, retry_after, seconds| AttemptResult {
            outcome: AttemptOutcome::Failed { retry_after },
            status,
            body_start: None,
            error: None,
            duration: Duration::from_secs(seconds),
        };
        for (status, strain) in [
            (Some(502), Strain::Strained),
            (Some(503), Strain::Strained),
            (Some(504), Strain::Strained),
            (Some(500), Strain::None),
            (Some(429), Strain::None),
            (Some(404), Strain::None),
            (None, Strain::None),
        ] {
            assert_eq!(Strain::of(&result(status, None, 1), timeout), strain, "{status:?}");
        }
        assert_eq!(Strain::of(&result(None, None, 10), timeout), Strain::Strained, "no answer in time");
        let asked = |seconds| Strain::of(&result(Some(429), Some(Duration::from_secs(seconds)), 1), timeout);
        assert_eq!(asked(7), Strain::Asked(Duration::from_secs(7)));
        assert_eq!(asked(86_400), Strain::Asked(MOST_ASKED));
        let delivered = AttemptResult { outcome: AttemptOutcome::Delivered, ..result(Some(503), None, 1) };
        assert_eq!(Strain::of(&delivered, timeout), Strain::None, "what is expected is no strain");
    }
}
