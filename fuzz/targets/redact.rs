//! What is kept of a request: no secret, and otherwise the bytes as they came. The first byte says what it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::intake::fields::{MediaType, read_json_object};
use postback_fuzz::intake::redact::{redact_body, redact_query};
use postback_fuzz::{get, post};

const SECRET: &str = "token";

fuzz_target!(|raw: &[u8]| {
    let Some((kind, raw)) = raw.split_first() else { return };
    if kind % 2 == 0 {
        let kept = redact_query(raw);
        assert_eq!(redact_query(&kept), kept, "once is enough");
        let (Ok(sent), Ok(read)) = (get(raw), get(&kept)) else { return };
        for field in sent.list {
            let is_kept = read.value(&field.name) == Some(field.value.as_str());
            assert!(is_kept || read.value(&field.name) == Some("redacted"), "{}", field.name);
            assert!(
                !field.name.eq_ignore_ascii_case(SECRET)
                    || field.value.is_empty()
                    || read.value(&field.name) == Some("redacted")
            );
        }
    } else {
        let kept = redact_body(Some(MediaType::Json), raw);
        let Ok(sent) = read_json_object(raw) else { return };
        let read = post("application/json", b"", &kept).expect("what was good stays good");
        for field in sent.list {
            assert!(!field.name.eq_ignore_ascii_case(SECRET) || read.value(&field.name) == Some("redacted"));
        }
    }
});
