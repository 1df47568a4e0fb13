//! Lists: newest first, page by page. A cursor names the last row of a page, so a page never shifts when rows are
//! added.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

use actix_web::HttpResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::context::Context;
use super::problem::Problem;
use crate::domain::request::{Headers, RawRequest};
use crate::domain::verdict::{Code, Rejection};
use crate::intake::fields;
use crate::store::reading::{Filter, Page};
use crate::store::{Store, StoreError};

/// Rows on a page when nobody says how many.
const DEFAULT_LIMIT: i64 = 50;
/// The most rows on a page.
const MAX_LIMIT: i64 = 200;

/// The parameters of every list, for the documentation; [`ListQuery`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documentation only")]
pub struct PageParams {
    /// How many rows at most, from 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of rows, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// What a list is asked for.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// What it is narrowed to.
    pub filter: Filter,
    before: Option<Uuid>,
    limit: i64,
}

impl ListQuery {
    /// Reads a query string. Besides `limit` and `cursor` only the parameters in `filters` are allowed.
    ///
    /// # Errors
    /// `validation` with the parameter's name, or what is wrong with the query string as such.
    pub fn read(raw_query: &str, filters: &[&str]) -> Result<Self, Problem> {
        let raw = RawRequest { method: "GET", raw_query: raw_query.as_bytes(), headers: Headers(&[]), body: b"" };
        let fields = fields::read(&raw)?;
        let mut query = Self { filter: Filter::default(), before: None, limit: DEFAULT_LIMIT };
        for field in &fields.list {
            query.set(&field.name, &field.value, filters)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str, filters: &[&str]) -> Result<(), Problem> {
        let filter = &mut self.filter;
        match name {
            "limit" => self.limit = limit(value)?,
            "cursor" => self.before = Some(before(value)?),
            _ if !filters.contains(&name) => return Err(Problem::of_field(name, "There is no such parameter.")),
            "operator_id" => filter.operator_id = Some(id(name, value)?),
            "program_id" => filter.program_id = Some(id(name, value)?),
            "affiliate_id" => filter.affiliate_id = Some(id(name, value)?),
            "source_id" => filter.source_id = Some(id(name, value)?),
            "plan_id" => filter.plan_id = Some(id(name, value)?),
            "endpoint_id" => filter.endpoint_id = Some(id(name, value)?),
            "conversion_id" => filter.conversion_id = Some(id(name, value)?),
            // `state` and `verdict` are what some nouns call their status.
            "status" | "state" | "verdict" => filter.status = Some(value.to_owned()),
            "acknowledged" => filter.acknowledged = Some(flag(name, value)?),
            "event_id" => filter.event_id = Some(value.to_owned()),
            "click_id" => filter.click_id = Some(value.to_owned()),
            "customer_id" => filter.customer_id = Some(value.to_owned()),
            _ => return Err(Problem::of_field(name, "There is no such parameter.")),
        }
        Ok(())
    }

    /// The page to ask the store for: one row more than is shown, to see whether there is another page.
    #[must_use]
    pub fn page(&self) -> Page {
        Page { before: self.before, limit: self.limit.saturating_add(1) }
    }

    /// What the store found, as a page.
    #[must_use]
    pub fn listed<T, B: From<T>>(&self, rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Listed<B> {
        let shown = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > shown;
        let last = shown.checked_sub(1).and_then(|index| rows.get(index)).filter(|_| more);
        let next_cursor = last.map(|row| URL_SAFE_NO_PAD.encode(id(row).as_bytes()));
        Listed { items: rows.into_iter().take(shown).map(B::from).collect(), next_cursor }
    }
}

/// Answers a list: asks the store for the page and shows its rows.
///
/// # Errors
/// What the store's error means to the caller.
pub async fn list<B, T, F>(
    context: &Context,
    query: ListQuery,
    ask: impl FnOnce(Arc<dyn Store>, Filter, Page) -> F + Send + 'static,
    id: impl Fn(&T) -> Uuid,
) -> Result<HttpResponse, Problem>
where
    F: Future<Output = Result<Vec<T>, StoreError>> + Send + 'static,
    T: Send + 'static,
    B: From<T> + Serialize,
{
    let (filter, page) = (query.filter.clone(), query.page());
    let rows = context.ask(move |store| ask(store, filter, page)).await?;
    Ok(HttpResponse::Ok().json(query.listed::<T, B>(rows, id)))
}

fn limit(text: &str) -> Result<i64, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::of_field("limit", "A page has 1 to 200 rows."))
}

fn before(text: &str) -> Result<Uuid, Problem> {
    let id = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| Uuid::from_slice(&bytes).ok());
    id.ok_or_else(|| Problem::of_field("cursor", "Send back the next_cursor of the page before as it is."))
}

/// The value of the one parameter that a route takes, `true` or `false`; `false` where it was not sent.
///
/// # Errors
/// `validation` with the parameter's name, or what is wrong with the query string as such.
pub fn only_flag(raw_query: &str, name: &str) -> Result<bool, Problem> {
    let raw = RawRequest { method: "GET", raw_query: raw_query.as_bytes(), headers: Headers(&[]), body: b"" };
    let fields = fields::read(&raw)?;
    match fields.list.iter().find(|field| field.name != name) {
        Some(field) => Err(Problem::of_field(&field.name, "There is no such parameter.")),
        None => fields.value(name).map_or(Ok(false), |value| flag(name, value)),
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| Problem::of_field(name, "Send true or false."))
}

fn id<T: FromStr>(name: &str, text: &str) -> Result<T, Problem> {
    let refused = || Rejection::of_field(Code::Validation, name).because("This is not an id of this kind.");
    text.parse().map_err(|_| refused().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins() {
        let rows: Vec<u128> = (1..=3).rev().collect();
        let query = ListQuery::read("limit=2", &[]).unwrap();
        assert_eq!((query.page().limit, query.page().before), (3, None));
        let page: Listed<u128> = query.listed(rows, |row| Uuid::from_u128(*row));
        assert_eq!(page.items, [3, 2]);
        let next = ListQuery::read(&format!("limit=2&cursor={}", page.next_cursor.unwrap()), &[]).unwrap();
        assert_eq!(next.page().before, Some(Uuid::from_u128(2)));
        let page: Listed<u128> = next.listed(vec![1], |row| Uuid::from_u128(*row));
        assert_eq!(page.next_cursor, None);
    }

    #[test]
    fn what_a_list_does_not_know_is_refused() {
        assert!(ListQuery::read("", &[]).is_ok());
        assert!(ListQuery::read("event_id=x", &["event_id"]).unwrap().filter.event_id.is_some());
        for bad in
            ["event_id=x", "limit=0", "limit=201", "limit=x", "cursor=x", "program_id=x", "limit=1&limit=2", "a=%zz"]
        {
            assert!(ListQuery::read(bad, &["program_id"]).is_err(), "{bad}");
        }
    }
}
