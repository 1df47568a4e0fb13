//! What a job is about, as conditions of a SELECT. Every piece of text is written in this program; values are bound.

use std::time::Duration;

use sqlx::{Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::super::super::dialect::{Db, DbConnection, DbRow};
use super::super::to_name;
use crate::domain::ids::earliest_id;
use crate::domain::replay::{DeliveryFilter, ReceiptFilter, SettledState, Window};
use crate::domain::time::Timestamp;

/// The unit in which ids carry their time.
const TICK: Duration = Duration::from_millis(1);

/// A SELECT that grows by conditions.
pub struct Matching(QueryBuilder<Db>);

impl Matching {
    /// `select`, which ends in a condition, narrowed to what a job made at `created_at` is about, after the id `after`.
    pub fn deliveries(select: &'static str, filter: &DeliveryFilter, created_at: Timestamp, after: Uuid) -> Self {
        let mut matching = Self(QueryBuilder::new(select));
        if !filter.acknowledged {
            matching.0.push(" AND a.delivery_id IS NULL");
        }
        // Written out, since SQLite does not see that a bound value is the condition of a partial index.
        matching.0.push(match filter.state {
            SettledState::Dead => " AND d.state = 'dead'",
            SettledState::Delivered => " AND d.state = 'delivered'",
        });
        matching
            .compare("d.settled_at", " <= ", Some(created_at))
            .only("p.operator_id", filter.operator_id)
            .only("p.affiliate_id", filter.affiliate_id)
            .only("d.endpoint_id", filter.endpoint_id)
            .only("e.event_type", filter.event_type.as_ref().map(to_name))
            .only("d.dead_reason", filter.dead_reason.as_ref().map(to_name))
            .within(["d.id", "d.created_at"], filter.window, created_at, after)
    }

    /// The same of receipts.
    pub fn receipts(select: &'static str, filter: &ReceiptFilter, created_at: Timestamp, after: Uuid) -> Self {
        Self(QueryBuilder::new(select))
            .only("COALESCE(l.verdict, r.verdict)", Some(filter.verdict.as_str()))
            .only("CASE WHEN l.id IS NULL THEN r.code ELSE l.code END", filter.code.map(|code| code.as_str()))
            .only("r.operator_id", filter.operator_id)
            .only("r.source_id", filter.source_id)
            .within(["r.id", "r.received_at"], filter.window, created_at, after)
    }

    /// Narrows to a time. Ids begin with the time at which they were made, so the primary key's index finds the part
    /// that is meant.
    fn within(self, [id, at]: [&'static str; 2], window: Window, created_at: Timestamp, after: Uuid) -> Self {
        let latest = window.to.map_or(created_at, |to| to.min(created_at));
        self.compare(id, " > ", Some(after))
            .compare(id, " >= ", window.from.map(earliest_id))
            .compare(id, " < ", Some(earliest_id(latest.plus(TICK))))
            .compare(at, " >= ", window.from)
            .compare(at, " < ", window.to)
    }

    fn only<T>(self, column: &'static str, value: Option<T>) -> Self
    where
        T: for<'t> Encode<'t, Db> + Type<Db>,
    {
        self.compare(column, " = ", value)
    }

    fn compare<T>(mut self, column: &'static str, operator: &'static str, value: Option<T>) -> Self
    where
        T: for<'t> Encode<'t, Db> + Type<Db>,
    {
        if let Some(value) = value {
            self.0.push(" AND ").push(column).push(operator).push_bind(value);
        }
        self
    }

    /// How many there are, where the SELECT counts.
    pub async fn count(mut self, connection: &mut DbConnection) -> Result<i64, sqlx::Error> {
        use sqlx::Row as _;
        self.0.build().fetch_one(connection).await?.try_get(0)
    }

    /// The first of them in the order of their ids, at most `limit`.
    pub async fn first(
        mut self,
        id: &'static str,
        limit: i64,
        connection: &mut DbConnection,
    ) -> Result<Vec<DbRow>, sqlx::Error> {
        self.0.push(" ORDER BY ").push(id).push(" LIMIT ").push_bind(limit);
        self.0.build().persistent(false).fetch_all(connection).await
    }
}
