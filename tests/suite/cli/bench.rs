//! `bench`: counts what it fired and what came of it, on both stacks. No figure that depends on the machine is asserted.

use serde_json::Value;

use super::program::{self, Folder};
use crate::support::engines::{self, Database, Kind};
use crate::support::site::{Stack, on_both_stacks, server};

on_both_stacks! {
    counts_what_it_fired
    tells_those_that_are_well_while_one_hangs
    fans_out_to_a_webhook_and_two_postbacks
    drains_what_was_held
}

/// The figures of a bench that ended well.
async fn bench(stack: Stack, arguments: &[&str]) -> Value {
    let folder = Folder::new();
    let mut all: Vec<String> = ["bench", "--json", "--warmup", "0", "--clicks", "10"].map(str::to_owned).into();
    all.extend(arguments.iter().map(|&text| text.to_owned()));
    let _database: Option<Database> = match stack {
        Stack::Embedded => None,
        Stack::Brokered => {
            let database = engines::open(Kind::Postgres).await;
            let amqp_url = server("POSTBACK_TEST_AMQP_URL");
            all.extend(["--database-url".to_owned(), database.url(), "--amqp-url".to_owned(), amqp_url]);
            Some(database)
        }
    };
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    let line = program::run(&folder, &arguments, &[]).await.succeeded();
    serde_json::from_str(&line).unwrap()
}

fn assert_counts(figures: &Value, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        assert_eq!(figures[*name], *count, "{name} in {figures:#}");
    }
    for name in ["refused", "unanswered", "lost", "doubled", "wrongly_signed", "strange"] {
        assert_eq!(figures[name], 0, "{name} in {figures:#}");
    }
}

async fn counts_what_it_fired(stack: Stack) {
    let figures = bench(stack, &["duplicates", "--count", "60", "--connections", "4"]).await;
    assert_counts(
        &figures,
        &[("acknowledged", 60), ("accepted", 30), ("duplicate", 30), ("delivered", 30), ("repeated", 0)],
    );
    let (engine, queue) = match stack {
        Stack::Embedded => ("sqlite", "embedded"),
        Stack::Brokered => ("postgres", "rabbitmq"),
    };
    assert_eq!((&figures["engine"], &figures["queue"]), (&engine.into(), &queue.into()));
    for figure in ["/acknowledged_p99_micros", "/end_to_end_p50_micros", "/peak_memory_bytes/service"] {
        assert!(figures.pointer(figure).and_then(Value::as_u64) > Some(0), "{figure} in {figures:#}");
    }
}

async fn tells_those_that_are_well_while_one_hangs(stack: Stack) {
    let arguments = ["noisy-neighbour", "--rate", "50", "--seconds", "1", "--connections", "8"];
    let figures = bench(stack, &arguments).await;
    assert_counts(&figures, &[("acknowledged", 50), ("accepted", 50), ("delivered", 45)]);
    assert_eq!(figures["before"]["delivered"], 50, "{figures:#}");
}

#[tokio::test]
async fn a_service_that_may_not_send_here_is_no_service_to_measure() {
    let folder = Folder::new();
    let arguments = ["bench", "end-to-end", "--count", "1", "--set", "outbound.allow_ranges="];
    let told = program::run(&folder, &arguments, &[]).await.failed_with(1);
    assert!(told.contains("/v1/admin/endpoints answered 422"), "{told}");
}

async fn fans_out_to_a_webhook_and_two_postbacks(stack: Stack) {
    let figures = bench(stack, &["fan-out", "--count", "20", "--connections", "4"]).await;
    assert_counts(&figures, &[("acknowledged", 20), ("accepted", 20), ("delivered", 60), ("repeated", 0)]);
}

async fn drains_what_was_held(stack: Stack) {
    let figures = bench(stack, &["backlog", "--count", "200", "--connections", "8"]).await;
    assert_counts(&figures, &[("acknowledged", 200), ("delivered", 200), ("repeated", 0)]);
}
