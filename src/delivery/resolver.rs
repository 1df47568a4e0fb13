//! Where a name leads: asked of the system, or of name servers that the settings name.
//!
//! Nothing is remembered from one question to the next, so that every dial judges what the name means now. Guaranteed
//! of [`NameServers`]: a reply counts only when it comes from the server that was asked to the port that asked, and
//! repeats the random id and the question; a reply that was cut off is asked for again over TCP; a name has the
//! addresses of both kinds, and one kind is enough when the other cannot be had. The caller limits the time.
//!
//! Deliberately not done by [`NameServers`]: no hosts file and no search list, no recursion (the servers do that and
//! follow aliases), no DNSSEC, no larger datagrams. Judging addresses is the connector's part.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How often each name server is asked the same question.
const ROUNDS: u32 = 2;

/// More than a name server may send over UDP to someone who does not ask for more.
const MAX_DATAGRAM_BYTES: usize = 1232;

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every address of `name`, best first; none when the name has none.
    ///
    /// # Errors
    /// When the name does not exist or no name server answers; [`io::ErrorKind::TimedOut`] when all were silent.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The name servers if there are any, otherwise the system; with `limit` for resolving one name.
#[must_use]
pub fn choose(name_servers: &[SocketAddr], limit: Duration) -> Arc<dyn Resolve> {
    if name_servers.is_empty() {
        Arc::new(SystemResolver)
    } else {
        Arc::new(NameServers::new(name_servers.to_vec(), limit))
    }
}

/// The system's resolver, with its hosts file and search list.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Recursive name servers, asked one after the other.
#[derive(Clone, Debug)]
pub struct NameServers {
    servers: Vec<SocketAddr>,
    wait: Duration,
}

/// What one question comes to at one server.
enum Reply {
    /// The addresses; none when the name does not exist or has none of this kind.
    Addresses(Vec<IpAddr>),
    /// It did not fit into a datagram.
    CutOff,
    /// The server cannot say; another one may.
    Failed(RCODE),
}

/// One question with the id that its reply must carry.
struct Asked<'a> {
    id: u16,
    name: Name<'a>,
    kind: TYPE,
}

impl NameServers {
    /// `servers`, each asked twice at most, so that the last question ends before `limit` is over.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, limit: Duration) -> Self {
        let count = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        Self { servers, wait: limit / count.saturating_mul(ROUNDS).saturating_add(1) }
    }

    /// The addresses of one kind, from the first server that can say.
    async fn ask(&self, name: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for server in (0..ROUNDS).flat_map(|_| &self.servers) {
            match timeout(self.wait, ask_one(*server, name, kind)).await {
                Ok(Ok(Reply::Addresses(found))) => return Ok(found),
                Ok(Ok(Reply::CutOff)) => last = io::Error::other("the name server cut its reply off"),
                Ok(Ok(Reply::Failed(code))) => last = io::Error::other(format!("the name server answered {code:?}")),
                Ok(Err(error)) => last = error,
                // A server that says why it cannot tells more than one that is silent.
                Err(_) => {}
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Resolve for NameServers {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match tokio::join!(self.ask(name, TYPE::A), self.ask(name, TYPE::AAAA)) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(error)) | (Err(error), Ok(found)) if !found.is_empty() => {
                tracing::debug!(%error, "the addresses of one kind could not be had");
                Ok(found)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// Asks over UDP, and over TCP when the reply does not fit.
async fn ask_one(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Reply> {
    let name = Name::new(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let asked = Asked { id: rand::random(), name, kind };
    let question = asked.to_bytes()?;
    match over_udp(server, &question, &asked).await? {
        Reply::CutOff => over_tcp(server, &question, &asked).await,
        reply => Ok(reply),
    }
}

/// A socket of its own for each question: its port is another thing that a forger would have to guess.
async fn over_udp(server: SocketAddr, question: &[u8], asked: &Asked<'_>) -> io::Result<Reply> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = [0; MAX_DATAGRAM_BYTES];
    loop {
        let count = socket.recv(&mut buffer).await?;
        // What is not the reply may be a forgery: the true one may still come.
        if let Some(reply) = buffer.get(..count).and_then(|bytes| asked.read_reply(bytes)) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8], asked: &Asked<'_>) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    asked.read_reply(&reply).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

impl Asked<'_> {
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut query = Packet::new_query(self.id);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        let (kind, class) = (QTYPE::TYPE(self.kind), QCLASS::CLASS(CLASS::IN));
        query.questions.push(Question::new(self.name.clone(), kind, class, false));
        query.build_bytes_vec().map_err(io::Error::other)
    }

    /// The reply to this question; `None` for anything else.
    fn read_reply(&self, bytes: &[u8]) -> Option<Reply> {
        let packet = Packet::parse(bytes).ok()?;
        let [question] = packet.questions.as_slice() else { return None };
        let about_this = question.qname == self.name
            && question.qtype == QTYPE::TYPE(self.kind)
            && question.qclass == QCLASS::CLASS(CLASS::IN);
        if packet.id() != self.id || !packet.has_flags(PacketFlag::RESPONSE) || !about_this {
            return None;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Some(Reply::CutOff);
        }
        Some(match packet.rcode() {
            RCODE::NoError | RCODE::NameError => Reply::Addresses(addresses(&packet)),
            code => Reply::Failed(code),
        })
    }
}

/// Every address in the reply, under whatever alias it is listed: all of them are judged.
fn addresses(reply: &Packet<'_>) -> Vec<IpAddr> {
    let address = |data: &RData<'_>| match data {
        RData::A(found) => Some(Ipv4Addr::from(found.address).into()),
        RData::AAAA(found) => Some(Ipv6Addr::from(found.address).into()),
        _ => None,
    };
    reply
        .answers
        .iter()
        .filter(|record| record.class == CLASS::IN)
        .filter_map(|record| address(&record.rdata))
        .collect()
}
