//! `serve` and what is run beside it.

use super::program::{self, Folder, Program, status_of};
use crate::support::eventually;

fn variables(folder: &Folder) -> Vec<(String, String)> {
    vec![
        ("POSTBACK_DATA_DIR".to_owned(), folder.join("data").display().to_string()),
        ("POSTBACK_SERVER_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
    ]
}

fn serve(folder: &Folder) -> Program {
    let variables = variables(folder);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    program::start(folder, &["serve"], &variables)
}

#[tokio::test]
async fn it_serves_until_told_to_stop() {
    let folder = Folder::new();
    let mut service = serve(&folder);
    let address = service.address().await;
    assert_eq!(status_of(&address, "/livez", None), 200);
    assert_eq!(status_of(&address, "/readyz", None), 200);
    assert_eq!(status_of(&address, "/v1/admin/operators", None), 401);
    assert!(service.err().contains("postback keys create --role admin"), "{}", service.err());
    assert_eq!(service.out(), "", "without a terminal no key is made");

    let healthcheck = || program::run(&folder, &["healthcheck"], &[("POSTBACK_SERVER_LISTEN", &address)]);
    healthcheck().await.succeeded();
    service.terminate();
    service.ended().await.succeeded();
    let told = healthcheck().await.failed_with(1);
    assert!(told.contains("does not answer"), "{told}");
}

#[tokio::test]
async fn a_second_one_on_the_same_file_refuses_until_the_first_is_gone() {
    let folder = Folder::new();
    let mut first = serve(&folder);
    first.address().await;
    let told = serve(&folder).ended().await.failed_with(1);
    assert!(told.contains("another process works on this database"), "{told}");
    first.kill().await;
    let mut second = serve(&folder);
    second.address().await;
    second.terminate();
    second.ended().await.succeeded();
}

#[tokio::test]
async fn it_refuses_in_sentences() {
    let folder = Folder::new();
    let wrong = [("POSTBACK_DELIVERY_LEASE", "1s"), ("POSTBACK_SERVER_LISTN", "x")];
    let told = program::run(&folder, &["serve"], &wrong).await.failed_with(2);
    assert!(told.contains("delivery.lease") && told.contains("POSTBACK_SERVER_LISTEN"), "{told}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = program::run(&folder, &["serve"], &[("POSTBACK_SERVER_LISTEN", &address)]).await.failed_with(1);
    assert!(told.contains("cannot listen on"), "{told}");
}

#[tokio::test]
async fn keys_made_beside_it_work_and_end() {
    let folder = Folder::new();
    let mut service = serve(&folder);
    let address = service.address().await;
    let data = folder.join("data").display().to_string();
    let keys = |arguments: &'static [&'static str]| {
        let variables = [("POSTBACK_DATA_DIR", data.as_str())];
        let started = program::start(&folder, arguments, &variables);
        async { started.ended().await.succeeded() }
    };
    let key = keys(&["keys", "create", "--role", "admin", "--name", "ops"]).await;
    let key = key.trim_end();
    eventually("the new key works", async || status_of(&address, "/v1/admin/operators", Some(key)) == 200).await;
    let list = keys(&["keys", "list"]).await;
    let id = list.lines().find(|line| line.contains("ops")).unwrap().split_whitespace().next().unwrap().to_owned();
    let revoke = ["keys", "revoke", &id];
    program::run(&folder, &revoke, &[("POSTBACK_DATA_DIR", &data)]).await.succeeded();
    eventually("the key is refused", async || status_of(&address, "/v1/admin/operators", Some(key)) == 401).await;
}
