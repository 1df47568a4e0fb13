//! A click id: nobody but us can make one. The first bytes mint a good one, the rest changes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::click::{ClickId, ClickMacKey, LinkCode};
use postback_fuzz::now;

fuzz_target!(|raw: &[u8]| {
    // The fuzzer sees what texts are compared with, so it learns the ids that are minted here; under another key it must
    // not find any.
    let (key, other_key) = (ClickMacKey::from_bytes([7; 32]), ClickMacKey::from_bytes([8; 32]));
    let decode = |text: &str| ClickId::decode(text, &|number| (number == 1).then_some(&key));
    if let Ok(text) = std::str::from_utf8(raw) {
        assert_eq!(ClickId::decode(text, &|_| Some(&other_key)), None, "a forgery");
        let _ = LinkCode::parse(text).map(|code| assert_eq!(code.to_string(), text));
    }
    let Some((random, changes)) = raw.split_first_chunk::<5>() else { return };
    let link = LinkCode::parse("abcdefgh").expect("a code");
    let good = ClickId::mint(link, now(), 1, &key, *random).to_string();
    assert_eq!(decode(&good).map(|own| (own.link, own.clicked_at)), Some((link, now())));
    let mut bytes = good.clone().into_bytes();
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % bytes.len();
        bytes[at] = change[1];
    }
    if let Ok(changed) = String::from_utf8(bytes) {
        assert!(changed == good || decode(&changed).is_none(), "{changed}");
    }
});
