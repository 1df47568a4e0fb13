//! What `/readyz` said while a fault lasted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::instance::queue_works;
use crate::cli::outside::client::Client;

/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Asks `/readyz` while a fault lasts. Ends when dropped.
pub struct Watch {
    shared: Arc<Shared>,
    _asking: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    on: AtomicBool,
    said: Mutex<BTreeMap<&'static str, u64>>,
}

impl Watch {
    /// Watches a service, once it is told to.
    pub fn start(service: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let asking = Arc::clone(&shared);
        let asking = tokio::spawn(async move {
            let mut client = Client::new(service, None);
            loop {
                if asking.on.load(Ordering::SeqCst) {
                    let said = ask(&mut client).await;
                    if asking.on.load(Ordering::SeqCst) {
                        *asking.said.lock().unwrap_or_else(PoisonError::into_inner).entry(said).or_default() += 1;
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { shared, _asking: AbortOnDropHandle::new(asking) }
    }

    /// Counts from now on, or no longer.
    pub fn turn(&self, on: bool) {
        self.shared.on.store(on, Ordering::SeqCst);
    }

    /// How often it said this.
    pub fn count(&self, said: &str) -> u64 {
        self.shared.said.lock().unwrap_or_else(PoisonError::into_inner).get(said).copied().unwrap_or_default()
    }

    /// What it said how often.
    pub fn said(&self) -> String {
        let said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<String> = said.iter().map(|(said, count)| format!("{said} ×{count}")).collect();
        if said.is_empty() { "–".to_owned() } else { said.join(", ") }
    }
}

/// It was ready, and so was the queue.
pub const READY: &str = "ready";
/// It was ready although its queue was out of order.
pub const QUEUE_OUT: &str = "ready, queue out";
/// It was not ready.
pub const NOT_READY: &str = "not ready";
/// It did not answer.
pub const SILENT: &str = "no answer";

async fn ask(client: &mut Client) -> &'static str {
    match client.get("/readyz").await {
        Ok(answer) if answer.status == 200 && queue_works(&answer.json()) => READY,
        Ok(answer) if answer.status == 200 => QUEUE_OUT,
        Ok(_) => NOT_READY,
        Err(_) => SILENT,
    }
}
