//! What must hold when everything has come to its end.

use std::collections::BTreeMap;

use postback::domain::delivery::DeliveryState;
use postback::domain::time::Timestamp;

use super::super::endpoint_of;
use super::super::model::{Ended, Model};
use super::super::plan::Plan;
use super::super::receivers::Answer;
use super::super::trace::number_of;
use super::Judge;

impl Judge {
    pub fn close(&mut self, plan: &Plan, model: &Model, now: Timestamp) {
        self.bookings(plan, model);
        self.deliveries(model, now);
        self.attempts(model);
        if self.plan.nothing {
            self.one_post_each(model);
        }
    }

    fn bookings(&mut self, plan: &Plan, model: &Model) {
        let mut booked: BTreeMap<u32, usize> = BTreeMap::new();
        for (key, booking) in &model.bookings {
            *booked.entry(*key).or_default() += 1;
            let told = booking.iter().filter(|id| model.rows.contains_key(id)).count();
            self.demand(told == plan.endpoints, || format!("postback {key} has {told} deliveries"));
        }
        for key in 0..u32::try_from(plan.postbacks.len()).unwrap() {
            let times = booked.get(&key).copied().unwrap_or_default();
            self.demand(times == 1, || format!("postback {key} was booked {times} times"));
            let acknowledged = self.acknowledged.get(&key).cloned();
            let right = acknowledged.is_some_and(|said| model.bookings.contains(&(key, said)));
            self.demand(right, || format!("postback {key} was acknowledged otherwise than it was booked, or never"));
        }
    }

    fn deliveries(&mut self, model: &Model, now: Timestamp) {
        for row in model.rows.values() {
            let (name, state) = (number_of(row.id), row.state);
            self.demand(row.lease.is_none(), || format!("{name} is {state:?} under a lease"));
            let ended = matches!(state, DeliveryState::Delivered | DeliveryState::Dead);
            self.demand(ended || state == DeliveryState::Held, || format!("{name} is still {state:?}"));
            let late = self.prompt.still_expected(row.id, endpoint_of(row.endpoint_id), now).filter(|_| !ended);
            self.demand(late.is_none(), || format!("{name}: {}", late.clone().unwrap_or_default()));
        }
    }

    /// Every attempt has a number of its own, from 1 on without a gap, and one end that fits what its receiver said.
    fn attempts(&mut self, model: &Model) {
        let mut last: BTreeMap<(u32, i32), i32> = BTreeMap::new();
        let granted: Vec<_> = self.granted.iter().map(|(place, granted)| (*place, granted.posts.clone())).collect();
        for (place, posts) in granted {
            let (delivery, epoch, number) = place;
            let before = last.insert((delivery, epoch), number).unwrap_or_default();
            self.demand(number == before + 1, || format!("attempt {place:?} comes after {before}"));
            let id = model.rows.keys().find(|id| number_of(**id) == delivery);
            let ended = id.and_then(|id| model.attempts.get(&(*id, epoch, number))).map(|attempt| attempt.outcome);
            let answer = posts.first().copied().unwrap_or(Answer::NotReached);
            let fits = match ended {
                None => false,
                Some(Ended::Unknown) => true,
                Some(Ended::Failed) => answer == Answer::LostSuccess || !answer.is_success(),
                Some(Ended::Delivered) => answer.is_success(),
            };
            self.demand(fits, || format!("attempt {place:?} ended {ended:?}, its receiver said {answer:?}"));
        }
        let known = model.attempts.len();
        self.demand(known == self.granted.len(), || format!("{known} attempts were written, not those that were made"));
    }

    fn one_post_each(&mut self, model: &Model) {
        let posts: usize = self.granted.values().map(|granted| granted.posts.len()).sum();
        let rows = model.rows.len();
        self.demand(posts == rows, || format!("{posts} POSTs for {rows} deliveries, although nothing went wrong"));
        let delivered = model.rows.values().all(|row| row.state == DeliveryState::Delivered);
        self.demand(delivered, || "something was not delivered, although nothing went wrong".to_owned());
    }
}
