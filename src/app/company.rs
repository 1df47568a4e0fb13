//! Who may work on a database: one process alone, or several with a broker between them.
//!
//! Each instance occupies its database at the start, before it changes anything, and looks from time to time whether it still
//! does: the database knows, and forgets it when it starts anew. One that is alone and finds another in its place stops. One
//! of several goes on and says so: its own work is safe beside others, that of one which believes to be alone is not.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::clock::Clock;
use crate::config::Settings;
use crate::store::{Company, Store, in_time_of};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long that may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// With whom an instance with these settings works: without a broker the queue belongs to one process, and SQLite serves one
/// process whatever the queue.
pub fn of(settings: &Settings, store: &dyn Store) -> Company {
    if settings.queue.amqp_url.is_some() && store.engine() != "sqlite" { Company::Several } else { Company::Alone }
}

/// Occupies the database.
///
/// # Errors
/// [`StartError::NotAlone`] and [`StartError::NotInCompany`] where another process stands in the way.
pub async fn occupy(store: &dyn Store, company: Company) -> Result<(), StartError> {
    match (in_time_of(LOOK_WITHIN, store.occupy(company)).await?, company) {
        (true, _) => Ok(()),
        (false, Company::Alone) => Err(StartError::NotAlone),
        (false, Company::Several) => Err(StartError::NotInCompany),
    }
}

/// Takes over from the process before: whoever is alone knows that every lease is of a process that is gone.
///
/// # Errors
/// [`StartError::Store`].
pub async fn take_over(store: &dyn Store, company: Company, clock: &Clock) -> Result<(), StartError> {
    if company == Company::Alone {
        let ended = store.take_over(clock.now()).await?;
        tracing::info!(leases_ended = ended, "took over the database from the process before");
    }
    Ok(())
}

/// Looks again and again whether the database is still occupied; ends when another has it, and the service with it.
pub async fn keep(store: Arc<dyn Store>, company: Company, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match (in_time_of(LOOK_WITHIN, store.occupy(company)).await, company) {
            (Ok(false), Company::Alone) => {
                tracing::error!("another process works on this database; this one stops, since it is not alone");
                return;
            }
            (Ok(false), Company::Several) => {
                tracing::error!("a process without a broker works on this database: give it AMQP_URL, or stop it");
            }
            // With the database away nobody can work on it; /readyz and the alerts say so.
            (Ok(true) | Err(_), _) => {}
        }
    }
}
