//! Customers that an operator imports: who sent each of them, so that events without a click find their affiliate.
//!
//! A customer that is bound already stays as it is. An import wakes what is parked for its customers.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::domain::booking::{ClickFacts, own_click};
use crate::domain::catalog::Catalog;
use crate::domain::customer::{Binding, BoundBy, NewCustomer};
use crate::domain::ids::{AffiliateId, CustomerId, KeyId, OperatorId, ProgramId};
use crate::domain::postback::Identifier;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Code, Rejection};
use crate::store::{Store, StoreError};

/// What says whom a customer is bound to.
#[derive(Clone, Debug)]
pub enum FirstTouch {
    /// Its first click.
    Click(Identifier),
    /// The program and the affiliate themselves.
    Direct(ProgramId, AffiliateId),
}

/// A customer to be imported.
#[derive(Clone, Debug)]
pub struct Import {
    /// The operator's own id of it.
    pub customer_id: Identifier,
    /// Whom it is bound to.
    pub first_touch: FirstTouch,
    /// Since when.
    pub bound_at: Timestamp,
}

/// Who imports, and when.
#[derive(Clone, Copy, Debug)]
pub struct Importer {
    /// Whose customers they are.
    pub operator_id: OperatorId,
    /// By which key.
    pub key_id: KeyId,
    /// Now.
    pub now: Timestamp,
}

/// The use case. Clones share it.
#[derive(Clone)]
pub struct Customers {
    store: Arc<dyn Store>,
    wake_parking: Arc<Notify>,
}

impl Customers {
    /// The use case over this store. `wake_parking` is told when customers were bound.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, wake_parking: Arc<Notify>) -> Self {
        Self { store, wake_parking }
    }

    /// Binds customers; answers for each, in order, whether it was new, or why it cannot be bound.
    ///
    /// # Errors
    /// [`StoreError`] where nothing could be stored.
    pub async fn import(
        &self,
        catalog: &Catalog,
        importer: Importer,
        rows: Vec<Import>,
    ) -> Result<Vec<Result<bool, Rejection>>, StoreError> {
        let wanted: Vec<(OperatorId, String)> = rows.iter().filter_map(|row| click_of(row, importer)).collect();
        let stored = self.store.find_clicks(&wanted).await?;
        let facts = |id: &Identifier| {
            let known = stored.get(&(importer.operator_id, id.as_str().to_owned())).cloned();
            known.or_else(|| own_click(catalog, importer.operator_id, id.as_str()))
        };
        let read: Vec<Result<NewCustomer, Rejection>> =
            rows.into_iter().map(|row| new_customer(row, importer, &facts)).collect();
        let customers: Vec<NewCustomer> = read.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
        let mut new = self.store.import_customers(&customers, importer.now).await?.into_iter();
        let results: Vec<_> = read.into_iter().map(|row| row.map(|_| new.next().unwrap_or(false))).collect();
        if results.contains(&Ok(true)) {
            self.wake_parking.notify_one();
        }
        Ok(results)
    }
}

fn click_of(row: &Import, importer: Importer) -> Option<(OperatorId, String)> {
    match &row.first_touch {
        FirstTouch::Click(id) => Some((importer.operator_id, id.as_str().to_owned())),
        FirstTouch::Direct(..) => None,
    }
}

fn new_customer(
    row: Import,
    importer: Importer,
    facts: &impl Fn(&Identifier) -> Option<ClickFacts>,
) -> Result<NewCustomer, Rejection> {
    let (program_id, affiliate_id, click_id) = match row.first_touch {
        FirstTouch::Direct(program_id, affiliate_id) => (program_id, affiliate_id, None),
        FirstTouch::Click(id) => {
            let unknown = Rejection::of_field(Code::Validation, "click_id");
            let click = facts(&id).ok_or(unknown.because("This click is not known; import it first."))?;
            (click.program_id, click.affiliate_id, Some(id.as_str().to_owned()))
        }
    };
    Ok(NewCustomer {
        id: CustomerId::new(importer.now),
        operator_id: importer.operator_id,
        customer_id: row.customer_id.as_str().to_owned(),
        binding: Binding {
            program_id,
            affiliate_id,
            click_id,
            bound_at: row.bound_at,
            bound_by: BoundBy::Import { key_id: importer.key_id },
        },
    })
}
