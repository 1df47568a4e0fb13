//! From a recorded postback to a receiver's answer, on both stacks: the composed service without HTTP.

mod alerts;
mod attempts;
mod endpoints;
mod instances;
mod load;
mod parking;
mod postbacks;
mod replays;
mod retention;
mod stopping;

use postback::domain::event::EventType;
use postback::domain::verdict::Verdict;

use crate::support::shop::Shop;
use crate::support::site::Service;

/// One delivery for each sale: the first of its events.
const ONE_EACH: &[EventType] = &[EventType::ConversionRecorded];

/// Longer than any test waits: for settings whose timers must not be what helps.
const NEVER: &str = "1h";

/// Records sales, all at once; each must be accepted.
async fn sell(service: &Service, shop: &Shop, event_ids: impl IntoIterator<Item = String>) {
    let sales = event_ids.into_iter().map(|id| service.state.recorder.record(shop.sale(&id)));
    for outcome in futures_util::future::join_all(sales).await {
        assert_eq!(outcome.unwrap().verdict, Verdict::Accepted);
    }
}

/// `count` event ids.
fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("sale-{number}"))
}
