//! Alerts about sources: each source is a subject of its own.

use std::time::Duration;

use postback::alerts::catalogue::Alert;
use postback::domain::catalog::{Source, SourceSecret};
use postback::domain::ids::SourceSecretId;
use postback::domain::signature::{InboundScheme, SigningSecret};
use postback::store::configuration::Entry;

use super::{Operations, open, sell};
use crate::support::eventually;
use crate::support::shop::Shop;
use crate::support::site::{Service, Site, Stack, on_both_stacks};
use crate::support::world;

on_both_stacks! {
    a_source_that_stops_sending_is_told_and_one_that_never_sent_is_not
    a_secret_that_is_too_old_is_told_until_there_is_a_new_one
}

const DAY: Duration = Duration::from_secs(86_400);

async fn a_source_that_stops_sending_is_told_and_one_that_never_sent_is_not(stack: Stack) {
    let operations = Operations::start().await;
    let site = operations.of(Site::new(stack).await).with("alerts.source_silent_after", "1s");
    let service = site.start().await;
    let shop = Shop::open(&*service.state.store).await;
    let quiet = world::source(service.state.clock.now(), shop.operator_id);
    service.state.store.put(&[Entry::Source(quiet)]).await.unwrap();
    let subject = shop.source_id.to_string();
    sell(&service, &shop, "one").await;
    operations.told_both(Alert::SourceSilent, &subject, &["open"]).await;
    assert_eq!(open(&service).await, [("source_silent".to_owned(), subject.clone())]);
    sell(&service, &shop, "two").await;
    eventually("it has closed", async || operations.told(Alert::SourceSilent).len() >= 2).await;
    assert_eq!(operations.told(Alert::SourceSilent)[1], ("closed".to_owned(), subject));
    service.stop().await;
}

async fn put_secret(service: &Service, secret: SourceSecret) {
    service.state.store.put(&[Entry::SourceSecret(secret)]).await.unwrap();
}

async fn a_secret_that_is_too_old_is_told_until_there_is_a_new_one(stack: Stack) {
    let operations = Operations::start().await;
    let service = operations.of(Site::new(stack).await).start().await;
    let shop = Shop::open(&*service.state.store).await;
    let now = service.state.clock.now();
    let row = Source { id: shop.source_id, ..world::source(now, shop.operator_id) };
    let signing = Source { signature_scheme: InboundScheme::Body, ..row };
    service.state.store.put(&[Entry::Source(signing)]).await.unwrap();
    let secret = |days| SourceSecret {
        id: SourceSecretId::new(now),
        source_id: shop.source_id,
        secret: SigningSecret::generate(),
        created_at: now.minus(DAY * days),
        expires_at: None,
    };
    let (old, fresh) = (secret(91), secret(89));
    put_secret(&service, old.clone()).await;
    let subject = shop.source_id.to_string();
    operations.told_both(Alert::SecretOld, &subject, &["open"]).await;
    let value = service.state.store.open_alerts().await.unwrap()[0].0.value;
    assert_eq!(value, 91, "days");

    put_secret(&service, fresh).await;
    put_secret(&service, SourceSecret { expires_at: Some(now), ..old }).await;
    operations.told_both(Alert::SecretOld, &subject, &["open", "closed"]).await;
    service.stop().await;
}
