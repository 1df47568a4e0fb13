//! What is too large is not kept, not even for a moment: the program's memory is as large afterwards, and at its peak, as
//! before. And nobody can make it grow by being many.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::Api;
use super::super::world::Setup;
use super::{EVIL, get, refused};
use crate::support::process::Process;
use crate::support::site::{Site, Stack};
use crate::support::soon;

const MIB: u64 = 1024 * 1024;
/// What 48 connections with their buffers of at most 128 KiB, the page caches of SQLite's nine connections (2 MB each, filled
/// one after the other on a busy machine), and the allocator's slack may take. What is sent is without end.
const SLACK: u64 = 48 * MIB;
/// How many misbehave at once.
const SENDERS: usize = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_whatever_is_sent() {
    let site = Site::new(Stack::Embedded).await.with("server.head_timeout", "1s");
    let admin_key = super::logs::admin_of(&site).await;
    let process = Process::start(&site, None).await;
    let setup = Setup::make(Api { address: process.address, admin_key }).await;
    let head = |key: &str, framing: &str| {
        format!(
            "POST /v1/postbacks HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let (endless, announced) = ("Transfer-Encoding: chunked", "Content-Length: 1099511627776");
    let kinds = [
        ("an endless body", head(&setup.key, endless), Some(413)),
        ("a body of 1 TiB", head(&setup.key, announced), Some(413)),
        ("a stranger's endless body", head(EVIL, endless), Some(401)),
        ("a stranger's body of 1 TiB", head(EVIL, announced), Some(401)),
        ("an endless head", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Endless: ".to_owned(), Some(431)),
        ("a line without an end", String::new(), None),
    ];
    // Every kind once, so that what is made once is there.
    for (what, head, status) in &kinds {
        flood(setup.address, what, head, *status, 1).await;
    }
    let before = peak_bytes(process.id());
    for (what, head, status) in &kinds {
        flood(setup.address, what, head, *status, SENDERS).await;
        let grown = peak_bytes(process.id()) - before;
        assert!(grown < SLACK, "{what}: {grown} bytes more");
    }
    get(&setup, "click_id=c1&goal=lead").send().await.expect(200);
}

/// Many send the same head and then more and more, until the service is tired of it and closes.
async fn flood(address: SocketAddr, what: &str, head: &str, status: Option<u16>, senders: usize) {
    let mut sending = JoinSet::new();
    for _ in 0..senders {
        let head = head.to_owned();
        sending.spawn(async move { soon("the service ends it", pour(address, head)).await });
    }
    while let Some(sent) = sending.join_next().await {
        let answer = sent.unwrap();
        let answered = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        // An answer may be lost when the connection is reset.
        assert!(answer.is_empty() || status.is_none() || answered == status, "{what}: {}", answer.escape_ascii());
    }
}

/// Sends until an error; what was answered.
async fn pour(address: SocketAddr, head: String) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let answer = tokio::spawn(async move {
        let mut answer = Vec::new();
        drop(reading.read_to_end(&mut answer).await);
        answer
    });
    let is_chunked = head.contains("chunked");
    if writing.write_all(head.as_bytes()).await.is_ok() {
        let filling = "x".repeat(16 * 1024);
        let chunk = if is_chunked { format!("4000\r\n{filling}\r\n") } else { filling };
        while writing.write_all(chunk.as_bytes()).await.is_ok() {}
    }
    drop(writing);
    answer.await.unwrap()
}

/// The most memory that the process ever had.
fn peak_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Unknown keys, addresses, paths, methods and request ids leave no trace in what is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_no_trace_in_the_metrics() {
    let setup = super::world(crate::support::engines::Kind::Sqlite).await;
    let strangers = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let call = setup.call("GET", &format!("/v1/postbacks?{EVIL}={number}")).from("127.0.0.2");
            let call = call.header("X-Forwarded-For", &format!("192.0.2.{}", number % 256));
            let key = format!("pbk_{number:016x}_{}", &setup.key[setup.key.len() - 43..]);
            refused(&call.key(&key).header("X-Request-Id", &number.to_string()).send().await, 401, "unauthenticated");
            refused(&setup.call("GET", &format!("/{EVIL}/{number}")).send().await, 404, "not_found");
            refused(&setup.call(&format!("{EVIL}{number}"), "/livez").send().await, 405, "bad_method");
        }
        let metrics = setup.call("GET", "/metrics").send().await;
        assert!(!metrics.text().contains(EVIL), "{}", metrics.text());
        metrics.text().lines().filter(|line| !line.starts_with("postback_process")).count()
    };
    // The first asking for metrics adds lines about itself.
    strangers(0..2).await;
    let few = strangers(2..4).await;
    assert_eq!(strangers(4..60).await, few);
}
