//! The schedule of payouts in the running service, by a clock that is told to go on.

use std::time::Duration;

use postback::clock::Clock;
use postback::domain::event::EventType;
use postback::domain::ids::KeyId;
use postback::domain::payout::terms::{DueOutcome, PayoutTerms, Period};
use postback::store::Store;
use postback::store::reading::{Filter, Page};
use postback::store::recording::RecordTerms;

use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::shop::Shop;
use crate::support::site::{Site, Stack, on_both_stacks};
use crate::support::world::{PARK_FOR, REPUBLISH_AFTER};

on_both_stacks!(due_payouts_are_made_once_and_told);

const MONTH: Duration = Duration::from_secs(31 * 24 * 3_600);

async fn terms(store: &dyn Store, shop: &Shop) -> PayoutTerms {
    store.payout_terms(shop.affiliate_id).await.unwrap().remove(0)
}

async fn due_payouts_are_made_once_and_told(stack: Stack) {
    let site = Site::new(stack).await.with("payouts.look_every", "50ms");
    // A month ago, so that what is sent a month later is signed at the receiver's time.
    let clock = Clock::manual(Clock::system().now().minus(MONTH));
    let first = site.try_start_at(clock.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    // Where several instances may run, two do.
    let second = match stack {
        Stack::Embedded => None,
        Stack::Brokered => Some(site.try_start_at(clock.clone()).await.unwrap_or_else(|error| panic!("{error}"))),
    };
    // A hint that is not taken comes up again after a while, which does not pass by itself here.
    for instance in [Some(&first), second.as_ref()].into_iter().flatten() {
        let relay = &instance.state.relay;
        eventually("the queue works", async || relay.health().publishing && relay.health().consuming).await;
    }
    let store = &*first.state.store;
    let shop = Shop::open(store).await;
    let receiver = Receiver::start().await;
    shop.tell(store, &receiver, &[EventType::PayoutCreated]).await;
    let catalog = first.state.catalog.refresh().await.unwrap();
    let record = RecordTerms { now: clock.now(), park_for: PARK_FOR, republish_after: REPUBLISH_AFTER, room: 0 };
    store.record_batch(&[shop.sale("s1")], &catalog, record).await.unwrap();
    let monthly = PayoutTerms {
        affiliate_id: shop.affiliate_id,
        currency: "EUR".parse().unwrap(),
        minimum: "1".parse().unwrap(),
        period: Period::Month,
        enabled: true,
        next_due_at: Period::Month.end(clock.now()),
        last_due_at: None,
        last_outcome: None,
        updated_by: KeyId::new(clock.now()),
        updated_at: clock.now(),
    };
    store.put_payout_terms(&monthly).await.unwrap();
    clock.advance(MONTH);
    eventually("the first payout is due", async || terms(store, &shop).await.last_due_at.is_some()).await;
    let after = terms(store, &shop).await;
    assert_eq!((after.last_due_at, after.last_outcome), (Some(monthly.next_due_at), Some(DueOutcome::Created)));
    eventually("the affiliate is told", async || receiver.posts().len() == 1).await;
    clock.advance(MONTH);
    eventually("the second time has come", async || terms(store, &shop).await.last_due_at > after.last_due_at).await;
    assert_eq!(terms(store, &shop).await.last_outcome, Some(DueOutcome::BelowMinimum), "nothing was left to pay");
    let payouts = store.payouts(&Filter::default(), Page { before: None, limit: 10 }).await.unwrap();
    let amounts: Vec<_> = payouts.iter().map(|payout| payout.money.amount_text()).collect();
    assert_eq!(amounts, ["5.00"]);
    assert_eq!(receiver.posts().len(), 1);
    assert_eq!(store.verify_ledger().await.unwrap(), []);
    if let Some(second) = second {
        second.stop().await;
    }
    first.stop().await;
}
