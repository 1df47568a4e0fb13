//! Crashes around the commit of a postback.

use super::{Scene, site};
use crate::support::proxy::Proxy;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    before_the_commit
    after_the_commit_before_the_answer
}

async fn before_the_commit(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (answer, service) = scene.crash_at("record.before_commit=abort", "sale").await;
    assert_eq!(answer["verdict"], "accepted", "nothing had been stored");
    scene.judge(service, &[("sale", 1)]).await;
}

async fn after_the_commit_before_the_answer(stack: Stack) {
    let scene = Scene::on(stack).await;
    let (answer, service) = scene.crash_at("record.after_commit=abort", "sale").await;
    assert_eq!(answer["verdict"], "duplicate");
    let found = scene.judge(service, &[("sale", 1)]).await;
    let told: serde_json::Value = serde_json::from_str(found["sale"].body.as_deref().unwrap()).unwrap();
    assert_eq!(answer["conversion_id"], told["data"]["conversion_id"], "the retry got the same id");
}

/// The answer to COMMIT is lost: nobody knows, so the sender is told to come again.
#[tokio::test]
async fn commit_unknown_on_postgres_and_rabbitmq() {
    let scene = Scene::new(site(Stack::Brokered).await).await;
    let (proxy, behind) = behind_a_proxy(&scene.site).await;
    let service = scene.start_with(&behind, Some("record.before_commit=stall:2000")).await;
    let database_fails = async {
        super::says(&service, "failpoint", ("name", "record.before_commit")).await;
        proxy.mute(true);
        crate::support::eventually("the commit has come through", async || {
            !crate::support::site::deliveries(&*scene.store).await.is_empty()
        })
        .await;
        proxy.cut();
        proxy.mute(false);
    };
    let (answer, ()) = tokio::join!(scene.fire("sale"), database_fails);
    assert_eq!(answer["verdict"], "duplicate");
    scene.judge(service, &[("sale", 1)]).await;
}

/// A proxy before the site's PostgreSQL, and the settings to go through it.
pub async fn behind_a_proxy(site: &Site) -> (Proxy, Site) {
    let url = site.get("database.url");
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, database) = rest.split_once('/').unwrap();
    let (user, host) = authority.rsplit_once('@').unwrap();
    let proxy = Proxy::start(host.to_owned()).await;
    let through = format!("{scheme}://{user}@127.0.0.1:{}/{database}", proxy.port());
    (proxy, site.again().with("database.url", &through))
}
