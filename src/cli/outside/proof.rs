//! Whether a webhook is real, as Standard Webhooks' own crate has it: it shares no line with what signs.

use standardwebhooks::Webhook;

use super::wire::Request;

/// How far the time of a message may be from now, in seconds: what Standard Webhooks recommends.
pub const TOLERANCE_SECONDS: u64 = 300;

/// Whether the request is signed for this endpoint, and lately.
pub fn fits(webhook: &Webhook, request: &Request<'_>, now_seconds: i64, tolerance_seconds: u64) -> bool {
    let id = request.header("webhook-id").unwrap_or_default();
    let seconds = request.header("webhook-timestamp").and_then(|text| text.parse::<i64>().ok());
    let Some(seconds) = seconds else { return false };
    let Ok(signature) = webhook.sign(id, seconds, request.body) else { return false };
    let claimed = request.header("webhook-signature").unwrap_or_default();
    let is_recent = now_seconds.abs_diff(seconds) <= tolerance_seconds;
    !id.is_empty() && is_recent && claimed.split(' ').any(|token| token == signature)
}

/// FNV-1a: different ids have different hashes but for one in billions.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
