//! `demo`: green on both stacks, also when it was killed on the way.

use std::path::Path;

use super::program::{self, Folder, Program};
use crate::support::engines::{self, Database, Kind};
use crate::support::eventually;
use crate::support::site::{Stack, on_both_stacks, server};

on_both_stacks! {
    ends_green
    goes_on_after_kill_9
}

/// The arguments of a demo on a stack, and the database that they name.
async fn on(stack: Stack, arguments: &[&str]) -> (Vec<String>, Option<Database>) {
    let mut all: Vec<String> = ["demo", "--exit"].iter().chain(arguments).map(|&text| text.to_owned()).collect();
    let database = match stack {
        Stack::Embedded => None,
        Stack::Brokered => {
            let database = engines::open(Kind::Postgres).await;
            all.extend([
                "--database-url".to_owned(),
                database.url(),
                "--amqp-url".to_owned(),
                server("POSTBACK_TEST_AMQP_URL"),
            ]);
            Some(database)
        }
    };
    (all, database)
}

fn start(folder: &Folder, arguments: &[String]) -> Program {
    program::start(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// The number in a row of the table.
fn row(table: &str, name: &str) -> u64 {
    let line = table.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no row {name} in\n{table}"));
    line.trim_start().strip_prefix(name).unwrap().trim().parse().unwrap()
}

fn assert_green(table: &str) {
    for name in ["dead", "lost", "doubled", "wrongly signed", "otherwise wrong"] {
        assert_eq!(row(table, name), 0, "{name}\n{table}");
    }
}

async fn ends_green(stack: Stack) {
    let folder = Folder::new();
    let (arguments, _database) = on(stack, &["--events", "200"]).await;
    let table = start(&folder, &arguments).ended().await.succeeded();
    assert_green(&table);
    assert_eq!(row(&table, "received"), 200, "{table}");
    for name in ["accepted", "duplicate", "updated", "parked", "rejected", "commissions", "retried"] {
        assert!(row(&table, name) > 0, "{name}\n{table}");
    }
    assert_eq!(row(&table, "resent"), 0, "{table}");
    assert_eq!(row(&table, "payouts"), 3, "{table}");
    assert!(table.lines().any(|line| line.trim_start().starts_with("paid ") && line.ends_with(" EUR")), "{table}");
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Killed while it fires, killed again while it tells, then run to its end.
async fn goes_on_after_kill_9(stack: Stack) {
    let folder = Folder::new();
    let data = folder.join("demo");
    let (arguments, _database) = on(stack, &["--events", "600", "--data", &data.display().to_string()]).await;
    let (sent, received) = (data.join("sent.journal"), data.join("received.journal"));

    let demo = start(&folder, &arguments);
    eventually("some are acknowledged", async || lines(&sent) >= 50).await;
    demo.kill().await;
    assert!(lines(&sent) < 600, "it was killed while it fired");

    let demo = start(&folder, &arguments);
    let before = lines(&received);
    eventually("more was told", async || lines(&received) > before + 100).await;
    demo.kill().await;

    let table = start(&folder, &arguments).ended().await.succeeded();
    assert_green(&table);
    assert_eq!(row(&table, "received"), 600, "{table}");

    let again = start(&folder, &arguments).ended().await.succeeded();
    assert_green(&again);
    assert_eq!(row(&again, "delivered"), row(&table, "delivered"), "a finished demo does nothing more");
}

#[tokio::test]
async fn a_folder_belongs_to_its_demo() {
    let folder = Folder::new();
    let data = folder.join("demo").display().to_string();
    let demo =
        |events: &'static str| program::run(&folder, &["demo", "--exit", "--events", events, "--data", &data], &[]);
    assert_green(&demo("30").await.succeeded());
    assert_green(&demo("60").await.succeeded());
    let fewer = ["demo", "--exit", "--events", "10", "--data", &data];
    let told = program::run(&folder, &fewer, &[]).await.failed_with(2);
    assert!(told.contains("60 events"), "{told}");
}

/// A message that the receiver does not remember was never delivered: the demo says so, in bounded time.
#[tokio::test]
async fn a_lost_message_is_an_exit_code() {
    let folder = Folder::new();
    let data = folder.join("demo");
    let arguments = ["demo", "--exit", "--events", "20", "--data", data.to_str().unwrap()];
    assert_green(&program::run(&folder, &arguments, &[]).await.succeeded());
    let journal = data.join("received.journal");
    let told = std::fs::read_to_string(&journal).unwrap();
    let delivered = told.lines().find(|line| line.contains("\"answer\":200")).unwrap();
    std::fs::write(&journal, told.replacen(&format!("{delivered}\n"), "", 1)).unwrap();
    let ended = program::run(&folder, &arguments, &[]).await;
    assert_eq!(row(&ended.out, "lost"), 1, "{}", ended.out);
    ended.failed_with(1);
}
