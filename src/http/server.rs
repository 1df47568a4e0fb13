//! Listening, serving, and stopping without dropping an answer.

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use tokio_util::sync::CancellationToken;
use utoipa_actix_web::AppExt as _;

use super::connection::{Connection, Patience};
use super::context::Context;
use super::docs::{Documentation, documentation};
use super::observe::observe;
use super::routes::routes;
use super::state::HttpState;

/// How long a connection may lie idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client whose body is not read may go on sending it, so that it gets to read the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A server that is to be run.
pub struct Serving {
    server: Server,
    stopping: CancellationToken,
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
    let stopping = CancellationToken::new();
    let (told, patience) = (stopping.clone(), Patience { head: settings.head_timeout, idle: KEEP_ALIVE });
    let connections = move || {
        let app = App::new()
            .wrap(from_fn(observe))
            .app_data(web::Data::new(served.clone()))
            .app_data(web::Data::new(documentation.clone()))
            .into_utoipa_app()
            .configure(routes)
            .map(|app| app.service(documentation.page()).default_service(web::to(Documentation::unrouted)))
            .into_app();
        let http = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(patience.head)
            .client_disconnect_timeout(LINGER)
            .h1_allow_half_closed(true)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.turn());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let told = told.clone();
        let accept = move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Connection::new(stream, patience, &told), peer)))
        };
        fn_service(accept).and_then(http)
    };
    let server = Server::build()
        .workers(settings.threads)
        .shutdown_timeout(settings.drain.as_secs())
        .disable_signals()
        .listen("http", listener, connections)?;
    Ok(Serving { server: server.run(), stopping })
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
        self.stopping.cancel();
        let (_, ended) = tokio::join!(handle.stop(true), server);
        ended
    }
}
