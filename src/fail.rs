//! Failpoints: named places where a test can abort or stall this process (RELIABILITY section 3).
//!
//! Compiled only with the feature `failpoints`; otherwise [`point`] is nothing. A test starts the
//! program with `POSTBACK_FAILPOINT=<name>=abort`, `…=abort@<n>` (at the n-th passing) or `…=stall:<milliseconds>`
//! (once, at the first passing).

/// A place where a test may stop this process. Does nothing unless built with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "the same signature with and without the feature")]
pub async fn point(_name: &'static str) {}

/// A place where a test may stop this process.
#[cfg(feature = "failpoints")]
pub async fn point(name: &'static str) {
    enabled::hit(name).await;
}

#[cfg(feature = "failpoints")]
mod enabled {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// What to do, where, and at which passing.
    struct Order {
        name: String,
        at: u64,
        stall: Option<Duration>,
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test's switch, not a setting; it is not compiled into the product"
    )]
    static ORDER: LazyLock<Option<Order>> = LazyLock::new(|| {
        let text = std::env::var("POSTBACK_FAILPOINT").ok()?;
        let (name, action) = text.split_once('=')?;
        let (action, at) = match action.split_once('@') {
            Some((action, at)) => (action, at.parse().ok()?),
            None => (action, 1),
        };
        let stall = action.strip_prefix("stall:").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        Some(Order { name: name.to_owned(), at, stall })
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub async fn hit(name: &str) {
        let Some(order) = ORDER.as_ref().filter(|order| order.name == name) else { return };
        if PASSED.fetch_add(1, Ordering::SeqCst) + 1 != order.at {
            return;
        }
        tracing::warn!(name, "failpoint");
        match order.stall {
            Some(time) => tokio::time::sleep(time).await,
            None => std::process::abort(),
        }
    }
}
