//! What stands in the environment of the process and must not matter.

use postback::domain::event::EventType;
use tokio::net::{TcpListener, TcpStream};

use crate::support::eventually;
use crate::support::process::{Process, request};
use crate::support::receiver::Receiver;
use crate::support::shop::{CLICK, Shop};
use crate::support::site::{Site, Stack, on_both_stacks};
use secrecy::ExposeSecret as _;

on_both_stacks! { proxies_of_the_environment_are_not_asked }

async fn proxies_of_the_environment_are_not_asked(stack: Stack) {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let url = format!("http://{address}");
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let variables = names.map(|name| (name, url.as_str()));

    let site = Site::new(stack).await.with("delivery.timeout", "5s").with("delivery.lease", "10s");
    let store = site.store().await;
    let shop = Shop::open(&*store).await;
    let receiver = Receiver::start().await;
    shop.tell(&*store, &receiver, &[EventType::ConversionRecorded]).await;
    let service = Process::start_among(&site, &variables).await;
    let path = format!("/v1/postbacks?click_id={CLICK}&event_id=sale&goal=sale&amount=20");
    let key = shop.api_key.to_text();
    let (status, answer) = request(service.address, "GET", &path, Some(key.expose_secret())).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    eventually("the webhook arrives", async || !receiver.posts().is_empty()).await;
    service.terminate().await;

    // The first connection that the proxy got is our own.
    let own = TcpStream::connect(address).await.unwrap();
    let (_, peer) = proxy.accept().await.unwrap();
    assert_eq!(peer, own.local_addr().unwrap());
}
