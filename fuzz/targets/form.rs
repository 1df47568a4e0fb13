//! A form body, with a query before it up to the first line end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::{check_fields, check_refusal, post};

fuzz_target!(|raw: &[u8]| {
    let mut halves = raw.splitn(2, |byte| *byte == b'\n');
    let (query, body) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    match post("application/x-www-form-urlencoded", query, body) {
        Ok(fields) => check_fields(&fields),
        Err(rejection) => check_refusal(&rejection),
    }
});
