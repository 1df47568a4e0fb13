//! What `store::endpoints::Endpoints` promises: endpoints given up, their deliveries held and released.

use postback::domain::delivery::DeliveryState;
use postback::domain::endpoint::EndpointStatus;
use postback::domain::ids::{DeliveryId, EndpointId};
use postback::domain::outbox::Outbox;
use postback::domain::time::Timestamp;
use postback::store::endpoints::{Disabling, Moved};
use postback::store::outbox::{OutboxTerms, Told};

use super::{Model, Row};

impl Model {
    pub fn disable_endpoint(&mut self, disabling: Disabling<'_>, outbox: &Outbox, terms: OutboxTerms) -> Option<Told> {
        let (_, endpoint) = self.endpoints.get(&disabling.endpoint_id)?;
        let fits =
            endpoint.status != EndpointStatus::Disabled && disabling.only_at.is_none_or(|url| url == endpoint.url);
        if !fits {
            return None;
        }
        let mut endpoint = endpoint.clone();
        endpoint.status = EndpointStatus::Disabled;
        endpoint.status_reason = Some(disabling.reason.to_owned());
        self.put_endpoint(endpoint);
        Some(self.write_outbox(outbox, terms))
    }

    pub fn hold(&mut self, now: Timestamp, limit: i64) -> Moved {
        let most = usize::try_from(limit).unwrap();
        let waits =
            |row: &&Row| row.state == DeliveryState::Pending && row.lease.is_none() && !self.is_active(row.endpoint_id);
        let waiting: Vec<DeliveryId> = self.rows.values().filter(waits).map(|row| row.id).take(most).collect();
        for id in &waiting {
            self.change(*id, |row| (row.state, row.held_at) = (DeliveryState::Held, Some(now)));
        }
        let held = waiting.len();
        Moved { deliveries: u64::try_from(held).unwrap(), more: held > 0 && held >= most }
    }

    pub fn release(&mut self, now: Timestamp, per_endpoint: i64) -> Moved {
        let most = usize::try_from(per_endpoint).unwrap();
        let mut moved = Moved { deliveries: 0, more: false };
        let endpoints: Vec<EndpointId> = self.endpoints.keys().copied().filter(|id| self.is_active(*id)).collect();
        for endpoint in endpoints {
            let held = |row: &&Row| row.endpoint_id == endpoint && row.state == DeliveryState::Held;
            let held: Vec<DeliveryId> = self.rows.values().filter(held).map(|row| row.id).take(most).collect();
            for id in &held {
                self.change(*id, |row| {
                    let held_for = now.since(row.held_at.unwrap_or(now));
                    let due = row.next_attempt_at.max(now);
                    (row.state, row.held_at, row.republished) = (DeliveryState::Pending, None, 0);
                    (row.first_due_at, row.next_attempt_at, row.republish_at) = (due, due, due);
                    row.first_attempt_at = row.first_attempt_at.map(|first| first.plus(held_for));
                });
            }
            moved.deliveries += u64::try_from(held.len()).unwrap();
            moved.more |= !held.is_empty() && held.len() >= most;
        }
        moved
    }
}
