//! `replay` and `sign`, beside a running service and without one.

use std::process::Command;

use postback::domain::catalog::{Goal, GoalPolicy, Source, SourceSecret};
use postback::domain::ids::SourceSecretId;
use postback::domain::postback::ConversionStatus;
use postback::domain::signature::{InboundScheme, SigningSecret};
use postback::store::configuration::Entry;
use secrecy::ExposeSecret as _;

use super::program::{self, Folder};
use crate::support::shop::{CLICK, Shop};
use crate::support::world;

/// The answer of a command that a person pastes into a shell.
fn pasted(line: &str, key: Option<&str>) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).env_remove("POSTBACK_KEY").envs(key.map(|key| ("POSTBACK_KEY", key)));
    let ended = shell.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr))
}

#[tokio::test]
async fn what_sign_prints_works_as_pasted_and_what_was_refused_is_replayed() {
    let folder = Folder::new();
    let data = folder.join("data").display().to_string();
    let listen = ("POSTBACK_SERVER_LISTEN", "127.0.0.1:0");
    let mut service = program::start(&folder, &["serve"], &[("POSTBACK_DATA_DIR", &data), listen]);
    let address = service.address().await;
    let here = [("POSTBACK_DATA_DIR", data.as_str()), ("POSTBACK_SERVER_LISTEN", &address)];
    let run = async |arguments: &[&str]| program::run(&folder, arguments, &here).await;

    let settings = postback::config::Settings::from_pairs(&[("data_dir", &data)]).unwrap();
    let store = postback::app::open_store(&settings).await.unwrap();
    let shop = Shop::open(&*store).await;
    let now = postback::clock::Clock::system().now();
    let source =
        Source { id: shop.source_id, signature_scheme: InboundScheme::Body, ..world::source(now, shop.operator_id) };
    let secret = SourceSecret {
        id: SourceSecretId::new(now),
        source_id: shop.source_id,
        secret: SigningSecret::generate(),
        created_at: now,
        expires_at: None,
    };
    store.put(&[Entry::Source(source), Entry::SourceSecret(secret)]).await.unwrap();
    let key = shop.api_key.to_text();
    let key = key.expose_secret();
    let source = shop.source_id.to_string();
    let body = format!(r#"{{"click_id": "{CLICK}", "event_id": "e1", "goal": "vip"}}"#);
    let line = run(&["sign", "--source", &source, &body]).await.succeeded();
    assert!(pasted(&line, None).contains("POSTBACK_KEY"), "a shell without the key says so");
    // The service learns of the set-up within seconds.
    crate::support::eventually("the key is known", async || pasted(&line, Some(key)).contains("unknown_goal")).await;

    let goal: Goal = world::goal(now, shop.program_id, "vip", GoalPolicy::Once, ConversionStatus::Approved);
    store.put(&[Entry::Goal(goal)]).await.unwrap();
    let dry = run(&["replay", "receipts", "--code", "unknown_goal", "--from", "1h", "--dry-run"]).await.succeeded();
    assert!(dry.contains("would be accepted  vip approved"), "{dry}");
    let told = run(&["replay", "receipts", "--code", "unknown_goal", "--from", "1h", "--rate", "1000"]).await;
    let told = told.succeeded();
    assert!(told.contains("is done") && told.contains("1 accepted"), "{told}");
    let job = told.split(':').next().unwrap().trim().to_owned();
    assert!(run(&["replay", "show", &job]).await.succeeded().contains("is done"));
    assert!(run(&["replay", "list"]).await.succeeded().contains(&job));
    assert!(run(&["replay", "cancel", &job]).await.failed_with(1).contains("done"));
    assert!(run(&["replay", "deliveries", "--dry-run"]).await.succeeded().contains("0 deliveries match"));
    assert!(pasted(&line, Some(key)).contains("duplicate"), "the replay has booked it");
    store.close().await;
    service.terminate();
    service.ended().await.succeeded();
}

#[tokio::test]
async fn what_makes_no_sense_is_said_in_sentences() {
    let folder = Folder::new();
    let data = folder.join("data").display().to_string();
    let run = async |arguments: &[&str]| program::run(&folder, arguments, &[("POSTBACK_DATA_DIR", &data)]).await;
    let zeros = "0".repeat(32);
    for (arguments, code, sentence) in [
        (&["replay", "deliveries", "--state", "delivered"][..], 2, "--from"),
        (&["replay", "deliveries", "--from", "yesterday"], 2, "RFC 3339"),
        (&["replay", "deliveries", "--rate", "0"], 2, "rate"),
        (&["replay", "receipts", "--code", "nonsense"], 2, "unknown_click"),
        (&["replay", "show", &format!("rpl_{zeros}")], 1, "replay list"),
        (&["replay", "cancel", &format!("rpl_{zeros}")], 1, "replay list"),
        (&["replay", "receipt", &format!("rc_{zeros}")], 1, "no receipt"),
        (&["replay", "delivery", &format!("dl_{zeros}")], 1, "no delivery"),
        (&["sign", "--source", &format!("src_{zeros}"), "{}"], 1, "no source"),
    ] {
        let told = run(arguments).await.failed_with(code);
        assert!(told.contains(sentence), "{arguments:?}: {told}");
    }
    let detached = run(&["replay", "deliveries", "--detach"]).await.succeeded();
    let job = detached.split(':').next().unwrap().to_owned();
    assert!(run(&["replay", "cancel", &job]).await.succeeded().contains("canceled by command line"));
}
