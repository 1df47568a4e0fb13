//! Numbers that amounts are multiplied by: percentages and exchange rates. Each is a type of its own with its own
//! precision, so that neither passes for an amount nor loses digits on its way.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most decimals of a percentage.
const PERCENT_DECIMALS: u32 = 12;
/// The largest percentage.
const MAX_PERCENT: i64 = 1_000;
/// The most decimals of an exchange rate.
const FX_DECIMALS: u32 = 18;
/// What an exchange rate lies below.
const FX_BELOW: i64 = 10_000_000_000;

/// Why a rate was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No such percentage.
    #[error("a percentage is decimal digits with at most 12 decimals, from 0 to 1000, such as 12.5")]
    Percent,
    /// No such exchange rate.
    #[error(
        "an exchange rate is decimal digits with at most 18 decimals, above 0 and below 10000000000, such as 0.912345678901"
    )]
    Fx,
}

/// Plain digits with at most one point and so many decimals, as an exact value.
fn plain(text: &str, most_decimals: u32) -> Option<Decimal> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let ends = text.starts_with('.') || text.ends_with('.');
    let value = Decimal::from_str_exact(text).ok().filter(|_| plain && !ends)?.normalize();
    (value.scale() <= most_decimals).then_some(value)
}

macro_rules! rate {
    ($(#[$doc:meta])+ $name:ident, $decimals:expr, $fits:expr, $error:expr) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// The exact value.
            #[must_use]
            pub const fn decimal(self) -> Decimal {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = RateError;

            fn from_str(text: &str) -> Result<Self, RateError> {
                let fits: fn(&Decimal) -> bool = $fits;
                plain(text, $decimals).filter(fits).map(Self).ok_or($error)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

rate! {
    /// So many parts of a hundred: `12.5` is an eighth. At most twelve decimals, from 0 to 1 000.
    Percent, PERCENT_DECIMALS, |value| *value <= Decimal::from(MAX_PERCENT), RateError::Percent
}

rate! {
    /// What one unit of a currency is worth in another. At most 18 decimals, above 0 and below 10^10.
    FxRate, FX_DECIMALS, |value| !value.is_zero() && *value < Decimal::from(FX_BELOW), RateError::Fx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_plain_and_bounded() {
        for good in ["0", "12.5", "0.000000000001", "1000", "33.333333333333", "12.50"] {
            assert!(good.parse::<Percent>().is_ok(), "{good}");
        }
        for bad in ["", "-1", "+1", "1000.000000000001", "0.0000000000001", "1e1", ".5", "5.", "1_0", "12,5", "12.5%"] {
            assert_eq!(bad.parse::<Percent>(), Err(RateError::Percent), "{bad}");
        }
    }

    #[test]
    fn exchange_rates_keep_their_digits() {
        for good in ["1", "0.912345678901", "0.000000000000000001", "9999999999.999999999999999999"] {
            assert_eq!(good.parse::<FxRate>().unwrap().to_string(), good);
        }
        for bad in ["0", "0.0", "-1", "10000000000", "0.0000000000000000001", "1/2", "NaN"] {
            assert_eq!(bad.parse::<FxRate>(), Err(RateError::Fx), "{bad}");
        }
    }
}
