//! Keys in headers, and secrets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::request::Headers;
use postback_fuzz::domain::secret::{ApiKey, KeyHash};
use postback_fuzz::domain::signature::SigningSecret;
use postback_fuzz::intake::inbound::presented_key;
use secrecy::ExposeSecret as _;

fuzz_target!(|raw: &[u8]| {
    for headers in [&[("authorization", raw)][..], &[("x-api-key", raw)], &[("x-api-key", raw), ("authorization", raw)]]
    {
        if let Ok(key) = presented_key(Headers(headers)) {
            assert_eq!(headers.len(), 1, "two are none");
            let text = key.to_text();
            let sent = String::from_utf8_lossy(raw);
            assert!(sent.contains(text.expose_secret()), "a key has one spelling");
            assert!(key.hash().is_of(&key) && !KeyHash::DUMMY.is_of(&key));
        }
    }
    let Ok(text) = std::str::from_utf8(raw) else { return };
    let _ = ApiKey::parse(text).map(|key| assert_eq!(key.to_text().expose_secret(), text));
    let _ = SigningSecret::parse(text).map(|secret| assert_eq!(secret.text().expose_secret(), text));
});
