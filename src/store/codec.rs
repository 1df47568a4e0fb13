//! How the domain's values are stored on each engine: amounts and times exactly, ids as UUIDs.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use uuid::Uuid;

use crate::domain::ids::{
    AffiliateId, AgreementId, AlertId, CommissionId, ConversionId, CouponId, CustomerId, DeliveryId, EndpointId,
    EndpointSecretId, EventId, FxRateId, GoalId, KeyId, LeaseId, LedgerEntryId, LedgerTransactionId, LinkId,
    OperatorId, PayoutId, PlanId, PlanVersionId, ProgramId, ReceiptId, ReplayId, RequestId, SourceId, SourceSecretId,
    VerdictId,
};
use crate::domain::money::Amount;
use crate::domain::time::Timestamp;

/// Stores `$ours` as what `$theirs` is stored as on one engine.
macro_rules! stored_as {
    ($ours:ty, $db:ty, $buffer:ty, $value:ident, $info:ty, $theirs:ty, $to:expr, $from:expr) => {
        impl Type<$db> for $ours {
            fn type_info() -> $info {
                <$theirs as Type<$db>>::type_info()
            }

            fn compatible(info: &$info) -> bool {
                <$theirs as Type<$db>>::compatible(info)
            }
        }

        impl Encode<'_, $db> for $ours {
            fn encode_by_ref(&self, buffer: &mut $buffer) -> Result<IsNull, BoxDynError> {
                let stored: $theirs = $to(*self);
                Encode::<$db>::encode(stored, buffer)
            }
        }

        impl<'r> Decode<'r, $db> for $ours {
            fn decode(value: $value<'r>) -> Result<Self, BoxDynError> {
                let stored: $theirs = Decode::<$db>::decode(value)?;
                $from(stored)
            }
        }
    };
}

macro_rules! stored {
    ($ours:ty, sqlite: $lite:ty, $to_lite:expr, $from_lite:expr, postgres: $pg:ty, $to_pg:expr, $from_pg:expr) => {
        stored_as!($ours, Sqlite, SqliteArgumentsBuffer, SqliteValueRef, SqliteTypeInfo, $lite, $to_lite, $from_lite);
        stored_as!($ours, Postgres, PgArgumentBuffer, PgValueRef, PgTypeInfo, $pg, $to_pg, $from_pg);

        impl PgHasArrayType for $ours {
            fn array_type_info() -> PgTypeInfo {
                <$pg as PgHasArrayType>::array_type_info()
            }
        }
    };
}

type Utc = chrono::DateTime<chrono::Utc>;

stored!(
    Timestamp,
    sqlite: i64,
    Timestamp::micros,
    |micros| Ok(Timestamp::from_micros(micros)),
    postgres: Utc,
    |time: Timestamp| Utc::from_timestamp_micros(time.micros()).unwrap_or_default(),
    |time: Utc| Ok(Timestamp::from_micros(time.timestamp_micros()))
);

stored!(
    Amount,
    sqlite: i64,
    Amount::micros,
    |micros| Ok(Amount::from_micros(micros)?),
    postgres: rust_decimal::Decimal,
    Amount::decimal,
    |value| Ok(Amount::new(value)?)
);

macro_rules! stored_ids {
    ($($id:ident)+) => {$(
        stored!(
            $id,
            sqlite: Uuid, $id::uuid, |uuid| Ok($id::from_uuid(uuid)),
            postgres: Uuid, $id::uuid, |uuid| Ok($id::from_uuid(uuid))
        );
    )+};
}

stored_ids! {
    AffiliateId AgreementId AlertId CommissionId ConversionId CouponId CustomerId DeliveryId EndpointId EndpointSecretId EventId FxRateId GoalId
    KeyId LeaseId LedgerEntryId LedgerTransactionId LinkId OperatorId PayoutId PlanId PlanVersionId ProgramId ReceiptId
    ReplayId RequestId SourceId SourceSecretId VerdictId
}
