//! Reads what the database holds of one demo, page by page.

use uuid::Uuid;

use super::judge::{BookedCommission, BookedConversion, BookedDelivery, BookedPayout, Books};
use super::world::World;
use crate::domain::delivery::DeliveryState;
use crate::domain::ledger::Account;
use crate::domain::money::Amount;
use crate::store::ledger::Balance;
use crate::store::reading::{Filter, Page};
use crate::store::{Store, StoreError};

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Reads page after page until one is empty. `$id` is the field that a page goes on from.
macro_rules! all {
    ($store:ident.$list:ident($filter:expr)) => {{
        let (filter, mut rows) = ($filter, Vec::new());
        let mut before: Option<Uuid> = None;
        loop {
            let page = $store.$list(&filter, Page { before, limit: PAGE }).await?;
            let Some(last) = page.last() else { break rows };
            before = Some(last.id.uuid());
            rows.extend(page);
        }
    }};
}

/// What is booked of this demo's operator, affiliates and endpoints.
pub async fn read(store: &dyn Store, world: &World) -> Result<Books, StoreError> {
    let own = || Filter { operator_id: Some(world.operator_id), ..Filter::default() };
    let mut books = Books::default();
    for row in all!(store.conversions(own())) {
        let (id, event_id) = (row.id.to_string(), row.event_id.unwrap_or_default());
        books.conversions.push(BookedConversion { id, event_id, status: row.status.to_string() });
    }
    for row in all!(store.commissions(own())) {
        books.commissions.push(BookedCommission {
            conversion_id: row.conversion_id.to_string(),
            amount_micros: row.amount.micros(),
            booked_micros: row.booked.micros(),
            paid_micros: row.paid.micros(),
        });
    }
    books.receipts = all!(store.receipts(own())).into_iter().map(|row| row.id.to_string()).collect();
    for endpoint in &world.endpoints {
        let filter = Filter { endpoint_id: Some(endpoint.id), ..Filter::default() };
        for row in all!(store.deliveries(filter)) {
            let state = match row.state {
                DeliveryState::Pending => "pending",
                DeliveryState::Held => "held",
                DeliveryState::Delivered => "delivered",
                DeliveryState::Dead => "dead",
            };
            let attempts = u64::try_from(row.attempt).unwrap_or_default();
            books.deliveries.push(BookedDelivery { state: state.to_owned(), attempts });
        }
    }
    for (number, affiliate) in world.affiliates.iter().enumerate() {
        let filter = Filter { affiliate_id: Some(affiliate.id), ..Filter::default() };
        for row in all!(store.payouts(filter)) {
            let (id, state) = (row.id.to_string(), row.state.as_str().to_owned());
            let amount_micros = row.money.amount.micros();
            books.payouts.push(BookedPayout { id, affiliate: number, amount_micros, state });
        }
        let balances = store.balances(&Account::Payable(affiliate.id).to_string()).await?;
        // What is owed is a credit; a balance that is no amount cannot be right.
        let owed = |balance: &Balance| Amount::new(-balance.amount).map_or(i64::MAX, Amount::micros);
        books.owed_micros.push(balances.iter().map(owed).fold(0, i64::saturating_add));
    }
    let findings = store.verify_ledger().await?;
    books.findings = findings.into_iter().map(|finding| format!("{}: {}", finding.check, finding.detail)).collect();
    Ok(books)
}

/// Whether anything still waits to be told to this demo's endpoints.
pub async fn is_waiting(store: &dyn Store, world: &World) -> Result<bool, StoreError> {
    for endpoint in &world.endpoints {
        let status = Some("pending".to_owned());
        let filter = Filter { endpoint_id: Some(endpoint.id), status, ..Filter::default() };
        if !store.deliveries(&filter, Page { before: None, limit: 1 }).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
