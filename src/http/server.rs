//! Listening, serving, and stopping without dropping an answer.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;

use super::context::Context;
use super::docs::{Documentation, documentation};
use super::observe::observe;
use super::routes::routes;
use super::state::HttpState;

/// How long a connection may lie idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A server that is to be run.
pub struct Serving {
    server: Server,
}

/// Puts the application together over `listener`. Connections wait until [`Serving::run`]. To be called on the runtime
/// that the database's connections live on.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, state: Arc<HttpState>) -> io::Result<Serving> {
    let settings = state.settings.server.clone();
    let served = Context::new(state);
    let documentation = documentation();
    let server = HttpServer::new(move || {
        let documentation = documentation.clone();
        App::new()
            .wrap(from_fn(observe))
            .app_data(web::Data::new(served.clone()))
            .app_data(web::Data::new(documentation.clone()))
            .into_utoipa_app()
            .configure(routes)
            .map(|app| app.service(documentation.page()).default_service(web::to(Documentation::unrouted)))
            .into_app()
    })
    .workers(settings.threads)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(settings.head_timeout)
    .shutdown_timeout(settings.drain.as_secs())
    .disable_signals()
    .listen(listener)?;
    Ok(Serving { server: server.run() })
}

impl Serving {
    /// Serves until told to stop, then finishes the requests that run.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self, stopping: CancellationToken) -> io::Result<()> {
        let handle = self.server.handle();
        let mut server = self.server;
        tokio::select! {
            ended = &mut server => return ended,
            () = stopping.cancelled() => {}
        }
        let (_, ended) = tokio::join!(handle.stop(true), server);
        ended
    }
}
