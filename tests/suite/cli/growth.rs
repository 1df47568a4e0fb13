//! What `scripts/growth` fills a database with: rows that the service itself holds for its own, on both engines.

use serde_json::Value;
use tokio::process::Command;

use super::program::{self, Folder};
use crate::support::engines::{self, Database, Kind, on_both_engines};

on_both_engines!(copies_are_as_sound_as_what_was_copied);

/// Runs one of the scripts; what it wrote to standard output.
async fn script(name: &str, arguments: &[&str]) -> String {
    let path = format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new("python3").arg(path).args(arguments).kill_on_drop(true).output().await.unwrap();
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

async fn copies_are_as_sound_as_what_was_copied(kind: Kind) {
    let folder = Folder::new();
    let data = folder.path().display().to_string();
    let file = folder.join("postback.sqlite").display().to_string();
    let database: Option<Database> = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => Some(engines::open(kind).await),
    };
    let url = database.as_ref().map(Database::url);
    let (stored, filled) = match &url {
        None => (vec!["--data", &data], ["--sqlite", &file]),
        Some(url) => (vec!["--data", &data, "--database-url", url], ["--postgres", url]),
    };

    let seed = [env!("CARGO_BIN_EXE_postback"), "--conversions", "400", "--affiliates", "5"];
    let source = script("growth_seed.py", &[&seed[..], &stored].concat()).await;
    let line = script("growth_fill.py", &[&["--conversions", "20000"][..], &filled].concat()).await;
    let figures: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&figures["green"], &figures["conversions"]), (&true.into(), &20_000.into()), "{figures:#}");
    for table in ["receipts", "conversion_revisions", "ledger_entries", "payout_items", "deliveries", "attempts"] {
        assert!(figures["rows"][table].as_u64() > Some(1_000), "{table}: {figures:#}");
    }
    verify(&folder, url.as_deref()).await;

    // The service goes on from there, through the source of all the others.
    let more = ["bench", "end-to-end", "--json", "--count", "50", "--warmup", "0", "--clicks", "5"];
    let place = url.as_deref().map_or(["--data", &data], |url| ["--database-url", url]);
    let more = [&more[..], &["--scattered", "--source", &source], &place].concat();
    let told: Value = serde_json::from_str(&program::run(&folder, &more, &[]).await.succeeded()).unwrap();
    assert_eq!((&told["accepted"], &told["delivered"]), (&50.into(), &50.into()), "{told:#}");
    verify(&folder, url.as_deref()).await;
}

async fn verify(folder: &Folder, url: Option<&str>) {
    let data = folder.path().display().to_string();
    let mut settings = vec![("POSTBACK_DATA_DIR", data.as_str())];
    if let Some(url) = url {
        // Nothing that is sealed is opened.
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        settings.extend([("POSTBACK_DATABASE_URL", url), ("POSTBACK_MASTER_KEY", key)]);
    }
    let told = program::run(folder, &["ledger", "verify"], &settings).await.succeeded();
    assert!(told.contains("sound"), "{told}");
}
