//! The list of alerts, open and past.

use super::Service;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_with_what_to_do() {
    let service = Service::start().await;
    let (store, now) = (&service.state.store, service.state.clock.now());
    // One that the service's own watch leaves open for a while.
    store.open_alert("broker_unreachable", "one", 7, now).await.unwrap();
    let list = async |query: &str| service.admin("GET", &format!("/v1/admin/alerts{query}")).send().await.expect(200);
    let open = list("?state=open").await;
    let alert = &open["items"][0];
    assert_eq!((&alert["name"], &alert["state"]), (&"broker_unreachable".into(), &"open".into()), "{open}");
    assert_eq!((&alert["subject"], &alert["value"]), (&"one".into(), &7.into()), "{open}");
    assert!(alert["closed_at"].is_null() && alert["advice"].as_str().unwrap().contains("/readyz"), "{open}");

    let (view, _) = store.open_alerts().await.unwrap().remove(0);
    assert!(store.close_alert(view.id, now, now).await.unwrap());
    assert_eq!(list("?state=open").await["items"].as_array().unwrap().len(), 0);
    assert_eq!(list("").await["items"][0]["state"], "closed");
    service.admin("GET", "/v1/admin/alerts?name=x").send().await.problem(422, "validation");
}
