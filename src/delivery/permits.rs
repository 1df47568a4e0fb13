//! How many attempts may run at once to one endpoint, so that a slow one hurts only itself.
//!
//! Whoever wants to attempt takes a permit first. Where none is free a bounded number waits in line, so that a burst for
//! a receiver that keeps up costs no database. Beyond that the endpoint is full: relays skip it, what comes goes back to
//! its row, and a slot that frees takes the endpoint's next due deliveries from the database (DESIGN section 2).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::delivery::Hint;
use crate::domain::ids::EndpointId;

/// For each permit of an endpoint so many hints may wait in memory; what comes beyond them is handed back to its row.
const WAITING_PER_PERMIT: usize = 4;
/// Hints that wait in memory, of all endpoints together.
const MOST_WAITING: usize = 16_384;

/// The permits of all endpoints on this instance. Clones share them. Endpoints without running attempts take no memory.
#[derive(Clone, Debug)]
pub struct Permits {
    limit: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    slots: HashMap<EndpointId, Slots>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Slots {
    taken: usize,
    waiting: VecDeque<Hint>,
    full: bool,
    refilling: bool,
    /// Somebody was turned away while a refill was looking, and may not be among what it found.
    missed: bool,
}

/// The right to attempt one delivery to one endpoint; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    endpoint: EndpointId,
}

/// What a hint gets that wants a permit.
#[derive(Debug)]
pub enum Place {
    /// A permit.
    Now(Permit),
    /// None is free; the hint waits here and gets the next one. Its row comes up by itself should this process end.
    Waits,
    /// None is free and too many wait already: the hint goes back to its row, and the endpoint is full.
    TurnedAway,
}

impl Permits {
    /// At most `limit` attempts at once to each endpoint.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, shared: Arc::default() }
    }

    /// A permit, a place in the line, or neither.
    #[must_use]
    pub fn take(&self, hint: Hint) -> Place {
        let mut shared = self.lock();
        let Shared { slots, waiting } = &mut *shared;
        let of_endpoint = slots.entry(hint.endpoint_id).or_default();
        if of_endpoint.taken < self.limit {
            of_endpoint.taken += 1;
            drop(shared);
            return Place::Now(Permit { permits: self.clone(), endpoint: hint.endpoint_id });
        }
        let most = self.limit.saturating_mul(WAITING_PER_PERMIT);
        if of_endpoint.waiting.len() < most && *waiting < MOST_WAITING && !of_endpoint.full {
            of_endpoint.waiting.push_back(hint);
            *waiting += 1;
            return Place::Waits;
        }
        of_endpoint.full = true;
        of_endpoint.missed = of_endpoint.refilling;
        Place::TurnedAway
    }

    /// Those who waited for this endpoint and may begin now, in the order they came.
    #[must_use]
    pub fn next(&self, endpoint: EndpointId) -> Vec<(Hint, Permit)> {
        let mut shared = self.lock();
        let Some(of_endpoint) = shared.slots.get_mut(&endpoint) else { return Vec::new() };
        let free = self.limit.saturating_sub(of_endpoint.taken).min(of_endpoint.waiting.len());
        of_endpoint.taken += free;
        let hints: Vec<Hint> = of_endpoint.waiting.drain(..free).collect();
        shared.waiting = shared.waiting.saturating_sub(free);
        drop(shared);
        hints.into_iter().map(|hint| (hint, Permit { permits: self.clone(), endpoint })).collect()
    }

    /// Ends all waiting: the hints that would have got a permit.
    #[must_use]
    pub fn dismiss(&self) -> Vec<Hint> {
        let mut shared = self.lock();
        shared.waiting = 0;
        shared.slots.values_mut().flat_map(|of_endpoint| of_endpoint.waiting.drain(..)).collect()
    }

    /// All permits of an endpoint that are free, if it is full, nobody waits and nobody else is refilling it. Whoever gets
    /// them calls [`Permits::refilled`] afterwards.
    #[must_use]
    pub fn begin_refill(&self, endpoint: EndpointId) -> Option<Vec<Permit>> {
        let mut shared = self.lock();
        let of_endpoint = shared.slots.get_mut(&endpoint)?;
        let free = self.limit.saturating_sub(of_endpoint.taken);
        if !of_endpoint.full || of_endpoint.refilling || free == 0 || !of_endpoint.waiting.is_empty() {
            return None;
        }
        of_endpoint.refilling = true;
        of_endpoint.missed = false;
        of_endpoint.taken += free;
        drop(shared);
        Some((0..free).map(|_| Permit { permits: self.clone(), endpoint }).collect())
    }

    /// Says that what an endpoint turned away lies in its rows again: it has more to do than whoever refills it may have seen.
    pub fn handed_back(&self, endpoint: EndpointId) {
        let mut shared = self.lock();
        let of_endpoint = shared.slots.entry(endpoint).or_default();
        of_endpoint.full = true;
        of_endpoint.missed = of_endpoint.refilling;
    }

    /// Ends a refill; `emptied` when nothing more is due, so that the endpoint is no longer full, unless somebody was
    /// turned away meanwhile.
    pub fn refilled(&self, endpoint: EndpointId, emptied: bool) {
        if let Some(of_endpoint) = self.lock().slots.get_mut(&endpoint) {
            of_endpoint.refilling = false;
            of_endpoint.full &= !emptied || of_endpoint.missed;
        }
    }

    /// The endpoints that are full.
    #[must_use]
    pub fn full(&self) -> Vec<EndpointId> {
        self.lock().slots.iter().filter(|(_, slots)| slots.full).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Whose permit it is.
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        self.endpoint
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.permits.lock().slots.entry(self.endpoint) {
            let slots = entry.get_mut();
            slots.taken = slots.taken.saturating_sub(1);
            if slots.taken == 0 && !slots.full && slots.waiting.is_empty() {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::DeliveryId;
    use crate::domain::time::Timestamp;

    fn hint(endpoint_id: EndpointId) -> Hint {
        Hint { delivery_id: DeliveryId::new(Timestamp::from_micros(0)), endpoint_id, epoch: 1, attempt: 0 }
    }

    fn endpoint() -> EndpointId {
        EndpointId::new(Timestamp::from_micros(0))
    }

    fn take(permits: &Permits, endpoint: EndpointId) -> Permit {
        match permits.take(hint(endpoint)) {
            Place::Now(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    /// Fills the line and has one turned away.
    fn overflow(permits: &Permits, endpoint: EndpointId) -> Vec<Hint> {
        let mut line = Vec::new();
        loop {
            let next = hint(endpoint);
            match permits.take(next) {
                Place::Waits => line.push(next),
                Place::TurnedAway => return line,
                Place::Now(permit) => panic!("{permit:?}"),
            }
        }
    }

    #[test]
    fn whoever_finds_no_permit_waits_in_line_and_beyond_it_the_endpoint_is_full() {
        let (permits, slow, fast) = (Permits::new(2), endpoint(), endpoint());
        let mut held = vec![take(&permits, slow), take(&permits, slow)];
        assert!(permits.next(slow).is_empty(), "nothing is free");
        let line = overflow(&permits, slow);
        assert_eq!(line.len(), 2 * WAITING_PER_PERMIT);
        assert_eq!(permits.full(), [slow]);
        drop(take(&permits, fast));
        held.pop();
        assert!(permits.begin_refill(slow).is_none(), "those who wait come first");
        let next = permits.next(slow);
        assert_eq!(next.iter().map(|(hint, _)| *hint).collect::<Vec<_>>(), line[..1]);
        assert!(
            matches!(permits.take(hint(slow)), Place::TurnedAway),
            "the line is closed until the rows have been looked at"
        );
        assert_eq!(permits.dismiss(), line[1..]);
        assert!(permits.next(slow).is_empty());
    }

    #[test]
    fn one_refill_at_a_time_takes_what_is_free() {
        let (permits, id) = (Permits::new(3), endpoint());
        let mut held: Vec<_> = (0..3).map(|_| take(&permits, id)).collect();
        overflow(&permits, id);
        assert!(permits.begin_refill(id).is_none(), "nothing is free");
        let _ = permits.dismiss();
        held.truncate(1);
        let refill = permits.begin_refill(id).unwrap();
        assert_eq!(refill.len(), 2);
        drop(held);
        assert!(permits.begin_refill(id).is_none(), "one at a time");
        permits.refilled(id, true);
        drop(refill);
        assert!(permits.full().is_empty());
        assert!(permits.lock().slots.is_empty(), "nothing is kept for an idle endpoint");
    }

    #[test]
    fn what_was_handed_back_behind_a_refill_is_looked_for_again() {
        let (permits, id) = (Permits::new(1), endpoint());
        permits.handed_back(id);
        let refill = permits.begin_refill(id).expect("nobody else would look");
        permits.handed_back(id);
        drop(refill);
        permits.refilled(id, true);
        assert_eq!(permits.full(), [id], "the refill may have looked too early");
        drop(permits.begin_refill(id).unwrap());
        permits.refilled(id, true);
        assert!(permits.full().is_empty());
    }

    #[test]
    fn who_is_turned_away_during_a_refill_is_looked_for_again() {
        let (permits, id) = (Permits::new(1), endpoint());
        let held = take(&permits, id);
        overflow(&permits, id);
        let _ = permits.dismiss();
        drop(held);
        let refill = permits.begin_refill(id).unwrap();
        assert!(matches!(permits.take(hint(id)), Place::TurnedAway), "after the refill has looked");
        drop(refill);
        permits.refilled(id, true);
        assert_eq!(permits.full(), [id]);
        let again = permits.begin_refill(id).unwrap();
        permits.refilled(id, true);
        drop(again);
        assert!(permits.full().is_empty());
    }
}
