//! Who earns: a customer's binding for life, the click, the coupon; and what waits for a customer.

use std::time::Duration;

use postback::domain::catalog::{Affiliate, Coupon, Link, Status};
use postback::domain::customer::{AttributionRule, Binding, BoundBy, NewCustomer, Signal};
use postback::domain::dedup::{Visitor, wait_key};
use postback::domain::ids::{AffiliateId, ConversionId, CouponId, CustomerId};
use postback::domain::verdict::{Code, ParkReason, Verdict};
use postback::store::configuration::Entry;
use postback::store::reading::{CustomerView, Filter, Page};
use serde_json::{Value, json};

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, link, said, with};

on_both_engines!(
    the_first_click_binds_a_customer_for_life,
    an_event_without_a_click_finds_its_customers_affiliate,
    the_window_of_a_click_ends_and_a_binding_does_not,
    a_program_may_go_by_the_last_click,
    a_coupon_attributes_where_nothing_else_does,
    a_customer_stands_in_for_its_first_click_in_a_once_goal,
    a_customer_without_a_click_counts_once,
    what_waits_for_a_customer_is_applied_when_it_is_known,
    an_import_binds_whom_nobody_knows,
    a_rejected_conversion_and_a_test_bind_nobody,
    a_customer_named_later_is_bound_then,
    of_two_instances_one_binds_and_the_other_starts_again,
    a_binding_that_is_replaced_is_kept,
);

/// Another affiliate with a link.
async fn rival(world: &mut World) -> (AffiliateId, Link) {
    let now = world.now();
    let affiliate = Affiliate { id: AffiliateId::new(now), name: "Max".into(), ..world.affiliate.clone() };
    let link = link(now, world.program.id, affiliate.id);
    world.put(&[Entry::Affiliate(affiliate.clone()), Entry::Link(link.clone())]).await.unwrap();
    (affiliate.id, link)
}

async fn coupon(world: &mut World, code: &str, affiliate_id: AffiliateId) {
    let now = world.now();
    let coupon = Coupon {
        id: CouponId::new(now),
        operator_id: world.operator.id,
        program_id: world.program.id,
        affiliate_id,
        code: code.to_owned(),
        status: Status::Active,
        created_at: now,
    };
    world.put(&[Entry::Coupon(coupon)]).await.unwrap();
}

fn hour_ago(world: &World) -> postback::domain::time::Timestamp {
    world.now().minus(Duration::from_secs(3_600))
}

async fn credited(world: &World, id: ConversionId) -> AffiliateId {
    world.database.conversion(id).await.unwrap().unwrap().affiliate_id
}

async fn customers(world: &World) -> Vec<CustomerView> {
    world.database.customers(&Filter::default(), Page { before: None, limit: 10 }).await.unwrap()
}

fn of_customer(event: &str, customer: &str) -> Value {
    json!({ "customer_id": customer, "event_id": event, "goal": "sale", "amount": "100", "status": "approved" })
}

fn known_as(base: Value, customer: &str) -> Value {
    with(base, json!({ "customer_id": customer }))
}

async fn the_first_click_binds_a_customer_for_life(kind: Kind) {
    let mut world = World::new(kind).await;
    let (rival, rivals_link) = rival(&mut world).await;
    let click = world.click();
    let first = world.record(known_as(world.a_lead(&click, "e1"), "k1")).await;
    assert_eq!((first.verdict, &first.disagreement), (Verdict::Accepted, &None));
    let bound = customers(&world).await;
    assert_eq!((bound.len(), bound[0].customer_id.as_str(), bound[0].revision), (1, "k1", 1));
    let binding = &bound[0].binding;
    assert_eq!((binding.affiliate_id, binding.program_id), (world.affiliate.id, world.program.id));
    assert_eq!(binding.click_id.as_deref(), Some(click.as_str()));
    assert_eq!(binding.bound_by, BoundBy::Postback { receipt_id: first.receipt_id });

    let theirs = world.click_on(rivals_link.code, hour_ago(&world));
    let second = world.record(known_as(world.a_sale(&theirs, "e2"), "k1")).await;
    assert_eq!(second.verdict, Verdict::Accepted);
    assert_eq!(credited(&world, second.conversion_id.unwrap()).await, world.affiliate.id, "the binding comes first");
    let noted = second.disagreement.unwrap();
    assert_eq!(noted.attributed_by, Signal::Customer);
    assert_eq!((noted.customer, noted.click, noted.coupon), (Some(world.affiliate.id), Some(rival), None));
    let receipt = world.database.receipt(second.receipt_id).await.unwrap().unwrap();
    assert_eq!(receipt.disagreement, Some(noted), "the receipt keeps it");
    assert_eq!(customers(&world).await.len(), 1);
    world.assert_owed("25").await;

    // In one batch: the first of a customer binds it for the others.
    let ours = world.click();
    let batch = [known_as(world.a_sale(&theirs, "e3"), "k2"), known_as(world.a_sale(&ours, "e4"), "k2")];
    let recorded = world.record_all(batch).await;
    for outcome in &recorded.outcomes {
        assert_eq!(credited(&world, outcome.conversion_id.unwrap()).await, rival);
    }
    assert_eq!(recorded.bound, 1);
}

async fn an_event_without_a_click_finds_its_customers_affiliate(kind: Kind) {
    let world = World::new(kind).await;
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    world.accepted(known_as(world.a_lead("c1", "e1"), "k1")).await;
    let id = world.accepted(of_customer("e2", "k1")).await;
    assert_eq!(credited(&world, id).await, world.affiliate.id);
    world.assert_owed("25").await;
    let bodies = world.database.raw().await.texts("SELECT body FROM events ORDER BY created_at DESC").await;
    let body: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(body["data"]["sub_ids"], json!({ "sub1": "blue" }), "its first click's sub-ids come with it");
    assert_eq!(world.record(of_customer("e2", "k1")).await.verdict, Verdict::Duplicate);
    let unknown_goal = world.record(with(of_customer("e3", "k1"), json!({ "goal": "x" }))).await;
    assert_eq!(unknown_goal.verdict, Verdict::Rejected(Code::UnknownGoal));
}

async fn the_window_of_a_click_ends_and_a_binding_does_not(kind: Kind) {
    let world = World::new(kind).await;
    let (bound, alone) = (world.click(), world.click());
    world.accepted(known_as(world.a_lead(&bound, "e1"), "k1")).await;
    world.clock.advance(Duration::from_secs(60 * 86_400));
    world.accepted(known_as(world.a_sale(&bound, "e2"), "k1")).await;
    let late = world.record(known_as(world.a_sale(&alone, "e3"), "k2")).await;
    assert_eq!(late.verdict, Verdict::Rejected(Code::OutsideWindow));
    assert_eq!(customers(&world).await.len(), 1, "what is refused binds nobody");
    // A history sent in one go: the first binds the customer for what came long after.
    let early = world.now().minus(Duration::from_secs(50 * 86_400));
    let click = world.click_on(world.link.code, early);
    let lead = with(known_as(world.a_lead(&click, "h1"), "k3"), json!({ "occurred_at": early }));
    let recorded = world.record_all([lead, known_as(world.a_sale(&click, "h2"), "k3")]).await;
    assert!(recorded.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Accepted));
}

async fn a_program_may_go_by_the_last_click(kind: Kind) {
    let mut world = World::new(kind).await;
    let (rival, rivals_link) = rival(&mut world).await;
    world.program.attribution = AttributionRule::LastClick;
    world.put(&[Entry::Program(world.program.clone())]).await.unwrap();
    world.accepted(known_as(world.a_lead(&world.click(), "e1"), "k1")).await;
    let theirs = world.click_on(rivals_link.code, hour_ago(&world));
    let outcome = world.record(known_as(world.a_sale(&theirs, "e2"), "k1")).await;
    assert_eq!(credited(&world, outcome.conversion_id.unwrap()).await, rival);
    assert_eq!(outcome.disagreement.unwrap().attributed_by, Signal::Click);
    let without = world.accepted(of_customer("e3", "k1")).await;
    assert_eq!(credited(&world, without).await, world.affiliate.id, "the binding stands where there is no click");
}

async fn a_coupon_attributes_where_nothing_else_does(kind: Kind) {
    let mut world = World::new(kind).await;
    let (rival, _) = rival(&mut world).await;
    coupon(&mut world, "MAX10", rival).await;
    let by_coupon = |event: &str| json!({ "coupon": "MAX10", "event_id": event, "goal": "sale", "status": "approved" });
    let id = world.accepted(by_coupon("e1")).await;
    assert_eq!(credited(&world, id).await, rival);
    let unknown = world.accepted(known_as(by_coupon("e2"), "k1")).await;
    assert_eq!(credited(&world, unknown).await, rival, "an unknown customer waits only where nothing attributes");
    assert!(customers(&world).await.is_empty(), "a coupon is no click");
    let outcome = world.record(with(world.a_sale(&world.click(), "e3"), json!({ "coupon": "MAX10" }))).await;
    assert_eq!(credited(&world, outcome.conversion_id.unwrap()).await, world.affiliate.id, "the click comes first");
    let noted = outcome.disagreement.unwrap();
    assert_eq!((noted.attributed_by, noted.coupon), (Signal::Click, Some(rival)));
    let wrong = world.record(with(by_coupon("e4"), json!({ "coupon": "max10" }))).await;
    assert_eq!(wrong.verdict, Verdict::Rejected(Code::MissingField));
    let lead = json!({ "coupon": "MAX10", "event_id": "e5", "goal": "lead" });
    let nobody = world.record(lead).await.rejection.unwrap();
    assert_eq!((nobody.code, nobody.field.as_deref()), (Code::MissingField, Some("click_id")));
}

async fn a_customer_stands_in_for_its_first_click_in_a_once_goal(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = world.accepted(known_as(world.a_lead(&click, "e1"), "k1")).await;
    let again = world.record(json!({ "customer_id": "k1", "event_id": "e2", "goal": "lead" })).await;
    assert_eq!((again.verdict, again.conversion_id), (Verdict::Duplicate, Some(id)));
    let refusal = json!({ "customer_id": "k1", "event_id": "e3", "goal": "lead", "status": "reversed" });
    assert_eq!(world.record(refusal).await.verdict, Verdict::Updated);
    world.assert_owed("0").await;
}

fn imported(world: &World, customer: &str) -> NewCustomer {
    let now = world.now();
    NewCustomer {
        id: CustomerId::new(now),
        operator_id: world.operator.id,
        customer_id: customer.to_owned(),
        binding: Binding {
            program_id: world.program.id,
            affiliate_id: world.affiliate.id,
            click_id: None,
            bound_at: now,
            bound_by: BoundBy::Import { key_id: world.operator_key.1.id },
        },
    }
}

async fn a_customer_without_a_click_counts_once(kind: Kind) {
    let world = World::new(kind).await;
    world.database.import_customers(&[imported(&world, "k1")], world.now()).await.unwrap();
    let lead = |event: &str| json!({ "customer_id": "k1", "event_id": event, "goal": "lead" });
    let id = world.accepted(lead("e1")).await;
    let again = world.record(lead("e2")).await;
    assert_eq!((again.verdict, again.conversion_id), (Verdict::Duplicate, Some(id)));
    let unnamed = world.record(json!({ "customer_id": "k1", "goal": "lead" })).await;
    assert_eq!((unnamed.verdict, unnamed.conversion_id), (Verdict::Duplicate, Some(id)));
    world.assert_owed("5").await;
}

async fn what_waits_for_a_customer_is_applied_when_it_is_known(kind: Kind) {
    let world = World::new(kind).await;
    let parked = world.record(of_customer("e1", "k1")).await;
    assert_eq!(parked.verdict, Verdict::Parked(ParkReason::UnknownCustomer));
    assert_eq!(world.database.parked_ready(10).await.unwrap(), Vec::<String>::new());
    world.accepted(known_as(world.a_lead(&world.click(), "e2"), "k1")).await;
    let key = wait_key(world.operator.id, Visitor::Customer("k1"));
    assert_eq!(world.database.parked_ready(10).await.unwrap(), [key]);
    // The next of this customer is judged after what waited.
    let recorded = world.record_all([of_customer("e3", "k1")]).await;
    assert_eq!((recorded.unparked[0].verdict, recorded.unparked[0].receipt_id), (Verdict::Accepted, parked.receipt_id));
    assert_eq!(world.database.parked_ready(10).await.unwrap(), Vec::<String>::new());
    world.assert_owed("45").await;

    let parked = world.record(of_customer("e4", "k2")).await;
    assert_eq!(parked.verdict, Verdict::Parked(ParkReason::UnknownCustomer));
    world.database.import_customers(&[imported(&world, "k2")], world.now()).await.unwrap();
    let ready = world.database.parked_ready(10).await.unwrap();
    let woken = world.database.apply_parked(&ready, &world.catalog, world.terms()).await.unwrap();
    assert_eq!(woken.unparked[0].verdict, Verdict::Accepted);
    world.assert_owed("65").await;
}

async fn an_import_binds_whom_nobody_knows(kind: Kind) {
    let world = World::new(kind).await;
    world.accepted(known_as(world.a_lead(&world.click(), "e1"), "k1")).await;
    let rows = [imported(&world, "k2"), imported(&world, "k1"), imported(&world, "k2")];
    assert_eq!(world.database.import_customers(&rows, world.now()).await.unwrap(), [true, false, false]);
    assert!(world.database.import_customers(&[], world.now()).await.unwrap().is_empty());
    let known = customers(&world).await;
    let first = known.iter().find(|customer| customer.customer_id == "k1").unwrap();
    assert!(matches!(first.binding.bound_by, BoundBy::Postback { .. }), "what is known stays as it is");
    let clicks = [(world.operator.id, "c1".to_owned()), (world.operator.id, "c2".to_owned())];
    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    let found = world.database.find_clicks(&clicks).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[&clicks[0]].affiliate_id, world.affiliate.id);
}

async fn a_rejected_conversion_and_a_test_bind_nobody(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    world.accepted(known_as(with(world.a_sale(&click, "e1"), json!({ "test": true })), "k1")).await;
    world.accepted(known_as(with(world.a_sale(&click, "e2"), json!({ "status": "rejected" })), "k1")).await;
    assert!(customers(&world).await.is_empty());
}

async fn a_customer_named_later_is_bound_then(kind: Kind) {
    let world = World::new(kind).await;
    let click = world.click();
    let id = world.accepted(world.a_sale(&click, "e1")).await;
    let named = world.record(json!({ "event_id": "e1", "customer_id": "k1" })).await;
    assert_eq!((named.verdict, named.conversion_id), (Verdict::Updated, Some(id)));
    let bound = customers(&world).await;
    assert_eq!(bound[0].binding.click_id.as_deref(), Some(click.as_str()));
    assert_eq!(bound[0].binding.affiliate_id, world.affiliate.id);
}

async fn of_two_instances_one_binds_and_the_other_starts_again(kind: Kind) {
    let mut world = World::new(kind).await;
    let (_, rivals_link) = rival(&mut world).await;
    let ours = world.arrival(Ok(said(known_as(world.a_sale(&world.click(), "e1"), "k1"))));
    let theirs = world.click_on(rivals_link.code, hour_ago(&world));
    let theirs = world.arrival(Ok(said(known_as(world.a_sale(&theirs, "e2"), "k1"))));
    let (other, terms) = (world.database.again(&world.database.settings).await, world.terms());
    let record = async |store: &dyn postback::store::Store, arrival| loop {
        match store.record_batch(std::slice::from_ref(arrival), &world.catalog, terms).await {
            Ok(recorded) => return recorded.outcomes[0].conversion_id.unwrap(),
            Err(postback::store::StoreError::Collision(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    let (one, two) = tokio::join!(record(&*world.database.store, &ours), record(&*other, &theirs));
    assert_eq!(credited(&world, one).await, credited(&world, two).await, "both by the one binding");
    assert_eq!(customers(&world).await[0].binding.affiliate_id, credited(&world, one).await);
    other.close().await;
}

async fn a_binding_that_is_replaced_is_kept(kind: Kind) {
    let mut world = World::new(kind).await;
    let (rival, _) = rival(&mut world).await;
    world.accepted(known_as(world.a_lead(&world.click(), "e1"), "k1")).await;
    let known = customers(&world).await.remove(0);
    let bound_by = BoundBy::Admin { key_id: world.operator_key.1.id, reason: "sold".to_owned() };
    let next =
        Binding { affiliate_id: rival, bound_by: bound_by.clone(), bound_at: world.now(), ..known.binding.clone() };
    assert!(world.database.rebind_customer(known.id, 1, &next).await.unwrap());
    assert!(!world.database.rebind_customer(known.id, 1, &next).await.unwrap(), "it has moved on");
    let shown = world.database.customer(known.id).await.unwrap().unwrap();
    assert_eq!((shown.revision, shown.binding), (2, next));
    assert_eq!((shown.past.len(), shown.past[0].revision, &shown.past[0].binding), (1, 1, &known.binding));
    let id = world.accepted(of_customer("e2", "k1")).await;
    assert_eq!(credited(&world, id).await, rival);
}
