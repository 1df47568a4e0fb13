//! The real queue of one process, which is gone with its instance.

use std::sync::Arc;

use async_trait::async_trait;
use postback::domain::delivery::Hint;
use postback::queue::embedded::Embedded;
use postback::queue::{Depth, PublishError, Queue, QueueHealth, Received, Route};

use super::plan::Kind;
use super::trace::{Event, place_of};
use super::world::Life;

/// See the module.
pub struct AloneLine {
    queue: Embedded,
    life: Arc<Life>,
}

impl AloneLine {
    pub fn new(queue: Embedded, life: &Arc<Life>) -> Self {
        Self { queue, life: Arc::clone(life) }
    }
}

#[async_trait]
impl Queue for AloneLine {
    async fn publish(&self, route: Route, hints: &[Hint]) -> Result<(), PublishError> {
        self.life.open().await;
        let full = self.life.world.strikes(Kind::QueueRefuses, 25);
        let answer = match full {
            true => Err(PublishError::Refused("it is full".to_owned())),
            false => self.queue.publish(route, hints).await,
        };
        if answer.is_err() {
            let world = &self.life.world;
            world.judge().not_taken(hints, &world.model(), world.clock.now());
        }
        let fate = if answer.is_ok() { "taken" } else { "refused" };
        let hints = hints.iter().map(place_of).collect();
        self.life.note(Event::Published { instance: self.life.instance, route, hints, fate });
        answer
    }

    async fn receive(&self) -> Option<Received> {
        self.life.open().await;
        let received = self.queue.receive().await?;
        self.life.open().await;
        let hints = received.hints.iter().map(place_of).collect();
        self.life.note(Event::Received { instance: self.life.instance, hints });
        Some(received)
    }

    async fn depths(&self) -> Result<Vec<Depth>, PublishError> {
        self.life.open().await;
        self.queue.depths().await
    }

    fn health(&self) -> QueueHealth {
        self.queue.health()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}
