//! Lists and single objects for people. A list is put together from fixed pieces of SQL; values are always bound.

mod commissions;
mod configuration;
mod customers;
mod deliveries;
mod traffic;

pub use self::commissions::standings;
pub use self::deliveries::{DELIVERIES, delivery_view};

use async_trait::async_trait;
use sqlx::{Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::super::dialect::{Db, DbRow, Engine};
use crate::domain::catalog::{Affiliate, Goal, Key, Link, Operator, Plan, Program, Source};
use crate::domain::endpoint::Endpoint;
use crate::domain::exchange::ExchangeRate;
use crate::domain::ids::{CommissionId, ConversionId, CustomerId, DeliveryId, KeyId, ReceiptId};
use crate::domain::plan::PlanVersion;
use crate::store::StoreError;
use crate::store::reading::{
    CommissionView, ConversionView, CustomerView, DeliveryView, Filter, Page, Reading, ReceiptView,
};

#[async_trait]
impl Reading for Engine {
    async fn operators(&self, page: Page) -> Result<Vec<Operator>, StoreError> {
        configuration::operators(self, page).await
    }

    async fn sources(&self, filter: &Filter, page: Page) -> Result<Vec<Source>, StoreError> {
        configuration::sources(self, filter, page).await
    }

    async fn programs(&self, filter: &Filter, page: Page) -> Result<Vec<Program>, StoreError> {
        configuration::programs(self, filter, page).await
    }

    async fn goals(&self, filter: &Filter, page: Page) -> Result<Vec<Goal>, StoreError> {
        configuration::goals(self, filter, page).await
    }

    async fn plans(&self, filter: &Filter, page: Page) -> Result<Vec<Plan>, StoreError> {
        configuration::plans(self, filter, page).await
    }

    async fn plan_versions(&self, filter: &Filter, page: Page) -> Result<Vec<PlanVersion>, StoreError> {
        configuration::plan_versions(self, filter, page).await
    }

    async fn affiliates(&self, page: Page) -> Result<Vec<Affiliate>, StoreError> {
        configuration::affiliates(self, page).await
    }

    async fn fx_rates(&self, page: Page) -> Result<Vec<ExchangeRate>, StoreError> {
        configuration::fx_rates(self, page).await
    }

    async fn links(&self, filter: &Filter, page: Page) -> Result<Vec<Link>, StoreError> {
        configuration::links(self, filter, page).await
    }

    async fn keys(&self, filter: &Filter, page: Page) -> Result<Vec<Key>, StoreError> {
        configuration::keys(self, filter, page).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        configuration::key(self, id).await
    }

    async fn endpoints(&self, filter: &Filter, page: Page) -> Result<Vec<Endpoint>, StoreError> {
        configuration::endpoints(self, filter, page).await
    }

    async fn receipts(&self, filter: &Filter, page: Page) -> Result<Vec<ReceiptView>, StoreError> {
        traffic::receipts(self, filter, page).await
    }

    async fn receipt(&self, id: ReceiptId) -> Result<Option<ReceiptView>, StoreError> {
        traffic::receipt(self, id).await
    }

    async fn conversions(&self, filter: &Filter, page: Page) -> Result<Vec<ConversionView>, StoreError> {
        traffic::conversions(self, filter, page).await
    }

    async fn conversion(&self, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
        traffic::conversion(self, id).await
    }

    async fn customers(&self, filter: &Filter, page: Page) -> Result<Vec<CustomerView>, StoreError> {
        customers::customers(self, filter, page).await
    }

    async fn customer(&self, id: CustomerId) -> Result<Option<CustomerView>, StoreError> {
        customers::customer(self, id).await
    }

    async fn commissions(&self, filter: &Filter, page: Page) -> Result<Vec<CommissionView>, StoreError> {
        commissions::commissions(self, filter, page).await
    }

    async fn commission(&self, id: CommissionId) -> Result<Option<CommissionView>, StoreError> {
        commissions::commission(self, id).await
    }

    async fn deliveries(&self, filter: &Filter, page: Page) -> Result<Vec<DeliveryView>, StoreError> {
        deliveries::deliveries(self, filter, page).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        deliveries::delivery(self, id).await
    }
}

/// A SELECT that grows by conditions. Every piece of text is written in this program.
pub(super) struct Select(QueryBuilder<Db>);

impl Select {
    /// `select` ends in a condition, be it `WHERE true`.
    pub(super) fn of(select: &'static str) -> Self {
        Self(QueryBuilder::new(select))
    }

    /// Narrows to rows where `column` has this value, if one is given.
    pub(super) fn only<T>(mut self, column: &'static str, value: Option<T>) -> Self
    where
        T: for<'t> Encode<'t, Db> + Type<Db>,
    {
        if let Some(value) = value {
            self.0.push(" AND ").push(column).push(" = ").push_bind(value);
        }
        self
    }

    /// Ends where those began whom the filter names, so that a list of somebody new does not look at every row that is older
    /// than they are.
    fn since(mut self, id: &'static str, filter: &Filter) -> Self {
        if let Some(earliest) = filter.earliest_id() {
            self.0.push(" AND ").push(id).push(" >= ").push_bind(earliest);
        }
        self
    }

    /// Narrows by a condition.
    fn and(mut self, condition: &'static str) -> Self {
        self.0.push(" AND ").push(condition);
        self
    }

    /// Narrows to rows where `column` has one of these values.
    fn among<T>(mut self, column: &'static str, values: Vec<T>) -> Self
    where
        T: for<'t> Encode<'t, Db> + Type<Db>,
    {
        if values.is_empty() {
            self.0.push(" AND false");
            return self;
        }
        let mut list = self.0.push(" AND ").push(column).push(" IN (").separated(", ");
        for value in values {
            list.push_bind(value);
        }
        list.push_unseparated(")");
        self
    }

    /// Every row.
    async fn all<T>(
        mut self,
        engine: &Engine,
        read: impl Fn(&DbRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.0.build().persistent(false).fetch_all(&engine.reader).await?;
        rows.iter().map(read).collect()
    }

    /// One page, newest first; `id` is the column that orders.
    pub(super) async fn page<T>(
        mut self,
        engine: &Engine,
        id: &'static str,
        page: Page,
        read: impl Fn(&DbRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        if let Some(before) = page.before {
            self.0.push(" AND ").push(id).push(" < ").push_bind(before);
        }
        self.0.push(" ORDER BY ").push(id).push(" DESC LIMIT ").push_bind(page.limit);
        let rows = self.0.build().persistent(false).fetch_all(&engine.reader).await?;
        rows.iter().map(read).collect()
    }

    /// The row whose column `id` has this value.
    async fn one<T>(
        self,
        engine: &Engine,
        id: &'static str,
        value: Uuid,
        read: impl Fn(&DbRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let row = self.only(id, Some(value)).0.build().persistent(false).fetch_optional(&engine.reader).await?;
        row.as_ref().map(read).transpose()
    }
}
