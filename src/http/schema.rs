//! How the domain's values look in the OpenAPI document. The domain knows no documentation, so it is told here;
//! tests hold each list of names against what the values are really written as.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Ref, Schema, SchemaFormat, Type};
use utoipa::openapi::{ArrayBuilder, KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::catalog::{GoalPolicy, Status};
use crate::domain::click::LinkCode;
use crate::domain::commission::{CommissionState, NoCommission};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventType;
use crate::domain::ids::{
    AffiliateId, AgreementId, AlertId, CommissionId, ConversionId, DeliveryId, EndpointId, EndpointSecretId, EventId,
    GoalId, KeyId, LinkId, OperatorId, PlanId, PlanVersionId, ProgramId, ReceiptId, SourceId, SourceSecretId,
};
use crate::domain::money::{Amount, Currency, Rounding};
use crate::domain::plan::{FixedRate, Terms};
use crate::domain::postback::ConversionStatus;
use crate::domain::signature::InboundScheme;
use crate::domain::time::Timestamp;
use crate::domain::verdict::WarningCode;

fn text(pattern: &str, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([example])
}

fn one_of(names: &[&'static str]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied())).into()
}

macro_rules! ids {
    ($($name:ident)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let pattern = format!("^{}_[0-9a-f]{{32}}$", Self::PREFIX);
                let example = format!("{}_01980f6e2b7a7c3e9f0a1b2c3d4e5f60", Self::PREFIX);
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some(pattern))
                    .examples([example])
                    .into()
            }
        }
        impl ToSchema for $name {}
    )+};
}

ids! {
    AffiliateId AgreementId AlertId CommissionId ConversionId DeliveryId EndpointId EndpointSecretId EventId
    GoalId KeyId LinkId OperatorId PlanId PlanVersionId ProgramId ReceiptId SourceId SourceSecretId
}

macro_rules! names {
    ($($name:ident: $($value:literal)+;)+) => {
        $(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    one_of(&[$($value),+])
                }
            }
            impl ToSchema for $name {}
        )+

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn the_names_are_those_that_are_read() {
                $($(
                    let read = serde_json::from_value::<$name>($value.into());
                    assert!(read.is_ok(), "{} {}", stringify!($name), $value);
                )+)+
            }
        }
    };
}

names! {
    Status: "active" "inactive";
    GoalPolicy: "once" "many";
    ConversionStatus: "pending" "approved" "hold" "rejected" "reversed";
    InboundScheme: "none" "standard" "body" "query";
    EventType: "conversion.recorded" "conversion.updated" "commission.created" "commission.updated"
        "commission.approved" "commission.reversed";
    CommissionState: "pending" "available" "reversed" "void";
    NoCommission: "no_plan" "no_plan_version" "goal_not_in_plan" "test" "rejected";
    DeliveryState: "pending" "delivered" "dead";
    Rounding: "half_up" "half_even" "floor";
    WarningCode: "unknown_field" "currency_entity";
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339; read with any zone, written in UTC with microseconds."))
            .examples(["2026-01-31T12:00:00.000000Z"])
            .into()
    }
}
impl ToSchema for Timestamp {}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        text("^-?[0-9]{1,12}(\\.[0-9]{1,12})?$", "A plain decimal with at most six decimals.", "12.50").into()
    }
}
impl ToSchema for Amount {}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        text("^[A-Z]{3}$", "An ISO 4217 code.", "EUR").into()
    }
}
impl ToSchema for Currency {}

impl PartialSchema for LinkCode {
    fn schema() -> RefOr<Schema> {
        text("^[a-z2-7]{8}$", "The short public name of a link.", "abcd2345").into()
    }
}
impl ToSchema for LinkCode {}

impl PartialSchema for FixedRate {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property("goal", text("^.{1,64}$", "The goal's name in its program.", "lead"))
            .property("amount", Amount::schema())
            .property("currency", Currency::schema())
            .required("goal")
            .required("amount")
            .required("currency")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}
impl ToSchema for FixedRate {}

impl PartialSchema for Terms {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("How commission is computed."))
            .property("model", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["fixed"])))
            .property("rates", ArrayBuilder::new().items(RefOr::Ref(Ref::from_schema_name("FixedRate"))))
            .property("rounding", Rounding::schema())
            .required("model")
            .required("rates")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}
impl ToSchema for Terms {
    fn name() -> Cow<'static, str> {
        "Terms".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("FixedRate".to_owned(), FixedRate::schema()));
    }
}
