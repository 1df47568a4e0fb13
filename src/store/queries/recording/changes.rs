//! Conversions that change without a postback: through the same booking, written by the same statements.

use sqlx::Row;

use super::super::super::dialect::{self, DbConnection};
use super::{Batch, keys, recurrences, write};
use crate::domain::booking::{Booking, OwnChange};
use crate::domain::catalog::Catalog;
use crate::domain::ids::ConversionId;
use crate::store::StoreError;
use crate::store::recording::{RecordTerms, Recorded};

/// Changes one conversion. Where it is refused nothing is written.
pub async fn change(
    connection: &mut DbConnection,
    id: ConversionId,
    change: &OwnChange,
    catalog: &Catalog,
    terms: RecordTerms,
) -> Result<Recorded, StoreError> {
    let mut booking = Booking::new(catalog, terms.now, std::collections::HashMap::new());
    keys::load_booked(connection, vec![id], &mut booking).await?;
    recurrences::load_recurrence(connection, id, &mut booking).await?;
    match booking.change(id, change) {
        Ok(_) => write::write(connection, Batch::default(), Vec::new(), &booking, terms).await,
        Err(rejection) => Ok(Recorded { refused: Some(rejection), ..Recorded::default() }),
    }
}

/// Approves conversions whose hold is over, at most `limit`; what another instance works on is left to it.
pub async fn approve_held(
    connection: &mut DbConnection,
    limit: i64,
    catalog: &Catalog,
    terms: RecordTerms,
) -> Result<Recorded, StoreError> {
    let select = format!(
        "SELECT id FROM conversions WHERE hold_until <= $1 ORDER BY hold_until, id LIMIT $2 {}",
        dialect::SKIP_LOCKED
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(select)).bind(terms.now).bind(limit).fetch_all(&mut *connection).await?;
    let due: Vec<ConversionId> = rows.iter().map(|row| Ok(row.try_get("id")?)).collect::<Result<_, StoreError>>()?;
    let mut booking = Booking::new(catalog, terms.now, std::collections::HashMap::new());
    keys::load_booked(connection, due.clone(), &mut booking).await?;
    for id in due {
        if let Err(rejection) = booking.change(id, &OwnChange::HoldOver) {
            tracing::warn!(conversion = %id, %rejection, "a conversion cannot be approved by itself; an admin must decide");
            booking.hold_on(id);
        }
    }
    write::write(connection, Batch::default(), Vec::new(), &booking, terms).await
}
