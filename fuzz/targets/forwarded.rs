//! What proxies report. Only what the nearest trusted one saw counts; the rest is a claim.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::request::Headers;
use postback_fuzz::intake::address::{ForwardedHeader, client_address};

fuzz_target!(|claim: &[u8]| {
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    for (name, header, seen) in [
        ("x-forwarded-for", ForwardedHeader::XForwardedFor, "198.51.100.7"),
        ("forwarded", ForwardedHeader::Forwarded, "for=198.51.100.7"),
    ] {
        let client = |peer: &str, values: &[&[u8]]| {
            let headers: Vec<_> = values.iter().map(|value| (name, *value)).collect();
            client_address(address(peer), Headers(&headers), header, &trusted)
        };
        assert_eq!(client("192.0.2.1", &[claim]), address("192.0.2.1"), "an untrusted peer speaks for itself");
        assert_eq!(client("10.0.0.1", &[claim, seen.as_bytes()]), address("198.51.100.7"), "the left is a claim");
        let joined = [claim, b",", seen.as_bytes()].concat();
        assert_eq!(client("10.0.0.1", &[&joined]), address("198.51.100.7"));
        let _ = client("10.0.0.1", &[claim]);
    }
});
