//! The body of a message: `{"v":1,"items":[{delivery_id, endpoint_id, epoch, attempt}, …]}`.
//!
//! Only ids and counters: no payload, no address, no secret, no personal data (RELIABILITY section 2).
//! What cannot be read is never guessed at; the consumer moves it to the poison queue.

use serde::{Deserialize, Serialize};

use crate::domain::delivery::Hint;

/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// Hints in one message, at most.
pub(super) const MAX_ITEMS: usize = 1_000;

#[derive(Serialize)]
struct Outgoing<'a> {
    v: u32,
    items: &'a [Hint],
}

#[derive(Deserialize)]
struct Incoming {
    v: u32,
    items: Vec<Hint>,
}

/// A message that this program does not understand.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("not the expected JSON")]
    Json,
    #[error("version {0} is not known")]
    Version(u32),
    #[error("{0} items, expected 1 to {MAX_ITEMS}")]
    Items(usize),
}

/// The body that carries these hints.
pub(super) fn encode(hints: &[Hint]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Outgoing { v: VERSION, items: hints })
}

/// The hints that a body carries.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Hint>, Unreadable> {
    let incoming: Incoming = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
    if incoming.v != VERSION {
        return Err(Unreadable::Version(incoming.v));
    }
    if incoming.items.is_empty() || incoming.items.len() > MAX_ITEMS {
        return Err(Unreadable::Items(incoming.items.len()));
    }
    Ok(incoming.items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{DeliveryId, EndpointId};
    use crate::domain::time::Timestamp;

    fn hint() -> Hint {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        Hint { delivery_id: DeliveryId::new(now), endpoint_id: EndpointId::new(now), epoch: 2, attempt: 3 }
    }

    #[test]
    fn round_trip_in_the_documented_form() {
        let hint = hint();
        let body = encode(&[hint]).unwrap();
        let text = String::from_utf8(body.clone()).unwrap();
        let expected = format!(
            r#"{{"v":1,"items":[{{"delivery_id":"{}","endpoint_id":"{}","epoch":2,"attempt":3}}]}}"#,
            hint.delivery_id, hint.endpoint_id
        );
        assert_eq!(text, expected);
        assert_eq!(decode(&body), Ok(vec![hint]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(decode(b"hello"), Err(Unreadable::Json));
        assert_eq!(decode(br#"{"items":[]}"#), Err(Unreadable::Json));
        assert_eq!(decode(br#"{"v":1,"items":[{"delivery_id":"cv_0"}]}"#), Err(Unreadable::Json));
        assert_eq!(decode(br#"{"v":2,"items":[]}"#), Err(Unreadable::Version(2)));
        assert_eq!(decode(br#"{"v":1,"items":[]}"#), Err(Unreadable::Items(0)));
        let many = encode(&vec![hint(); MAX_ITEMS + 1]).unwrap();
        assert_eq!(decode(&many), Err(Unreadable::Items(MAX_ITEMS + 1)));
    }
}
