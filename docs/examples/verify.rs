//! Judges a webhook of postback. In Cargo.toml: `standardwebhooks = "1"` and `http = "1"` (or what re-exports it).

use hyper::http::HeaderMap;
use standardwebhooks::{Webhook, WebhookError};

/// The id of a message that is ours. `body` is what came, byte for byte.
///
/// Put the id into a unique column in the transaction that does the work: the same id again is the same message.
pub fn verified<'a>(webhook: &Webhook, headers: &'a HeaderMap, body: &[u8]) -> Result<&'a str, WebhookError> {
    webhook.verify(body, headers)?;
    headers.get("webhook-id").and_then(|id| id.to_str().ok()).ok_or(WebhookError::MissingHeader("webhook-id"))
}
