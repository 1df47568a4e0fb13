//! Who may name which crate (STYLE, "Habits around the code"). Reads `src/` as text: a `use`, a path or a macro of
//! the crate outside its rooms fails, so that a wall is not moved by accident.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate and the folders or files that may name it.
const BORDERS: &[(&str, &[&str])] = &[
    ("actix_web", &["http/", "console/"]),
    ("actix_http", &["http/server.rs"]),
    ("actix_service", &["http/server.rs"]),
    ("utoipa", &["http/"]),
    ("sqlx", &["store/"]),
    ("lapin", &["queue/rabbitmq/", "cli/faults/broker.rs"]),
    (
        "hyper",
        &[
            "delivery/connector.rs",
            "delivery/sender.rs",
            "delivery/answer.rs",
            "delivery/egress/urls.rs",
            "cli/demo/",
            "cli/outside/",
        ],
    ),
    ("hyper_util", &["delivery/connector.rs", "delivery/sender.rs", "cli/demo/", "cli/outside/"]),
    ("hyper_rustls", &["delivery/connector.rs", "delivery/sender.rs"]),
    ("rustls", &["delivery/connector.rs", "delivery/sender.rs", "delivery/answer.rs"]),
    ("simple_dns", &["delivery/resolver.rs"]),
    ("tokio", &["-domain"]),
    ("governor", &["intake/"]),
    ("httparse", &["cli/outside/"]),
    ("standardwebhooks", &["cli/demo/", "cli/bench/", "cli/faults/", "cli/outside/"]),
];

/// The rooms of ours that `domain` must not know: all of them.
const ROOMS: &[&str] = &[
    "alerts",
    "app",
    "batch",
    "cli",
    "clock",
    "config",
    "delivery",
    "fail",
    "http",
    "intake",
    "lifecycle",
    "metrics",
    "payouts",
    "queue",
    "replay",
    "retention",
    "store",
    "telemetry",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Each file's path below `src/` and its code without comments.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let code = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    found.iter().map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), code(path))).collect()
}

/// Whether `code` uses a path that begins with `name`.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|character| {
            character.is_alphanumeric() || character == '_' || character == ':' || character == '"'
        })
    })
}

#[test]
fn each_crate_is_named_only_in_its_rooms() {
    let mut breaches = Vec::new();
    let mut seen = vec![false; BORDERS.len()];
    for (path, code) in files() {
        for (index, (name, rooms)) in BORDERS.iter().enumerate() {
            if !names(&code, name) {
                continue;
            }
            seen[index] = true;
            let allowed = rooms.iter().any(|room| match room.strip_prefix('-') {
                Some(barred) => !path.starts_with(barred),
                None => path.starts_with(room),
            });
            if !allowed {
                breaches.push(format!("src/{path} names {name}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
    let unused: Vec<_> = BORDERS.iter().zip(seen).filter(|(_, seen)| !seen).map(|((name, _), _)| name).collect();
    assert!(unused.is_empty(), "these borders guard nothing any more: {unused:?}");
}

#[test]
fn domain_knows_no_other_room_and_does_no_io() {
    let mut breaches = Vec::new();
    for (path, code) in files().into_iter().filter(|(path, _)| path.starts_with("domain/")) {
        for room in ROOMS {
            if code.contains(&format!("crate::{room}")) {
                breaches.push(format!("src/{path} knows {room}"));
            }
        }
        for io in ["std::fs", "std::net", "std::process", "std::thread", "SystemTime", "std::env"] {
            if code.contains(io) {
                breaches.push(format!("src/{path} uses {io}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_store_never_calls_a_queue_and_http_never_writes_sql() {
    for (path, code) in files() {
        assert!(!(path.starts_with("store/") && code.contains("crate::queue")), "src/{path} knows the queue");
        assert!(!(path.starts_with("http/") && code.contains("INSERT INTO")), "src/{path} writes SQL");
    }
}

#[test]
fn there_is_no_float_where_money_is_computed() {
    for (path, code) in
        files().into_iter().filter(|(path, _)| path.starts_with("domain/") || path.starts_with("store/"))
    {
        for float in ["f32", "f64"] {
            let found = code.split(|character: char| !character.is_alphanumeric()).any(|word| word == float);
            assert!(!found, "src/{path} uses {float}");
        }
    }
}

/// The fuzz targets are built by `scripts/fuzz` alone, from links to the rooms that they fuzz.
#[test]
fn what_is_fuzzed_is_still_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/src");
    for folder in ["", "intake", "delivery"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.exists(), "{} leads nowhere: link it to where its source is now", path.display());
        }
    }
}
