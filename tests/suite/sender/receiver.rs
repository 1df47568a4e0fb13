//! Receivers on loopback that do what a script says, byte for byte: also what no HTTP library would do.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A receiver that does with each connection what its script says.
pub struct Receiver {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    ended: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// A receiver on a free port of loopback, which runs `script` on every connection.
    pub async fn start<F>(script: impl Fn(Conversation<TcpStream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (ending, ended) = watch::channel(0);
        let (counted, kept) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let scripted = script(Conversation { stream, requests: Arc::clone(&kept) });
                let ending = ending.clone();
                conversations.spawn(async move {
                    scripted.await;
                    ending.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self { port, connections, requests, ended, task }
    }

    /// Answers every request on every connection with the same text.
    pub async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut talk| {
            let answer = answer.clone();
            async move {
                while talk.next_request().await {
                    talk.write(answer.as_bytes()).await;
                }
            }
        })
        .await
    }

    /// An address of this receiver with a secret in its query.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in?token=t", self.port)
    }

    /// Every request so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until every connection has ended at this side too.
    pub async fn all_closed(&self) {
        let connections = self.connections();
        self.ended.clone().wait_for(|ended| *ended >= connections).await.unwrap();
    }
}

/// One connection as its script sees it.
pub struct Conversation<S> {
    pub stream: S,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Reads and keeps one request with its body; false when the sender has closed.
    pub async fn next_request(&mut self) -> bool {
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    self.requests.lock().unwrap().push(text);
                    return true;
                }
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
            }
        }
    }

    /// Writes; false when the sender has closed.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Keeps the connection open, silent, until the sender closes it.
    pub async fn hold(&mut self) {
        while matches!(self.stream.read(&mut [0; 4096]).await, Ok(count) if count > 0) {}
    }
}
