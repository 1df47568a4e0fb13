//! Failpoints: named places where a test can abort or stall this process (RELIABILITY section 3).
//!
//! Compiled only with the feature `failpoints`; otherwise [`point`] is nothing. A test starts the
//! program with `POSTBACK_FAILPOINT=<name>=abort`, `…=abort@<n>` (at the n-th passing) or `…=stall:<milliseconds>`
//! (once, at the first passing). With `POSTBACK_CLOCK_STEP=<file>` the machine's clock is off by the whole seconds that
//! stand in the file, which may change while the process runs.

/// A place where a test may stop this process. Does nothing unless built with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "the same signature with and without the feature")]
pub async fn point(_name: &'static str) {}

/// A place where a test may stop this process.
#[cfg(feature = "failpoints")]
pub async fn point(name: &'static str) {
    enabled::hit(name).await;
}

/// How far a test has stepped the machine's clock. Always 0 unless built with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
pub const fn clock_step_micros() -> i64 {
    0
}

/// How far a test has stepped the machine's clock.
#[cfg(feature = "failpoints")]
pub fn clock_step_micros() -> i64 {
    enabled::clock_step_micros()
}

#[cfg(feature = "failpoints")]
mod enabled {
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Duration;

    /// How often the file of the clock's step is read.
    const LOOK_EVERY: Duration = Duration::from_millis(20);

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

    static STEP_MICROS: AtomicI64 = AtomicI64::new(0);

    static STEPPED: LazyLock<bool> = LazyLock::new(|| {
        let Some(file) = std::env::var_os("POSTBACK_CLOCK_STEP") else { return false };
        let follow = move || {
            loop {
                follow(Path::new(&file));
                std::thread::sleep(LOOK_EVERY);
            }
        };
        std::thread::Builder::new().name("clock-step".to_owned()).spawn(follow).is_ok()
    });

    /// Takes over what the file says; one that is missing or half written changes nothing.
    fn follow(file: &Path) {
        let seconds = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i64>().ok());
        if let Some(seconds) = seconds {
            STEP_MICROS.store(seconds.saturating_mul(1_000_000), Ordering::Relaxed);
        }
    }

    pub fn clock_step_micros() -> i64 {
        if *STEPPED { STEP_MICROS.load(Ordering::Relaxed) } else { 0 }
    }
}
