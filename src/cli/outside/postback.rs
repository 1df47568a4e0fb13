//! The postbacks that are fired: each follows from its number, and is signed anew each time that it is sent.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::book::index;
use crate::domain::signature::{SigningSecret, sign_body};

/// How long a body is, as BENCHMARK has it.
const BODY_BYTES: usize = 450;
/// What the last field is filled up with.
const FILLER: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// What every postback of a bench has in common.
pub struct Recipe {
    /// What event ids begin with; or, where they are scattered, what stands before their number.
    pub event_prefix: String,
    /// Whether event ids begin with digits that look random, so that their keys lie anywhere in an index.
    pub scattered: bool,
    /// Where the service is.
    pub service: SocketAddr,
    /// The key that is sent.
    pub key: String,
    /// What it is signed with.
    pub secret: SigningSecret,
    /// The clicks of each affiliate; postbacks go round both.
    pub clicks: Vec<Vec<String>>,
}

impl Recipe {
    /// Writes the body of a postback over `body`; the same bytes each time.
    pub fn body(&self, number: u64, body: &mut String) {
        let affiliates = self.clicks.len().max(1);
        let clicks = self.clicks.get(index(number) % affiliates).map(Vec::as_slice).unwrap_or_default();
        let click = clicks.get(index(number) / affiliates % clicks.len().max(1)).map_or("", String::as_str);
        body.clear();
        // Writing to a string does not fail.
        let _ = write!(
            body,
            "{{\"click_id\":\"{click}\",\"event_id\":\"{}{}{number:010}\",\"goal\":\"sale\",\"status\":\"approved\",\
             \"amount\":\"{}\",\"currency\":\"EUR\",\"sub1\":\"campaign-{}\",\"sub2\":\"banner-728x90\",\
             \"sub3\":\"landing-page-b\",\"sub4\":\"de\",\"sub5\":\"",
            if self.scattered { scatter(number) } else { String::new() },
            self.event_prefix,
            amount(number),
            number % 97,
        );
        while body.len() + 2 < BODY_BYTES {
            let missing = BODY_BYTES - 2 - body.len();
            body.push_str(FILLER.get(..missing).unwrap_or(FILLER));
        }
        body.push_str("\"}");
    }

    /// Writes a whole signed request over `request`.
    pub fn request(&self, body: &str, unix_seconds: i64, request: &mut String) {
        request.clear();
        // Writing to a string does not fail.
        let _ = write!(
            request,
            "POST /v1/postbacks HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
             X-Signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.service,
            self.key,
            sign_body(&self.secret, unix_seconds, body.as_bytes()),
            body.len(),
        );
    }
}

/// Digits that differ for each number and look random (the finalizer of SplitMix64).
fn scatter(number: u64) -> String {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}-", mixed ^ (mixed >> 31))
}

/// The amount of a postback.
pub fn amount(number: u64) -> String {
    let cents = 100 + number.wrapping_mul(37) % 90_000;
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_length_that_was_promised_and_all_differ() {
        let recipe = Recipe {
            event_prefix: "bench-x-".into(),
            scattered: false,
            service: "127.0.0.1:80".parse().unwrap(),
            key: "k".into(),
            secret: SigningSecret::generate(),
            clicks: vec![vec!["a0".into(), "a1".into()], vec!["b0".into()]],
        };
        let body = |number| {
            let mut body = "old".to_owned();
            recipe.body(number, &mut body);
            body
        };
        for number in [0, 1, 2, 999_999_999] {
            let text = body(number);
            assert_eq!(text.len(), BODY_BYTES, "{text}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["event_id"], format!("bench-x-{number:010}"));
        }
        let clicks: Vec<String> = (0..5)
            .map(|number| {
                serde_json::from_str::<serde_json::Value>(&body(number)).unwrap()["click_id"].as_str().unwrap().into()
            })
            .collect();
        assert_eq!(clicks, ["a0", "b0", "a1", "b0", "a0"]);
        let mut request = String::new();
        recipe.request(&body(7), 1_700_000_000, &mut request);
        assert!(request.contains("Content-Length: 450\r\n\r\n{\"click_id\""), "{request}");
        assert!(request.contains(&sign_body(&recipe.secret, 1_700_000_000, body(7).as_bytes())), "{request}");

        let recipe = Recipe { scattered: true, ..recipe };
        let mut text = String::new();
        recipe.body(7, &mut text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["event_id"], format!("{}bench-x-0000000007", scatter(7)));
        assert_eq!(text.len(), BODY_BYTES, "{text}");
    }
}
