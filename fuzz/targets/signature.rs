//! Signatures: nothing is taken that was not signed. Lines: query, headers' value, body; the first byte picks a method.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::request::{Headers, RawRequest};
use postback_fuzz::domain::signature::{InboundScheme, SigningSecret, sign_body, sign_query, sign_webhook, verify};
use postback_fuzz::{NOW_SECONDS, now};

const TOLERANCE: Duration = Duration::from_secs(300);

fuzz_target!(|raw: &[u8]| {
    let Some((method, rest)) = raw.split_first() else { return };
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (query, value, body) = (part(), part(), part());
    let method = if method % 2 == 0 { "GET" } else { "POST" };
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let time = NOW_SECONDS.to_string();
    let check = |scheme, raw_query: &[u8], headers: &[(&str, &[u8])], body: &[u8]| {
        let request = RawRequest { method, raw_query, headers: Headers(headers), body };
        verify(scheme, std::slice::from_ref(&secret), &request, now(), TOLERANCE)
    };
    let id: (&str, &[u8]) = ("webhook-id", b"msg_1");
    let at = ("webhook-timestamp", time.as_bytes());
    assert!(check(InboundScheme::Query, query, &[], body).is_err());
    assert!(check(InboundScheme::Body, query, &[("x-signature", value)], body).is_err());
    assert!(check(InboundScheme::Standard, query, &[id, at, ("webhook-signature", value)], body).is_err());
    assert!(
        check(InboundScheme::Standard, query, &[id, ("webhook-timestamp", value), ("webhook-signature", value)], body)
            .is_err()
    );

    // What is signed is taken, whatever it is.
    let (content, signed_query, signed_body) =
        if method == "GET" { (query, query, &[][..]) } else { (body, &[][..], body) };
    let header = sign_body(&secret, NOW_SECONDS, content);
    assert!(check(InboundScheme::Body, signed_query, &[("x-signature", header.as_bytes())], signed_body).is_ok());
    let header = sign_webhook(&[&secret], "msg_1", NOW_SECONDS, content);
    let headers = [id, at, ("webhook-signature", header.as_bytes())];
    assert!(check(InboundScheme::Standard, signed_query, &headers, signed_body).is_ok());
    let Ok(text) = std::str::from_utf8(query) else { return };
    let whole = sign_query(&secret, NOW_SECONDS, text);
    let taken = check(InboundScheme::Query, whole.as_bytes(), &[], b"");
    let names = postback_fuzz::domain::encoding::lenient_percent_decode(query);
    let mentions = |name: &[u8]| names.windows(name.len()).any(|part| part == name);
    assert!(taken.is_ok() || mentions(b"ts") || mentions(b"signature"), "{whole}");
    // With anything after it, it is not.
    let longer = [whole.as_bytes(), b"&", value].concat();
    assert!(check(InboundScheme::Query, &longer, &[], b"").is_err());
});
