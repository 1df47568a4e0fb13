//! Listening, serving, and stopping without dropping an answer.

use std::io;
use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;

use super::docs::{Documentation, documentation};
use super::observe::observe;
use super::routes::routes;
use super::state::HttpState;

/// A server that listens and is to be run.
pub struct Listening {
    address: SocketAddr,
    server: Server,
}

/// Begins to listen where the settings say. Connections wait until [`Listening::run`].
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen(state: HttpState) -> io::Result<Listening> {
    let settings = state.parts().settings.server.clone();
    let documentation = documentation();
    let served = state.clone();
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
    .keep_alive(KeepAlive::Os)
    .client_request_timeout(settings.head_timeout)
    .shutdown_timeout(settings.drain.as_secs())
    .disable_signals()
    .bind(settings.listen)?;
    let address = server.addrs().first().copied().unwrap_or(settings.listen);
    Ok(Listening { address, server: server.run() })
}

impl Listening {
    /// Where it listens: the port is the real one, also where port 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

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
