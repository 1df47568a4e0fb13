//! From a request with a valid key to a verdict: verify → read → parse → record.
//!
//! What the sender said wrongly is kept too, as a rejected receipt that can be replayed once the cause is mended
//! (DOMAIN 2.6), up to a number for each key in a minute; beyond it the answer is the same, but nothing is stored.
//! Guaranteed: an answer that names a receipt is given after its commit.

use std::sync::Arc;
use std::time::Duration;

use super::access::Caller;
use super::catalog_cache::CatalogCache;
use super::fields;
use super::mapping::Mapping;
use super::parse::{Parsed, Permissions, parse};
use super::rate::Rates;
use super::recorder::{Recorder, Unavailable};
use super::redact::{redact_body, redact_query};
use crate::clock::Clock;
use crate::domain::booking::{Item, Outcome};
use crate::domain::catalog::{Catalog, Source, Status};
use crate::domain::ids::{OperatorId, ReceiptId, RequestId, SourceId};
use crate::domain::postback::Postback;
use crate::domain::request::{Headers, RawRequest};
use crate::domain::signature::{SigningSecret, verify};
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection, Warning};
use crate::store::recording::{Arrival, ReceivedRequest};
use crate::store::replays::StoredRequest;

/// A request whose key may send for a source.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Whose key, and from where.
    pub caller: &'a Caller,
    /// The operator that the key sends for.
    pub operator_id: OperatorId,
    /// The source that it comes through.
    pub source_id: SourceId,
    /// The request's id.
    pub request_id: RequestId,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The bytes.
    pub raw: RawRequest<'a>,
}

/// What the sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A receipt is stored, and this became of it.
    Recorded {
        /// The verdict.
        outcome: Outcome,
        /// What was odd and taken all the same.
        warnings: Vec<Warning>,
    },
    /// Refused, and not kept: the key has had its number of rejected receipts for this minute.
    Refused(Rejection),
}

/// The use case. One for each process.
pub struct Intake {
    catalog: Arc<CatalogCache>,
    recorder: Recorder,
    clock: Clock,
    mapping: Mapping,
    signature_tolerance: Duration,
    rejected: Rates,
    rejected_per_minute: u32,
}

impl Intake {
    /// The use case over these parts.
    #[must_use]
    pub fn new(catalog: Arc<CatalogCache>, recorder: Recorder, clock: Clock, settings: &crate::config::Intake) -> Self {
        Self {
            catalog,
            recorder,
            clock,
            mapping: Mapping::canonical(),
            signature_tolerance: settings.signature_tolerance,
            rejected: Rates::new(),
            rejected_per_minute: settings.rejected_receipts_per_minute,
        }
    }

    /// Judges a request and records it.
    ///
    /// # Errors
    /// [`Unavailable`] when nothing could be stored, or nobody knows.
    pub async fn receive(&self, incoming: Incoming<'_>) -> Result<Answer, Unavailable> {
        let now = self.clock.now();
        let heard = hear(&self.catalog.current(), &self.mapping, self.signature_tolerance, &incoming, now);
        match heard {
            Ok(parsed) => {
                let outcome = self.recorder.record(arrival(&incoming, now, Ok(parsed.postback))).await?;
                Ok(Answer::Recorded { outcome, warnings: parsed.warnings })
            }
            Err(rejection) => self.reject(incoming, rejection).await,
        }
    }

    /// Keeps a request as rejected for `rejection`, if the key may still have something kept in this minute.
    ///
    /// # Errors
    /// As [`Intake::receive`].
    pub async fn reject(&self, incoming: Incoming<'_>, rejection: Rejection) -> Result<Answer, Unavailable> {
        if self.rejected.take(incoming.caller.key.id, self.rejected_per_minute).is_err() {
            return Ok(Answer::Refused(rejection));
        }
        let outcome = self.recorder.record(arrival(&incoming, self.clock.now(), Err(rejection))).await?;
        Ok(Answer::Recorded { outcome, warnings: Vec::new() })
    }
}

/// What the request says, if it may be heard.
fn hear(
    catalog: &Catalog,
    mapping: &Mapping,
    signature_tolerance: Duration,
    incoming: &Incoming<'_>,
    now: Timestamp,
) -> Result<Parsed, Rejection> {
    let source = active_source(catalog, incoming.source_id)?;
    let secrets: Vec<SigningSecret> = catalog.source_secrets(source.id, now).into_iter().cloned().collect();
    verify(source.signature_scheme, &secrets, &incoming.raw, now, signature_tolerance).map_err(|error| error.code())?;
    let mut parsed = understand(source, mapping, &incoming.raw, now)?;
    parsed.postback.test |= incoming.caller.key.test;
    Ok(parsed)
}

/// What a request that came through `source` at `now` says.
fn understand(source: &Source, mapping: &Mapping, raw: &RawRequest<'_>, now: Timestamp) -> Result<Parsed, Rejection> {
    let fields = fields::read(raw)?;
    let permissions =
        Permissions { override_payout: source.payout_override, negative_amount: source.negative_is_refund };
    let mut parsed = parse(&fields, mapping, permissions, now)?;
    parsed.postback.test |= source.test;
    Ok(parsed)
}

/// What a stored request says by today's mapping, for whoever vouches for it: its signature, its time and the address
/// that it came from are not judged again. Times in it are judged as of its arrival.
///
/// # Errors
/// Why it cannot be heard, be it still or now.
pub fn hear_again(catalog: &Catalog, mapping: &Mapping, stored: &StoredRequest) -> Result<Postback, Rejection> {
    // Bytes that were no UTF-8 are kept as this character. Read back it would make one id of two.
    if stored.query.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Code::Encoding.into());
    }
    let source = active_source(catalog, stored.source_id)?;
    let content_type = stored.content_type.as_ref().map(|value| ("content-type", value.as_bytes()));
    let headers: Vec<(&str, &[u8])> = content_type.into_iter().collect();
    let raw = RawRequest {
        method: &stored.method,
        raw_query: stored.query.as_bytes(),
        headers: Headers(&headers),
        body: &stored.body,
    };
    let mut postback = understand(source, mapping, &raw, stored.received_at)?.postback;
    postback.test |= catalog.key_is_test(stored.key_id);
    Ok(postback)
}

fn active_source(catalog: &Catalog, id: SourceId) -> Result<&Source, Rejection> {
    let source = catalog.source(id).filter(|source| source.status == Status::Active);
    let source = source.ok_or(Code::SourceDisabled)?;
    let operator = catalog.operator(source.operator_id).filter(|operator| operator.status == Status::Active);
    operator.map(|_| source).ok_or_else(|| Code::SourceDisabled.into())
}

/// The request as it is kept, with a receipt of its own.
fn arrival(incoming: &Incoming<'_>, now: Timestamp, said: Result<Postback, Rejection>) -> Arrival {
    let raw = &incoming.raw;
    let media_type = fields::media_type(raw.headers).ok().flatten();
    let request = ReceivedRequest {
        operator_id: incoming.operator_id,
        key_id: incoming.caller.key.id,
        request_id: incoming.request_id,
        method: incoming.method,
        content_type: raw.headers.single("content-type").ok().flatten().map(str::to_owned),
        query: String::from_utf8_lossy(&redact_query(raw.raw_query)).into_owned(),
        body: redact_body(media_type, raw.body),
        peer: incoming.caller.address.to_string(),
    };
    let item =
        Item { receipt_id: ReceiptId::new(now), source_id: incoming.source_id, received_at: now, said, parked: false };
    Arrival { request, item }
}
