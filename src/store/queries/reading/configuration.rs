//! Lists of what is configured.

use super::super::super::dialect::Engine;
use super::super::nouns;
use super::Select;
use crate::domain::catalog::{Affiliate, Goal, Key, Link, Operator, Plan, Program, Source};
use crate::domain::endpoint::Endpoint;
use crate::domain::exchange::ExchangeRate;
use crate::domain::ids::KeyId;
use crate::domain::plan::PlanVersion;
use crate::store::StoreError;
use crate::store::reading::{Filter, Page};

pub async fn operators(engine: &Engine, page: Page) -> Result<Vec<Operator>, StoreError> {
    Select::of("SELECT * FROM operators WHERE true").page(engine, "id", page, nouns::operator).await
}

pub async fn sources(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Source>, StoreError> {
    let select = Select::of("SELECT * FROM sources WHERE true").only("operator_id", filter.operator_id);
    select.only("status", filter.status.clone()).page(engine, "id", page, nouns::source).await
}

pub async fn programs(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Program>, StoreError> {
    let select = Select::of("SELECT * FROM programs WHERE true").only("operator_id", filter.operator_id);
    select.only("status", filter.status.clone()).page(engine, "id", page, nouns::program).await
}

pub async fn goals(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Goal>, StoreError> {
    let select = "SELECT g.* FROM goals g JOIN programs p ON p.id = g.program_id WHERE true";
    let select = Select::of(select).only("g.program_id", filter.program_id).only("p.operator_id", filter.operator_id);
    select.page(engine, "g.id", page, nouns::goal).await
}

pub async fn plans(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Plan>, StoreError> {
    let select = Select::of("SELECT * FROM plans WHERE true").only("operator_id", filter.operator_id);
    select.page(engine, "id", page, nouns::plan).await
}

pub async fn plan_versions(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<PlanVersion>, StoreError> {
    let select = "SELECT v.* FROM plan_versions v JOIN plans p ON p.id = v.plan_id WHERE true";
    let select = Select::of(select).only("v.plan_id", filter.plan_id).only("p.operator_id", filter.operator_id);
    select.page(engine, "v.id", page, nouns::plan_version).await
}

pub async fn affiliates(engine: &Engine, page: Page) -> Result<Vec<Affiliate>, StoreError> {
    Select::of("SELECT * FROM affiliates WHERE true").page(engine, "id", page, nouns::affiliate).await
}

pub async fn fx_rates(engine: &Engine, page: Page) -> Result<Vec<ExchangeRate>, StoreError> {
    Select::of("SELECT * FROM fx_rates WHERE true").page(engine, "id", page, nouns::fx_rate).await
}

pub async fn links(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Link>, StoreError> {
    let select = "SELECT l.* FROM links l JOIN programs p ON p.id = l.program_id WHERE true";
    let select = Select::of(select).only("l.program_id", filter.program_id).only("p.operator_id", filter.operator_id);
    let select = select.only("l.affiliate_id", filter.affiliate_id).only("l.status", filter.status.clone());
    select.page(engine, "l.id", page, nouns::link).await
}

pub async fn keys(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Key>, StoreError> {
    let select = Select::of("SELECT * FROM api_keys WHERE true").only("operator_id", filter.operator_id);
    let select = select.only("source_id", filter.source_id).only("affiliate_id", filter.affiliate_id);
    select.page(engine, "id", page, nouns::key).await
}

pub async fn key(engine: &Engine, id: KeyId) -> Result<Option<Key>, StoreError> {
    Select::of("SELECT * FROM api_keys WHERE true").one(engine, "id", id.uuid(), nouns::key).await
}

pub async fn endpoints(engine: &Engine, filter: &Filter, page: Page) -> Result<Vec<Endpoint>, StoreError> {
    let select = Select::of("SELECT * FROM endpoints WHERE true").only("operator_id", filter.operator_id);
    let select = select.only("affiliate_id", filter.affiliate_id).only("id", filter.endpoint_id);
    select.only("status", filter.status.clone()).page(engine, "id", page, nouns::endpoint).await
}
