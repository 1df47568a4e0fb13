//! What people look at: pages without gaps or repeats, filters that narrow, nothing of anybody else's.

use postback::domain::catalog::{Affiliate, Owner, Status};
use postback::domain::commission::CommissionStanding;
use postback::domain::ids::{
    AffiliateId, CommissionId, ConversionId, DeliveryId, KeyId, OperatorId, PlanId, ProgramId, ReceiptId, SourceId,
};
use postback::domain::postback::ConversionStatus;
use postback::store::configuration::Entry;
use postback::store::reading::{Filter, Page};
use serde_json::json;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, endpoint, operator, program, source, with};

on_both_engines!(
    pages_have_no_gaps_and_no_repeats,
    conversions_are_found_by_what_people_know,
    receipts_show_the_verdict_in_force,
    commissions_and_deliveries_are_narrowed,
    every_row_is_in_the_list_of_its_own_state,
    lists_of_somebody_new_begin_with_them,
    configuration_is_listed_and_narrowed,
    what_does_not_exist_is_none,
);

const ALL: Page = Page { before: None, limit: 1_000 };

fn filter() -> Filter {
    Filter::default()
}

async fn pages_have_no_gaps_and_no_repeats(kind: Kind) {
    let world = World::new(kind).await;
    for lead in 0..7 {
        world.accepted(world.a_lead(&world.click(), &format!("e{lead}"))).await;
    }
    let all: Vec<_> = world.database.conversions(&filter(), ALL).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by(|newer, older| newer > older), "newest first");
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = world.database.conversions(&filter(), Page { before, limit: 3 }).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        before = Some(last.id.uuid());
        paged.extend(page.into_iter().map(|row| row.id));
    }
    assert_eq!(paged, all);
    let receipts = world.database.receipts(&filter(), Page { before: None, limit: 2 }).await.unwrap();
    let rest = Page { before: Some(receipts[1].id.uuid()), limit: 100 };
    assert_eq!(world.database.receipts(&filter(), rest).await.unwrap().len(), 5);
}

async fn conversions_are_found_by_what_people_know(kind: Kind) {
    let world = World::new(kind).await;
    let (one, other) = (world.click(), world.click());
    let sale = with(world.a_sale(&one, "order-1"), json!({ "customer_id": "k1" }));
    let sold = world.accepted(sale).await;
    let lead = world.accepted(world.a_lead(&one, "lead-1")).await;
    world.accepted(world.a_lead(&other, "lead-2")).await;
    let find = async |filter: Filter| {
        let found = world.database.conversions(&filter, ALL).await.unwrap();
        found.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(find(Filter { event_id: Some("order-1".into()), ..filter() }).await, [sold]);
    assert_eq!(find(Filter { click_id: Some(one.clone()), ..filter() }).await, [lead, sold]);
    let both = Filter { click_id: Some(one.clone()), event_id: Some("lead-1".into()), ..filter() };
    assert_eq!(find(both).await, [lead]);
    assert_eq!(find(Filter { status: Some("approved".into()), ..filter() }).await.len(), 3);
    assert!(find(Filter { status: Some("pending".into()), ..filter() }).await.is_empty());
    assert_eq!(find(Filter { conversion_id: Some(sold), ..filter() }).await, [sold]);
    for theirs in [
        Filter { program_id: Some(world.program.id), ..filter() },
        Filter { affiliate_id: Some(world.affiliate.id), ..filter() },
        Filter { operator_id: Some(world.operator.id), ..filter() },
        Filter { source_id: Some(world.source.id), ..filter() },
    ] {
        assert_eq!(find(theirs).await.len(), 3);
    }
    let now = world.now();
    for nobodys in [
        Filter { program_id: Some(ProgramId::new(now)), ..filter() },
        Filter { affiliate_id: Some(AffiliateId::new(now)), ..filter() },
        Filter { operator_id: Some(OperatorId::new(now)), ..filter() },
        Filter { source_id: Some(SourceId::new(now)), ..filter() },
        Filter { event_id: Some("order-1' OR '1'='1".into()), ..filter() },
    ] {
        assert!(find(nobodys).await.is_empty());
    }
    let view = world.database.conversion(sold).await.unwrap().unwrap();
    assert_eq!((view.click_id.as_deref(), view.event_id.as_deref()), (Some(one.as_str()), Some("order-1")));
    assert_eq!((view.customer_id.as_deref(), view.goal.as_str()), (Some("k1"), "sale"));
    assert_eq!((view.status, view.amount), (ConversionStatus::Approved, Some("100".parse().unwrap())));
    assert_eq!((view.currency.code(), view.revision, view.test), ("EUR", 1, false));
}

async fn receipts_show_the_verdict_in_force(kind: Kind) {
    let world = World::new(kind).await;
    let waiting = world.record(world.a_lead("c1", "e1")).await.receipt_id;
    let accepted = world.record(world.a_lead(&world.click(), "e2")).await;
    let mut arrival = world.arrival(Ok(crate::support::world::said(json!({ "goal": "lead" }))));
    arrival.request.method = "POST";
    arrival.request.content_type = Some("application/json".into());
    arrival.request.body = vec![b'{', 0xff, b'}'];
    world.database.record_batch(&[arrival.clone()], &world.catalog, world.terms()).await.unwrap();
    let find = async |status: &str| {
        let filter = Filter { status: Some(status.into()), ..filter() };
        let found = world.database.receipts(&filter, ALL).await.unwrap();
        found.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(find("parked").await, [waiting]);
    assert_eq!(find("accepted").await, [accepted.receipt_id]);
    assert_eq!(find("rejected").await, [arrival.item.receipt_id]);

    world.database.record_clicks(&[world.foreign_click("c1")]).await.unwrap();
    let ready = world.database.parked_ready(10).await.unwrap();
    world.database.apply_parked(&ready, &world.catalog, world.terms()).await.unwrap();
    assert_eq!(find("parked").await, Vec::<ReceiptId>::new());
    assert_eq!(find("accepted").await, [accepted.receipt_id, waiting]);
    let row = world.database.receipt(waiting).await.unwrap().unwrap();
    assert_eq!((row.verdict.as_str(), row.code), ("accepted", None), "the reason for waiting is no longer one");
    let by_conversion = Filter { conversion_id: row.conversion_id, ..filter() };
    assert_eq!(world.database.receipts(&by_conversion, ALL).await.unwrap().len(), 1);

    let row = world.database.receipt(arrival.item.receipt_id).await.unwrap().unwrap();
    assert_eq!((row.method.as_str(), row.body.as_str()), ("POST", "{\u{fffd}}"), "bytes are shown as well as may be");
    assert_eq!((row.key_id, row.peer.as_str()), (world.operator_key.1.id, "192.0.2.1"));
    let others = Filter { operator_id: Some(OperatorId::new(world.now())), ..filter() };
    assert!(world.database.receipts(&others, ALL).await.unwrap().is_empty());
}

async fn commissions_and_deliveries_are_narrowed(kind: Kind) {
    let mut world = World::new(kind).await;
    let other = Affiliate { id: AffiliateId::new(world.now()), ..world.affiliate.clone() };
    let theirs = endpoint(world.now(), Owner::Affiliate(other.id), &[]);
    let entries = [Entry::Affiliate(other.clone()), Entry::Endpoint(theirs.clone())];
    world.put(&entries).await.unwrap();
    let mut click = world.foreign_click("theirs");
    click.affiliate_id = other.id;
    world.database.record_clicks(&[click]).await.unwrap();
    let ours = world.accepted(world.a_lead(&world.click(), "e1")).await;
    world.accepted(world.a_sale("theirs", "e2")).await;

    let commissions = async |filter: Filter| world.database.commissions(&filter, ALL).await.unwrap();
    assert_eq!(commissions(filter()).await.len(), 2);
    let mine = commissions(Filter { affiliate_id: Some(world.affiliate.id), ..filter() }).await;
    assert_eq!((mine.len(), mine[0].conversion_id, mine[0].state), (1, ours, CommissionStanding::Available));
    assert_eq!(commissions(Filter { conversion_id: Some(ours), ..filter() }).await.len(), 1);
    assert_eq!(commissions(Filter { status: Some("available".into()), ..filter() }).await.len(), 2);
    assert_eq!(commissions(Filter { program_id: Some(ProgramId::new(world.now())), ..filter() }).await.len(), 0);
    assert_eq!(world.database.commission(mine[0].id).await.unwrap().unwrap().amount, "5".parse().unwrap());

    let deliveries = async |filter: Filter| world.database.deliveries(&filter, ALL).await.unwrap();
    let mine = deliveries(Filter { affiliate_id: Some(world.affiliate.id), ..filter() }).await;
    assert_eq!(mine.len(), 3);
    assert!(mine.iter().all(|row| row.endpoint_id == world.endpoint.id && row.body.is_none()));
    assert_eq!(deliveries(Filter { operator_id: Some(world.operator.id), ..filter() }).await.len(), 2);
    assert_eq!(deliveries(Filter { endpoint_id: Some(theirs.id), ..filter() }).await.len(), 3);
    assert_eq!(deliveries(Filter { status: Some("dead".into()), ..filter() }).await.len(), 0);
    assert!(world.database.delivery(mine[0].id).await.unwrap().unwrap().body.is_some());
}

/// Lists of rare states go by other indexes than those of common ones.
async fn every_row_is_in_the_list_of_its_own_state(kind: Kind) {
    let world = World::new(kind).await;
    for (number, statuses) in
        [&["approved"][..], &["pending"], &["hold"], &["pending", "rejected"], &["approved", "reversed"]]
            .iter()
            .enumerate()
    {
        let click = world.click();
        for status in *statuses {
            let sale = world.a_sale(&click, &format!("e{number}"));
            world.record(with(sale, json!({ "status": status }))).await;
        }
    }
    world.record(world.a_lead("c1", "parked")).await;
    let raw = world.database.raw().await;
    for (place, state) in ["held", "dead", "delivered"].into_iter().enumerate() {
        let one = format!("SELECT id FROM deliveries ORDER BY id LIMIT 1 OFFSET {place}");
        raw.execute(&format!("UPDATE deliveries SET state = '{state}' WHERE id = ({one})")).await.unwrap();
    }

    let of =
        |status: Option<&str>, affiliate_id| Filter { status: status.map(str::to_owned), affiliate_id, ..filter() };
    for affiliate in [None, Some(world.affiliate.id)] {
        let all = world.database.conversions(&of(None, affiliate), ALL).await.unwrap();
        assert_eq!(all.len(), 5);
        for row in &all {
            let found = world.database.conversions(&of(Some(row.status.as_str()), affiliate), ALL).await.unwrap();
            assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [row.id], "{:?}", row.status);
        }
        let all = world.database.commissions(&of(None, affiliate), ALL).await.unwrap();
        let mut listed = 0;
        for state in ["pending", "on_hold", "awaiting_fx", "available", "stated", "paid", "reversed", "void"] {
            let found = world.database.commissions(&of(Some(state), affiliate), ALL).await.unwrap();
            assert!(found.iter().all(|row| serde_json::to_value(row.state).unwrap() == state), "{state}: {found:?}");
            listed += found.len();
        }
        assert_eq!(listed, all.len());
        let all = world.database.deliveries(&of(None, affiliate), ALL).await.unwrap();
        let mut listed = 0;
        for state in ["pending", "held", "delivered", "dead"] {
            let found = world.database.deliveries(&of(Some(state), affiliate), ALL).await.unwrap();
            assert!(affiliate.is_some() || !found.is_empty(), "{state}");
            assert!(found.iter().all(|row| serde_json::to_value(row.state).unwrap() == state), "{state}: {found:?}");
            listed += found.len();
        }
        assert_eq!(listed, all.len());
    }
}

async fn lists_of_somebody_new_begin_with_them(kind: Kind) {
    let world = World::new(kind).await;
    world.accepted(world.a_sale(&world.click(), "e1")).await;
    let days = |days: u64| world.now().plus(std::time::Duration::from_secs(days * 86_400));
    for (of, affiliate) in [(days(0), Some(world.affiliate.id)), (days(0), None), (days(3), None)] {
        let affiliate_id = affiliate.unwrap_or_else(|| AffiliateId::new(of));
        let found =
            world.database.conversions(&Filter { affiliate_id: Some(affiliate_id), ..filter() }, ALL).await.unwrap();
        assert_eq!(found.len(), usize::from(affiliate.is_some()));
    }
    // Whatever is asked together, the newest of them decides; clocks may differ by a while.
    let operator = Filter { operator_id: Some(world.operator.id), ..filter() };
    let both = Filter { affiliate_id: Some(AffiliateId::new(days(9))), ..operator.clone() };
    assert!(operator.earliest_id() < both.earliest_id());
    assert!(operator.earliest_id() < Some(world.operator.id.uuid()));
    assert_eq!(filter().earliest_id(), None);
}

async fn configuration_is_listed_and_narrowed(kind: Kind) {
    let mut world = World::new(kind).await;
    let now = world.now();
    let other = operator(now, "Other");
    let mut their_source = source(now, other.id);
    their_source.status = Status::Inactive;
    let their_program = program(now, other.id, None);
    let entries = [
        Entry::Operator(other.clone()),
        Entry::Source(their_source.clone()),
        Entry::Program(their_program.clone()),
        Entry::Endpoint(endpoint(now, Owner::Operator(other.id), &[])),
    ];
    world.put(&entries).await.unwrap();
    let (store, ours) = (world.store(), Filter { operator_id: Some(world.operator.id), ..filter() });
    let theirs = Filter { operator_id: Some(other.id), ..filter() };
    assert_eq!(store.operators(ALL).await.unwrap().len(), 2);
    assert_eq!(store.affiliates(ALL).await.unwrap().len(), 1);
    assert_eq!(store.sources(&ours, ALL).await.unwrap()[0].id, world.source.id);
    let inactive = Filter { status: Some("inactive".into()), ..filter() };
    assert_eq!(store.sources(&inactive, ALL).await.unwrap()[0].id, their_source.id);
    assert_eq!(store.programs(&theirs, ALL).await.unwrap()[0].id, their_program.id);
    assert_eq!((store.goals(&ours, ALL).await.unwrap().len(), store.goals(&theirs, ALL).await.unwrap().len()), (2, 0));
    assert_eq!((store.plans(&ours, ALL).await.unwrap().len(), store.plans(&theirs, ALL).await.unwrap().len()), (1, 0));
    let of_plan = Filter { plan_id: Some(world.plan.id), ..filter() };
    assert_eq!(store.plan_versions(&of_plan, ALL).await.unwrap(), [world.plan_version.clone()]);
    let of_none = Filter { plan_id: Some(PlanId::new(now)), ..filter() };
    assert!(store.plan_versions(&of_none, ALL).await.unwrap().is_empty());
    let of_affiliate = Filter { affiliate_id: Some(world.affiliate.id), ..filter() };
    assert_eq!(store.links(&of_affiliate, ALL).await.unwrap()[0].id, world.link.id);
    assert_eq!(store.links(&theirs, ALL).await.unwrap().len(), 0);
    assert_eq!(store.keys(&ours, ALL).await.unwrap()[0].id, world.operator_key.1.id);
    assert!(store.keys(&of_affiliate, ALL).await.unwrap().is_empty());
    assert_eq!(store.key(world.operator_key.1.id).await.unwrap().unwrap().public_id, world.operator_key.1.public_id);
    assert_eq!(store.endpoints(&of_affiliate, ALL).await.unwrap()[0].id, world.endpoint.id);
    assert_eq!(store.endpoints(&filter(), ALL).await.unwrap().len(), 3);
    assert_eq!(store.operators(Page { before: None, limit: 1 }).await.unwrap().len(), 1);
}

async fn what_does_not_exist_is_none(kind: Kind) {
    let world = World::new(kind).await;
    let now = world.now();
    assert!(world.database.receipt(ReceiptId::new(now)).await.unwrap().is_none());
    assert!(world.database.conversion(ConversionId::new(now)).await.unwrap().is_none());
    assert!(world.database.commission(CommissionId::new(now)).await.unwrap().is_none());
    assert!(world.database.delivery(DeliveryId::new(now)).await.unwrap().is_none());
    assert!(world.database.key(KeyId::new(now)).await.unwrap().is_none());
}
