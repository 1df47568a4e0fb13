//! `docs/operations.md` and `deploy/`: the lines for backing up and restoring are run on both engines against a service under
//! way; every alert has its heading; every metric in the rules is one of ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use postback::alerts::catalogue::Alert;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::text;
use crate::support::engines::server as databases;
use crate::support::eventually;
use crate::support::process::{Process, request};
use crate::support::receiver::Receiver;
use crate::support::shop::{CLICK, Shop};
use crate::support::site::{Site, Stack, on_both_stacks};

const PAGE: &str = "docs/operations.md";

on_both_stacks! {
    a_restored_backup_is_sound_and_goes_on
}

/// What the lines of the page are given.
struct Place {
    data: PathBuf,
    backup: PathBuf,
    database_url: String,
    master_key: String,
}

impl Place {
    fn of(site: &Site, backup: &Path) -> Self {
        let brokered = site.stack == Stack::Brokered;
        let given = |name| if brokered { site.get(name).to_owned() } else { String::new() };
        let data = PathBuf::from(site.get("data_dir"));
        Self { data, backup: backup.to_owned(), database_url: given("database.url"), master_key: given("master_key") }
    }

    /// Runs the block of the page with this name; what it printed.
    fn run(&self, name: &str) -> String {
        let page = text(PAGE);
        let block = page.split(&format!("```sh {name}\n")).nth(1).and_then(|rest| rest.split("```").next());
        let program = Path::new(env!("CARGO_BIN_EXE_postback")).parent().unwrap();
        let script = format!("PATH={}:$PATH\n{}", program.display(), block.expect("the page has the block"));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &script]).current_dir(&self.backup);
        shell.env("data", &self.data).env("backup", &self.backup).env_remove("AMQP_URL").env_remove("DATABASE_URL");
        if !self.database_url.is_empty() {
            shell.env("DATABASE_URL", &self.database_url).env("POSTBACK_MASTER_KEY", &self.master_key);
        }
        let run = shell.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{name}: {said}");
        said
    }
}

/// The engine's name in the blocks.
fn engine(stack: Stack) -> &'static str {
    match stack {
        Stack::Embedded => "sqlite",
        Stack::Brokered => "postgres",
    }
}

/// Fires a sale; the verdict.
async fn fire(service: &Process, shop: &Shop, event_id: &str) -> String {
    let path = format!("/v1/postbacks?click_id={CLICK}&event_id={event_id}&goal=sale&amount=20");
    let (status, answer) =
        request(service.address, "GET", &path, Some(shop.api_key.to_text().expose_secret())).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["verdict"].as_str().unwrap().to_owned()
}

/// An empty place for the same service.
async fn elsewhere(site: &Site, folder: &Path) -> Site {
    std::fs::create_dir(folder).unwrap();
    let other = site.again().with("data_dir", &folder.display().to_string());
    match site.stack {
        Stack::Embedded => other,
        Stack::Brokered => other.with("database.url", &databases::url_of(&databases::new_database().await)),
    }
}

async fn a_restored_backup_is_sound_and_goes_on(stack: Stack) {
    let receiver = Receiver::start().await;
    let site = Site::new(stack).await;
    let store = site.store().await;
    let shop = Shop::open(&*store).await;
    shop.tell(&*store, &receiver, &[]).await;
    store.close().await;
    let folder = PathBuf::from(site.get("data_dir"));
    let backup = folder.join("backup");
    std::fs::create_dir(&backup).unwrap();

    let service = Process::start(&site, None).await;
    assert_eq!(fire(&service, &shop, "before").await, "accepted");
    let place = Place::of(&site, &backup);
    let backing_up = tokio::task::spawn_blocking(move || place.run(&format!("backup-{}", engine(stack))));
    let mut fired = 0;
    while !backing_up.is_finished() || fired < 20 {
        assert_eq!(fire(&service, &shop, &format!("during-{fired}")).await, "accepted");
        fired += 1;
    }
    let said = backing_up.await.unwrap();
    assert!(stack == Stack::Brokered || said.contains("ok"), "the copy is whole: {said}");
    assert_eq!(fire(&service, &shop, "after").await, "accepted");
    service.kill().await;

    let other = elsewhere(&site, &folder.join("restored")).await;
    let said = Place::of(&other, &backup).run(&format!("restore-{}", engine(stack)));
    assert!(said.contains("sound"), "{said}");
    let service = Process::start(&other, None).await;
    assert_eq!(fire(&service, &shop, "before").await, "duplicate");
    assert_eq!(fire(&service, &shop, "after").await, "accepted", "what came after the backup is asked for again");
    for number in 0..fired {
        fire(&service, &shop, &format!("during-{number}")).await;
    }
    // The secret could be read: the receiver's judge takes what the restored service signs.
    let told = receiver.posts().len();
    assert_eq!(fire(&service, &shop, "new").await, "accepted");
    eventually("the restored service tells", async || {
        receiver.posts().iter().skip(told).any(|post| {
            let message: Value = serde_json::from_str(&post.body).unwrap();
            message["data"]["event_id"] == "new"
        })
    })
    .await;
    drop(service);
}

#[test]
fn every_alert_has_its_heading() {
    let page = text(PAGE);
    let section = page.split("\n## Alerts\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let headings: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts: Vec<&str> = Alert::ALL.iter().map(|alert| alert.as_str()).collect();
    assert_eq!(headings, alerts, "in the order of alerts::catalogue");
}

/// The words of a text that are names of our metrics.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("postback_")).collect()
}

#[tokio::test]
async fn every_metric_of_the_rules_and_the_guide_is_shown_by_the_service() {
    let site = Site::new(Stack::Embedded).await;
    let store = site.store().await;
    let shop = Shop::open(&*store).await;
    store.close().await;
    let service = Process::start(&site, None).await;
    fire(&service, &shop, "one").await;
    let address = format!("http://{}/metrics", service.address);
    let shown = Command::new("curl").args(["-fsS", &address]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let rules = text("deploy/prometheus/postback.rules.yml");
    let guide = text(PAGE);
    let named: BTreeSet<&str> = metric_names(&rules).union(&metric_names(&guide)).copied().collect();
    assert!(named.len() > 8, "{named:?}");
    let known = |name: &str| {
        shown
            .lines()
            .any(|line| line.split(['{', ' ']).next() == Some(name) || line.starts_with(&format!("# TYPE {name} ")))
    };
    for name in named {
        assert!(known(name), "no metric {name} in:\n{shown}");
    }
    for label in [
        "verdict=\"rejected\"",
        "verdict=\"parked\"",
        "result=\"dropped\"",
        "outcome=\"failed\"",
        "outcome=\"delivered\"",
    ] {
        assert!(rules.contains(label) && shown.contains(label), "{label}");
    }
    for alert in Alert::ALL {
        let line = format!("postback_alert_open{{alert=\"{}\"}} ", alert.as_str());
        assert!(shown.contains(&line), "{line}");
    }
    drop(service);
}
