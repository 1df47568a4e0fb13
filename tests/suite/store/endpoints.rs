//! Endpoints that are not active: what waits for them is held and released, and their owners' others are told.

use std::time::Duration;

use postback::domain::catalog::Owner;
use postback::domain::delivery::{DeliveryState, Hint};
use postback::domain::endpoint::{Endpoint, EndpointKind, EndpointStatus, Subscription};
use postback::domain::event::EventType;
use postback::domain::outbox::{News, Outbox};
use postback::domain::postback::ConversionStatus;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use postback::store::deliveries::Replay;
use postback::store::endpoints::{Disabling, Moved};
use postback::store::outbox::OutboxTerms;
use postback::store::reading::{Filter, Page};

use super::deliveries::{claim, claim_one, due, failed, finish, hints, ids, view};
use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{REPUBLISH_AFTER, World, endpoint};

on_both_engines!(
    an_endpoint_is_read_as_it_was_written,
    what_waits_for_a_paused_endpoint_is_held,
    what_was_held_goes_on_without_the_time_that_it_was_held,
    at_most_so_many_are_released_at_once,
    an_endpoint_is_disabled_once_and_others_are_told,
);

async fn set(world: &mut World, status: EndpointStatus) {
    world.endpoint.status = status;
    world.put(&[Entry::Endpoint(world.endpoint.clone())]).await.unwrap();
}

async fn held(world: &World) -> i64 {
    world.database.count_in_state(DeliveryState::Held).await.unwrap()
}

async fn an_endpoint_is_read_as_it_was_written(kind: Kind) {
    let mut world = World::new(kind).await;
    let made = Endpoint {
        kind: EndpointKind::Postback,
        url: "https://tracker.example/?c={click_id}".to_owned(),
        subscription: Subscription {
            event_types: vec![EventType::CommissionApproved],
            goals: vec!["sale".parse().unwrap()],
            statuses: vec![ConversionStatus::Approved],
        },
        expected_status: Some(204),
        status: EndpointStatus::Paused,
        status_reason: Some("on holiday".to_owned()),
        ..endpoint(world.now(), Owner::Affiliate(world.affiliate.id), &[])
    };
    world.put(&[Entry::Endpoint(made.clone())]).await.unwrap();
    let read = world.catalog.endpoint(made.id).unwrap();
    assert_eq!(format!("{read:?}"), format!("{made:?}"));
    let filter = Filter { status: Some("paused".to_owned()), ..Filter::default() };
    let listed = world.database.endpoints(&filter, Page { before: None, limit: 9 }).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id).collect::<Vec<_>>(), [made.id]);
    let other = Endpoint { kind: EndpointKind::Webhook, ..made };
    assert!(matches!(world.put(&[Entry::Endpoint(other)]).await, Err(StoreError::Exists)), "its kind stays");
}

async fn what_waits_for_a_paused_endpoint_is_held(kind: Kind) {
    let mut world = World::new(kind).await;
    let waiting = hints(&world, 1).await;
    let running = claim_one(&world, waiting[0]).await;
    set(&mut world, EndpointStatus::Paused).await;
    assert_eq!(world.database.hold(world.now(), 1).await.unwrap(), Moved { deliveries: 1, more: true });
    assert_eq!(world.database.hold(world.now(), 9).await.unwrap(), Moved { deliveries: 1, more: false });
    assert_eq!(view(&world, waiting[0].delivery_id).await.state, DeliveryState::Pending, "it is being attempted");
    for hint in &waiting[1..] {
        assert_eq!(view(&world, hint.delivery_id).await.state, DeliveryState::Held);
    }
    assert!(claim(&world, &waiting[1..]).await.claimed.is_empty());

    // What is new is born held, and nobody is hinted at it.
    let recorded = world.record_all([world.a_lead(&world.click(), "lead-new")]).await;
    assert!(recorded.hints.iter().all(|hint| hint.endpoint_id != world.endpoint.id), "{:?}", recorded.hints);
    assert_eq!((recorded.hints.len(), held(&world).await), (1, 5));

    // The attempt fails: it waits with the others.
    finish(&world, failed(&running, world.now())).await;
    assert_eq!(world.database.hold(world.now(), 9).await.unwrap().deliveries, 1);
    world.clock.advance(Duration::from_secs(3_600));
    assert!(due(&world).await.iter().all(|hint| hint.endpoint_id != world.endpoint.id));
    assert_eq!(world.database.release(world.now(), 9).await.unwrap().deliveries, 0, "it is not active");
    let listed = Filter { status: Some("held".to_owned()), ..Filter::default() };
    assert_eq!(world.database.deliveries(&listed, Page { before: None, limit: 9 }).await.unwrap().len(), 6);

    // A replay does not get past the pause.
    let replayed = world.database.replay(waiting[1].delivery_id, world.now(), REPUBLISH_AFTER).await.unwrap();
    assert!(matches!(replayed, Replay::Begun(Hint { epoch: 2, .. })));
    assert_eq!(world.database.hold(world.now(), 9).await.unwrap().deliveries, 1);
    assert_eq!(held(&world).await, 6, "nothing is dropped");
}

async fn what_was_held_goes_on_without_the_time_that_it_was_held(kind: Kind) {
    let mut world = World::new(kind).await;
    let waiting = hints(&world, 1).await;
    let begun = world.now();
    let running = claim_one(&world, waiting[0]).await;
    finish(&world, failed(&running, begun)).await;
    set(&mut world, EndpointStatus::Paused).await;
    world.clock.advance(Duration::from_secs(10));
    world.database.hold(world.now(), 9).await.unwrap();
    let pause = Duration::from_secs(48 * 3_600);
    world.clock.advance(pause);
    set(&mut world, EndpointStatus::Active).await;
    assert_eq!(world.database.release(world.now(), 9).await.unwrap(), Moved { deliveries: 3, more: false });
    assert_eq!(held(&world).await, 0);
    assert!(ids(&due(&world).await).is_superset(&ids(&waiting)));
    let now = world.now();
    let late = world.database.backlog(now).await.unwrap();
    assert_eq!(late.waiting, 1, "only the operator's has been late all the time");
    let again = claim_one(&world, Hint { attempt: 1, ..waiting[0] }).await;
    assert_eq!((again.history.failures, again.history.first_attempt_at), (1, begun.plus(pause)));
    let other = claim_one(&world, waiting[1]).await;
    assert_eq!((other.history.failures, other.history.first_attempt_at), (0, now));
}

async fn at_most_so_many_are_released_at_once(kind: Kind) {
    let mut world = World::new(kind).await;
    set(&mut world, EndpointStatus::Disabled).await;
    let leads: Vec<_> = (0..3).map(|lead| world.a_lead(&world.click(), &format!("lead-{lead}"))).collect();
    world.record_all(leads).await;
    assert_eq!(held(&world).await, 9);
    set(&mut world, EndpointStatus::Active).await;
    for (deliveries, more) in [(4, true), (4, true), (1, false), (0, false)] {
        assert_eq!(world.database.release(world.now(), 4).await.unwrap(), Moved { deliveries, more });
    }
    let taken = due(&world).await;
    assert_eq!(taken.iter().filter(|hint| hint.endpoint_id == world.endpoint.id).count(), 9);
}

async fn an_endpoint_is_disabled_once_and_others_are_told(kind: Kind) {
    let mut world = World::new(kind).await;
    let owner = Owner::Affiliate(world.affiliate.id);
    let other = endpoint(world.now(), owner, &[EventType::EndpointDisabled]);
    world.put(&[Entry::Endpoint(other.clone())]).await.unwrap();
    let terms = OutboxTerms { now: world.now(), republish_after: REPUBLISH_AFTER, room: 9 };
    let news = News {
        event_type: EventType::EndpointDisabled,
        operator_id: None,
        affiliate_id: None,
        test: false,
        data: serde_json::json!({ "endpoint_id": world.endpoint.id }),
    };
    let outbox = || {
        let mut outbox = Outbox::default();
        outbox.tell_others(&world.catalog, &[owner], world.endpoint.id, news.clone(), terms.now);
        outbox
    };
    let (version, endpoint_id) = (world.database.configuration_version().await.unwrap(), world.endpoint.id);
    let moved = Disabling { endpoint_id, only_at: Some("https://elsewhere.example/"), reason: "gone" };
    assert!(world.database.disable_endpoint(moved, &outbox(), terms).await.unwrap().is_none());
    assert_eq!(world.database.configuration_version().await.unwrap(), version, "nothing was written");

    let gone = Disabling { only_at: Some(&world.endpoint.url), ..moved };
    let told = world.database.disable_endpoint(gone, &outbox(), terms).await.unwrap().unwrap();
    assert_eq!(told.hints.iter().map(|hint| hint.endpoint_id).collect::<Vec<_>>(), [other.id]);
    let any = Disabling { only_at: None, ..moved };
    assert!(world.database.disable_endpoint(any, &outbox(), terms).await.unwrap().is_none(), "once");
    let delivery = view(&world, told.hints[0].delivery_id).await;
    assert_eq!(delivery.event_type, EventType::EndpointDisabled);
    world.reload().await;
    let row = world.catalog.endpoint(endpoint_id).unwrap();
    assert_eq!((row.status, row.status_reason.as_deref()), (EndpointStatus::Disabled, Some("gone")));
}
