//! The checks of `postback ledger verify` (RELIABILITY section 8): each is a question that must have no answer.

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::StoreError;
use crate::domain::money::Currency;

/// One thing that is wrong with the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it, such as `transaction_balances`.
    pub check: &'static str,
    /// Which row, and what is wrong with it.
    pub detail: String,
}

/// What lies in one account in one currency: debits less credits. A sum of many amounts may be larger than any one
/// of them can be, so it has the wider type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "said above")]
pub struct Balance {
    pub account: String,
    pub currency: Currency,
    #[serde(serialize_with = "as_text")]
    pub amount: Decimal,
}

fn as_text<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// What is asked of the books.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Runs every check; an empty answer is a sound ledger. Stops after 1 000 findings.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn verify_ledger(&self) -> Result<Vec<Finding>, StoreError>;

    /// The balances of all accounts whose name begins with `prefix`. Sums are taken in code as wide integers:
    /// SQLite's `sum()` fails on overflow.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn balances(&self, prefix: &str) -> Result<Vec<Balance>, StoreError>;
}
