//! What a receiver's answer, or its absence, comes to: pure functions for the sender.
//!
//! The sentences made here are read by affiliates, so they name no address, no library and no secret.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use rustls::CertificateError;

use super::connector::DialError;
use crate::domain::time::Timestamp;

/// The longest wait that a receiver may ask for; more is taken as this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The receiver's wish to be left alone (RFC 9110 section 10.2.3): only with 429 and 503, as whole seconds
/// or as a date relative to `now`, at most [`MAX_RETRY_AFTER`]. A date in the past is no wait at all.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a longer wait than we grant.
        return Some(text.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let seconds = date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let until = i64::try_from(seconds).ok().and_then(Timestamp::from_seconds)?;
    Some(until.since(now).min(MAX_RETRY_AFTER))
}

/// The start of a body as text to show: at most `max_bytes` of UTF-8, what is not UTF-8 replaced, line breaks
/// and tabs as spaces, no other control characters, no characters that turn the direction of text. `None` when
/// there is nothing.
pub fn shown_body(start: &[u8], max_bytes: usize) -> Option<String> {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(start).chars() {
        let character = match character {
            '\n' | '\r' | '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if shown.len() + character.len_utf8() > max_bytes {
            break;
        }
        shown.push(character);
    }
    (!shown.is_empty()).then_some(shown)
}

/// Why an exchange came to nothing, from the client's chain of errors.
pub fn failure_sentence(error: &(dyn Error + 'static)) -> String {
    let known = chain(error).find_map(|cause| {
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            Some(dial.to_string())
        } else if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            Some(tls_sentence(tls))
        } else if let Some(exchange) = cause.downcast_ref::<hyper::Error>() {
            exchange_sentence(exchange).map(str::to_owned)
        } else {
            cause.downcast_ref::<io::Error>().and_then(closed_sentence).map(str::to_owned)
        }
    });
    known.unwrap_or_else(|| "the exchange with the receiver failed".to_owned())
}

/// An error and its causes.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| cause_of(*error))
}

/// The next cause. An `io::Error` that wraps another error hides it from `source`, hence the detour.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_sentence(error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it does not name this host"
            }
            CertificateError::UnknownIssuer => "its issuer is not known, or the chain is incomplete",
            _ => "it is not valid",
        },
        _ => return "no TLS connection could be agreed on".to_owned(),
    };
    format!("the TLS certificate was not accepted: {why}")
}

fn exchange_sentence(error: &hyper::Error) -> Option<&'static str> {
    if error.is_parse() {
        Some("the receiver's answer was not valid HTTP")
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Some(CLOSED)
    } else {
        None
    }
}

fn closed_sentence(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof).then_some(CLOSED)
}

const CLOSED: &str = "the connection was closed before an answer came";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T12:00:00Z";

    fn asked(status: u16, value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        retry_after(StatusCode::from_u16(status).unwrap(), &headers, Timestamp::parse_rfc3339(NOW).unwrap())
    }

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 120 ", 120),
            ("86400", 86_400),
            ("86401", 86_400),
            ("99999999999999999999999", 86_400),
            ("Sat, 31 Jan 2026 12:01:30 GMT", 90),
            ("Saturday, 31-Jan-26 12:01:30 GMT", 90),
            ("Sat Jan 31 12:01:30 2026", 90),
            ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
            ("Sun, 31 Jan 2027 12:00:00 GMT", 86_400),
        ] {
            assert_eq!(asked(429, value), Some(Duration::from_secs(seconds)), "{value}");
            assert_eq!(asked(503, value), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn retry_after_is_ignored_where_it_says_nothing() {
        for value in ["", "-1", "+5", "1.5", "soon", "0x10", "2026-01-31T12:01:30Z"] {
            assert_eq!(asked(429, value), None, "{value}");
        }
        for status in [200, 301, 404, 500, 502] {
            assert_eq!(asked(status, "120"), None, "{status}");
        }
        let status = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(retry_after(status, &HeaderMap::new(), Timestamp::from_micros(0)), None);
    }

    #[test]
    fn bodies_are_shown_as_bounded_clean_text() {
        let cut = char::REPLACEMENT_CHARACTER;
        assert_eq!(shown_body(b"", 9), None);
        assert_eq!(shown_body(b"ok\r\n\tfine", 99).unwrap(), "ok   fine");
        assert_eq!(shown_body(b"a\x00b\x1b[31mc\x7f", 99).unwrap(), format!("a{cut}b{cut}[31mc{cut}"));
        assert_eq!(shown_body("a\u{202e}b\u{85}".as_bytes(), 99).unwrap(), format!("a{cut}b{cut}"));
        assert_eq!(shown_body(b"\xff\xfe", 99).unwrap(), format!("{cut}{cut}"));
        assert_eq!(shown_body("aäö".as_bytes(), 4).unwrap(), "aä", "never cut inside a character");
        assert!(shown_body(&[0xff; 2000], 1024).unwrap().len() <= 1024);
    }

    #[test]
    fn causes_inside_io_errors_are_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(
            failure_sentence(&wrapped),
            "the TLS certificate was not accepted: its issuer is not known, or the chain is incomplete"
        );
        assert_eq!(failure_sentence(&io::Error::from(io::ErrorKind::ConnectionReset)), CLOSED);
        assert_eq!(failure_sentence(&io::Error::other("odd")), "the exchange with the receiver failed");
    }
}
