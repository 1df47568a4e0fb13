//! A TCP proxy that can fail the way networks do: cut every connection, hold back every byte, or lose the answer to a
//! COMMIT that PostgreSQL has carried out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::Failure;

/// PostgreSQL's message that a COMMIT is done: its kind, its length and the command, as text that ends with a zero.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// What the proxy does to the connections through it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// Bytes are held back, connections stay open.
    black_hole: bool,
    /// Grows at each cut; a connection of an older number is closed.
    cuts: u64,
    /// Grows each time that what is behind connections vanishes; nothing comes through one of an older number any more.
    vanished: u64,
}

/// A proxy on a free loopback port. Stops when dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    lost_commits: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Forwards to `upstream`, `host:port`.
    pub async fn start(upstream: String) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("a proxy cannot be started: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (weather, _) = watch::channel(Weather { black_hole: false, cuts: 0, vanished: 0 });
        let lost_commits = Arc::new(AtomicU64::new(0));
        let (reports, to_lose) = (weather.clone(), Arc::clone(&lost_commits));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream.clone(), reports.subscribe(), Arc::clone(&to_lose)));
            }
        });
        Ok(Self { address, weather, lost_commits, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Where to connect instead of the upstream.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection. New ones are accepted.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Holds back every byte, on old and new connections, or lets them flow again.
    pub fn black_hole(&self, on: bool) {
        self.weather.send_modify(|weather| weather.black_hole = on);
    }

    /// Lets what is behind every connection vanish without a word: they stay open for ever. New ones get through.
    pub fn vanish(&self) {
        self.weather.send_modify(|weather| weather.vanished += 1);
    }

    /// Closes the connections of the next so many COMMITs when their answer passes, which is not passed on.
    pub fn lose_commits(&self, count: u64) {
        self.lost_commits.fetch_add(count, Ordering::SeqCst);
    }

    /// How many of them are still to come.
    pub fn commits_to_lose(&self) -> u64 {
        self.lost_commits.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

/// One connection, until either side closes or it is cut.
async fn carry(client: TcpStream, upstream: String, weather: watch::Receiver<Weather>, to_lose: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    // Without this each small packet waits 40 ms for the one before it.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let Weather { cuts: born, vanished, .. } = *weather.borrow();
    let mut cut = weather.clone();
    let mut clearing = weather.clone();
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let held = |now: &Weather| now.black_hole || now.cuts != born || now.vanished != vanished;
    tokio::select! {
        _ = cut.wait_for(|now| now.cuts != born) => {}
        () = pump(from_client, &mut to_server, weather.clone(), held, None) => {}
        () = async {
            pump(from_server, &mut to_client, weather, held, Some(&to_lose)).await;
            // That the upstream closed does not get through either while bytes are held back.
            let _over = clearing.wait_for(|now| now.cuts != born || !now.black_hole && now.vanished == vanished).await;
        } => {}
    }
}

/// Passes bytes on except while they are held. Keeps reading then too, so that it notices when a side gives up. Ends when
/// a commit is to be lost and its answer is among the bytes.
async fn pump(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    is_held: impl Fn(&Weather) -> bool,
    to_lose: Option<&AtomicU64>,
) {
    let mut held = Vec::new();
    loop {
        if let Some(to_lose) = to_lose
            && held.windows(COMMITTED.len()).any(|part| part == COMMITTED)
            && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return;
        }
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
