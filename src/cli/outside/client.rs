//! A plain HTTP/1.1 client: one connection that is kept and dialled again when it broke.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// How long one request may take, with its connection. Longer than the service takes to say that it cannot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer. The request may have been carried out all the same.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("no connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

/// An answer as it came.
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text, whatever is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Where it sends us.
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }
}

/// A client with one key.
pub struct Client {
    address: SocketAddr,
    key: Option<String>,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    /// A client of the service at `address`; it connects when it is needed.
    pub const fn new(address: SocketAddr, key: Option<String>) -> Self {
        Self { address, key, connection: None }
    }

    /// Asks and waits for the whole answer. After an error the next request gets a new connection.
    pub async fn get(&mut self, path: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, &[], String::new()).await
    }

    /// Posts JSON, with further headers.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], json: String) -> Result<Answer, NoAnswer> {
        self.send(Method::POST, path, headers, json).await
    }

    /// Changes something.
    pub async fn patch(&mut self, path: &str, json: String) -> Result<Answer, NoAnswer> {
        self.send(Method::PATCH, path, &[], json).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        json: String,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        if !json.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(json))?;
        let sent = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        let answer = sent.map_err(NoAnswer::from).and_then(|answer| answer);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let kept = self.connection.take().filter(|connection| connection.requests.is_ready());
        let connection = match kept {
            Some(connection) => connection,
            None => connect(self.address).await?,
        };
        let connection = self.connection.insert(connection);
        let (head, body) = connection.requests.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

async fn connect(address: SocketAddr) -> Result<Connection, NoAnswer> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // How a connection ends is told to the request that it was carrying.
        let _ = driver.await;
    });
    Ok(Connection { requests, _driver: AbortOnDropHandle::new(driver) })
}
