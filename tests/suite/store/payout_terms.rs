//! Terms, and payouts that fall due: once each, however many instances look.

use std::sync::Arc;
use std::time::Duration;

use postback::domain::ids::{AffiliateId, KeyId};
use postback::domain::payout::terms::{DueOutcome, PayoutTerms, Period};
use postback::store::StoreError;
use postback::store::payouts::DuePayout;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::World;

on_both_engines!(
    terms_are_kept_and_fall_due,
    what_falls_due_is_paid_once,
    what_is_too_little_waits_for_the_next_period,
);

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn monthly(world: &World) -> PayoutTerms {
    PayoutTerms {
        affiliate_id: world.affiliate.id,
        currency: "EUR".parse().unwrap(),
        minimum: "30".parse().unwrap(),
        period: Period::Month,
        enabled: true,
        next_due_at: Period::Month.end(world.now()),
        last_due_at: None,
        last_outcome: None,
        updated_by: KeyId::new(world.now()),
        updated_at: world.now(),
    }
}

async fn due(world: &World) -> Vec<PayoutTerms> {
    world.database.due_payout_terms(world.now(), 10).await.unwrap()
}

async fn pay(world: &World, terms: PayoutTerms) -> Result<Option<DueOutcome>, StoreError> {
    let due = DuePayout { next_due_at: terms.period.end(world.now()), terms };
    let made = world.database.create_due_payout(&due, &world.catalog, world.payout_terms()).await?;
    Ok(made.map(|(outcome, _)| outcome))
}

async fn terms_are_kept_and_fall_due(kind: Kind) {
    let world = World::new(kind).await;
    let terms = monthly(&world);
    assert_eq!(world.database.put_payout_terms(&terms).await.unwrap(), terms);
    assert_eq!(world.database.payout_terms(world.affiliate.id).await.unwrap(), std::slice::from_ref(&terms));
    assert_eq!(due(&world).await, []);
    world.clock.advance(20 * DAY);
    assert_eq!(due(&world).await, std::slice::from_ref(&terms));
    let later =
        PayoutTerms { minimum: "5".parse().unwrap(), next_due_at: Period::Month.end(world.now()), ..terms.clone() };
    let kept = world.database.put_payout_terms(&later).await.unwrap();
    assert_eq!((kept.next_due_at, kept.minimum), (terms.next_due_at, later.minimum), "what is due stays due");
    let weekly = PayoutTerms { period: Period::Week, next_due_at: Period::Week.end(world.now()), ..terms.clone() };
    let changed = world.database.put_payout_terms(&weekly).await.unwrap();
    assert_eq!((changed.period, changed.next_due_at), (Period::Week, weekly.next_due_at));
    world.clock.advance(20 * DAY);
    assert_eq!(due(&world).await.len(), 1);
    world.database.put_payout_terms(&PayoutTerms { enabled: false, ..weekly }).await.unwrap();
    assert_eq!(due(&world).await, []);
    let nobody = PayoutTerms { affiliate_id: AffiliateId::new(world.now()), ..terms };
    assert!(matches!(world.database.put_payout_terms(&nobody).await, Err(StoreError::NotFound(_))));
}

async fn what_falls_due_is_paid_once(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    world.database.put_payout_terms(&monthly(&world)).await.unwrap();
    world.sales(&["s1", "s2"]).await;
    world.clock.advance(20 * DAY);
    let [terms] = &due(&world).await[..] else { panic!("nothing is due") };
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (world, terms) = (Arc::clone(&world), terms.clone());
        tasks.spawn(async move {
            loop {
                match pay(&world, terms.clone()).await {
                    Err(StoreError::Collision(_)) => tokio::task::yield_now().await,
                    other => return other.unwrap(),
                }
            }
        });
    }
    let mut made = tasks.join_all().await;
    made.retain(Option::is_some);
    assert_eq!(made, [Some(DueOutcome::Created)]);
    let page = postback::store::reading::Page { before: None, limit: 10 };
    let payouts = world.database.payouts(&Default::default(), page).await.unwrap();
    assert_eq!((payouts.len(), payouts[0].money.amount_text(), payouts[0].created_by), (1, "40.00".to_owned(), None));
    let [moved] = &world.database.payout_terms(world.affiliate.id).await.unwrap()[..] else { panic!("no terms") };
    assert_eq!((moved.last_due_at, moved.last_outcome), (Some(terms.next_due_at), Some(DueOutcome::Created)));
    assert_eq!(moved.next_due_at, Period::Month.end(world.now()));
    assert_eq!(due(&world).await, []);
    world.assert_sound().await;
}

async fn what_is_too_little_waits_for_the_next_period(kind: Kind) {
    let world = World::new(kind).await;
    world.database.put_payout_terms(&monthly(&world)).await.unwrap();
    world.sales(&["s1"]).await;
    world.clock.advance(20 * DAY);
    let outcome = async || pay(&world, due(&world).await.remove(0)).await.unwrap();
    assert_eq!(outcome().await, Some(DueOutcome::BelowMinimum));
    world.assert_owed("20").await;
    assert_eq!(due(&world).await, [], "not before the next period");
    world.sales(&["s2"]).await;
    world.clock.advance(31 * DAY);
    assert_eq!(outcome().await, Some(DueOutcome::Created));
    world.record(json!({ "event_id": "s1", "status": "reversed" })).await;
    world.clock.advance(31 * DAY);
    assert_eq!(outcome().await, Some(DueOutcome::Debt));
    let raw = world.database.raw().await;
    assert_eq!((raw.count("payouts").await, raw.count("payout_steps").await), (1, 1));
    world.assert_sound().await;
}
