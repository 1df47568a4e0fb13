//! Clicks that postbacks name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection, DbRow};
use super::super::from_json;
use crate::domain::booking::{ClickFacts, Item};
use crate::domain::catalog::Catalog;
use crate::domain::ids::OperatorId;
use crate::store::StoreError;
use crate::store::rows::Rows;

/// A click id in the name of an operator.
pub type ClickKey = (OperatorId, String);

/// The clicks that must be looked up: ours too, for the sub-ids that only their rows hold.
pub fn wanted_clicks<'a>(items: impl Iterator<Item = &'a Item>, catalog: &Catalog) -> Vec<ClickKey> {
    let wanted = items.filter_map(|item| {
        let source = catalog.source(item.source_id)?;
        let click = item.said.as_ref().ok()?.click_id.as_ref()?;
        Some((source.operator_id, click.as_str().to_owned()))
    });
    wanted.collect::<BTreeSet<_>>().into_iter().collect()
}

pub async fn load_clicks(
    connection: &mut DbConnection,
    wanted: Vec<ClickKey>,
) -> Result<HashMap<ClickKey, ClickFacts>, StoreError> {
    let rows = Rows::of(&wanted).col("operator", |(operator, _)| *operator).col("click", |(_, id)| id.as_str());
    let select = "SELECT c.operator_id, c.click_id, c.program_id, c.affiliate_id, c.clicked_at, c.subs \
         FROM {rows} JOIN clicks c ON c.operator_id = v.operator AND c.click_id = v.click";
    let found = dialect::fetch_rows(connection, select, rows).await?;
    found.iter().map(|row| Ok((click_key(row)?, click_facts(row)?))).collect()
}

pub fn click_key(row: &DbRow) -> Result<ClickKey, StoreError> {
    Ok((row.try_get("operator_id")?, row.try_get("click_id")?))
}

fn click_facts(row: &DbRow) -> Result<ClickFacts, StoreError> {
    Ok(ClickFacts {
        program_id: row.try_get("program_id")?,
        affiliate_id: row.try_get("affiliate_id")?,
        clicked_at: row.try_get("clicked_at")?,
        subs: from_json::<BTreeMap<String, String>>(row, "subs")?,
    })
}
