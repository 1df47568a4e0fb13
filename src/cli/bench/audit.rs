//! Looks up which postbacks are booked, through the admin interface, as an auditor could.

use std::collections::BTreeMap;

use serde_json::Value;

use super::measure::Bench;
use crate::cli::Failure;
use crate::cli::outside::book::Book;
use crate::cli::outside::setup;

/// The most postbacks that are looked up; of more, the newest.
const MAX_ROWS: u64 = 300_000;
/// Rows on a page: as many as the service gives.
const PAGE: u64 = 200;
/// Postbacks fired side by side are booked in another order, but not by so many.
const DISORDER: u64 = 10_000;

/// How many times each postback from a number on is booked, and the number.
pub async fn booked(bench: &Bench, first: u64) -> Result<(u64, BTreeMap<u64, u64>), Failure> {
    let from = first.max(bench.next.saturating_sub(MAX_ROWS));
    let (mut admin, mut booked, mut cursor) = (bench.service.admin(), BTreeMap::new(), String::new());
    loop {
        let operator = &bench.world.operator_id;
        let path = format!("/v1/admin/conversions?operator_id={operator}&limit={PAGE}{cursor}");
        let page = setup::read(&mut admin, &path).await;
        let page = page.map_err(|error| Failure::new(format!("the conversions cannot be read: {error}")))?;
        let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut newest = None;
        for number in items.iter().filter_map(|item| number_of(item, &bench.book)) {
            newest = newest.max(Some(number));
            if number >= from {
                *booked.entry(number).or_default() += 1;
            }
        }
        match page.get("next_cursor").and_then(Value::as_str) {
            // A page without any of ours lies before this bench, at a source that was there already.
            Some(next) if newest.is_some_and(|newest| newest.saturating_add(DISORDER) >= from) => {
                cursor = format!("&cursor={next}");
            }
            _ => return Ok((from, booked)),
        }
    }
}

fn number_of(item: &Value, book: &Book) -> Option<u64> {
    book.number_in(item.get("event_id")?.as_str()?.as_bytes())
}
