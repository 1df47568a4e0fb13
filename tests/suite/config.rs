//! Settings: from files and environments to types, and what is told when they are wrong.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "the helpers of tests fail as tests do")]

use std::ffi::OsString;
use std::process::{Command, Output};
use std::time::Duration;

use postback::cli::check_config::effective;
use postback::config::{ConfigErrors, DatabaseUrl, LogFormat, Settings, Sources, markdown};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, text)| (name.into(), text.into())).collect()
}

fn gathered(file: &str, variables: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::new();
    sources.file("postback.toml", file);
    sources.environment(environment(variables));
    sources
}

fn wrong(file: &str, variables: &[(&str, &str)]) -> ConfigErrors {
    gathered(file, variables).settings().expect_err("these settings are wrong")
}

/// The one line that is told.
fn sentence(errors: &ConfigErrors) -> String {
    assert_eq!(errors.problems().len(), 1, "{errors}");
    errors.problems()[0].to_string()
}

#[test]
fn the_committed_document_is_the_one_made_from_the_table() {
    assert!(
        include_str!("../../docs/configuration.md") == markdown(),
        "regenerate it: cargo run -- check-config --docs > docs/configuration.md"
    );
}

#[test]
fn nothing_configured_is_right() {
    let settings = Settings::from_pairs(&[]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.max_body.get(), 65_536);
    assert_eq!(settings.delivery.ladder.rungs()[0], Duration::from_secs(30));
    assert_eq!(settings.log.format, LogFormat::Text);
    assert!(settings.queue.amqp_url.is_none());
    match settings.database_url() {
        DatabaseUrl::Sqlite(path) => assert_eq!(path.to_str(), Some("postback-data/postback.sqlite")),
        DatabaseUrl::Postgres(_) => panic!("SQLite is the default"),
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_longer_name_over_the_bare_one() {
    let file =
        "[delivery]\nlease = '40s'\nladder = ['1s', '2s']\nmax_attempts = 3\n[queue]\namqp_url = 'amqp://file'\n";
    let variables = [
        ("POSTBACK_DELIVERY_LEASE", "50s"),
        ("POSTBACK_DATABASE_URL", "sqlite:long"),
        ("DATABASE_URL", "sqlite:bare"),
        ("AMQP_URL", ""),
        ("HOME", "/anywhere"),
        ("POSTBACK_TEST_POSTGRES_URL", "x"),
        ("POSTBACK_FAILPOINT", "x=abort"),
    ];
    let sources = gathered(file, &variables);
    let settings = sources.settings().unwrap();
    assert_eq!(settings.delivery.lease, Duration::from_secs(50));
    assert_eq!(settings.delivery.max_attempts, 3);
    assert_eq!(settings.delivery.ladder.rungs(), [Duration::from_secs(1), Duration::from_secs(2)]);
    assert!(matches!(settings.database_url(), DatabaseUrl::Sqlite(path) if path.to_str() == Some("long")));
    assert!(settings.queue.amqp_url.is_none(), "an empty variable takes back what the file sets");
    assert_eq!(sources.origin("delivery.lease"), "POSTBACK_DELIVERY_LEASE");
    assert_eq!(sources.origin("delivery.max_attempts"), "postback.toml");
    assert_eq!(sources.origin("delivery.timeout"), "default");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let file = "lease = '30s'\n[server]\nlisten = 'localhost'\nthreads = 0\n[delivry]\n[log]\nformat = 1.5\n";
    let variables = [
        ("POSTBACK_DELIVERY_TIMEOUT", "31s"),
        ("POSTBACK_INTAKE_BUFER", "10"),
        ("POSTBACK_ALERTS_QUEUE_DEPTH_BELOW", "100"),
        ("DATABASE_URL", "postgres://u:hunter2@host/db"),
    ];
    let told = wrong(file, &variables).to_string();
    for line in [
        "lease (postback.toml): is not a known setting; write delivery.lease if that is meant, or take it out",
        "server.listen (postback.toml): \"localhost\" is not an IP address with a port; write an IP address and a port, \
         such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
        "server.threads (postback.toml): \"0\" is too small; write a value from 1 to 256",
        "delivry (postback.toml): is not a known section; write one of the sections server, database",
        "log.format (postback.toml): has a value of the wrong kind",
        "delivery.timeout (POSTBACK_DELIVERY_TIMEOUT): \"31s\" is too large; write a value from 50ms to 30s",
        "POSTBACK_INTAKE_BUFER: is not a known environment variable; write POSTBACK_INTAKE_BUFFER if that is meant",
        "alerts.queue_depth_below: 100 is not less than alerts.queue_depth_above = 100; write a smaller number",
        "master_key: is required on PostgreSQL; write POSTBACK_MASTER_KEY=",
    ] {
        assert!(told.contains(line), "not told: {line}\n{told}");
    }
    assert_eq!(told.lines().count(), 10, "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (pairs, setting) in [
        (&[("delivery.lease", "14s")][..], "delivery.lease"),
        (&[("alerts.queue_depth_above", "80")], "alerts.queue_depth_below"),
        (&[("intake.buffer", "511")], "intake.batch"),
        (&[("clicks.batch", "10000"), ("clicks.buffer", "9999")], "clicks.batch"),
        (&[("delivery.max_in_flight", "64"), ("delivery.endpoint_in_flight", "65")], "delivery.endpoint_in_flight"),
        (&[("database.url", "postgres://h/d")], "master_key"),
        (&[("alerts.webhook_url", "https://h/x")], "alerts.webhook_secret"),
        (&[("alerts.webhook_secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], "alerts.webhook_url"),
    ] {
        let errors = Settings::from_pairs(pairs).expect_err(setting);
        assert!(sentence(&errors).starts_with(setting), "{errors}");
    }
    let right = [("delivery.timeout", "1s"), ("delivery.lease", "1500ms")];
    assert_eq!(Settings::from_pairs(&right).unwrap().delivery.lease, Duration::from_millis(1_500));
    let right = [("database.url", "postgres://h/d"), ("master_key", MASTER_KEY)];
    assert!(matches!(Settings::from_pairs(&right).unwrap().database_url(), DatabaseUrl::Postgres(_)));
}

#[test]
fn a_rule_is_not_judged_by_a_default_that_stands_in_for_a_wrong_value() {
    let errors = Settings::from_pairs(&[("delivery.lease", "12s"), ("delivery.timeout", "fast")]).unwrap_err();
    assert!(sentence(&errors).starts_with("delivery.timeout"), "{errors}");
}

#[test]
fn secrets_are_never_told() {
    let secret = "hunter2-hunter2";
    for name in ["master_key", "database.url", "queue.amqp_url", "alerts.webhook_url", "alerts.webhook_secret"] {
        let errors = Settings::from_pairs(&[(name, secret)]).expect_err(name);
        let told = format!("{errors} {errors:?}");
        assert!(
            told.contains(&format!("{name} (given in code): the value is not")) && !told.contains(secret),
            "{told}"
        );
    }

    let file = format!("master_key = '{MASTER_KEY}'\n[database]\nurl = 'postgres://u:{secret}@h/d'\n");
    let variables = [
        ("AMQP_URL", "amqp://u:hunter2-hunter2@h"),
        ("POSTBACK_ALERTS_WEBHOOK_URL", "https://h/hunter2-hunter2"),
        ("POSTBACK_ALERTS_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let sources = gathered(&file, &variables);
    let shown = effective(&sources).unwrap() + &format!("{:?}", sources.settings().unwrap());
    for secret in [secret, MASTER_KEY, "MfKQ9r8G"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("queue.amqp_url = \"(hidden)\" # AMQP_URL"), "{shown}");
}

#[test]
fn a_broken_file_is_told_by_its_line_without_the_line() {
    let errors = wrong("[queue]\nprefix = 'a'\namqp_url = 'amqp://u:hunter2@h\n", &[]);
    let told = sentence(&errors);
    assert!(told.starts_with("postback.toml: line 3 is not TOML") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_setting_where_a_section_belongs_and_the_other_way_round() {
    assert!(sentence(&wrong("server = 'x'", &[])).starts_with("server (postback.toml): is a section, not a setting"));
    let errors = wrong("[data_dir]\nx = 1\n", &[]);
    assert!(sentence(&errors).starts_with("data_dir (postback.toml): is not a known section"), "{errors}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_told() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut sources = Sources::new();
    sources.environment([("POSTBACK_LOG_FILTER".into(), OsString::from_vec(vec![0xff]))]);
    let told = sources.settings().unwrap_err().to_string();
    assert!(told.contains("log.filter (POSTBACK_LOG_FILTER): is not UTF-8"), "{told}");
}

#[test]
fn what_check_config_shows_can_be_read_again() {
    let pairs =
        [("delivery.ladder", "1s, 90s"), ("outbound.allow_ranges", "127.0.0.0/8, ::1"), ("log.filter", "a=debug,info")];
    let mut sources = Sources::new();
    pairs.iter().for_each(|(name, text)| sources.set(name, text));
    let shown = effective(&sources).unwrap();
    let mut again = Sources::new();
    again.file("shown", &shown);
    assert_eq!(again.settings().unwrap().shown(), sources.settings().unwrap().shown(), "{shown}");
}

fn check_config(directory: &std::path::Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postback"));
    command.arg("check-config").args(arguments).current_dir(directory).env_clear();
    command.envs(variables.iter().copied()).output().expect("the binary runs")
}

#[test]
fn the_command_exits_with_two_and_every_error_on_standard_error() {
    let directory = std::env::temp_dir().join(format!("postback-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();

    let right = check_config(&directory, &[], &[("POSTBACK_SERVER_THREADS", "4")]);
    let shown = String::from_utf8(right.stdout).unwrap();
    assert_eq!(right.status.code(), Some(0));
    assert!(shown.contains("server.threads = \"4\" # POSTBACK_SERVER_THREADS\n"), "{shown}");

    std::fs::write(directory.join("postback.toml"), "[server]\nthreads = 'x'\nlisten = 1\n").unwrap();
    let broken = check_config(&directory, &[], &[]);
    let told = String::from_utf8(broken.stderr).unwrap();
    assert_eq!((broken.status.code(), broken.stdout.is_empty()), (Some(2), true));
    assert!(
        told.contains("server.threads (postback.toml)") && told.contains("server.listen (postback.toml)"),
        "{told}"
    );

    let missing = check_config(&directory, &["--config", "elsewhere.toml"], &[]);
    let told = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(told.starts_with("postback: the settings file elsewhere.toml cannot be read"), "{told}");

    std::fs::remove_dir_all(&directory).unwrap();
}
