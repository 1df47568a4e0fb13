//! `faults`: one fault of the suite is played to its end and judged; the whole of it is scripts/faults.

use super::program::{self, Folder};

#[tokio::test]
async fn a_fault_is_played_judged_and_told() {
    let folder = Folder::new();
    let document = folder.join("reliability.md");
    let document_text = document.display().to_string();
    let arguments = [
        "faults",
        "--stack",
        "sqlite",
        "--only",
        "client-reset",
        "--times",
        "80",
        "--rate",
        "100",
        "--document",
        &document_text,
    ];
    let table = program::run(&folder, &arguments, &[]).await.succeeded();
    assert!(table.contains("Nothing was lost and nothing doubled in 1 runs."), "{table}");
    let text = std::fs::read_to_string(document).unwrap();
    assert!(text.contains("| client-reset | sqlite | 80 |"), "{text}");
}

#[tokio::test]
async fn every_fault_is_listed_and_others_are_refused() {
    let folder = Folder::new();
    let list = program::run(&folder, &["faults", "--list"], &[]).await.succeeded();
    for fault in ["kill-9", "commit-unknown", "disk-full", "binding-removed", "receiver-bomb", "rolling-restart"] {
        assert!(list.contains(fault), "{list}");
    }
    let unknown = program::run(&folder, &["faults", "--only", "good-weather"], &[]).await;
    assert_eq!(unknown.status.code(), Some(2), "{}", unknown.err);
}
