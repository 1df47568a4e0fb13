//! Signatures, made here by other means than the service's own. Whatever is refused is kept: a sender that signs once
//! and retries an hour later loses nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::super::client::Call;
use super::super::world::{Setup, text};
use super::{EVIL, refused_and_kept, rows};

rows! { signature_invalid timestamp_off something_added_after_signing }

/// A source whose requests are signed, with a key and a secret.
struct Signed<'a> {
    setup: &'a Setup,
    key: String,
    secret: String,
    now: i64,
}

impl<'a> Signed<'a> {
    async fn by(setup: &'a Setup, scheme: &str) -> Self {
        let make = async |path: &str, body| {
            setup.admin("POST", &format!("/v1/admin/{path}")).json(&body).send().await.expect(201)
        };
        let source = json!({"operator_id": setup.operator, "name": "signed", "signature_scheme": scheme});
        let source = text(&make("sources", source).await, "id");
        let secret = text(&make(&format!("sources/{source}/secrets"), json!({})).await, "secret");
        let key = setup.operator_key(json!({"source_id": source})).await;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        Self { setup, key, secret, now: i64::try_from(now).unwrap() }
    }

    fn mac(&self, signed: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn query(&self, query: &str) -> Call {
        self.setup.call("GET", &format!("/v1/postbacks?{query}")).key(&self.key)
    }

    fn body(&self, header: &str, body: &str) -> Call {
        let call = self.setup.call("POST", "/v1/postbacks").key(&self.key).header("X-Signature", header);
        call.header("Content-Type", "application/json").body(body)
    }

    fn standard(&self, id: &str, time: &str, signature: &str, body: &str) -> Call {
        let call = self.setup.call("POST", "/v1/postbacks").key(&self.key);
        let call = call.header("webhook-id", id).header("webhook-timestamp", time);
        call.header("webhook-signature", signature).header("Content-Type", "application/json").body(body)
    }

    /// By the official library.
    fn standard_signature(&self, id: &str, time: i64, body: &str) -> String {
        standardwebhooks::Webhook::new(&self.secret).unwrap().sign(id, time, body.as_bytes()).unwrap()
    }

    async fn refuses(&self, call: &Call, code: &str) {
        refused_and_kept(self.setup, call, 401, code).await;
    }
}

/// The same bytes with one bit of one byte turned, at several places.
fn flipped(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).step_by(text.len() / 4).map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).unwrap()
    })
}

async fn signature_invalid(setup: &Setup) {
    in_the_query(&Signed::by(setup, "query").await).await;
    over_the_body(&Signed::by(setup, "body").await).await;
    by_standard_webhooks(&Signed::by(setup, "standard").await).await;
}

async fn in_the_query(source: &Signed<'_>) {
    let signed = format!("click_id=c1&goal=lead&x={EVIL}&ts={}", source.now);
    let signature = source.mac(&signed);
    source.query(&format!("{signed}&signature={signature}")).send().await.expect(200);
    for bad in flipped(&signature) {
        source.refuses(&source.query(&format!("{signed}&signature={bad}")), "signature_invalid").await;
    }
    for bad in [
        format!("{signed}&signature=g{}", &signature[1..]),
        format!("{signed}&signature={}", &signature[..62]),
        format!("{signed}&signature={signature}00"),
        format!("{signed}&signature={}", &signature[..63]),
        format!("{signed}&signature="),
        format!("{signed}&signature={EVIL}"),
        format!("{signed}&signature={signature}&signature={signature}"),
        format!("signature={signature}&{signed}"),
        format!("{signed}&signature={signature}&"),
        format!("{signed}&%73ignature={signature}"),
        format!("{signed}&signature={signature}&%73ignature={signature}"),
        format!("{}&signature={signature}", signed.replace("c1", "%631")),
        format!("{}&signature={signature}", signed.replace("click_id=c1&goal=lead", "goal=lead&click_id=c1")),
    ] {
        source.refuses(&source.query(&bad), "signature_invalid").await;
    }
    source.refuses(&source.query(&signed), "signature_missing").await;
    let with_body =
        source.setup.call("POST", &format!("/v1/postbacks?{signed}&signature={signature}")).key(&source.key);
    source.refuses(&with_body.form("amount=1000"), "signature_invalid").await;
}

async fn over_the_body(source: &Signed<'_>) {
    let (now, body) = (source.now, r#"{"click_id":"c1","goal":"lead","amount":1.50}"#);
    let signature = source.mac(&format!("{now}.{body}"));
    let header = format!("t={now},v1={signature}");
    source.body(&header, body).send().await.expect(200);
    let written_anew = serde_json::from_str::<serde_json::Value>(body).unwrap().to_string();
    assert_ne!(written_anew, body, "a float has lost its last digit");
    source.refuses(&source.body(&header, &written_anew), "signature_invalid").await;
    source.refuses(&source.body(&header, &body.replace(':', ": ")), "signature_invalid").await;
    source.refuses(&source.body(&header, &format!("{body}\n")), "signature_invalid").await;
    for bad in flipped(body).filter(|bad| bad != body) {
        source.refuses(&source.body(&header, &bad), "signature_invalid").await;
    }
    for bad in flipped(&signature) {
        source.refuses(&source.body(&format!("t={now},v1={bad}"), body), "signature_invalid").await;
    }
    for bad in [
        format!("t={now},v1={}", &signature[..62]),
        format!("t={now},v1={signature}00"),
        format!("t={now},v1={}zz", &signature[..62]),
        format!("t={now},v1="),
        format!("t={now},v1={EVIL}"),
        format!("t={now}"),
        format!("v1={signature}"),
        format!("t={now},t={now},v1={signature}"),
        format!("t={now},v0={signature}"),
        EVIL.to_owned(),
    ] {
        source.refuses(&source.body(&bad, body), "signature_invalid").await;
    }
    source.refuses(&source.body(&header, body).header("X-Signature", &header), "signature_invalid").await;
    let with_query = source.setup.call("POST", "/v1/postbacks?amount=1000").key(&source.key);
    let with_query = with_query.header("X-Signature", &header).header("Content-Type", "application/json").body(body);
    source.refuses(&with_query, "signature_invalid").await;
}

async fn by_standard_webhooks(source: &Signed<'_>) {
    let (now, body) = (source.now, r#"{"click_id":"c1","goal":"lead"}"#);
    let (time, signature) = (now.to_string(), source.standard_signature("msg_1", now, body));
    source.standard("msg_1", &time, &signature, body).send().await.expect(200);
    for bad in flipped(&signature).filter(|bad| !bad.contains(' ')) {
        source.refuses(&source.standard("msg_1", &time, &bad, body), "signature_invalid").await;
    }
    for (id, signature, body) in [
        ("msg_2", signature.as_str(), body),
        ("msg_1", &signature[..40], body),
        ("msg_1", &signature[3..], body),
        ("msg_1", &signature.replace("v1,", "v2,"), body),
        ("msg_1", "v1,", body),
        ("msg_1", "v1,evil0dd!", body),
        ("msg_1", &signature, r#"{"click_id":"c1","goal": "lead"}"#),
        ("msg.1", &source.standard_signature("msg.1", now, body), body),
    ] {
        source.refuses(&source.standard(id, &time, signature, body), "signature_invalid").await;
    }
    let twice = source.standard("msg_1", &time, &signature, body).header("webhook-id", "msg_1");
    source.refuses(&twice, "signature_invalid").await;
}

async fn timestamp_off(setup: &Setup) {
    let by_query = Signed::by(setup, "query").await;
    let by_body = Signed::by(setup, "body").await;
    let by_standard = Signed::by(setup, "standard").await;
    let body = r#"{"click_id":"c1","goal":"lead"}"#;
    let now = by_query.now;
    let queried = |time: &str| {
        let signed = format!("click_id=c1&goal=lead&x={EVIL}&ts={time}");
        by_query.query(&format!("{signed}&signature={}", by_query.mac(&signed)))
    };
    let bodied = |time: &str| by_body.body(&format!("t={time},v1={}", by_body.mac(&format!("{time}.{body}"))), body);
    // Some seconds have passed since `now` was read.
    for good in [now, now - 240, now + 300] {
        queried(&good.to_string()).send().await.expect(200);
        bodied(&good.to_string()).send().await.expect(200);
    }
    for off in [now - 301, now + 360, 0] {
        by_query.refuses(&queried(&off.to_string()), "signature_stale").await;
        by_body.refuses(&bodied(&off.to_string()), "signature_stale").await;
        let signature = by_standard.standard_signature("msg_1", off, body);
        let call = by_standard.standard("msg_1", &off.to_string(), &signature, body);
        by_standard.refuses(&call, "signature_stale").await;
    }
    for no_number in
        ["soon", "", "1e9", "-1", "0x5f5e100", &format!("{now}.0"), &format!("+{now}"), &format!("{now}000"), EVIL]
    {
        by_query.refuses(&queried(no_number), "signature_stale").await;
        by_body.refuses(&bodied(no_number), "signature_stale").await;
        let call = by_standard.standard("msg_1", no_number, "v1,AAAA", body);
        by_standard.refuses(&call, "signature_stale").await;
    }
}

async fn something_added_after_signing(setup: &Setup) {
    let source = Signed::by(setup, "query").await;
    let signed = format!("click_id=c1&goal=lead&ts={}", source.now);
    let signature = source.mac(&signed);
    for added in [
        format!("{signed}&signature={signature}&amount=1"),
        format!("{signed}&signature={signature}&{EVIL}"),
        format!("amount=1&{signed}&signature={signature}"),
        format!("{signed}&amount=1&signature={signature}"),
        format!("{signed}&signature={signature}%26amount%3D1"),
        format!("{signed}&signature={signature};amount=1"),
    ] {
        source.refuses(&source.query(&added), "signature_invalid").await;
    }
}
