//! How the domain's values look in the OpenAPI document. The domain knows no documentation, so it is told here;
//! tests hold each list of names against what the values are really written as.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Ref, Schema, SchemaFormat, Type};
use utoipa::openapi::{ArrayBuilder, KnownFormat, OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::catalog::{GoalPolicy, Status};
use crate::domain::click::LinkCode;
use crate::domain::commission::{CommissionStanding, NoCommission};
use crate::domain::customer::AttributionRule;
use crate::domain::delivery::DeliveryState;
use crate::domain::endpoint::{EndpointKind, EndpointStatus};
use crate::domain::event::EventType;
use crate::domain::ids::{
    AffiliateId, AgreementId, AlertId, CommissionId, ConversionId, CouponId, CustomerId, DeliveryId, EndpointId,
    EndpointSecretId, EventId, FxRateId, GoalId, KeyId, LedgerEntryId, LinkId, OperatorId, PayoutId, PlanId,
    PlanVersionId, ProgramId, ReceiptId, ReplayId, SourceId, SourceSecretId,
};
use crate::domain::money::{Amount, Currency, Rounding};
use crate::domain::payout::terms::{DueOutcome, Period};
use crate::domain::payout::{PayoutState, Reason, Reference};
use crate::domain::plan::{FixedRate, PercentRate, Terms};
use crate::domain::postback::ConversionStatus;
use crate::domain::rates::{FxRate, Percent};
use crate::domain::replay::{ReplayState, SettledState, Unbooked};
use crate::domain::retry::DeadReason;
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
    AffiliateId AgreementId AlertId CommissionId ConversionId CouponId CustomerId DeliveryId EndpointId
    EndpointSecretId EventId FxRateId GoalId KeyId LedgerEntryId LinkId OperatorId PayoutId PlanId PlanVersionId ProgramId
    ReceiptId ReplayId SourceId SourceSecretId
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
    EndpointKind: "webhook" "postback";
    EndpointStatus: "active" "paused" "disabled";
    GoalPolicy: "once" "many";
    AttributionRule: "lifetime" "last_click";
    ConversionStatus: "pending" "approved" "hold" "rejected" "reversed";
    InboundScheme: "none" "standard" "body" "query";
    EventType: "conversion.recorded" "conversion.updated" "commission.created" "commission.updated"
        "commission.approved" "commission.reversed" "payout.created" "payout.approved" "payout.sent"
        "payout.completed" "payout.failed" "payout.returned" "endpoint.disabled";
    CommissionStanding: "pending" "awaiting_fx" "on_hold" "available" "stated" "paid" "reversed" "void";
    NoCommission: "no_plan" "no_plan_version" "goal_not_in_plan" "test" "rejected" "no_amount" "recurring_over";
    DeliveryState: "pending" "held" "delivered" "dead";
    DeadReason: "attempts_exhausted" "too_old";
    SettledState: "dead" "delivered";
    Unbooked: "rejected" "parked";
    ReplayState: "running" "done" "canceled";
    PayoutState: "draft" "pending_approval" "approved" "processing" "sent" "completed" "failed" "returned" "canceled";
    Period: "week" "month";
    DueOutcome: "created" "debt" "below_minimum";
    Rounding: "half_up" "half_even" "floor";
    WarningCode: "unknown_field" "currency_entity" "attribution_disagreement";
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

impl PartialSchema for Reference {
    fn schema() -> RefOr<Schema> {
        text("^[!-~]{1,255}$", "1 to 255 visible ASCII characters.", "tx-20260131-7").into()
    }
}
impl ToSchema for Reference {}

impl PartialSchema for Reason {
    fn schema() -> RefOr<Schema> {
        text("^.{1,255}$", "1 to 255 characters, none of them a control character.", "The account is closed.").into()
    }
}
impl ToSchema for Reason {}

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

impl PartialSchema for Percent {
    fn schema() -> RefOr<Schema> {
        let description = "A percentage as a plain decimal with at most twelve decimals, from 0 to 1000.";
        text("^[0-9]{1,4}(\\.[0-9]{1,28})?$", description, "12.5").into()
    }
}
impl ToSchema for Percent {}

impl PartialSchema for FxRate {
    fn schema() -> RefOr<Schema> {
        let description =
            "An exchange rate as a plain decimal with at most 18 decimals, above 0 and below 10000000000.";
        text("^[0-9]{1,10}(\\.[0-9]{1,28})?$", description, "0.912345678901").into()
    }
}
impl ToSchema for FxRate {}

impl PartialSchema for PercentRate {
    fn schema() -> RefOr<Schema> {
        let months =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(1200)).description(Some(
                "For how many calendar months from the customer's first conversion of the goal; without it, for ever.",
            ));
        ObjectBuilder::new()
            .property("goal", text("^.{1,64}$", "The goal's name in its program.", "sale"))
            .property("percent", Percent::schema())
            .property("months", months)
            .required("goal")
            .required("percent")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}
impl ToSchema for PercentRate {}

/// The terms of one model.
fn terms(model: &'static str, description: &str, rate: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some(description))
        .property("model", ObjectBuilder::new().schema_type(Type::String).enum_values(Some([model])))
        .property("rates", ArrayBuilder::new().items(RefOr::Ref(Ref::from_schema_name(rate))))
        .property("rounding", Rounding::schema())
        .required("model")
        .required("rates")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

impl PartialSchema for Terms {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .description(Some("How commission is computed."))
            .item(terms("fixed", "An amount for each approved conversion.", "FixedRate"))
            .item(terms("percent", "A percentage of the amount of each approved conversion.", "PercentRate"))
            .into()
    }
}
impl ToSchema for Terms {
    fn name() -> Cow<'static, str> {
        "Terms".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("FixedRate".to_owned(), FixedRate::schema()));
        schemas.push(("PercentRate".to_owned(), PercentRate::schema()));
    }
}
