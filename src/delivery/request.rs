//! What is sent about a delivery: a signed POST to a webhook, a GET of the expanded URL to a postback. No I/O.
//!
//! Both carry the event's id as `webhook-id`, the same over all retries and replays, so that a receiver can tell a second
//! time from a second event.

use std::time::Duration;

use bytes::Bytes;

use super::sender::{OutboundMethod, OutboundRequest};
use crate::domain::endpoint::{Endpoint, EndpointKind};
use crate::domain::macros::Template;
use crate::domain::signature::{SigningSecret, sign_webhook};
use crate::domain::time::Timestamp;
use crate::store::deliveries::Claimed;

/// The request for one attempt that begins at `now`.
///
/// # Errors
/// A sentence for the subscriber, where there is nothing that could be sent.
pub fn request(
    endpoint: &Endpoint,
    secrets: &[&SigningSecret],
    claimed: &Claimed,
    now: Timestamp,
    timeout: Duration,
) -> Result<OutboundRequest, &'static str> {
    let id = claimed.event_id.to_string();
    let (url, method, signing) = match endpoint.kind {
        EndpointKind::Webhook if secrets.is_empty() => return Err("the endpoint has no secret to sign with"),
        EndpointKind::Webhook => {
            let signature = sign_webhook(secrets, &id, now.seconds(), claimed.body.as_bytes());
            let body = Bytes::from(claimed.body.clone());
            let method = OutboundMethod::Post { body, content_type: "application/json" };
            (endpoint.url.clone(), method, Some(("webhook-signature", signature)))
        }
        EndpointKind::Postback => (called(endpoint, &claimed.body)?, OutboundMethod::Get, None),
    };
    let timestamp = ("webhook-timestamp", now.seconds().to_string());
    let headers = signing.into_iter().chain([timestamp, ("webhook-id", id)]).collect();
    Ok(OutboundRequest { url, method, headers, expected_status: endpoint.expected_status, timeout: Some(timeout) })
}

/// The URL of a postback about the event with this message.
fn called(endpoint: &Endpoint, body: &str) -> Result<String, &'static str> {
    let template = Template::parse(&endpoint.url).map_err(|_| "the URL of this postback cannot be read any more")?;
    let message = serde_json::from_str(body).map_err(|_| "the event's message cannot be read")?;
    Ok(template.expand(&message))
}
