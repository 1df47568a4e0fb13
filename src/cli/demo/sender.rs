//! The operator's side: fires postbacks over HTTP until each is answered, and writes down every answer.
//!
//! Stories run side by side, the steps of one after another. What got no answer, or 503 or 429, is sent again with
//! the same bytes and a new signature, as the interface asks of senders.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::journal::Journal;
use super::plan::{Click, Step, Story};
use super::world::World;
use crate::cli::outside::client::{Answer, Client, NoAnswer};
use crate::clock::Clock;
use crate::domain::signature::{SigningSecret, sign_body};

/// Stories under way at once, each on its own connection.
const CONNECTIONS: usize = 64;
/// How long to wait before something is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// A postback that was answered: a line of `sent.journal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// The number of the step.
    pub step: usize,
    /// In which run of the demo.
    pub run: u32,
    /// When it was first sent in this run, in microseconds since 1970.
    pub sent_at: i64,
    /// How long the answer took.
    pub micros: u64,
    /// How many times it was sent in this run.
    pub tries: u32,
    /// The status of the answer.
    pub status: u16,
    /// The verdict; empty where the answer has none.
    pub verdict: String,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The receipt.
    pub receipt_id: Option<String>,
    /// The conversion.
    pub conversion_id: Option<String>,
}

/// A click that a story can name: a line of `clicks.journal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownClick {
    /// The number of the story.
    pub story: usize,
    /// The id.
    pub click_id: String,
}

/// Why sending cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("what was answered cannot be written down: {0}")]
    Journal(#[from] std::io::Error),
    #[error("a click was refused with {0}")]
    Click(u16),
    #[error("the source's secret cannot be read")]
    Secret,
}

/// What was sent, over all runs, and how far this one is.
pub struct Sender {
    demo: String,
    run: u32,
    service: SocketAddr,
    world: Arc<World>,
    secret: SigningSecret,
    clock: Clock,
    stories: Vec<Story>,
    acks: Journal,
    clicks: Journal,
    known: Mutex<Known>,
    next: AtomicUsize,
    fired: AtomicUsize,
}

/// What the journals tell.
#[derive(Default)]
struct Known {
    acks: Vec<Option<Ack>>,
    clicks: Vec<Option<String>>,
}

/// What a sender is made of.
pub struct SenderParts {
    /// The demo's name.
    pub demo: String,
    /// Which run it is.
    pub run: u32,
    /// Where the service is.
    pub service: SocketAddr,
    /// For whom.
    pub world: Arc<World>,
    /// What time it is.
    pub clock: Clock,
    /// What to fire.
    pub stories: Vec<Story>,
    /// `sent.journal` and what it tells.
    pub acks: (Journal, Vec<Ack>),
    /// `clicks.journal` and what it tells.
    pub clicks: (Journal, Vec<KnownClick>),
}

impl Sender {
    /// A sender that goes on where the journals end.
    pub fn new(parts: SenderParts) -> Result<Self, SendError> {
        let secret = SigningSecret::parse(&parts.world.source_secret).map_err(|_| SendError::Secret)?;
        let steps = parts.stories.iter().map(|story| story.steps.len()).sum();
        let mut known = Known { acks: vec![None; steps], clicks: vec![None; parts.stories.len()] };
        let (acks, told) = parts.acks;
        told.into_iter().for_each(|ack| known.acked(ack));
        let (clicks, told) = parts.clicks;
        told.into_iter().for_each(|click| known.clicked(click));
        Ok(Self {
            demo: parts.demo,
            run: parts.run,
            service: parts.service,
            world: parts.world,
            secret,
            clock: parts.clock,
            stories: parts.stories,
            acks,
            clicks,
            known: Mutex::new(known),
            next: AtomicUsize::new(0),
            fired: AtomicUsize::new(0),
        })
    }

    /// How many requests went out in this run, those sent again too.
    pub fn fired(&self) -> usize {
        self.fired.load(Ordering::Relaxed)
    }

    /// Every answer, over all runs.
    pub fn acks(&self) -> Vec<Ack> {
        self.known().acks.iter().flatten().cloned().collect()
    }

    /// How many postbacks are answered, over all runs.
    pub fn acknowledged(&self) -> usize {
        self.known().acks.iter().flatten().count()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fires everything that is not answered yet.
    pub async fn fire_all(&self) -> Result<(), SendError> {
        try_join_all((0..CONNECTIONS).map(|_| self.fire_some())).await.map(drop)
    }

    /// Takes one story after the other until none is left.
    async fn fire_some(&self) -> Result<(), SendError> {
        let mut client = Client::new(self.service, Some(self.world.operator_key.clone()));
        while let Some(story) = self.stories.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            self.tell(&mut client, story).await?;
        }
        Ok(())
    }

    async fn tell(&self, client: &mut Client, story: &Story) -> Result<(), SendError> {
        let kept = self.known().clicks.get(story.number).cloned().flatten();
        let ready = kept.is_some();
        let click_id = match (kept, story.click) {
            (Some(click_id), _) => click_id,
            (None, Click::Own) => self.follow(client, story).await?,
            (None, Click::Imported) => self.import(client, story).await?,
            (None, Click::Late) => story.foreign_click(&self.demo),
        };
        for step in &story.steps {
            if self.known().acks.get(step.number).is_some_and(Option::is_none) {
                let ack = self.fire(client, story, step, &click_id).await?;
                self.acks.write(&ack)?;
                self.known().acked(ack);
            }
        }
        if story.click == Click::Late && !ready {
            self.import(client, story).await?;
        }
        Ok(())
    }

    /// Sends one postback until it is answered.
    async fn fire(&self, client: &mut Client, story: &Story, step: &Step, click_id: &str) -> Result<Ack, SendError> {
        let body = story.body(step, &self.demo, click_id);
        let sent_at = self.clock.now().micros();
        let mut tries = 0;
        loop {
            tries += 1;
            self.fired.fetch_add(1, Ordering::Relaxed);
            let signed = if step.forged { "other bytes" } else { &body };
            let signature = sign_body(&self.secret, self.clock.now().seconds(), signed.as_bytes());
            let began = Instant::now();
            let answer = client.post("/v1/postbacks", &[("X-Signature", &signature)], body.clone()).await;
            if let Some(answer) = settled(answer) {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                return Ok(self.ack(step, &answer, sent_at, micros, tries));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn ack(&self, step: &Step, answer: &Answer, sent_at: i64, micros: u64, tries: u32) -> Ack {
        let body = answer.json();
        let said = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        // A refusal that was not kept has a problem's code and no verdict.
        let verdict = said("verdict").or_else(|| (400..500).contains(&answer.status).then(|| "rejected".to_owned()));
        Ack {
            step: step.number,
            run: self.run,
            sent_at,
            micros,
            tries,
            status: answer.status,
            verdict: verdict.unwrap_or_default(),
            code: said("code"),
            receipt_id: said("receipt_id"),
            conversion_id: said("conversion_id"),
        }
    }

    /// A visitor follows the affiliate's link: the id is on the address that the visitor is sent to.
    async fn follow(&self, client: &mut Client, story: &Story) -> Result<String, SendError> {
        let link = self.world.affiliates.get(story.affiliate()).map(|affiliate| affiliate.link.as_str());
        let path = format!("/c/{}?sub1=demo", link.unwrap_or_default());
        loop {
            if let Some(answer) = settled(client.get(&path).await) {
                let id = answer.location().and_then(|location| location.rsplit_once("click_id=")).map(|(_, id)| id);
                let id = id.ok_or(SendError::Click(answer.status))?.to_owned();
                return self.remember(story, id);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The operator tells us of a click that another tracker saw.
    async fn import(&self, client: &mut Client, story: &Story) -> Result<String, SendError> {
        let link = self.world.affiliates.get(story.affiliate()).map(|affiliate| affiliate.link.as_str());
        let click_id = story.foreign_click(&self.demo);
        let clicks = json!({ "clicks": [{ "click_id": click_id, "link": link }] }).to_string();
        loop {
            if let Some(answer) = settled(client.post("/v1/clicks", &[], clicks.clone()).await) {
                let result = answer.json().pointer("/results/0/result").and_then(Value::as_str).map(str::to_owned);
                return match result.as_deref() {
                    Some("recorded" | "known") => self.remember(story, click_id),
                    _ => Err(SendError::Click(answer.status)),
                };
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn remember(&self, story: &Story, click_id: String) -> Result<String, SendError> {
        let click = KnownClick { story: story.number, click_id: click_id.clone() };
        self.clicks.write(&click)?;
        self.known().clicked(click);
        Ok(click_id)
    }
}

impl Known {
    fn acked(&mut self, ack: Ack) {
        if let Some(slot) = self.acks.get_mut(ack.step) {
            *slot = Some(ack);
        }
    }

    fn clicked(&mut self, click: KnownClick) {
        if let Some(slot) = self.clicks.get_mut(click.story) {
            *slot = Some(click.click_id);
        }
    }
}

/// An answer that stands; `None` where the same is to be sent again.
fn settled(answer: Result<Answer, NoAnswer>) -> Option<Answer> {
    match answer {
        Ok(answer) if !matches!(answer.status, 429 | 503) => Some(answer),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "sent again");
            None
        }
    }
}
