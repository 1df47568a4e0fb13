//! The bad-input table (RELIABILITY section 5), row by row, over real sockets.
//!
//! | row | test |
//! | --- | --- |
//! | content-length with transfer-encoding; two lengths; no Host | `door::two_lengths_or_no_host` |
//! | head over 16 KiB or 64 headers | `door::head_over_16_kib_or_64_headers` |
//! | URI over 8 KiB | `door::uri_over_8_kib` |
//! | body over 64 KiB | `bodies::body_over_64_kib`, `memory` |
//! | head stalls 5 s, body stalls 10 s | `bodies::head_or_body_stalls` |
//! | compressed body | `bodies::compressed_body` |
//! | wrong or missing media type | `bodies::wrong_or_missing_media_type` |
//! | other methods | `door::other_methods` |
//! | no key, unknown, revoked, expired, wrong | `callers::bad_key` |
//! | key without the scope | `callers::key_without_the_scope` |
//! | address not allowed | `callers::address_not_allowed` |
//! | signature invalid | `signed::signature_invalid` |
//! | timestamp off | `signed::timestamp_off` |
//! | signed query with something added | `signed::something_added_after_signing` |
//! | over the rate | `callers::over_the_rate` |
//! | broken JSON, BOM, trailing bytes, nesting | `content::broken_json` |
//! | a parameter twice | `content::a_parameter_twice` |
//! | `%FF`, `%C0%AF`, `%ZZ`, lone `%`, macros | `content::broken_encoding` |
//! | NUL, control characters | `content::control_characters` |
//! | ids empty or too long | `values::ids_empty_or_too_long` |
//! | amount | `values::amounts` |
//! | currency | `values::currencies` |
//! | time | `values::times` |
//! | unknown click, or another operator's | `parked::unknown_click_or_another_operators` |
//! | database down, disk full, pool empty, buffer full | `storage` |
//! | broker down | `storage::broker_down` |
//!
//! Each row runs on both engines, since a byte that one of them cannot store must not get that far; and all of them run
//! once more, one after the other, against the built program at its most talkative (`logs`), where nothing of what was
//! sent may be found in what it wrote. Bad input has the word [`EVIL`] in it wherever there is room for a word.

mod bodies;
mod callers;
mod content;
mod door;
mod logs;
mod memory;
mod parked;
mod signed;
mod storage;
mod values;

use serde_json::Value;

use super::client::{Call, Reply};
use super::world::{Setup, World, text};
use crate::support::engines::Kind;

/// What no answer and no log line may repeat.
const EVIL: &str = "evil0dd";

/// What every row runs with: short deadlines, one proxy, and room for all the rejected receipts of a row.
const SETTINGS: &[(&str, &str)] = &[
    ("server.head_timeout", "2s"),
    ("server.body_timeout", "2s"),
    ("server.trusted_proxies", "127.0.0.2/32"),
    ("intake.rejected_receipts_per_minute", "10000"),
];

/// Runs each row, `async fn(&Setup)`, on both engines; `all` runs every row of the file in a set-up that is given.
macro_rules! rows {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&*$crate::http::bad_input::world($crate::support::engines::Kind::Sqlite).await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&*$crate::http::bad_input::world($crate::support::engines::Kind::Postgres).await).await;
            })+
        }

        /// Every row of this file.
        pub(super) async fn all(setup: &$crate::http::world::Setup) {
            $(Box::pin($name(setup)).await;)+
        }
    };
}
use rows;

/// A service for one row, with a click `c1` in it.
async fn world(engine: Kind) -> World {
    let world = World::on(engine, SETTINGS).await;
    world.import_click("c1").await;
    world
}

/// The problem of an answer that must refuse with this status and code, and repeats nothing.
#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) -> Value {
    let problem = reply.problem(status, code);
    silent(reply);
    problem
}

/// Nothing of what was sent stands in the answer.
#[track_caller]
fn silent(reply: &Reply) {
    let said = String::from_utf8_lossy(&reply.body).to_lowercase();
    assert!(!said.contains(EVIL), "an echo: {said}");
    let echoed = reply.headers.iter().find(|(_, value)| value.to_lowercase().contains(EVIL));
    assert_eq!(echoed, None, "an echo");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

/// A request that is refused with this status and code, and kept as a rejected receipt.
async fn refused_and_kept(setup: &Setup, call: &Call, status: u16, code: &str) -> Value {
    let problem = refused(&call.send().await, status, code);
    assert_eq!(problem["verdict"], "rejected", "{problem}");
    let receipt = setup.look(&format!("receipts/{}", text(&problem, "receipt_id"))).await;
    assert_eq!((&receipt["verdict"], &receipt["code"]), (&"rejected".into(), &code.into()), "{receipt}");
    assert_eq!(receipt["field"], problem["field"]);
    problem
}

/// The id of the newest receipt of all.
async fn newest_receipt(setup: &Setup) -> Value {
    setup.look("receipts?limit=1").await["items"].get_mut(0).map_or(Value::Null, |row| row["id"].take())
}

/// Every byte as an escape.
fn percent(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// A GET of a postback with this raw query.
fn get(setup: &Setup, raw_query: &str) -> Call {
    setup.call("GET", &format!("/v1/postbacks?{raw_query}")).key(&setup.key)
}

/// A POST of a postback, without a body yet.
fn post(setup: &Setup) -> Call {
    setup.call("POST", "/v1/postbacks").key(&setup.key)
}

/// A POST of a postback with this text as its JSON.
fn post_json(setup: &Setup, body: impl Into<Vec<u8>>) -> Call {
    post(setup).header("Content-Type", "application/json").body(body)
}
