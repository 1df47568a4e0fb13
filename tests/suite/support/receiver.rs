//! A receiver of webhooks and postbacks on loopback: answers as it is told, keeps what it got, and verifies every signature
//! with the Standard Webhooks project's own library.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use postback::domain::signature::SigningSecret;
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One message as it arrived: the POST of a webhook, or the GET of a postback.
#[derive(Clone, Debug)]
pub struct Post {
    /// Path and query.
    pub target: String,
    /// Its `webhook-id`.
    pub id: String,
    /// Its headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body, verbatim.
    pub body: String,
    /// When it was complete.
    pub at: Instant,
    /// Whether its signature is right; a GET must have none.
    pub signed: bool,
}

/// What the receiver does with one POST.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status with this body.
    Status(u16, String),
    /// 503 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// A status with `Retry-After` as a date.
    RetryAt(u16, String),
    /// The connection is closed without an answer.
    Close,
    /// Nothing, ever.
    Hang,
}

/// 200.
pub const OK: Answer = Answer::Status(200, String::new());
/// 500.
pub const BROKEN: Answer = Answer::Status(500, String::new());

/// Decides on a POST: its place among all that came, from 0, and the POST itself.
type Script = Arc<dyn Fn(usize, &Post) -> (Duration, Answer) + Send + Sync>;

/// A receiver with one secret. Stops when dropped.
pub struct Receiver {
    port: u16,
    secret: SigningSecret,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    posts: Mutex<Vec<Post>>,
    /// How many are being answered now, and the most there ever were.
    open: Mutex<(usize, usize)>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// A receiver that answers everything with 200 at once.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let secret = SigningSecret::generate();
        let script: Script = Arc::new(|_, _| (Duration::ZERO, OK));
        let shared = Arc::new(Shared { script: Mutex::new(script), posts: Mutex::default(), open: Mutex::default() });
        let serving = (Arc::clone(&shared), secret.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, secret) = serving.clone();
                connections.spawn(async move { shared.serve(stream, &secret).await });
            }
        });
        Self { port, secret, shared, task }
    }

    /// From now on: this answer, at once.
    pub fn answers(&self, answer: Answer) {
        self.follows(move |_, _| (Duration::ZERO, answer.clone()));
    }

    /// From now on: what `script` decides, after the wait that it names.
    pub fn follows(&self, script: impl Fn(usize, &Post) -> (Duration, Answer) + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Where it takes postbacks, for a query with macros.
    pub fn postback_url(&self, query: &str) -> String {
        format!("http://127.0.0.1:{}/track?{query}", self.port)
    }

    /// What senders are to sign with.
    pub fn secret(&self) -> &SigningSecret {
        &self.secret
    }

    /// Everything that arrived, in order; all of it must be signed.
    pub fn posts(&self) -> Vec<Post> {
        let posts = self.shared.posts.lock().unwrap().clone();
        for post in &posts {
            assert!(post.signed, "a POST that does not verify: {post:?}");
        }
        posts
    }

    /// The bodies of everything that arrived, in order, whoever signed them.
    pub fn bodies(&self) -> Vec<String> {
        self.shared.posts.lock().unwrap().iter().map(|post| post.body.clone()).collect()
    }

    /// How often each `webhook-id` arrived.
    pub fn times(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for post in self.posts() {
            *times.entry(post.id).or_default() += 1;
        }
        times
    }

    /// The most POSTs that were open at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.open.lock().unwrap().1
    }
}

impl Shared {
    /// Answers one connection's requests until either side closes.
    async fn serve(&self, stream: TcpStream, secret: &SigningSecret) {
        let mut stream = BufReader::new(stream);
        while let Some(post) = read(&mut stream, secret).await {
            let number = {
                let mut posts = self.posts.lock().unwrap();
                posts.push(post.clone());
                posts.len() - 1
            };
            let script = Arc::clone(&self.script.lock().unwrap());
            let _open = Open::new(self);
            let (wait, answer) = script(number, &post);
            tokio::time::sleep(wait).await;
            let text = match answer {
                Answer::Status(status, body) => {
                    format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Answer::RetryAfter(seconds) => {
                    format!("HTTP/1.1 503 Later\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::RetryAt(status, date) => {
                    format!("HTTP/1.1 {status} Later\r\nretry-after: {date}\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::Close => return,
                // The sender gives up and closes.
                Answer::Hang => return drop(stream.read_u8().await),
            };
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Counts a POST as open until it is answered.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut open = shared.open.lock().unwrap();
        open.0 += 1;
        open.1 = open.1.max(open.0);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.lock().unwrap().0 -= 1;
    }
}

/// The next request; `None` at the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>, secret: &SigningSecret) -> Option<Post> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
    let (method, target) = line.split_once(' ').and_then(|(method, rest)| Some((method, rest.split(' ').next()?)))?;
    let (called, target) = (method == "GET", target.to_owned());
    assert!(if called { target.starts_with("/track?") } else { line.starts_with("POST /hook ") }, "{line:?}");
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = if called { 0 } else { headers.get("content-length")?.parse().ok()? };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let bare = !headers.contains_key("webhook-signature") && !headers.contains_key("content-length");
    let signed = if called { bare } else { verifies(&headers, &body, secret) };
    let (id, body) = (headers.get("webhook-id").cloned().unwrap_or_default(), String::from_utf8(body).unwrap());
    Some(Post { target, id, headers, body, at: Instant::now(), signed })
}

fn verifies(headers: &HashMap<String, String>, body: &[u8], secret: &SigningSecret) -> bool {
    let judge = standardwebhooks::Webhook::new(secret.text().expose_secret()).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.insert(name, HeaderValue::from_str(value).unwrap());
    }
    judge.verify(body, &map).is_ok()
}
