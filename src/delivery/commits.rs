//! The worker's group commits: claims, and the ends of attempts, of all messages together.
//!
//! Guaranteed: one row that the database refuses holds up no other; while the database is away both wait for it, and with
//! them their attempts' permits. Deliberately not done here: deciding what is claimed, and what follows an attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::batch::{BatchLoop, Batcher, Bounds, batcher};
use crate::clock::Clock;
use crate::config::Delivery;
use crate::domain::time::Timestamp;
use crate::store::deliveries::{Claim, Claimed, Deliveries, Finished, Settled};
use crate::store::{StoreError, in_time};

/// Claims, or finishes, written in one transaction.
const GROUP: usize = 256;
/// How far before its time a delivery may come from its rung and still be attempted.
const EARLY_BY: Duration = Duration::from_secs(2);
/// Between tries to reach a database that is away.
const AGAIN_FROM: Duration = Duration::from_millis(50);
const AGAIN_UP_TO: Duration = Duration::from_secs(2);

/// What a claim was answered: the lease, or `None` where it was stale.
pub type Answered = Option<Claimed>;

/// Where claims and ends are handed in.
pub struct Commits {
    /// Claims.
    pub claims: Batcher<Claim, Answered>,
    /// Ends of attempts.
    pub finishes: Batcher<Finished, Settled>,
}

/// The serving sides.
pub struct WorkerLoops {
    claims: BatchLoop<Claim, Answered>,
    finishes: BatchLoop<Finished, Settled>,
    store: Arc<dyn Deliveries>,
    clock: Clock,
    lease: Duration,
    republish_after: Duration,
}

/// Both sides of the worker's group commits.
#[must_use]
pub fn commits(store: &Arc<dyn Deliveries>, clock: &Clock, settings: &Delivery) -> (Commits, WorkerLoops) {
    let (claims, serve_claims) = batcher(Bounds::new(settings.max_in_flight, GROUP));
    let (finishes, serve_finishes) = batcher(Bounds::new(settings.max_in_flight, GROUP));
    let loops = WorkerLoops {
        claims: serve_claims,
        finishes: serve_finishes,
        store: Arc::clone(store),
        clock: clock.clone(),
        lease: settings.lease,
        republish_after: settings.republish_after,
    };
    (Commits { claims, finishes }, loops)
}

impl WorkerLoops {
    /// The two tasks: claiming and finishing. Both go on until every attempt has been finished.
    pub fn into_tasks(
        self,
        drained: CancellationToken,
    ) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
        let Self { claims, finishes, store, clock, lease, republish_after } = self;
        let claiming = Claiming { store: Arc::clone(&store), clock: clock.clone(), lease };
        let claim = claims.run(drained.clone(), move |claims: Vec<Claim>| {
            let claiming = claiming.clone();
            async move { claiming.claim(&claims).await }
        });
        let finish = finishes.run(drained, move |finished: Vec<Finished>| {
            let (store, clock) = (Arc::clone(&store), clock.clone());
            async move {
                let work = |part| store.finish(part, republish_after);
                one_by_one_at_worst("finish", &clock, &finished, work, || Settled::LeaseLost).await
            }
        });
        (claim, finish)
    }
}

#[derive(Clone)]
struct Claiming {
    store: Arc<dyn Deliveries>,
    clock: Clock,
    lease: Duration,
}

impl Claiming {
    async fn claim(&self, claims: &[Claim]) -> Vec<Answered> {
        let work = |part: &'_ [Claim]| {
            let part = part.to_vec();
            async move {
                let now = self.clock.now();
                let claims = self.store.claim(&part, now, now.plus(EARLY_BY), now.plus(self.lease)).await?;
                Ok(answers(&part, claims.claimed))
            }
        };
        one_by_one_at_worst("claim", &self.clock, claims, work, || None).await
    }
}

/// The answer to each claim, in order.
fn answers(claims: &[Claim], mut claimed: Vec<Claimed>) -> Vec<Answered> {
    let answer = |claim: &Claim| {
        let place = claimed.iter().position(|claimed| claimed.lease_id == claim.lease_id)?;
        Some(claimed.swap_remove(place))
    };
    claims.iter().map(answer).collect()
}

/// Has a group written, in halves where the database refuses it, so that one row that cannot be written holds up no
/// other. Such a row is answered with `refused` and comes up again when its lease, or its hint's time, runs out.
async fn one_by_one_at_worst<'a, T, R, F>(
    what: &'static str,
    clock: &Clock,
    items: &'a [T],
    work: impl Fn(&'a [T]) -> F,
    refused: impl Fn() -> R,
) -> Vec<R>
where
    F: Future<Output = Result<Vec<R>, StoreError>>,
{
    let mut answers = Vec::with_capacity(items.len());
    let mut parts = vec![items];
    while let Some(part) = parts.pop() {
        match until_it_works(what, clock, || work(part)).await {
            Ok(answered) => answers.extend(answered),
            Err(_) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => {
                tracing::error!(what, %error, cause = ?std::error::Error::source(&error), "the database refused a row");
                answers.push(refused());
            }
        }
    }
    answers
}

/// Tries until the database takes it. Whoever waits is cut off at the end of the drain time; the rows then come up
/// again when their leases run out. An error means that the rows themselves are refused.
async fn until_it_works<T, F>(what: &'static str, clock: &Clock, work: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = AGAIN_FROM;
    loop {
        let error = match in_time(work()).await {
            Ok(done) => return Ok(done),
            Err(
                error
                @ (StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::Exists | StoreError::NotFound(_)),
            ) => return Err(error),
            Err(error) => error,
        };
        tracing::warn!(what, %error, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "the database did not take it; it is tried again");
        tokio::time::sleep(spread(pause, clock.now())).await;
        pause = (pause * 2).min(AGAIN_UP_TO);
    }
}

/// Between half of `pause` and all of it, so that instances which lost the same database do not come back in step. The last
/// digits of the time are chance enough for that, and unlike other chance the simulation of delivery can play them again.
fn spread(pause: Duration, now: Timestamp) -> Duration {
    let half = pause / 2;
    let digits = u64::try_from(now.micros()).unwrap_or(0);
    let within = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(digits % within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        let pause = Duration::from_millis(50);
        let spread = |micros| spread(pause, Timestamp::from_micros(micros));
        assert_eq!((spread(0), spread(24_999)), (pause / 2, pause - Duration::from_micros(1)));
        assert_eq!(spread(1_700_000_000_007_000), pause / 2 + Duration::from_micros(7_000));
        assert_eq!(super::spread(Duration::ZERO, Timestamp::from_micros(7)), Duration::ZERO);
    }
}
