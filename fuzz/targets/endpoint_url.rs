//! Addresses of endpoints: what is taken leads to the public internet over https, however it is spelt.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::delivery::egress::{EgressPolicy, TargetHost};

fuzz_target!(|text: &str| {
    let policy = EgressPolicy::default();
    if let Ok(target) = policy.judge_url(text) {
        assert_eq!(target.uri().scheme_str(), Some("https"));
        assert!(target.port() == 443 || target.port() >= 1024);
        match target.host() {
            TargetHost::Address(address) => {
                assert!(policy.judge_address(*address).is_ok());
                assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
            }
            TargetHost::Name(name) => assert!(name.contains('.') && name.is_ascii() && !name.ends_with(".local")),
        }
        let written = target.uri().to_string();
        let again = policy.judge_url(&written).expect("what was taken is taken again");
        assert_eq!((again.host(), again.port()), (target.host(), target.port()), "{written}");
    }
    let private = EgressPolicy::new(vec!["127.0.0.0/8".parse().expect("a network")]);
    let _ = private.judge_url(text);
});
