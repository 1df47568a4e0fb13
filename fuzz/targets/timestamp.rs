//! Times: RFC 3339 and Unix times, as a postback carries them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::time::Timestamp;
use postback_fuzz::intake::mapping::Mapping;
use postback_fuzz::intake::parse::{Permissions, parse};
use postback_fuzz::{get, now, percent};

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

fuzz_target!(|text: &str| {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        assert!(time.micros() >= 0);
        assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Some(time));
    }
    let Ok(fields) = get(format!("event_id=e&occurred_at={}", percent(text)).as_bytes()) else { return };
    let Ok(parsed) = parse(&fields, &Mapping::canonical(), Permissions::default(), now()) else { return };
    let time = parsed.postback.occurred_at.expect("it was sent");
    assert!((0..=now().micros() + DAY_MICROS).contains(&time.micros()));
});
