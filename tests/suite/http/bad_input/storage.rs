//! What is in order and cannot be stored now: 503 with `Retry-After` and within five seconds, so that the sender comes
//! again; a broker is not needed.

use std::time::{Duration, Instant};

use postback::config::DatabaseUrl;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::super::client::Call;
use super::super::world::{Setup, World};
use super::super::{Api, Service};
use super::{EVIL, refused};
use crate::crash::recording::behind_a_proxy;
use crate::support::engines::{Kind, on_both_engines};
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::site::{Site, Stack};
use crate::support::{eventually, soon};

on_both_engines! { database_down, disk_full, pool_empty_or_database_locked, intake_buffer_full }

/// How long a sender waits for its 503 (RELIABILITY section 4).
const WITHIN: Duration = Duration::from_secs(5);

/// A 503 that says when to come again, in time.
async fn unavailable(call: &Call) {
    let begun = Instant::now();
    let reply = call.send().await;
    let problem = refused(&reply, 503, "unavailable");
    assert_eq!(problem.get("receipt_id"), None, "nothing was stored: {problem}");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
}

fn postback(api: &Api, key: &str, event: &str) -> Call {
    api.call("GET", &format!("/v1/postbacks?click_id=c1&goal=sale&event_id={event}&x={EVIL}")).key(key)
}

async fn database_down(engine: Kind) {
    let world = super::world(engine).await;
    world.service.state.store.close().await;
    unavailable(&postback(&world.service, &world.key, "e1")).await;
    unavailable(&postback(&world.service, &world.key, "e1&amount=x")).await;
    let clicks = json!([{"click_id": "c2", "link": world.link}]);
    unavailable(&world.call("POST", "/v1/clicks").key(&world.key).json(&clicks)).await;
    unavailable(&world.admin("GET", "/v1/admin/receipts")).await;
    unavailable(&world.admin("POST", "/v1/admin/operators").json(&json!({"name": EVIL}))).await;
    let ready = world.call("GET", "/readyz").send().await.expect(503);
    assert_eq!((&ready["ready"], &ready["database"]), (&false.into(), &false.into()));
    assert_eq!(world.call("GET", "/livez").send().await.status, 200);
}

/// Neither an answer nor an error comes from it; and then it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_out_of_reach() {
    let (proxy, site) = behind_a_proxy(&Site::new(Stack::Brokered).await).await;
    let service = Service::at(&site).await;
    let setup = Setup::make(service.api.clone()).await;
    setup.import_click("c1").await;
    proxy.black_hole(true);
    unavailable(&postback(&service, &setup.key, "e1")).await;
    let clicks = json!([{"click_id": "c2", "link": setup.link}]);
    unavailable(&setup.call("POST", "/v1/clicks").key(&setup.key).json(&clicks)).await;
    unavailable(&setup.admin("GET", "/v1/admin/receipts")).await;
    unavailable(&setup.admin("POST", "/v1/admin/operators").json(&json!({"name": EVIL}))).await;
    proxy.black_hole(false);
    proxy.cut();
    eventually("the database is back", async || postback(&service, &setup.key, "e1").send().await.status == 200).await;
    assert_eq!(setup.look("conversions").await["items"].as_array().unwrap().len(), 1);
}

async fn disk_full(engine: Kind) {
    match engine {
        Kind::Sqlite => disk_full_on_sqlite().await,
        Kind::Postgres => disk_full_on_postgres().await,
    }
}

async fn disk_full_on_sqlite() {
    // SQLite writes some 4 MiB to its log before it moves them to the database.
    const BYTES: u64 = 5 * 1024 * 1024;
    let site = Site::new(Stack::Embedded).await.with("intake.rejected_receipts_per_minute", "10000");
    let admin_key = super::logs::admin_of(&site).await;
    let process = Process::start_with_files_up_to(&site, BYTES).await;
    let setup = Setup::make(Api { address: process.address, admin_key }).await;
    setup.import_click("c1").await;
    let large = "x".repeat(60_000);
    let sent = |number: u32| {
        let body = json!({"click_id": "c1", "goal": "sale", "event_id": format!("e{number}"), "x": large});
        setup.call("POST", "/v1/postbacks").key(&setup.key).json(&body)
    };
    let mut number = 1;
    while sent(number).send().await.status == 200 {
        number += 1;
        assert!(number < 1_000, "the disk is never full");
    }
    assert!(number > 20, "some had room: {number}");
    unavailable(&sent(number)).await;
    assert_eq!(setup.call("GET", "/livez").send().await.status, 200);
    assert_eq!(setup.call("GET", "/readyz").send().await.expect(503)["database"], false, "its probe may have room");
    process.lift_file_limit().await;
    eventually("there is room again", async || sent(number).send().await.status == 200).await;
    assert_eq!(setup.call("GET", "/readyz").send().await.expect(200)["ready"], true);
    assert_eq!(sent(number).send().await.expect(200)["verdict"], "duplicate");
    assert_eq!(sent(1).send().await.expect(200)["verdict"], "duplicate");
}

async fn disk_full_on_postgres() {
    let world = super::world(Kind::Postgres).await;
    let DatabaseUrl::Postgres(url) = world.service.state.settings.database_url() else { panic!("not PostgreSQL") };
    let mut raw = PgConnection::connect(url.expose_secret()).await.unwrap();
    raw.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'No space left on \
         device' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON receipts EXECUTE FUNCTION full_disk()",
    )
    .await
    .unwrap();
    let begun = Instant::now();
    let reply = postback(&world.service, &world.key, "e1").send().await;
    let ready = world.call("GET", "/readyz").send().await;
    // The next test gets this database too, so the disk is mended before anything is judged.
    raw.execute("DROP TRIGGER full_disk ON receipts; DROP FUNCTION full_disk()").await.unwrap();
    refused(&reply, 503, "unavailable");
    assert!(reply.header("retry-after").is_some() && begun.elapsed() < WITHIN);
    assert_eq!(ready.expect(503)["database"], false, "its probe had room");
    assert_eq!(postback(&world.service, &world.key, "e1").send().await.expect(200)["verdict"], "accepted");
    assert_eq!(world.call("GET", "/readyz").send().await.expect(200)["ready"], true);
}

/// Somebody else's transaction, in whose way every write is.
enum Blockade {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Blockade {
    async fn of(service: &Service) -> Self {
        match service.state.settings.database_url() {
            DatabaseUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(20));
                let mut raw = options.connect().await.unwrap();
                raw.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(raw)
            }
            DatabaseUrl::Postgres(url) => {
                let mut raw = PgConnection::connect(url.expose_secret()).await.unwrap();
                raw.execute("BEGIN").await.unwrap();
                raw.execute("LOCK TABLE receipts, clicks IN ACCESS EXCLUSIVE MODE").await.unwrap();
                Self::Postgres(raw)
            }
        }
    }

    async fn end(self) {
        match self {
            Self::Sqlite(raw) => raw.close().await.unwrap(),
            Self::Postgres(raw) => raw.close().await.unwrap(),
        }
    }
}

/// On PostgreSQL all connections wait for a lock; SQLite has one writer, which waits.
async fn pool_empty_or_database_locked(engine: Kind) {
    let settings = [("database.max_connections", "2"), ("database.acquire_timeout", "300ms")];
    let world = World::on(engine, &settings).await;
    world.import_click("c1").await;
    let blockade = Blockade::of(&world.service).await;
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let call = world.admin("GET", "/v1/admin/receipts");
            tokio::spawn(async move { call.send().await.status })
        })
        .collect();
    for number in 0..3 {
        unavailable(&postback(&world.service, &world.key, &format!("e{number}"))).await;
    }
    for read in reads {
        let status = read.await.unwrap();
        assert!(if engine == Kind::Sqlite { status == 200 } else { status == 503 }, "{status}");
    }
    blockade.end().await;
    // What its sender was told to send again may have been stored meanwhile; then it is a duplicate.
    for number in 0..3 {
        let call = postback(&world.service, &world.key, &format!("e{number}"));
        eventually("the database is free", async || call.send().await.status == 200).await;
    }
    assert_eq!(world.look("conversions").await["items"].as_array().unwrap().len(), 3);
}

async fn intake_buffer_full(engine: Kind) {
    const SENDERS: usize = 40;
    let world = World::on(engine, &[("intake.buffer", "4"), ("intake.batch", "4")]).await;
    world.import_click("c1").await;
    let blockade = Blockade::of(&world.service).await;
    let all = async || {
        let calls: Vec<_> =
            (0..SENDERS).map(|number| postback(&world.service, &world.key, &format!("e{number}"))).collect();
        let sending = calls.into_iter().map(|call| tokio::spawn(async move { call.send().await }));
        let mut replies = Vec::new();
        for sent in sending.collect::<Vec<_>>() {
            replies.push(sent.await.unwrap());
        }
        replies
    };
    let begun = Instant::now();
    for reply in all().await {
        refused(&reply, 503, "unavailable");
        assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    assert!(begun.elapsed() < WITHIN * 2, "those that were shed did not wait: {:?}", begun.elapsed());
    let metrics = world.call("GET", "/metrics").send().await;
    let shed = metrics.text().lines().find_map(|line| line.strip_prefix("postback_shed_total ")).unwrap();
    assert!(shed.parse::<usize>().unwrap() >= SENDERS - 12, "at most what waits and two batches were taken in: {shed}");
    blockade.end().await;
    for number in 0..SENDERS {
        let call = postback(&world.service, &world.key, &format!("e{number}"));
        eventually("each is taken in at last", async || call.send().await.status == 200).await;
    }
    assert_eq!(world.look("conversions?limit=200").await["items"].as_array().unwrap().len(), SENDERS);
}

/// Ingestion does not need the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_down() {
    let site = Site::new(Stack::Brokered).await;
    let url = site.get("queue.amqp_url").to_owned();
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (broker, host) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(broker.to_owned()).await;
    let site = site.with("queue.amqp_url", &format!("{before}@127.0.0.1:{}/{host}", proxy.port()));
    let service = Service::at(&site).await;
    let setup = Setup::make(service.api.clone()).await;
    setup.import_click("c1").await;
    eventually("the queue works", async || service.state.relay.health().publishing).await;
    for (number, weather) in ["silent", "silent", "cut", "cut"].into_iter().enumerate() {
        proxy.black_hole(true);
        if weather == "cut" {
            proxy.cut();
        }
        let verdict = soon("an answer", postback(&service, &setup.key, &format!("e{number}")).send()).await.expect(200);
        assert_eq!(verdict["verdict"], "accepted", "{weather}");
    }
    let ready = setup.call("GET", "/readyz").send().await.expect(200);
    assert_eq!(ready["ready"], true, "{ready}");
}
