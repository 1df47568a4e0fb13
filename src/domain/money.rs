//! Money as a type: exact decimals, a currency inside, checked arithmetic, and one place that rounds.
//!
//! There is no float in this crate. An amount has at most six decimals and at most 10^11 either way
//! (DESIGN section 4); what does not fit is refused, never rounded. Rounding to a currency's minor unit
//! happens once per computation (DOMAIN 3.1), in [`Money::of_product`], and names its mode: everything before it is
//! exact, however many digits amount, percentage and exchange rate have together.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most decimals that an amount may have.
pub const MAX_DECIMALS: u32 = 6;
/// The same, as a length of text.
const MAX_FRACTION_DIGITS: usize = 6;
/// The most digits that may stand before the decimal point of an amount as sent.
const MAX_INTEGER_DIGITS: usize = 12;
/// The largest amount either way: 10^11 units.
const MAX_UNITS: i64 = 100_000_000_000;

/// Why an amount was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not plain decimal digits with at most six decimals.
    #[error("an amount is decimal digits with at most six decimals, such as 12.50")]
    Malformed,
    /// Beyond 10^11 either way.
    #[error("an amount is at most 100000000000 either way")]
    OutOfRange,
    /// Not an ISO 4217 code.
    #[error("a currency is an ISO 4217 code in capitals, such as EUR")]
    UnknownCurrency,
    /// Two currencies met where one was needed.
    #[error("amounts of different currencies do not add up")]
    CurrencyMismatch,
}

/// A decimal number of currency units: at most six decimals, at most 10^11 either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The amount with this exact value.
    ///
    /// # Errors
    /// [`MoneyError::Malformed`] with more than six significant decimals, [`MoneyError::OutOfRange`] beyond 10^11.
    pub fn new(value: Decimal) -> Result<Self, MoneyError> {
        let value = value.normalize();
        if value.scale() > MAX_DECIMALS {
            return Err(MoneyError::Malformed);
        }
        if value.abs() > Decimal::from(MAX_UNITS) {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self(value))
    }

    /// Millionths of a unit, as SQLite stores them.
    #[must_use]
    pub fn micros(self) -> i64 {
        let mut scaled = self.0;
        scaled.rescale(MAX_DECIMALS);
        // At most 10^17 by the type's invariant, so it always fits.
        i64::try_from(scaled.mantissa()).unwrap_or(i64::MAX)
    }

    /// The amount of so many millionths of a unit.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] beyond 10^11 units.
    pub fn from_micros(micros: i64) -> Result<Self, MoneyError> {
        Self::new(Decimal::new(micros, MAX_DECIMALS))
    }

    /// The exact decimal value.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// The same amount with the opposite sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(-self.0)
    }

    /// Whether this is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Whether this is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

/// Parses digits, at most one point, an optional leading minus. No plus, exponent, spaces or grouping.
impl FromStr for Amount {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (integer, fraction) = match digits.split_once('.') {
            Some((integer, fraction)) if !fraction.is_empty() => (integer, fraction),
            Some(_) => return Err(MoneyError::Malformed),
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let decimals = fraction.trim_end_matches('0').len();
        if integer.is_empty() || !all_digits(integer) || !all_digits(fraction) {
            return Err(MoneyError::Malformed);
        }
        if decimals > MAX_FRACTION_DIGITS || fraction.len() > 2 * MAX_FRACTION_DIGITS {
            return Err(MoneyError::Malformed);
        }
        if integer.len() > MAX_INTEGER_DIGITS {
            return Err(MoneyError::OutOfRange);
        }
        let value = Decimal::from_str_exact(text).map_err(|_| MoneyError::OutOfRange)?;
        Self::new(value)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An ISO 4217 currency that is in use and has a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    minor_units: u32,
}

impl Currency {
    /// The three capital letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// How many decimals the smallest unit has: JPY 0, EUR 2, BHD 3.
    #[must_use]
    pub const fn minor_units(self) -> u32 {
        self.minor_units
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let known = iso_currency::Currency::from_code(text).ok_or(MoneyError::UnknownCurrency)?;
        let exponent = known.exponent().ok_or(MoneyError::UnknownCurrency)?;
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| MoneyError::UnknownCurrency)?;
        let minor_units = u32::from(exponent);
        if !code.iter().all(u8::is_ascii_uppercase) {
            return Err(MoneyError::UnknownCurrency);
        }
        Ok(Self { code, minor_units })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How [`Money::of_product`] treats what lies between two minor units (DOMAIN 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest, a tie away from zero. The default.
    #[default]
    HalfUp,
    /// To the nearest, a tie to the even neighbour.
    HalfEven,
    /// Towards minus infinity.
    Floor,
}

/// An amount of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// The exact product of `factors`, rounded to the minor unit of `currency`. The only rounding in the crate.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] beyond 10^11 units.
    pub fn of_product(factors: &[Decimal], currency: Currency, rounding: Rounding) -> Result<Self, MoneyError> {
        let (digits, scale) = product(factors);
        let minor = currency.minor_units();
        let units = match scale.checked_sub(minor) {
            Some(excess) => divided(&digits, &power_of_ten(excess), rounding),
            None => digits * power_of_ten(minor.saturating_sub(scale)),
        };
        let units = i128::try_from(units).map_err(|_| MoneyError::OutOfRange)?;
        let value = Decimal::try_from_i128_with_scale(units, minor).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Self { amount: Amount::new(value)?, currency })
    }

    /// The difference `self − other`.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], or [`MoneyError::OutOfRange`] beyond 10^11 units.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let difference = self.amount.decimal().checked_sub(other.amount.decimal()).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { amount: Amount::new(difference)?, currency: self.currency })
    }

    /// The amount as text with at least the currency's decimals: `20.00`, `0.001250`.
    #[must_use]
    pub fn amount_text(&self) -> String {
        let mut value = self.amount.decimal();
        if value.scale() < self.currency.minor_units() {
            value.rescale(self.currency.minor_units());
        }
        value.to_string()
    }
}

/// The exact product of `factors` as text: plain digits, no zeros at the end of the fraction. For explanations.
#[must_use]
pub fn exact_product(factors: &[Decimal]) -> String {
    let (digits, scale) = product(factors);
    let sign = if digits.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    let places = usize::try_from(scale).unwrap_or(usize::MAX);
    let padded = format!("{:0>width$}", digits.magnitude().to_string(), width = places.saturating_add(1));
    let (whole, fraction) = padded.split_at(padded.len().saturating_sub(places));
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

/// The product as whole digits, and how many of them stand behind the point.
fn product(factors: &[Decimal]) -> (BigInt, u32) {
    let digits = factors.iter().fold(BigInt::from(1), |product, factor| product * factor.mantissa());
    (digits, factors.iter().map(Decimal::scale).sum())
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// `value / divisor` as a whole number; `divisor` is positive.
fn divided(value: &BigInt, divisor: &BigInt, rounding: Rounding) -> BigInt {
    let (quotient, rest) = (value / divisor, value % divisor);
    let zero = BigInt::ZERO;
    // How twice the rest compares with a whole step.
    let half = BigInt::from(rest.magnitude() * 2_u32).cmp(divisor);
    let away = match rounding {
        Rounding::HalfUp => half.is_ge(),
        Rounding::HalfEven => half.is_gt() || (half.is_eq() && quotient.bit(0)),
        Rounding::Floor => rest < zero,
    };
    match (away, *value < zero) {
        (false, _) => quotient,
        (true, false) => quotient + 1,
        (true, true) => quotient - 1,
    }
}

#[cfg(test)]
mod tests;
