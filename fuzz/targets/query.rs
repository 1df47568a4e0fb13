//! The query string of a GET.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::{check_fields, check_refusal, get};

fuzz_target!(|raw: &[u8]| match get(raw) {
    Ok(fields) => check_fields(&fields),
    Err(rejection) => check_refusal(&rejection),
});
