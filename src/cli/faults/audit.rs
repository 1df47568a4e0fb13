//! Looks up what is booked and what was sent, through the admin interface, as an auditor could.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::outside::book::Book;
use crate::cli::outside::client::Client;
use crate::cli::outside::setup::{self, SetUpError};

/// Rows on a page: as many as the service gives.
const PAGE: u64 = 200;

/// One conversion with what was earned by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// Its amount.
    pub amount: String,
    /// The amounts of its commissions, and what of each lies in the ledger.
    pub commissions: Vec<(String, String)>,
}

/// What is booked for each postback, by its number.
pub async fn bookings(
    admin: &mut Client,
    operator_id: &str,
    book: &Book,
) -> Result<BTreeMap<u64, Vec<Booking>>, SetUpError> {
    let mut commissions: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for item in all(admin, &format!("/v1/admin/commissions?operator_id={operator_id}")).await? {
        let earned = (text(&item, "amount"), text(&item, "booked"));
        commissions.entry(text(&item, "conversion_id")).or_default().push(earned);
    }
    let mut bookings: BTreeMap<u64, Vec<Booking>> = BTreeMap::new();
    for item in all(admin, &format!("/v1/admin/conversions?operator_id={operator_id}")).await? {
        let number = book.number_in(text(&item, "event_id").as_bytes()).ok_or(SetUpError::Form("event_id of ours"))?;
        let commissions = commissions.remove(&text(&item, "id")).unwrap_or_default();
        bookings.entry(number).or_default().push(Booking { amount: text(&item, "amount"), commissions });
    }
    Ok(bookings)
}

/// How many attempts the service knows of for each message, by its `webhook-id`.
pub async fn attempts(admin: &mut Client) -> Result<BTreeMap<String, u64>, SetUpError> {
    let mut attempts = BTreeMap::new();
    for item in all(admin, "/v1/admin/deliveries").await? {
        let number = |name: &str| item.get(name).and_then(Value::as_u64).unwrap_or_default();
        let count = if number("epoch") > 1 {
            // The list tells the attempts of the last life only.
            let one = setup::read(admin, &format!("/v1/admin/deliveries/{}", text(&item, "id"))).await?;
            let all = one.get("attempts").and_then(Value::as_array).map_or(0, Vec::len);
            u64::try_from(all).unwrap_or(u64::MAX)
        } else {
            number("attempt")
        };
        attempts.insert(text(&item, "event_id"), count);
    }
    Ok(attempts)
}

/// How many deliveries are in a state, up to a page of them.
pub async fn in_state(admin: &mut Client, state: &str) -> Result<usize, SetUpError> {
    let page = setup::read(admin, &format!("/v1/admin/deliveries?state={state}&limit={PAGE}")).await?;
    Ok(items(&page).len())
}

/// The alerts that were open at any time, by their names, with how often they opened.
pub async fn alerts(admin: &mut Client) -> Result<BTreeMap<String, u64>, SetUpError> {
    let mut names = BTreeMap::new();
    for item in all(admin, "/v1/admin/alerts").await? {
        *names.entry(text(&item, "name")).or_default() += 1;
    }
    Ok(names)
}

/// Every row of a list.
pub async fn all(admin: &mut Client, path: &str) -> Result<Vec<Value>, SetUpError> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = setup::read(admin, &format!("{path}{separator}limit={PAGE}{cursor}")).await?;
        found.extend(items(&page).iter().cloned());
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

fn items(page: &Value) -> &[Value] {
    page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text of a field; empty without one.
pub fn text(item: &Value, name: &str) -> String {
    item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
