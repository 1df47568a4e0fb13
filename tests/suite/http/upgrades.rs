//! A rolling upgrade: the first instance of a newer version brings the tables up to date while older ones run.

use postback::config::DatabaseUrl;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use super::roles::operations;
use super::world::World;
use crate::support::engines::Kind;
use crate::support::eventually;

/// PostgreSQL refuses a prepared statement whose columns have changed, on each connection for as long as it lives. SQLite
/// serves one process, so there nothing is upgraded under anybody.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_newer_version_adds_disturb_nobody() {
    // Few connections, so that all of them know every statement before the upgrade.
    let world = World::on(Kind::Postgres, &[("database.max_connections", "2")]).await;
    work_and_look(&world, "before").await;
    work_and_look(&world, "before, again").await;
    change_every_table(&world, "ADD COLUMN of_a_newer_version text").await;
    work_and_look(&world, "after").await;
    // The next test gets this database, too.
    change_every_table(&world, "DROP COLUMN of_a_newer_version").await;
}

/// Books, changes, refuses, replays, pays, reconfigures, and reads every list.
async fn work_and_look(world: &World, when: &str) {
    let click = format!("click {when}").replace([' ', ','], "-");
    world.import_click(&click).await;
    for amount in ["10", "12"] {
        let postback =
            json!({"click_id": click, "goal": "sale", "event_id": click, "amount": amount, "currency": "EUR"});
        world.call("POST", "/v1/postbacks").key(&world.key).json(&postback).send().await.expect(200);
    }
    let refused = json!({"click_id": click, "goal": "sale", "event_id": click, "amount": "x"});
    world.call("POST", "/v1/postbacks").key(&world.key).json(&refused).send().await.expect(422);
    let replay = json!({"kind": "receipts", "filter": {"verdict": "rejected"}});
    world.admin("POST", "/v1/admin/replays").json(&replay).send().await.expect(202);
    eventually("the replay is done", async || world.look("replays?limit=1").await["items"][0]["state"] == "done").await;
    let payout = json!({"affiliate_id": world.affiliate, "currency": "EUR"});
    let payout = world.admin("POST", "/v1/admin/payouts").header("Idempotency-Key", &click).json(&payout);
    payout.send().await.expect(201);
    let affiliate = json!({"name": when});
    world.admin("POST", "/v1/admin/affiliates").json(&affiliate).send().await.expect(201);
    for operation in operations().iter().filter(|operation| operation.method == "GET" && operation.secured) {
        if !operation.path.contains('{') && operation.path.starts_with("/v1/admin/") {
            let reply = world.admin("GET", &operation.path).send().await;
            assert_eq!(reply.status, 200, "{when}: {} {}", operation.path, reply.text());
        }
    }
}

/// What a migration may do while older instances run.
async fn change_every_table(world: &World, change: &str) {
    let DatabaseUrl::Postgres(url) = world.service.state.settings.database_url() else { panic!("not PostgreSQL") };
    let mut raw = PgConnection::connect(url.expose_secret()).await.unwrap();
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_%'";
    let tables = sqlx::query(tables).fetch_all(&mut raw).await.unwrap();
    assert!(tables.len() > 30, "every table");
    for row in tables {
        let table: String = row.get("tablename");
        raw.execute(sqlx::AssertSqlSafe(format!("ALTER TABLE {table} {change}"))).await.unwrap();
    }
}
