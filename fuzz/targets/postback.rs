//! From a query to a postback: what is taken can be stored and read back, and says what its parameters said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::postback::Postback;
use postback_fuzz::intake::mapping::Mapping;
use postback_fuzz::intake::parse::{Permissions, parse};
use postback_fuzz::{check_refusal, get, now};

fuzz_target!(|raw: &[u8]| {
    let Ok(fields) = get(raw) else { return };
    match parse(&fields, &Mapping::canonical(), Permissions { override_payout: true, ..Permissions::default() }, now()) {
        Ok(parsed) => {
            let stored = serde_json::to_string(&parsed.postback).expect("it can be stored");
            let read = serde_json::from_str::<Postback>(&stored).expect("it can be read back");
            assert_eq!(read, parsed.postback);
            assert_eq!(read.sent_hash(), parsed.postback.sent_hash());
            for (id, name) in [(&read.click_id, "click_id"), (&read.event_id, "event_id"), (&read.goal, "goal")] {
                assert_eq!(id.as_ref().map(|id| id.as_str()), fields.value(name), "an id is what was sent");
            }
            assert!(read.amount.is_none_or(|amount| !amount.is_negative()));
            assert!(parsed.warnings.len() <= 21);
        }
        Err(rejection) => check_refusal(&rejection),
    }
});
