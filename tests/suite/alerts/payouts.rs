//! The alert about payouts that nobody moves on.

use postback::alerts::catalogue::Alert;
use postback::domain::ids::KeyId;
use postback::domain::payout::Step;
use postback::store::payouts::{Creation, NewPayout};

use super::{Operations, sell};
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};

on_both_stacks! {
    a_payout_that_nobody_moves_on_is_told
}

async fn a_payout_that_nobody_moves_on_is_told(stack: Stack) {
    let operations = Operations::start().await;
    let service = operations.of(Site::new(stack).await.with("alerts.payout_stuck_after", "300ms")).start().await;
    let shop = Shop::open(&*service.state.store).await;
    sell(&service, &shop, "one").await;
    let new = NewPayout {
        affiliate_id: shop.affiliate_id,
        currency: "EUR".parse().unwrap(),
        minimum: None,
        draft: false,
        idempotency_key: "one".to_owned(),
        created_by: None,
    };
    let Creation::Made(payout, _) = service.state.payouts.create(new).await.unwrap() else { panic!("5 EUR are owed") };
    operations.told_both(Alert::PayoutStuck, "", &["open"]).await;
    let cancel = Step::Cancel(serde_json::from_value("not wanted".into()).unwrap());
    let by = KeyId::new(service.state.clock.now());
    service.state.payouts.step(payout.id, cancel, by).await.unwrap();
    operations.told_both(Alert::PayoutStuck, "", &["open", "closed"]).await;
    service.stop().await;
}
