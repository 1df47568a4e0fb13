//! The receivers of a run: they write down every request that reaches them, and answer as they feel.
//!
//! What a request tells is the event's id and, in the message, which attempt it is of: a mark that the store's line puts
//! there, so that no POST goes unexplained.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postback::delivery::sender::{Outbound, OutboundMethod, OutboundRequest};
use postback::domain::delivery::{AttemptOutcome, AttemptResult};
use postback::domain::time::Timestamp;
use postback::store::deliveries::Claimed;

use super::plan::{Kind, Mood};
use super::trace::{Event, Place, number_of};
use super::world::Life;

/// How a receiver answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The request never came.
    NotReached,
    Status {
        status: u16,
        retry_after_s: Option<u64>,
    },
    /// It took the request and did not answer in time.
    Silence,
    /// It took it and answered with success; the answer was lost.
    LostSuccess,
}

impl Answer {
    const OK: Self = Self::Status { status: 204, retry_after_s: None };

    /// Whether the receiver has said that it has the event.
    pub fn is_success(self) -> bool {
        self == Self::OK || self == Self::LostSuccess
    }
}

/// How each of them feels.
pub struct Receivers {
    moods: Mutex<Vec<Mood>>,
}

impl Receivers {
    pub fn new(endpoints: usize) -> Self {
        Self { moods: Mutex::new(vec![Mood::Good; endpoints]) }
    }

    pub fn set(&self, endpoint: usize, mood: Mood) {
        self.moods.lock().unwrap()[endpoint] = mood;
    }

    fn mood(&self, endpoint: usize) -> Mood {
        self.moods.lock().unwrap()[endpoint]
    }
}

/// The URL of an endpoint of a run.
pub fn url_of(endpoint: usize) -> String {
    format!("https://receiver.example/{endpoint}")
}

/// Which attempt this is, as a message says it.
pub fn mark(claimed: &Claimed) -> String {
    format!("{} {} {}", number_of(claimed.delivery_id), claimed.epoch, claimed.number)
}

fn read_mark(body: &[u8]) -> Place {
    let mut numbers = std::str::from_utf8(body).unwrap().split(' ').map(|number| number.parse::<i32>().unwrap());
    let mut next = || numbers.next().unwrap();
    (u32::try_from(next()).unwrap(), next(), next())
}

/// An instance's way to the receivers.
pub struct SenderLine {
    pub life: Arc<Life>,
}

impl SenderLine {
    /// What the receiver does with a request, and how long that takes.
    fn answer(&self, endpoint: usize, timeout: Duration) -> (Answer, Duration) {
        let world = &self.life.world;
        if world.plan.kinds.is_empty() {
            return (Answer::OK, Duration::ZERO);
        }
        let mut mood = world.receivers.mood(endpoint);
        let mut chance = world.chance();
        if mood == Mood::Mixed {
            mood = chance.pick(&[Mood::Good, Mood::Broken, Mood::Busy, Mood::Silent, Mood::Away]);
        }
        let slow = world.plan.has(Kind::SlowReceivers) && !world.is_calm();
        let most = if slow { u64::try_from(timeout.as_millis()).unwrap() - 1 } else { 20 };
        let time = chance.millis(0, most);
        let status = |status| Answer::Status { status, retry_after_s: None };
        match mood {
            Mood::Good | Mood::Mixed => (Answer::OK, time),
            Mood::Broken if chance.percent(10) => (Answer::OK, time),
            Mood::Broken => (status(500), time),
            Mood::Busy if chance.percent(30) => (status(503), time),
            Mood::Busy => (Answer::Status { status: 503, retry_after_s: Some(chance.below(40)) }, time),
            Mood::Silent if chance.percent(30) => (Answer::LostSuccess, timeout),
            Mood::Silent => (Answer::Silence, timeout),
            Mood::Away => (Answer::NotReached, time),
            Mood::Gone => (status(410), time),
        }
    }
}

#[async_trait]
impl Outbound for SenderLine {
    async fn send(&self, request: OutboundRequest, _now: Timestamp) -> AttemptResult {
        let life = &self.life;
        life.open().await;
        let timeout = request.timeout.unwrap();
        let endpoint: usize = request.url.rsplit_once('/').unwrap().1.parse().unwrap();
        let OutboundMethod::Post { body, .. } = &request.method else { panic!("webhooks are posted") };
        let place = read_mark(body);
        let (answer, time) = self.answer(endpoint, timeout);
        if answer != Answer::NotReached {
            let id = request.headers.iter().find(|(name, _)| *name == "webhook-id").unwrap().1.clone();
            life.note(Event::Sent { instance: life.instance, place, answer });
            let world = &life.world;
            world.judge().posted(life.instance, place, id, answer, world.clock.now());
        }
        life.pause(time).await;
        if life.world.strikes(Kind::Stalls, 15) {
            // The instance itself was held up: it hears of the answer after its lease is over.
            let stall = life.world.chance().seconds(15, 60);
            life.pause(stall).await;
        }
        result(answer, time)
    }
}

/// What the sender makes of an answer.
fn result(answer: Answer, duration: Duration) -> AttemptResult {
    let failed =
        |retry_after_s: Option<u64>| AttemptOutcome::Failed { retry_after: retry_after_s.map(Duration::from_secs) };
    let (outcome, status, error) = match answer {
        Answer::Status { status: 204, .. } => (AttemptOutcome::Delivered, Some(204), None),
        Answer::Status { status, retry_after_s } => (failed(retry_after_s), Some(status), Some("it did not take it")),
        Answer::NotReached => (failed(None), None, Some("it was not reached")),
        Answer::Silence | Answer::LostSuccess => (failed(None), None, Some("it did not answer")),
    };
    AttemptResult { outcome, status, body_start: None, error: error.map(str::to_owned), duration }
}
