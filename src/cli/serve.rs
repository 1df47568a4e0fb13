//! `postback serve`: the service, until it is told to stop.
//!
//! At the very first start, with somebody at a terminal, an admin key is made and shown once, with a line that uses
//! it. It never goes to the log, so without a terminal none is made.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::healthcheck::reachable;
use super::keys::{self, NewKey};
use super::{Context, Failure, print, runtime};
use crate::app::{self, App, StartError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::catalog::Role;
use crate::domain::secret::ApiKey;
use crate::http;
use crate::http::state::HttpState;
use crate::lifecycle::Lifecycle;
use crate::telemetry;

/// Starts the service
///
/// With nothing configured it keeps everything in an SQLite file in ./postback-data. SIGTERM or Ctrl-C stops it: what
/// runs is finished, then it ends with 0.
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback serve
  DATABASE_URL=postgres://… AMQP_URL=amqp://… POSTBACK_MASTER_KEY=… POSTBACK_SERVER_LISTEN=0.0.0.0:8080 postback serve",
  "0 it was stopped and finished what ran; 1 it could not start, a task failed, or something was cut off; 2 the settings \
   are not right"))]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
/// A sentence when the service cannot start.
pub fn run(_: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let settings = context.settings()?;
    telemetry::init(&settings.log).map_err(|error| Failure::new(error.to_string()))?;
    runtime(settings.server.threads)?.block_on(serve(settings, io::stdout().is_terminal()))
}

async fn serve(settings: Settings, at_terminal: bool) -> Result<ExitCode, Failure> {
    let lifecycle = Lifecycle::new(settings.server.drain);
    let stopped = tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move { lifecycle.run_until_stopped().await }
    });
    let started = start(settings, &lifecycle, at_terminal).await;
    if started.is_err() {
        lifecycle.stop();
    }
    let stopped = stopped.await;
    started?;
    match stopped {
        Ok(Ok(stopped)) => Ok(stopped.into()),
        Ok(Err(error)) => Err(Failure::new(format!("signals cannot be listened to: {error}"))),
        Err(error) => Err(Failure::new(format!("stopping failed: {error}"))),
    }
}

async fn start(settings: Settings, lifecycle: &Lifecycle, at_terminal: bool) -> Result<(), Failure> {
    let App { state } = app::start(settings, Clock::system(), lifecycle).await?;
    let address = serve_http(&state, lifecycle)?;
    match first_key(&state, at_terminal).await? {
        Some(key) => print(&first_key_text(address, key.to_text().expose_secret())),
        None => Ok(()),
    }
}

/// An admin key where none was ever made and somebody is there to read it.
async fn first_key(state: &HttpState, at_terminal: bool) -> Result<Option<ApiKey>, Failure> {
    if keys::has_admin(state.store.as_ref()).await? {
        return Ok(None);
    }
    if !at_terminal {
        tracing::warn!("there is no admin key yet: `postback keys create --role admin` makes one");
        return Ok(None);
    }
    let new = NewKey { name: "first admin".to_owned(), ..NewKey::of(Role::Admin, &state.settings) };
    let key = keys::create(state.store.as_ref(), new, state.clock.now()).await?;
    state.catalog.refresh().await?;
    Ok(Some(key))
}

/// Serves HTTP on the address of the settings; answers the address with its real port.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) fn serve_http(state: &Arc<HttpState>, lifecycle: &Lifecycle) -> Result<SocketAddr, Failure> {
    let unusable = |error: io::Error| StartError::Listen(state.settings.server.listen, error);
    let listener = app::listen(&state.settings)?;
    let address = listener.local_addr().map_err(unusable)?;
    let serving = http::serve(listener, Arc::clone(state)).map_err(unusable)?;
    let stopping = lifecycle.stopping();
    let life = lifecycle.clone();
    lifecycle.spawn("http", async move {
        if let Err(error) = serving.run(stopping).await {
            life.fail("http", &error);
        }
    });
    tracing::info!(%address, "listening");
    Ok(address)
}

/// What is shown once, at the first start.
fn first_key_text(address: SocketAddr, key: &str) -> String {
    let address = reachable(address);
    format!(
        "\nThis is the first start, so here is an admin key. It is shown once and stored as a hash only:\n\n    {key}\n\n\
         Try it:\n\n    curl -H 'Authorization: Bearer {key}' http://{address}/v1/admin/operators\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_key_is_made_once_and_only_for_a_reader() {
        let name: [u8; 8] = rand::random();
        let folder = std::env::temp_dir().join(format!("postback-serve-{}", u64::from_be_bytes(name)));
        let settings = Settings::from_pairs(&[("data_dir", folder.to_str().unwrap())]).unwrap();
        let lifecycle = Lifecycle::new(settings.server.drain);
        let App { state } = app::start(settings, Clock::system(), &lifecycle).await.unwrap();
        assert!(first_key(&state, false).await.unwrap().is_none());
        assert!(!keys::has_admin(state.store.as_ref()).await.unwrap(), "nobody would have read it");
        let key = first_key(&state, true).await.unwrap().unwrap();
        assert!(state.catalog.current().key(key.public_id()).is_some(), "it works at once");
        assert!(first_key(&state, true).await.unwrap().is_none(), "it is made once");
        lifecycle.stop();
        lifecycle.run_until_stopped().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_line_to_try_uses_the_key_where_it_is_reached() {
        let text = first_key_text("0.0.0.0:8080".parse().unwrap(), "pbk_x");
        assert!(
            text.contains("curl -H 'Authorization: Bearer pbk_x' http://127.0.0.1:8080/v1/admin/operators\n"),
            "{text}"
        );
    }
}
