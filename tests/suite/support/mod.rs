//! What several subjects' tests need.

pub mod engines;
pub mod name_server;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod shop;
pub mod site;
pub mod tour;
pub mod world;

use std::time::Duration;

/// How long a condition may take before a test fails. Far above what is expected, for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; fails with `what` when it does not within [`PATIENCE`].
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

/// The value of a future that is expected soon; fails with `what` when it takes longer than [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
