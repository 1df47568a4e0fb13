//! The channels that alerts are told through, besides the log and the metrics. None of them uses the queue.
//!
//! A notice is claimed before it is told, so that of several instances one tells it; one that was not taken is given
//! back and told at the next round, one whose claimer died is claimed again after a while, under the same `webhook-id`.
//! So a message is never missing for a day, and arrives twice only after a fault.

use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::catalogue::Alert;
use crate::clock::Clock;
use crate::delivery::sender::{OutboundMethod, OutboundRequest, Sender};
use crate::domain::delivery::AttemptOutcome;
use crate::domain::signature::{SigningSecret, sign_webhook};
use crate::domain::time::Timestamp;
use crate::store::alerts::{AlertView, Notice, Step};
use crate::store::{Store, StoreError, in_time};

/// Openings and closings told by one channel in one round.
const TOLD_AT_ONCE: i64 = 20;
/// After which time a claimed notice is anybody's again. Longer than an attempt may take.
const CLAIMED_FOR: Duration = Duration::from_secs(60);
/// What is older is not told any more; it can be read at `GET /v1/admin/alerts`.
const TOLD_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// Somewhere to tell alerts.
pub struct Channel {
    /// The address; it may hold a token.
    pub url: SecretString,
    /// How.
    pub form: Form,
}

/// What a channel is sent.
pub enum Form {
    /// The whole message, signed as Standard Webhooks.
    Webhook(SigningSecret),
    /// `{"text": …}` alone, as Slack and those like it take it.
    Chat,
}

impl Channel {
    /// The stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.form {
            Form::Webhook(_) => "webhook",
            Form::Chat => "chat",
        }
    }

    /// Tells this of an alert; answers whether it was taken.
    pub async fn tell(&self, sender: &Sender, view: &AlertView, step: Step, now: Timestamp) -> bool {
        let result = sender.send(self.request(view, step, now), now).await;
        let taken = result.outcome == AttemptOutcome::Delivered;
        if !taken {
            let (alert, channel) = (&view.name, self.name());
            tracing::warn!(alert, channel, error = result.error, "a channel did not take an alert; it is told again");
        }
        taken
    }

    fn request(&self, view: &AlertView, step: Step, now: Timestamp) -> OutboundRequest {
        let (body, headers) = match &self.form {
            Form::Chat => (json!({ "text": text(view, step) }).to_string(), Vec::new()),
            Form::Webhook(secret) => {
                let body = message(view, step, now);
                let id = format!("{}_{}", view.id, step.as_str());
                let headers = vec![
                    ("webhook-signature", sign_webhook(&[secret], &id, now.seconds(), body.as_bytes())),
                    ("webhook-timestamp", now.seconds().to_string()),
                    ("webhook-id", id),
                ];
                (body, headers)
            }
        };
        OutboundRequest {
            url: self.url.expose_secret().to_owned(),
            method: OutboundMethod::Post { body: Bytes::from(body), content_type: "application/json" },
            headers,
            expected_status: None,
            timeout: None,
        }
    }
}

/// What a person should do about an alert of this name.
#[must_use]
pub fn advice(name: &str) -> &'static str {
    Alert::from_name(name).map_or("See docs/operations.md.", Alert::advice)
}

/// One line for people.
fn text(view: &AlertView, step: Step) -> String {
    let about = if view.subject.is_empty() { String::new() } else { format!(" of {}", view.subject) };
    let said = format!("postback alert {}{about}: {}", view.name, step.as_str());
    match step {
        Step::Opened => format!("{said} (value {}). {}", view.value, advice(&view.name)),
        Step::Closed => format!("{said}. It is over."),
    }
}

fn message(view: &AlertView, step: Step, now: Timestamp) -> String {
    let closed_at = view.closed_at.filter(|_| step == Step::Closed);
    json!({
        "text": text(view, step),
        "type": format!("alert.{}", step.as_str()),
        "timestamp": now,
        "data": {
            "alert": view.name,
            "subject": view.subject,
            "value": view.value,
            "opened_at": view.opened_at,
            "closed_at": closed_at,
        },
    })
    .to_string()
}

/// Tells a channel what it has not been told, in order; what it does not take ends the round.
///
/// # Errors
/// [`StoreError`] where the database could not be asked.
pub async fn tell_all(channel: &Channel, store: &dyn Store, sender: &Sender, clock: &Clock) -> Result<(), StoreError> {
    let since = clock.now().minus(TOLD_WITHIN);
    for (view, step) in in_time(store.untold_alerts(channel.name(), since, TOLD_AT_ONCE)).await? {
        let now = clock.now();
        let notice = Notice { alert_id: view.id, channel: channel.name(), step };
        if !in_time(store.claim_notice(notice, now.minus(CLAIMED_FOR), now)).await? {
            return Ok(()); // Another instance tells it now; what came after it waits too.
        }
        let told = channel.tell(sender, &view, step, now).await;
        in_time(store.end_notice(notice, told, clock.now())).await?;
        if !told {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AlertId;

    #[test]
    fn a_text_says_what_about_whom_and_what_to_do() {
        let now = Timestamp::from_micros(1);
        let view = AlertView {
            id: AlertId::new(now),
            name: Alert::SourceSilent.as_str().to_owned(),
            subject: "src_1".to_owned(),
            value: 7_200,
            opened_at: now,
            closed_at: Some(now),
        };
        let opened = text(&view, Step::Opened);
        assert!(opened.starts_with("postback alert source_silent of src_1: open (value 7200). A source"), "{opened}");
        assert_eq!(text(&view, Step::Closed), "postback alert source_silent of src_1: closed. It is over.");
        assert!(
            message(&view, Step::Opened, now).contains("\"closed_at\":null"),
            "an opening tells nothing of its end"
        );
        assert_eq!(advice("of_a_later_version"), "See docs/operations.md.");
    }
}
