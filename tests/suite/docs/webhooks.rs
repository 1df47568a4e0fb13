//! `docs/verify-webhooks.md`: its programs, as files, against deliveries of the built service. Python and JavaScript run
//! with the Standard Webhooks project's own packages, which `scripts/test` fetches; Rust is compiled into this test.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use postback::clock::Clock;
use postback::domain::catalog::{EndpointSecret, Owner};
use postback::domain::endpoint::Endpoint;
use postback::domain::event::EventType;
use postback::domain::ids::EndpointSecretId;
use postback::domain::signature::{SigningSecret, sign_webhook};
use postback::store::Store;
use postback::store::configuration::Entry;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{path, text};
use crate::support::eventually;
use crate::support::process::{Process, request};
use crate::support::receiver::{Post, Receiver};
use crate::support::shop::{CLICK, Shop};
use crate::support::site::{Site, Stack};
use crate::support::world;

#[path = "../../../docs/examples/verify.rs"]
mod example;

/// An example, receiving. Killed when dropped.
struct Example {
    _child: Child,
    said: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl Example {
    /// Starts `program` with an example and a free port as its arguments, and waits until it listens.
    async fn start(program: PathBuf, example: PathBuf, secret: &SigningSecret) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&program);
        command.arg(&example).arg(port.to_string()).env("WEBHOOK_SECRET", secret.text().expose_secret());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        eventually("the example listens", async || {
            assert!(child.try_wait().unwrap().is_none(), "{} ended", example.display());
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { _child: child, said, port }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Posts a message as it stands; the status that the example answers.
    async fn post(&self, message: &Message) -> u16 {
        let mut post = hyper::Request::post(format!("http://127.0.0.1:{}/hook", self.port));
        for (name, value) in &message.headers {
            post = post.header(name, value);
        }
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let post = post.body(Full::from(message.body.clone())).unwrap();
        client.request(post).await.unwrap().status().as_u16()
    }
}

/// A delivery, to be posted again with a change.
#[derive(Clone)]
struct Message {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Message {
    fn of(post: &Post) -> Self {
        let signed = |name: &&String| name.starts_with("webhook-");
        let names = post.headers.keys().filter(signed);
        let headers = names.map(|name| (name.clone(), post.headers[name].clone())).collect();
        Self { headers, body: post.body.clone().into_bytes() }
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.insert(name.to_owned(), value.to_owned());
        changed
    }

    fn timestamp(&self) -> i64 {
        self.headers["webhook-timestamp"].parse().unwrap()
    }

    /// Signed anew, so that only what the signature says is wrong with it.
    fn signed(&self, secrets: &[&SigningSecret], timestamp: i64) -> Self {
        let signature = sign_webhook(secrets, &self.headers["webhook-id"], timestamp, &self.body);
        self.with("webhook-timestamp", &timestamp.to_string()).with("webhook-signature", &signature)
    }

    /// Messages that no receiver may believe, and what is wrong with each.
    fn forged(&self) -> Vec<(&'static str, Self)> {
        let mut flipped = self.clone();
        flipped.body[10] ^= 1;
        let mut longer = self.clone();
        longer.body.push(b' ');
        let time = self.timestamp();
        let ours = secret_of_nobody();
        let mut unsigned = self.clone();
        unsigned.headers.remove("webhook-signature");
        vec![
            ("a flipped byte", flipped),
            ("a byte more", longer),
            ("another secret", self.signed(&[&ours], time)),
            ("another id", self.with("webhook-id", "evt_00000000000000000000000000000000")),
            ("another time", self.with("webhook-timestamp", &(time - 1).to_string())),
            ("no signature", unsigned),
            ("half a signature", self.with("webhook-signature", "v1")),
        ]
    }
}

fn secret_of_nobody() -> SigningSecret {
    SigningSecret::generate()
}

/// A shop whose events go to a receiver of ours and to an example, signed with one secret, so that what arrives here can be
/// posted there again.
async fn tell_both(store: &dyn Store, shop: &Shop, receiver: &Receiver, example: &Example) {
    let (now, event) = (Clock::system().now(), [EventType::ConversionRecorded]);
    shop.tell(store, receiver, &event).await;
    let row = world::endpoint(now, Owner::Affiliate(shop.affiliate_id), &event);
    let endpoint = Endpoint { url: format!("http://127.0.0.1:{}/hook", example.port), ..row };
    let secret = EndpointSecret {
        id: EndpointSecretId::new(now),
        endpoint_id: endpoint.id,
        secret: receiver.secret().clone(),
        created_at: now,
        expires_at: None,
    };
    store.put(&[Entry::Endpoint(endpoint), Entry::EndpointSecret(secret)]).await.unwrap();
}

/// Fires a postback at the built service, waits until the example has verified the webhook, and tries what it should
/// refuse. What it said is what the document promises.
async fn an_example_believes_only_us(program: PathBuf, file: PathBuf) {
    let receiver = Receiver::start().await;
    let secret = receiver.secret();
    let example = Example::start(program, file, secret).await;
    let site = Site::new(Stack::Embedded).await;
    let store = site.store().await;
    let shop = Shop::open(&*store).await;
    tell_both(&*store, &shop, &receiver, &example).await;
    let service = Process::start(&site, None).await;
    let postback = format!("/v1/postbacks?click_id={CLICK}&event_id=e1&goal=sale&amount=20");
    let answer = request(service.address, "GET", &postback, Some(shop.api_key.to_text().expose_secret())).await;
    assert_eq!(answer.unwrap().0, 200);

    eventually("our own receiver was told", async || !receiver.posts().is_empty()).await;
    let message = Message::of(&receiver.posts()[0]);
    let id = message.headers["webhook-id"].clone();
    let verified = format!("verified {id} conversion.recorded");
    eventually("the example has verified it", async || !example.said().is_empty()).await;
    assert_eq!(example.said(), [verified.as_str()]);

    assert_eq!(example.post(&message).await, 204, "a repeat is acknowledged");
    let rotating = message.signed(&[&secret_of_nobody(), secret], message.timestamp());
    assert_eq!(example.post(&rotating).await, 204, "two signatures while a secret is rotated");
    let mut expected = vec![verified, format!("again {id}"), format!("again {id}")];
    eventually("it says so", async || example.said().len() == expected.len()).await;
    assert_eq!(example.said(), expected);

    let mut forged = message.forged();
    forged.push(("an old time", message.signed(&[secret], message.timestamp() - 301)));
    forged.push(("a time to come", message.signed(&[secret], message.timestamp() + 3_600)));
    for (what, forgery) in forged {
        assert_eq!(example.post(&forgery).await, 400, "{what}");
        expected.push("refused".to_owned());
        eventually("it says so", async || example.said().len() == expected.len()).await;
        assert!(example.said().last().unwrap().starts_with("refused: "), "{what}: {:?}", example.said());
    }
    drop(service);
}

/// What `scripts/test` has fetched for the examples.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where things are")]
fn fetched(name: &str) -> PathBuf {
    let folder = std::env::var("POSTBACK_TEST_EXAMPLES").expect("POSTBACK_TEST_EXAMPLES is set by ./scripts/test");
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is not there: run scripts/examples, which says what is missing", path.display());
    path
}

#[tokio::test]
async fn the_python_example_believes_only_us() {
    an_example_believes_only_us(fetched("venv/bin/python"), path("docs/examples/verify.py")).await;
}

#[tokio::test]
async fn the_javascript_example_believes_only_us() {
    // Node looks for packages beside the program.
    let copy = fetched("node_modules").with_file_name("verify.mjs");
    std::fs::copy(path("docs/examples/verify.mjs"), &copy).unwrap();
    an_example_believes_only_us(PathBuf::from("node"), copy).await;
}

#[test]
fn the_rust_example_believes_only_us() {
    let secret = SigningSecret::generate();
    let webhook = standardwebhooks::Webhook::new(secret.text().expose_secret()).unwrap();
    let headers = [("webhook-id".to_owned(), "evt_1".to_owned())].into();
    let unsigned = Message { headers, body: br#"{"type":"conversion.recorded"}"#.to_vec() };
    let message = unsigned.signed(&[&secret], Clock::system().now().seconds());
    let judge = |message: &Message| {
        let mut headers = hyper::HeaderMap::new();
        for (name, value) in &message.headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        example::verified(&webhook, &headers, &message.body).map(str::to_owned).ok()
    };
    assert_eq!(judge(&message).as_deref(), Some("evt_1"));
    for (what, forgery) in message.forged() {
        assert_eq!(judge(&forgery), None, "{what}");
    }
    assert_eq!(judge(&message.signed(&[&secret], message.timestamp() - 301)), None, "an old time");
}

#[test]
fn the_page_shows_the_examples_and_the_vector_as_they_are() {
    let page = text("docs/verify-webhooks.md");
    for (language, file) in [
        ("python", "verify.py"),
        ("js", "verify.mjs"),
        ("php", "verify.php"),
        ("go", "verify.go"),
        ("rust", "verify.rs"),
    ] {
        let shown = format!("```{language}\n{}```", text(&format!("docs/examples/{file}")));
        assert!(page.contains(&shown), "the page does not show docs/examples/{file} as it is");
    }
    let vectors: Value = serde_json::from_str(&text("tests/vectors.json")).unwrap();
    for name in ["secret", "id", "timestamp", "body", "signature"] {
        let value = &vectors["standard_webhooks"][name];
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert!(page.contains(&format!("`{value}`")), "the page lacks the vector's {name}");
    }
}

#[test]
fn the_vector_comes_out_in_a_shell() {
    let page = text("docs/verify-webhooks.md");
    let script = page.split("```sh vector\n").nth(1).unwrap().split("```").next().unwrap();
    let run = std::process::Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(page.contains(&format!("`v1,{}`", said.trim())), "{said}");
}
