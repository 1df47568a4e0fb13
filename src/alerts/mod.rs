//! What is watched, and who is told.
//!
//! Every instance judges; a unique row decides which of them opened an alert, so it opens once and closes itself.
//! Channels: the log, metrics, and a signed webhook in a form that chat systems show too. Alert messages do not
//! travel through the queue that they speak of; a webhook that did not answer is told again at the next round.
//! Whoever opened or closed an alert tells of it; the others only when nobody has for a while, under the same
//! `webhook-id`. So a message is never missing, and arrives twice only after a fault.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::delivery::sender::{OutboundMethod, OutboundRequest, Sender};
use crate::domain::delivery::AttemptOutcome;
use crate::domain::signature::{SigningSecret, sign_webhook};
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;
use crate::store::alerts::Untold;
use crate::store::{Store, StoreError};

/// The alert on the length of the waiting line (RELIABILITY section 9).
pub const QUEUE_DEPTH: &str = "queue_depth";
/// Openings and closings told in one round.
const TOLD_AT_ONCE: i64 = 20;

/// After which time an instance tells of what another one opened or closed.
const OTHERS_TELL_AFTER: Duration = Duration::from_secs(30);

/// Where alerts are posted to.
pub struct Webhook {
    /// The address.
    pub url: secrecy::SecretString,
    /// What signs the messages.
    pub secret: SigningSecret,
}

/// Judges round after round.
#[expect(missing_docs, reason = "the rooms that it stands between, and the thresholds of config::Alerts")]
pub struct Watch {
    pub store: Arc<dyn Store>,
    pub sender: Sender,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub above: u64,
    pub below: u64,
    pub grace: Duration,
    pub every: Duration,
    pub webhook: Option<Webhook>,
}

impl Watch {
    /// Round after round until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        let mut ours = HashSet::new();
        loop {
            if let Err(error) = self.round(&mut ours).await {
                tracing::warn!(%error, "alerts could not be judged; they are at the next round");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    /// `ours`: when this instance opened or closed an alert that it has not told yet.
    async fn round(&self, ours: &mut HashSet<Timestamp>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let backlog = self.store.backlog(now.minus(self.grace)).await?;
        self.metrics.deliveries_due.set(backlog.waiting);
        let oldest = backlog.oldest_first_due_at.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.metrics.deliveries_oldest_due_seconds.set(oldest.as_secs_f64());
        if self.judge_depth(backlog.waiting, now).await? && self.webhook.is_some() {
            ours.insert(now);
        }
        self.tell(now, ours).await
    }

    /// Answers whether this instance opened or closed the alert at `now`.
    async fn judge_depth(&self, waiting: i64, now: Timestamp) -> Result<bool, StoreError> {
        let depth = u64::try_from(waiting).unwrap_or(0);
        let mut changed = false;
        if depth > self.above {
            changed = self.store.open_alert(QUEUE_DEPTH, waiting, now).await?;
            if changed {
                tracing::error!(alert = QUEUE_DEPTH, waiting, threshold = self.above, "{}", advice(QUEUE_DEPTH));
            }
        } else if depth < self.below {
            changed = self.store.close_alert(QUEUE_DEPTH, now).await?;
            if changed {
                tracing::info!(alert = QUEUE_DEPTH, waiting, "the alert has closed");
            }
        }
        let open = self.store.open_alerts().await?;
        self.metrics.alert(QUEUE_DEPTH, open.iter().any(|name| name == QUEUE_DEPTH));
        Ok(changed)
    }

    /// Tells the webhook what it has not been told; what it does not take is told again.
    async fn tell(&self, now: Timestamp, ours: &mut HashSet<Timestamp>) -> Result<(), StoreError> {
        let Some(webhook) = &self.webhook else { return Ok(()) };
        for untold in self.store.untold_alerts(TOLD_AT_ONCE).await? {
            let closing = untold.closed_at.is_some();
            let happened_at = untold.closed_at.unwrap_or(untold.opened_at);
            if !ours.contains(&happened_at) && now.since(happened_at) < OTHERS_TELL_AFTER {
                return Ok(()); // In their order: what came after it waits too.
            }
            let result = self.sender.send(request(webhook, &untold, now), now).await;
            if result.outcome != AttemptOutcome::Delivered {
                tracing::warn!(alert = untold.name, error = result.error, "the alert webhook did not take a message");
                return Ok(());
            }
            self.store.alert_told(untold.id, closing, now).await?;
            ours.remove(&happened_at);
        }
        Ok(())
    }
}

/// What a person should do about an alert.
#[must_use]
pub fn advice(name: &str) -> &'static str {
    match name {
        QUEUE_DEPTH => {
            "more deliveries are overdue than the threshold allows: look at /readyz for the queue, and at \
             /v1/admin/deliveries?state=pending for the endpoints that do not answer"
        }
        _ => "see the operations guide",
    }
}

fn request(webhook: &Webhook, untold: &Untold, now: Timestamp) -> OutboundRequest {
    let state = if untold.closed_at.is_some() { "closed" } else { "open" };
    let text = format!("postback alert {}: {state} (value {}). {}", untold.name, untold.value, advice(&untold.name));
    let body = json!({
        "text": text,
        "type": format!("alert.{state}"),
        "timestamp": now,
        "data": {
            "alert": untold.name,
            "value": untold.value,
            "opened_at": untold.opened_at,
            "closed_at": untold.closed_at,
        },
    })
    .to_string();
    let id = format!("{}_{state}", untold.id);
    let headers = vec![
        ("webhook-signature", sign_webhook(&[&webhook.secret], &id, now.seconds(), body.as_bytes())),
        ("webhook-timestamp", now.seconds().to_string()),
        ("webhook-id", id),
    ];
    OutboundRequest {
        url: webhook.url.expose_secret().to_owned(),
        method: OutboundMethod::Post { body: Bytes::from(body), content_type: "application/json" },
        headers,
        timeout: None,
    }
}
