//! How many attempts may run at once to one endpoint, so that a slow one hurts only itself.
//!
//! Whoever wants to attempt takes a permit first. An endpoint that had none free is marked full: relays skip it,
//! and a slot that frees takes the endpoint's next due deliveries from the database instead (DESIGN section 2).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ids::EndpointId;

/// The permits of all endpoints on this instance. Clones share them. Endpoints without running attempts take no memory.
#[derive(Clone, Debug)]
pub struct Permits {
    limit: usize,
    slots: Arc<Mutex<HashMap<EndpointId, Slots>>>,
}

#[derive(Debug, Default)]
struct Slots {
    taken: usize,
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

impl Permits {
    /// At most `limit` attempts at once to each endpoint.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, slots: Arc::default() }
    }

    /// A permit, if one is free; otherwise the endpoint is marked full.
    #[must_use]
    pub fn take(&self, endpoint: EndpointId) -> Option<Permit> {
        let mut slots = self.lock();
        let of_endpoint = slots.entry(endpoint).or_default();
        if of_endpoint.taken >= self.limit {
            of_endpoint.full = true;
            of_endpoint.missed = of_endpoint.refilling;
            return None;
        }
        of_endpoint.taken += 1;
        Some(Permit { permits: self.clone(), endpoint })
    }

    /// All permits of an endpoint that are free, if it is full and nobody else is refilling it. Whoever gets them
    /// calls [`Permits::refilled`] afterwards.
    #[must_use]
    pub fn begin_refill(&self, endpoint: EndpointId) -> Option<Vec<Permit>> {
        let mut slots = self.lock();
        let of_endpoint = slots.get_mut(&endpoint)?;
        let free = self.limit.saturating_sub(of_endpoint.taken);
        if !of_endpoint.full || of_endpoint.refilling || free == 0 {
            return None;
        }
        of_endpoint.refilling = true;
        of_endpoint.missed = false;
        of_endpoint.taken += free;
        drop(slots);
        Some((0..free).map(|_| Permit { permits: self.clone(), endpoint }).collect())
    }

    /// Ends a refill; `emptied` when nothing more is due, so that the endpoint is no longer full, unless somebody was
    /// turned away meanwhile.
    pub fn refilled(&self, endpoint: EndpointId, emptied: bool) {
        if let Some(of_endpoint) = self.lock().get_mut(&endpoint) {
            of_endpoint.refilling = false;
            of_endpoint.full &= !emptied || of_endpoint.missed;
        }
    }

    /// The endpoints that are full.
    #[must_use]
    pub fn full(&self) -> Vec<EndpointId> {
        self.lock().iter().filter(|(_, slots)| slots.full).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Slots>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Entry::Occupied(mut entry) = self.permits.lock().entry(self.endpoint) {
            let slots = entry.get_mut();
            slots.taken = slots.taken.saturating_sub(1);
            if slots.taken == 0 && !slots.full {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn endpoint() -> EndpointId {
        EndpointId::new(Timestamp::from_micros(0))
    }

    #[test]
    fn an_endpoint_without_a_free_permit_is_full_and_others_are_not() {
        let (permits, slow, fast) = (Permits::new(2), endpoint(), endpoint());
        let held = [permits.take(slow).unwrap(), permits.take(slow).unwrap()];
        assert!(permits.full().is_empty());
        assert!(permits.take(slow).is_none());
        assert_eq!(permits.full(), [slow]);
        assert!(permits.take(fast).is_some());
        drop(held);
        assert_eq!(permits.full(), [slow], "full until somebody has looked for what is due");
    }

    #[test]
    fn one_refill_at_a_time_takes_what_is_free() {
        let (permits, id) = (Permits::new(3), endpoint());
        let mut held: Vec<_> = (0..3).map(|_| permits.take(id).unwrap()).collect();
        assert!(permits.take(id).is_none());
        assert!(permits.begin_refill(id).is_none(), "nothing is free");
        held.truncate(1);
        let refill = permits.begin_refill(id).unwrap();
        assert_eq!(refill.len(), 2);
        drop(held);
        assert!(permits.begin_refill(id).is_none(), "one at a time");
        permits.refilled(id, true);
        drop(refill);
        assert!(permits.full().is_empty());
        assert!(permits.lock().is_empty(), "nothing is kept for an idle endpoint");
    }

    #[test]
    fn who_is_turned_away_during_a_refill_is_looked_for_again() {
        let (permits, id) = (Permits::new(1), endpoint());
        let held = permits.take(id);
        assert!(permits.take(id).is_none());
        drop(held);
        let refill = permits.begin_refill(id).unwrap();
        assert!(permits.take(id).is_none(), "after the refill has looked");
        drop(refill);
        permits.refilled(id, true);
        assert_eq!(permits.full(), [id]);
        let again = permits.begin_refill(id).unwrap();
        permits.refilled(id, true);
        drop(again);
        assert!(permits.full().is_empty());
    }
}
