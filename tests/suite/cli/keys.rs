//! `keys`, `migrate` and `openapi`: commands that need no service.

use super::program::{self, Ended, Folder};

async fn run(folder: &Folder, arguments: &[&str]) -> Ended {
    program::run(folder, arguments, &[("POSTBACK_DATA_DIR", &folder.join("data").display().to_string())]).await
}

#[tokio::test]
async fn a_key_is_printed_once_and_alone() {
    let folder = Folder::new();
    let key =
        run(&folder, &["keys", "create", "--role", "admin", "--name", "first", "--expires", "90d"]).await.succeeded();
    assert_eq!(key.lines().count(), 1, "{key}");
    let secret = key.trim_end().strip_prefix("pbk_").unwrap().split_once('_').unwrap().1;
    assert_eq!(secret.len(), 43);

    let list = run(&folder, &["keys", "list"]).await.succeeded();
    let line = list.lines().find(|line| line.ends_with("first")).unwrap();
    assert!(line.contains("admin") && line.contains("active") && !list.contains(secret), "{list}");
    let id = line.split_whitespace().next().unwrap();
    assert!(run(&folder, &["keys", "revoke", id]).await.succeeded().contains("revoked"));
    assert!(run(&folder, &["keys", "revoke", id]).await.succeeded().contains("already"));
    assert!(run(&folder, &["keys", "list"]).await.succeeded().contains("revoked"));
    let unknown = format!("key_{}", "0".repeat(32));
    assert!(run(&folder, &["keys", "revoke", &unknown]).await.failed_with(1).contains("no key"));
}

#[tokio::test]
async fn a_key_is_for_somebody_who_exists() {
    let folder = Folder::new();
    let (source, affiliate) = (format!("src_{}", "0".repeat(32)), format!("aff_{}", "0".repeat(32)));
    for (arguments, code) in [
        (&["--role", "operator"][..], 2),
        (&["--role", "operator", "--source", &source], 1),
        (&["--role", "affiliate", "--affiliate", &affiliate], 1),
        (&["--role", "affiliate"], 2),
        (&["--role", "admin", "--affiliate", &affiliate], 2),
        (&["--role", "admin", "--expires", "soon"], 2),
        (&["--role", "admin", "--allow", "nowhere"], 2),
    ] {
        let all: Vec<&str> = ["keys", "create"].iter().chain(arguments).copied().collect();
        let ended = run(&folder, &all).await;
        assert_eq!(ended.out, "", "{arguments:?}");
        ended.failed_with(code);
    }
}

#[tokio::test]
async fn tables_are_made_and_the_interface_is_described() {
    let folder = Folder::new();
    for _ in 0..2 {
        assert!(run(&folder, &["migrate"]).await.succeeded().contains("sqlite"));
    }
    let described = run(&folder, &["openapi"]).await.succeeded();
    assert!(described.starts_with("openapi:") && described.contains("/v1/postbacks"), "{}", &described[..200]);
}

#[tokio::test]
async fn every_subcommand_helps_with_an_example() {
    let folder = Folder::new();
    for arguments in [
        &["serve"][..],
        &["demo"],
        &["migrate"],
        &["keys", "create"],
        &["keys", "revoke"],
        &["sign"],
        &["ledger", "verify"],
        &["healthcheck"],
        &["openapi"],
    ] {
        let all: Vec<&str> = arguments.iter().chain(&["--help"]).copied().collect();
        let help = run(&folder, &all).await.succeeded();
        assert!(help.contains("Example"), "{help}");
    }
}
