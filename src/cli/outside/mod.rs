//! What `demo`, `bench` and the fault suite have in common: all stand outside of the service, as operators, admins and
//! subscribers do.

pub mod book;
pub mod client;
pub mod figures;
pub mod lane;
pub mod postback;
pub mod proof;
pub mod setup;
pub mod throwaway;
pub mod wire;

use tokio::signal::unix::{SignalKind, signal};

/// Waits until we are asked to stop.
pub async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        // Then the signal ends us without our help.
        Err(_) => std::future::pending().await,
    }
}
