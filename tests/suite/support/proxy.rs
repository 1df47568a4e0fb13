//! A TCP proxy that can fail the way networks do: cut every connection, or swallow every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does to the connections through it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// Bytes are held back, connections stay open.
    black_hole: bool,
    /// The upstream's bytes are held back, the client's get through.
    mute: bool,
    /// Grows at each cut; a connection of an older number is closed.
    cuts: u64,
}

/// A proxy on a free loopback port. Stops when dropped.
pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    accepted: Arc<AtomicUsize>,
    token: Arc<()>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Forwards to `upstream`, `host:port`.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::new(watch::Sender::new(Weather { black_hole: false, mute: false, cuts: 0 }));
        let accepted = Arc::new(AtomicUsize::new(0));
        let token = Arc::new(());
        let (reports, count, tokens) = (weather.clone(), accepted.clone(), token.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (connection, token) = (carry(client, upstream.clone(), reports.subscribe()), tokens.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(token);
                });
            }
        });
        Self { port, weather, accepted, token, accepting }
    }

    /// The port to connect to instead of the upstream's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        // One token is ours, one the accepting task's, and one is with each connection.
        Arc::strong_count(&self.token).saturating_sub(2)
    }

    /// Closes every connection. New ones are accepted.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Holds back what the upstream answers, or lets it through again. What clients say gets through.
    pub fn mute(&self, on: bool) {
        self.weather.send_modify(|weather| weather.mute = on);
    }

    /// Holds back every byte, on old and new connections, or lets them flow again.
    pub fn black_hole(&self, on: bool) {
        self.weather.send_modify(|weather| weather.black_hole = on);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// One connection, until either side closes or it is cut.
async fn carry(client: TcpStream, upstream: String, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    // Without this each small packet waits 40 ms for the one before it.
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let born = weather.borrow().cuts;
    let (mut cut, mut clearing) = (weather.clone(), weather.clone());
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = cut.wait_for(|now| now.cuts != born) => {}
        () = pump(from_client, &mut to_server, weather.clone(), |now| now.black_hole || now.cuts != born) => {}
        () = async {
            // What was held back before a cut must not slip through when the weather clears in the same moment.
            let held = |now: &Weather| now.black_hole || now.mute || now.cuts != born;
            pump(from_server, &mut to_client, weather, held).await;
            // That the upstream closed does not get through either.
            let _over = clearing.wait_for(|now| !held(now)).await;
        } => {}
    }
}

/// Passes bytes on except while they are held. Keeps reading then too, so that it notices when a side gives up.
async fn pump(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    is_held: impl Fn(&Weather) -> bool,
) {
    let mut held = Vec::new();
    loop {
        let holding = is_held(&weather.borrow_and_update());
        if !holding && to.write_all_buf(&mut held.as_slice()).await.is_err() {
            return;
        }
        if !holding {
            held.clear();
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            read = from.read_buf(&mut held) => if !matches!(read, Ok(1..)) { return },
        }
    }
}
