//! The vectors of `tests/vectors.json`, made with another implementation, and every row of RELIABILITY section 5.

use proptest::prelude::*;
use serde_json::Value;

use super::super::request::Headers;
use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_767_225_600;

fn secret() -> SigningSecret {
    SigningSecret::parse(SECRET).unwrap()
}

fn vector(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../../tests/vectors.json")).unwrap();
    all[name].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW).unwrap()
}

fn check(scheme: InboundScheme, request: &RawRequest<'_>) -> Result<(), SignatureError> {
    let other = SigningSecret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    verify(scheme, &[other, secret()], request, now(), TOLERANCE)
}

fn query_result(query: &str) -> Result<(), SignatureError> {
    let request = RawRequest { method: "GET", raw_query: query.as_bytes(), headers: Headers(&[]), body: b"" };
    check(InboundScheme::Query, &request)
}

fn body_result(header: &str, body: &[u8]) -> Result<(), SignatureError> {
    let headers = [("X-Signature", header.as_bytes())];
    check(InboundScheme::Body, &RawRequest { method: "POST", raw_query: b"", headers: Headers(&headers), body })
}

#[test]
fn outbound_vector_of_standard_webhooks() {
    let v = vector("standard_webhooks");
    let secret = SigningSecret::parse(text(&v["secret"])).unwrap();
    let sign = |secrets: &[&SigningSecret]| {
        sign_webhook(secrets, text(&v["id"]), v["timestamp"].as_i64().unwrap(), text(&v["body"]).as_bytes())
    };
    assert_eq!(sign(&[&secret]), text(&v["signature"]));
    assert_eq!(text(&v["signature"]), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let both = sign(&[&SigningSecret::generate(), &secret]);
    assert_eq!(both.split(' ').count(), 2);
    assert!(both.ends_with(text(&v["signature"])));
}

#[test]
fn the_public_library_accepts_what_we_sign() {
    let secret = SigningSecret::generate();
    let library = standardwebhooks::Webhook::new(secret.text().expose_secret()).unwrap();
    let ours = sign_webhook(&[&secret], "ev_1", NOW, b"{}");
    assert_eq!(library.sign("ev_1", NOW, b"{}").unwrap(), ours);
}

#[test]
fn inbound_vectors() {
    let body = vector("inbound_body");
    assert_eq!(sign_body(&secret(), NOW, text(&body["body"]).as_bytes()), text(&body["header"]));
    assert_eq!(body_result(text(&body["header"]), text(&body["body"]).as_bytes()), Ok(()));
    let query = vector("inbound_query");
    assert_eq!(sign_query(&secret(), NOW, text(&query["query"])), text(&query["signed_query"]));
    assert_eq!(query_result(text(&query["signed_query"])), Ok(()));
}

#[test]
fn secrets_have_one_form() {
    let generated = SigningSecret::generate();
    assert_eq!(generated.text().expose_secret().len(), "whsec_".len() + 32, "no padding");
    assert!(SigningSecret::parse(generated.text().expose_secret()).is_ok());
    for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_***"] {
        assert_eq!(SigningSecret::parse(bad).err(), Some(SecretFormatError), "{bad}");
    }
    assert!(!format!("{:?}", secret()).contains("MfKQ"));
}

#[test]
fn query_signature_comes_once_and_last() {
    let signed = sign_query(&secret(), NOW, "click_id=c1&amount=5");
    let hex = signed.rsplit('=').next().unwrap();
    let stem = signed.split("&signature").next().unwrap();
    assert_eq!(query_result(stem), Err(SignatureError::Missing));
    assert_eq!(query_result(&signed.replace("&ts=1767225600", "")), Err(SignatureError::Missing), "no time");
    for bad in [
        format!("{signed}&payout=99"),
        format!("{signed}&signature={hex}"),
        format!("{signed}&%73ignature={hex}"),
        format!("%73ignature={hex}&{signed}"),
        format!("{stem}&ts=1767225600&signature={hex}"),
        format!("{stem}&%74s=1767225600&signature={hex}"),
        format!("{stem}&signature={}", &hex[1..]),
        format!("{stem}&signature={}zz", &hex[2..]),
        format!("{stem}&signature="),
        format!("{stem}&signature"),
        sign_query(&secret(), NOW, &format!("a=1&%73ignature={hex}")),
        sign_query(&secret(), NOW, "a=1&%74s=1767225600"),
        signed.replace("amount=5", "amount=6"),
        signed.replace("amount=5", "amount=%35"),
    ] {
        assert_eq!(query_result(&bad), Err(SignatureError::Invalid), "{bad}");
    }
}

#[test]
fn a_query_signature_does_not_cover_a_body() {
    let signed = sign_query(&secret(), NOW, "click_id=c1");
    let request =
        RawRequest { method: "POST", raw_query: signed.as_bytes(), headers: Headers(&[]), body: b"amount=1000" };
    assert_eq!(check(InboundScheme::Query, &request), Err(SignatureError::Invalid));
    assert_eq!(check(InboundScheme::Query, &RawRequest { body: b"", ..request }), Ok(()));
}

#[test]
fn times_are_within_the_tolerance_either_way() {
    for (seconds, expected) in [
        (NOW - 300, Ok(())),
        (NOW + 300, Ok(())),
        (NOW - 301, Err(SignatureError::Stale)),
        (NOW + 301, Err(SignatureError::Stale)),
    ] {
        assert_eq!(query_result(&sign_query(&secret(), seconds, "a=1")), expected, "{seconds}");
        assert_eq!(body_result(&sign_body(&secret(), seconds, b"{}"), b"{}"), expected, "{seconds}");
    }
    for time in ["abc", "", "+1767225600", "1767225600.5", "99999999999999999999", "-1"] {
        let query = format!("a=1&ts={time}&signature={}", "0".repeat(64));
        assert_eq!(query_result(&query), Err(SignatureError::Stale), "{time}");
        let header = format!("t={time},v1={}", "0".repeat(64));
        assert_eq!(body_result(&header, b"{}"), Err(SignatureError::Stale), "{time}");
    }
}

#[test]
fn body_scheme_covers_the_exact_bytes() {
    let good = sign_body(&secret(), NOW, b"{\"amount\": 5}");
    assert_eq!(body_result(&good, b"{\"amount\": 5}"), Ok(()));
    assert_eq!(body_result(&good, b"{\"amount\":5}"), Err(SignatureError::Invalid), "re-serialised");
    let other = format!("t={NOW},v1={},{}", "0".repeat(64), good.split(',').nth(1).unwrap());
    assert_eq!(body_result(&other, b"{\"amount\": 5}"), Ok(()), "several v1");
    for bad in [
        good.replace("v1=", "v0="),
        good.replace("v1=", "v1=0"),
        format!("{good}zz"),
        format!("t=1,{good}"),
        good.split(',').nth(1).unwrap().to_owned(),
        String::new(),
    ] {
        assert_eq!(body_result(&bad, b"{\"amount\": 5}"), Err(SignatureError::Invalid), "{bad}");
    }
    let unsigned = RawRequest { method: "POST", raw_query: b"", headers: Headers(&[]), body: b"{}" };
    assert_eq!(check(InboundScheme::Body, &unsigned), Err(SignatureError::Missing));
    let header = good.as_bytes();
    let twice = [("x-signature", header), ("X-Signature", header)];
    let request = RawRequest { headers: Headers(&twice), body: b"{\"amount\": 5}", ..unsigned };
    assert_eq!(check(InboundScheme::Body, &request), Err(SignatureError::Invalid));
}

#[test]
fn nothing_is_read_that_body_schemes_do_not_cover() {
    let header = sign_body(&secret(), NOW, b"{}");
    let headers = [("X-Signature", header.as_bytes())];
    let with_query = RawRequest { method: "POST", raw_query: b"amount=9", headers: Headers(&headers), body: b"{}" };
    assert_eq!(check(InboundScheme::Body, &with_query), Err(SignatureError::Invalid));

    let header = sign_body(&secret(), NOW, b"click_id=c1");
    let headers = [("X-Signature", header.as_bytes())];
    let get = RawRequest { method: "GET", raw_query: b"click_id=c1", headers: Headers(&headers), body: b"" };
    assert_eq!(check(InboundScheme::Body, &get), Ok(()), "a GET is signed over its raw query");
    assert_eq!(
        check(InboundScheme::Body, &RawRequest { raw_query: b"click_id=c2", ..get }),
        Err(SignatureError::Invalid)
    );
    assert_eq!(check(InboundScheme::Body, &RawRequest { body: b"x", ..get }), Err(SignatureError::Invalid));
}

#[test]
fn standard_scheme() {
    let good = format!("v1a,AAAA v1,AAAA {}", sign_webhook(&[&secret()], "msg_1", NOW, b"{}"));
    let time = NOW.to_string();
    let result = |id: &str, time: &str, signature: &str| {
        let headers = [
            ("webhook-id", id.as_bytes()),
            ("webhook-timestamp", time.as_bytes()),
            ("webhook-signature", signature.as_bytes()),
        ];
        let request = RawRequest { method: "POST", raw_query: b"", headers: Headers(&headers), body: b"{}" };
        for missing in 0..3 {
            let mut two = headers.to_vec();
            two.remove(missing);
            let request = RawRequest { headers: Headers(&two), ..request };
            assert_eq!(check(InboundScheme::Standard, &request), Err(SignatureError::Missing));
        }
        check(InboundScheme::Standard, &request)
    };
    assert_eq!(result("msg_1", &time, &good), Ok(()));
    let empty = sign_webhook(&[&secret()], "", NOW, b"{}");
    assert_eq!(result("", &time, &empty), Err(SignatureError::Invalid));
    assert_eq!(result("msg_2", &time, &good), Err(SignatureError::Invalid));
    assert_eq!(result("msg_1", "x", &good), Err(SignatureError::Stale));
    assert_eq!(result("msg_1", &time, &good.replace("v1,", "v2,")), Err(SignatureError::Invalid));
    let dotted = sign_webhook(&[&secret()], "msg.1", NOW, b"{}");
    assert_eq!(result("msg.1", &time, &dotted), Err(SignatureError::Invalid), "id and time must not run together");
}

#[test]
fn no_secret_means_no_valid_signature() {
    let header = sign_body(&secret(), NOW, b"{}");
    let headers = [("x-signature", header.as_bytes())];
    let request = RawRequest { method: "POST", raw_query: b"", headers: Headers(&headers), body: b"{}" };
    assert_eq!(verify(InboundScheme::Body, &[], &request, now(), TOLERANCE), Err(SignatureError::Invalid));
    assert_eq!(verify(InboundScheme::None, &[], &request, now(), TOLERANCE), Ok(()));
}

proptest! {
    #[test]
    fn a_flipped_byte_is_found(body in proptest::collection::vec(any::<u8>(), 1..64), at in any::<proptest::sample::Index>()) {
        let header = sign_body(&secret(), NOW, &body);
        prop_assert_eq!(body_result(&header, &body), Ok(()));
        let mut changed = body.clone();
        let index = at.index(changed.len());
        changed[index] ^= 1;
        prop_assert_eq!(body_result(&header, &changed), Err(SignatureError::Invalid));
    }

    /// One bit, anywhere in what is signed or in the signature itself.
    #[test]
    fn a_flipped_bit_is_found_anywhere(
        content in "[ -~]{1,40}", at in any::<proptest::sample::Index>(), bit in 0..7_u32, scheme in 0..3_usize,
    ) {
        let flip = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            // A hexadecimal digit is the same in either case.
            let same = bytes[index].is_ascii_hexdigit() && bytes[index].eq_ignore_ascii_case(&text.as_bytes()[index]);
            (bytes, same)
        };
        let posted = |headers: &[(&str, &[u8])], body: &[u8], scheme| {
            check(scheme, &RawRequest { method: "POST", raw_query: b"", headers: Headers(headers), body })
        };
        let (header, time) = (sign_body(&secret(), NOW, content.as_bytes()), NOW.to_string());
        let standard = sign_webhook(&[&secret()], "msg_1", NOW, content.as_bytes());
        let (changed, _) = flip(&content);
        match scheme {
            0 => {
                let (flipped, same) = flip(&header);
                let result = posted(&[("x-signature", &flipped)], content.as_bytes(), InboundScheme::Body);
                prop_assert_eq!(result.is_ok(), same, "{}", header);
                prop_assert!(posted(&[("x-signature", header.as_bytes())], &changed, InboundScheme::Body).is_err());
            }
            1 => {
                let parts = [("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &standard)];
                let whole: Vec<(&str, &[u8])> = parts.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
                prop_assert_eq!(posted(&whole, content.as_bytes(), InboundScheme::Standard), Ok(()));
                prop_assert!(posted(&whole, &changed, InboundScheme::Standard).is_err());
                for part in 0..parts.len() {
                    let (flipped, _) = flip(parts[part].1);
                    let mut headers = whole.clone();
                    headers[part].1 = &flipped;
                    prop_assert!(posted(&headers, content.as_bytes(), InboundScheme::Standard).is_err(), "{}", part);
                }
            }
            _ => {
                let signed = sign_query(&secret(), NOW, "click_id=c1&amount=5");
                let (flipped, same) = flip(&signed);
                let in_signature = at.index(signed.len()) >= signed.len() - 64;
                let request = RawRequest { method: "GET", raw_query: &flipped, headers: Headers(&[]), body: b"" };
                prop_assert_eq!(check(InboundScheme::Query, &request).is_ok(), same && in_signature);
            }
        }
    }

    #[test]
    fn verification_never_panics(query in proptest::collection::vec(any::<u8>(), 0..96), header in proptest::collection::vec(any::<u8>(), 0..96)) {
        let headers = [("x-signature", header.as_slice()), ("webhook-id", &header), ("webhook-timestamp", &header), ("webhook-signature", &header)];
        let request = RawRequest { method: "GET", raw_query: &query, headers: Headers(&headers), body: b"" };
        for scheme in [InboundScheme::Standard, InboundScheme::Body, InboundScheme::Query] {
            prop_assert!(check(scheme, &request).is_err());
        }
    }
}
