//! A JSON body. Numbers keep their literal text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::intake::fields::read_json_object;
use postback_fuzz::{check_fields, check_refusal};

fuzz_target!(|raw: &[u8]| match read_json_object(raw) {
    Ok(fields) => {
        check_fields(&fields);
        // What our strict reader takes, an ordinary one takes too.
        serde_json::from_slice::<serde::de::IgnoredAny>(raw).expect("it is JSON");
    }
    Err(rejection) => check_refusal(&rejection),
});
