//! A broker that several instances share, and that does everything a broker may do to a message.
//!
//! Taken messages are lost, doubled, delayed and thereby reordered, or brought early from their rungs; some are refused,
//! some taken although the publisher hears an error; a connection breaks, and what was not acknowledged on it goes to
//! somebody else; acknowledgements are lost; everything is forgotten. In calm it keeps what it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use postback::domain::delivery::Hint;
use postback::domain::retry::Ladder;
use postback::queue::{Acknowledge, Depth, PublishError, Queue, QueueHealth, Received, Route};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::plan::Kind;
use super::trace::{Event, place_of};
use super::world::{Life, World};

/// See the module.
pub struct Broker {
    world: Arc<World>,
    ladder: Ladder,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By the time from which a message can be received, and a number that sets those of one time in order.
    ready: BTreeMap<(Instant, u64), Vec<Hint>>,
    /// What was handed out and not acknowledged: to whom, and what.
    lent: BTreeMap<u64, (usize, Vec<Hint>)>,
    next: u64,
    down_until: Option<Instant>,
}

impl Broker {
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let ladder = world.plan.policy.ladder.clone();
        let (world, state) = (Arc::clone(world), Mutex::default());
        Arc::new(Self { world, ladder, state, changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn take_down(&self, time: Duration) {
        self.state().down_until = Some(Instant::now() + time);
        let everybody: Vec<usize> = self.state().lent.values().map(|(instance, _)| *instance).collect();
        everybody.into_iter().for_each(|instance| self.disconnected(instance));
    }

    /// Works again, if it was down.
    pub fn come_up(&self) {
        self.state().down_until = None;
        self.changed.notify_waiters();
    }

    /// Loses everything that lies in it.
    pub fn forget(&self) {
        self.state().ready.clear();
    }

    /// Gives what an instance did not acknowledge to others.
    pub fn disconnected(&self, instance: usize) {
        let mut state = self.state();
        let lent = std::mem::take(&mut state.lent);
        for (number, (holder, hints)) in lent {
            if holder == instance {
                state.put(hints, Instant::now());
            } else {
                state.lent.insert(number, (holder, hints));
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn is_down(&self) -> bool {
        self.state().down_until.is_some_and(|until| Instant::now() < until)
    }

    fn wait(&self, route: Route) -> Duration {
        match route {
            Route::Work => Duration::ZERO,
            Route::Rung(rung) => self.ladder.rungs()[rung],
        }
    }

    /// Puts a message in, or not, as it comes. Answers what is said of it to the publisher, and what is noted.
    fn put(&self, route: Route, hints: &[Hint]) -> (Result<(), PublishError>, &'static str) {
        let world = &self.world;
        let mut at = Instant::now() + self.wait(route);
        if world.strikes(Kind::QueueRefuses, 25) {
            return match world.chance().below(3) {
                0 => (Err(PublishError::Refused("it is full".to_owned())), "refused"),
                1 => (Err(PublishError::Unavailable("no confirm came".to_owned())), "not taken, not confirmed"),
                _ => {
                    self.state().put(hints.to_vec(), at);
                    (Err(PublishError::Unavailable("no confirm came".to_owned())), "taken, not confirmed")
                }
            };
        }
        if world.strikes(Kind::QueueLoses, 20) {
            return (Ok(()), "lost");
        }
        if world.strikes(Kind::QueueDelays, 25) {
            let late = world.chance().millis(1, 90_000);
            // Brokers and rows go by different clocks.
            let early = Duration::from_millis(late.subsec_millis().into()) * 12;
            at = if world.chance().percent(70) {
                at + late
            } else {
                (at - early.min(self.wait(route))).max(Instant::now())
            };
        }
        let mut state = self.state();
        state.put(hints.to_vec(), at);
        if world.strikes(Kind::QueueDoubles, 25) {
            let later = world.chance().millis(0, 40_000);
            state.put(hints.to_vec(), at + if later.as_millis().is_multiple_of(2) { later } else { Duration::ZERO });
            return (Ok(()), "doubled");
        }
        (Ok(()), "taken")
    }
}

impl State {
    fn put(&mut self, hints: Vec<Hint>, at: Instant) {
        self.next += 1;
        self.ready.insert((at, self.next), hints);
    }

    /// Hands out the next message that can be received now; or says when the next one can.
    fn lend(&mut self, instance: usize) -> Result<(u64, Vec<Hint>), Option<Instant>> {
        match self.ready.first_entry() {
            Some(first) if first.key().0 <= Instant::now() => {
                let hints = first.remove();
                self.next += 1;
                self.lent.insert(self.next, (instance, hints.clone()));
                Ok((self.next, hints))
            }
            Some(first) => Err(Some(first.key().0)),
            None => Err(None),
        }
    }
}

/// An instance's connection to the broker.
pub struct BrokerLine {
    broker: Arc<Broker>,
    life: Arc<Life>,
    closed: tokio_util::sync::CancellationToken,
}

impl BrokerLine {
    pub fn new(broker: &Arc<Broker>, life: &Arc<Life>) -> Self {
        Self { broker: Arc::clone(broker), life: Arc::clone(life), closed: tokio_util::sync::CancellationToken::new() }
    }

    async fn lent(&self) -> (u64, Vec<Hint>) {
        loop {
            self.life.open().await;
            let changed = self.broker.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let down_until = self.broker.state().down_until.filter(|until| Instant::now() < *until);
            let next = match down_until {
                Some(until) => Some(until),
                None => match self.broker.state().lend(self.life.instance) {
                    Ok(message) => return message,
                    Err(next) => next,
                },
            };
            match next {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Queue for BrokerLine {
    async fn publish(&self, route: Route, hints: &[Hint]) -> Result<(), PublishError> {
        self.life.open().await;
        let world = &self.life.world;
        if !world.is_calm() && !world.plan.kinds.is_empty() {
            let most = if world.strikes(Kind::QueueDelays, 5) { 10_000 } else { 3 };
            let time = world.chance().millis(0, most);
            self.life.pause(time).await;
        }
        let (answer, fate) = if self.broker.is_down() {
            (Err(PublishError::Unavailable("the broker is away".to_owned())), "away")
        } else {
            self.broker.put(route, hints)
        };
        self.broker.changed.notify_waiters();
        if answer.is_err() {
            world.judge().not_taken(hints, &world.model(), world.clock.now());
        }
        let hints = hints.iter().map(place_of).collect();
        self.life.note(Event::Published { instance: self.life.instance, route, hints, fate });
        self.life.open().await;
        answer
    }

    async fn receive(&self) -> Option<Received> {
        let (number, hints) = tokio::select! {
            biased;
            () = self.closed.cancelled() => return None,
            lent = self.lent() => lent,
        };
        let places = hints.iter().map(place_of).collect();
        self.life.note(Event::Received { instance: self.life.instance, hints: places });
        let loan = Loan {
            broker: Arc::clone(&self.broker),
            life: Arc::clone(&self.life),
            number: Some(number),
            hints: hints.clone(),
        };
        Some(Received::new(hints, Box::new(loan)))
    }

    async fn depths(&self) -> Result<Vec<Depth>, PublishError> {
        self.life.open().await;
        if self.broker.is_down() {
            return Err(PublishError::Unavailable("the broker is away".to_owned()));
        }
        let now = Instant::now();
        let messages = self.broker.state().ready.keys().filter(|(at, _)| *at <= now).count();
        Ok(vec![Depth { queue: "work".to_owned(), messages: u64::try_from(messages).unwrap() }])
    }

    fn health(&self) -> QueueHealth {
        let up = !self.broker.is_down();
        QueueHealth { kind: "simulated", publishing: up, consuming: up, detail: None }
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

/// A message that was handed out; given to others when it is dropped unacknowledged.
struct Loan {
    broker: Arc<Broker>,
    life: Arc<Life>,
    number: Option<u64>,
    hints: Vec<Hint>,
}

#[async_trait]
impl Acknowledge for Loan {
    async fn acknowledge(mut self: Box<Self>) {
        self.life.open().await;
        let Some(number) = self.number.take() else { return };
        let world = &self.life.world;
        world.judge().message_done(self.life.instance, &self.hints, &world.model());
        let lost = world.strikes(Kind::QueueDoubles, 10);
        let lent = self.broker.state().lent.remove(&number);
        self.life.note(Event::MessageDone { instance: self.life.instance, counted: lent.is_some() && !lost });
        if let Some((_, hints)) = lent.filter(|_| lost) {
            let late = world.chance().millis(0, 5_000);
            self.broker.state().put(hints, Instant::now() + late);
            self.broker.changed.notify_waiters();
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let lent = self.number.take().and_then(|number| self.broker.state().lent.remove(&number));
        if let Some((_, hints)) = lent {
            self.broker.state().put(hints, Instant::now());
            self.broker.changed.notify_waiters();
        }
    }
}
