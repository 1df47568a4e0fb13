//! A name server on loopback that answers by a script: per name, per kind of address and per question.
//!
//! It reads and writes the wire format by hand, so that the service's own reading is held to something else. It speaks
//! UDP, and TCP on the same port for what it cut off. Names without a script do not exist.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// How many ports are tried until one is free for UDP and TCP.
const PORTS_TRIED: usize = 50;

/// What a name server says to one question.
#[derive(Clone, Debug)]
pub enum Say {
    /// Those of these addresses that are of the kind asked for.
    Found(Vec<IpAddr>),
    /// An alias, and those addresses of the name it stands for that are of the kind asked for.
    Alias(String, Vec<IpAddr>),
    /// These over TCP; over UDP nothing but that the reply was cut off.
    OnlyOverTcp(Vec<IpAddr>),
    /// First replies with these addresses and another id, then about another name; then the true one.
    AfterForgeries(Vec<IpAddr>, Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// The server cannot say.
    Failure,
    /// A datagram that is no reply.
    Noise,
    /// Nothing.
    Silence,
}

/// These addresses.
pub fn found(addresses: &[&str]) -> Say {
    Say::Found(parsed(addresses))
}

/// Addresses from their texts.
pub fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

/// The kinds of questions that have a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    A,
    Aaaa,
}

/// A name server. Stopped when it is dropped.
pub struct NameServer {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Book {
    scripts: HashMap<(String, Kind), VecDeque<Say>>,
    asked: Vec<(String, Kind)>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    /// A name server that knows no name yet.
    pub async fn start() -> Self {
        let (udp, tcp) = free_port().await;
        let address = udp.local_addr().unwrap();
        let book = Arc::<Mutex<Book>>::default();
        let tasks = [tokio::spawn(serve_udp(udp, Arc::clone(&book))), tokio::spawn(serve_tcp(tcp, Arc::clone(&book)))];
        Self { address, book, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on these are said about `name`, one to each question of each kind, the last to all that follow.
    pub fn says(&self, name: &str, script: &[Say]) {
        self.says_of(name, Kind::A, script);
        self.says_of(name, Kind::Aaaa, script);
    }

    /// The same for questions of one kind.
    pub fn says_of(&self, name: &str, kind: Kind, script: &[Say]) {
        let script = script.iter().cloned().collect();
        self.book.lock().unwrap().scripts.insert((name.to_owned(), kind), script);
    }

    /// How many questions of one kind there have been about `name`.
    pub fn asked(&self, name: &str, kind: Kind) -> usize {
        self.book.lock().unwrap().asked.iter().filter(|(asked, of)| asked == name && *of == kind).count()
    }
}

/// A port of loopback that is free for both.
async fn free_port() -> (UdpSocket, TcpListener) {
    for _ in 0..PORTS_TRIED {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, book: Arc<Mutex<Book>>) {
    let mut buffer = [0; 512];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Question::read(&buffer[..count]);
        let say = book.lock().unwrap().next(&question);
        for datagram in question.datagrams(&say) {
            socket.send_to(&datagram, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, book: Arc<Mutex<Book>>) {
    let mut conversations = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        conversations.spawn(answer_over_tcp(stream, Arc::clone(&book)));
    }
}

/// Gives what the last datagram left out; a question over TCP does not move the script on.
async fn answer_over_tcp(mut stream: TcpStream, book: Arc<Mutex<Book>>) {
    let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    let question = Question::read(&bytes);
    let say = book.lock().unwrap().last(&question);
    let reply = match say {
        Say::OnlyOverTcp(addresses) => question.reply(0, &question.records(&addresses)),
        other => panic!("asked over TCP for {other:?}"),
    };
    let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, reply.as_slice()].concat()).await.unwrap();
}

impl Book {
    fn next(&mut self, question: &Question) -> Say {
        let Some(kind) = question.kind() else { return Say::Failure };
        self.asked.push((question.name.clone(), kind));
        match self.scripts.get_mut(&(question.name.clone(), kind)) {
            Some(script) if script.len() > 1 => script.pop_front().unwrap(),
            _ => self.last(question),
        }
    }

    fn last(&self, question: &Question) -> Say {
        let script = question.kind().and_then(|kind| self.scripts.get(&(question.name.clone(), kind)));
        script.and_then(|script| script.front().cloned()).unwrap_or(Say::NoSuchName)
    }
}

/// A question as it came.
struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// Name, kind and class, to be repeated in the reply.
    bytes: Vec<u8>,
}

impl Question {
    fn read(datagram: &[u8]) -> Self {
        let mut labels = Vec::new();
        let mut at = HEADER_BYTES;
        while datagram[at] != 0 {
            let end = at + 1 + usize::from(datagram[at]);
            labels.push(String::from_utf8(datagram[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let kind = u16::from_be_bytes([datagram[at + 1], datagram[at + 2]]);
        let bytes = datagram[HEADER_BYTES..at + 5].to_vec();
        Self { id: [datagram[0], datagram[1]], name: labels.join("."), kind, bytes }
    }

    fn kind(&self) -> Option<Kind> {
        match self.kind {
            TYPE_A => Some(Kind::A),
            TYPE_AAAA => Some(Kind::Aaaa),
            _ => None,
        }
    }

    fn datagrams(&self, say: &Say) -> Vec<Vec<u8>> {
        match say {
            Say::Found(addresses) => vec![self.reply(0, &self.records(addresses))],
            Say::Alias(target, addresses) => {
                let target = wire_name(target);
                let of_target = self.data(addresses).map(|data| record(&target, self.kind, &data));
                let alias = record(&self.own_name(), TYPE_CNAME, &target);
                vec![self.reply(0, &[alias].into_iter().chain(of_target).collect::<Vec<_>>())]
            }
            Say::OnlyOverTcp(_) => vec![self.reply(0x0200, &[])],
            Say::AfterForgeries(forged, addresses) => {
                let other_id = Self { id: [self.id[0] ^ 1, self.id[1]], ..self.again() };
                let elsewhere = [wire_name("elsewhere.example.com"), self.bytes[self.bytes.len() - 4..].to_vec()];
                let other_name = Self { bytes: elsewhere.concat(), ..self.again() };
                vec![
                    other_id.reply(0, &self.records(forged)),
                    other_name.reply(0, &self.records(forged)),
                    self.reply(0, &self.records(addresses)),
                ]
            }
            Say::NoSuchName => vec![self.reply(3, &[])],
            Say::Failure => vec![self.reply(2, &[])],
            Say::Noise => vec![vec![0xff; 40]],
            Say::Silence => Vec::new(),
        }
    }

    fn again(&self) -> Self {
        Self { id: self.id, name: self.name.clone(), kind: self.kind, bytes: self.bytes.clone() }
    }

    fn own_name(&self) -> Vec<u8> {
        self.bytes[..self.bytes.len() - 4].to_vec()
    }

    /// The addresses that are of the kind asked for, as they are written in a record.
    fn data(&self, addresses: &[IpAddr]) -> impl Iterator<Item = Vec<u8>> {
        let of_kind = |address: &IpAddr| match (self.kind, address) {
            (TYPE_A, IpAddr::V4(v4)) => Some(v4.octets().to_vec()),
            (TYPE_AAAA, IpAddr::V6(v6)) => Some(v6.octets().to_vec()),
            _ => None,
        };
        addresses.iter().filter_map(of_kind).collect::<Vec<_>>().into_iter()
    }

    fn records(&self, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
        self.data(addresses).map(|data| record(&self.own_name(), self.kind, &data)).collect()
    }

    /// A reply with these flags besides "a reply, recursion wanted and to be had".
    fn reply(&self, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap();
        let words = [0x8180 | flags, 1, count, 0, 0].map(u16::to_be_bytes);
        [self.id.as_slice(), words.as_flattened(), &self.bytes, &records.concat()].concat()
    }
}

/// A name as its labels, each after its length.
fn wire_name(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}

/// A record that may not be kept.
fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let words = [kind, CLASS_IN, 0, 0, length].map(u16::to_be_bytes);
    [name, words.as_flattened(), data].concat()
}
