//! Money against a reference in whole numbers: what is parsed, printed and rounded.

use proptest::prelude::*;

use super::*;

fn amount(text: &str) -> Result<Amount, MoneyError> {
    text.parse()
}

#[test]
fn accepts_plain_decimals_only() {
    for good in ["0", "12.50", "-3.000001", "100000000000", "0.1000000", "007"] {
        assert!(amount(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "-",
        ".",
        "1.",
        ".5",
        "+5",
        " 5",
        "5 ",
        "1e3",
        "1,000",
        "0x10",
        "NaN",
        "inf",
        "1.0000001",
        "１２",
        "--1",
        "1_0",
        "1.2.3",
    ] {
        assert!(amount(bad).is_err(), "{bad}");
    }
    assert_eq!(amount("100000000000.01"), Err(MoneyError::OutOfRange));
    assert_eq!(amount("99999999999999999999999999999999"), Err(MoneyError::OutOfRange));
}

#[test]
fn micros_round_trip() {
    for text in ["0.000001", "-12.5", "100000000000"] {
        let value = amount(text).unwrap();
        assert_eq!(Amount::from_micros(value.micros()), Ok(value));
    }
}

#[test]
fn rounds_once_to_the_minor_unit() {
    let eur: Currency = "EUR".parse().unwrap();
    let round = |text: &str, currency, rounding| {
        Money::of_product(&[Decimal::from_str_exact(text).unwrap()], currency, rounding).unwrap().amount_text()
    };
    assert_eq!(round("14.99875", eur, Rounding::HalfUp), "15.00");
    assert_eq!(round("0.125", eur, Rounding::HalfUp), "0.13");
    assert_eq!(round("-0.125", eur, Rounding::HalfUp), "-0.13");
    assert_eq!(round("0.125", eur, Rounding::HalfEven), "0.12");
    assert_eq!(round("0.129", eur, Rounding::Floor), "0.12");
    assert_eq!(round("-0.121", eur, Rounding::Floor), "-0.13");
    assert_eq!(round("10.5", "JPY".parse().unwrap(), Rounding::HalfUp), "11");
    assert_eq!(round("1.0005", "BHD".parse().unwrap(), Rounding::HalfUp), "1.001");
}

#[test]
fn products_are_exact_however_many_digits_they_have() {
    let decimal = |text: &str| Decimal::from_str_exact(text).unwrap();
    let eur: Currency = "EUR".parse().unwrap();
    let times = |factors: &[&str], rounding| {
        let factors: Vec<Decimal> = factors.iter().map(|text| decimal(text)).collect();
        Money::of_product(&factors, eur, rounding).map(|money| money.amount_text())
    };
    assert_eq!(times(&["119.99", "12.5", "0.01"], Rounding::HalfUp).unwrap(), "15.00");
    // Just below the tie.
    let just_below = ["0.005", "0.999999999999999999", "1.000000000000"];
    assert_eq!(times(&just_below, Rounding::HalfUp).unwrap(), "0.00");
    assert_eq!(
        times(&["9999999999.999999", "99.999999999999", "0.01", "1.000000000001"], Rounding::HalfUp).unwrap(),
        "10000000000.01"
    );
    assert_eq!(times(&["100000000000", "100000000000"], Rounding::HalfUp), Err(MoneyError::OutOfRange));
    assert_eq!(times(&["-2", "0.0025"], Rounding::HalfEven).unwrap(), "0.00");
    assert_eq!(times(&["-2", "0.0075"], Rounding::HalfEven).unwrap(), "-0.02");
    let text = |factors: &[&str]| exact_product(&factors.iter().map(|text| decimal(text)).collect::<Vec<_>>());
    assert_eq!(text(&["119.99", "12.5", "0.01"]), "14.99875");
    assert_eq!(text(&["-0.5", "0.01"]), "-0.005");
    assert_eq!(text(&["2.50", "4"]), "10");
    assert_eq!(text(&["0.00"]), "0");
}

#[test]
fn currencies_are_iso_in_capitals() {
    assert_eq!("JPY".parse::<Currency>().unwrap().minor_units(), 0);
    for bad in ["eur", "EURO", "", "€", "ZZZ", "XAU"] {
        assert!(bad.parse::<Currency>().is_err(), "{bad}");
    }
}

#[test]
fn currencies_do_not_mix() {
    let money = |code: &str| Money { amount: amount("1").unwrap(), currency: code.parse().unwrap() };
    assert_eq!(money("EUR").minus(money("USD")), Err(MoneyError::CurrencyMismatch));
    assert!(money("EUR").minus(money("EUR")).unwrap().amount.is_zero());
}

/// 10^11 units in micros.
const LARGEST_MICROS: i128 = 100_000_000_000 * 1_000_000;

/// `mantissa` / 10^`scale`, rounded to `minor_units` decimals, in units of the last of them. In whole numbers only.
fn rounded_by_hand(mantissa: i128, scale: u32, minor_units: u32, rounding: Rounding) -> i128 {
    if scale <= minor_units {
        return mantissa * 10_i128.pow(minor_units - scale);
    }
    let unit = 10_i128.pow(scale - minor_units);
    let (below, rest) = (mantissa.div_euclid(unit), mantissa.rem_euclid(unit));
    let tie_goes_up = match rounding {
        Rounding::HalfUp => mantissa > 0,
        Rounding::HalfEven => below % 2 != 0,
        Rounding::Floor => return below,
    };
    match (2 * rest).cmp(&unit) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Equal => below + i128::from(tie_goes_up),
        std::cmp::Ordering::Greater => below + 1,
    }
}

fn roundings() -> impl Strategy<Value = Rounding> {
    prop::sample::select(vec![Rounding::HalfUp, Rounding::HalfEven, Rounding::Floor])
}

/// Numbers of up to 12 decimals that lie on a tie as often as not.
fn numbers() -> impl Strategy<Value = (i128, u32)> {
    let any = (-10_i128.pow(22)..10_i128.pow(22), 0_u32..=12);
    let ties = (-1_000_000_000_i128..1_000_000_000, 1_u32..=4).prop_map(|(tens, scale)| (tens * 10 + 5, scale));
    let small = (-2_000_i128..2_000, 0_u32..=6);
    prop_oneof![any, ties, small]
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_to_the_same(micros in -LARGEST_MICROS..=LARGEST_MICROS) {
        let value = Amount::from_micros(i64::try_from(micros).unwrap()).unwrap();
        prop_assert_eq!(i128::from(value.micros()), micros);
        prop_assert_eq!(amount(&value.to_string()), Ok(value));
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), value);
        let money = Money { amount: value, currency: "EUR".parse().unwrap() };
        prop_assert_eq!(amount(&money.amount_text()), Ok(value), "with the currency's decimals too");
    }

    #[test]
    fn digits_are_read_for_what_they_are(minus in any::<bool>(), integer in "[0-9]{1,14}", fraction in "[0-9]{0,9}") {
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{}{integer}{point}{fraction}", if minus { "-" } else { "" });
        let digits: i128 = format!("{integer}{fraction:0<9}").parse().unwrap();
        let nanos = if minus { -digits } else { digits };
        match amount(&text) {
            Ok(value) => prop_assert_eq!(i128::from(value.micros()) * 1_000, nanos),
            Err(MoneyError::Malformed) => prop_assert!(nanos % 1_000 != 0, "{}", text),
            // More digits than any amount has are refused unread, even if they are zeros.
            Err(error) => {
                prop_assert_eq!(error, MoneyError::OutOfRange);
                prop_assert!(nanos.abs() > LARGEST_MICROS * 1_000 || integer.len() > 12, "{}", text);
            }
        }
    }

    #[test]
    fn nothing_but_digits_is_an_amount(text in "\\PC{0,12}|[-+0-9.eE, _]{0,12}") {
        if amount(&text).is_ok() {
            let plain = text.strip_prefix('-').unwrap_or(&text);
            prop_assert!(plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{}", text);
        }
    }

    #[test]
    fn rounding_is_that_of_whole_numbers(
        (mantissa, scale) in numbers(), code in prop::sample::select(vec!["JPY", "EUR", "BHD"]), rounding in roundings(),
    ) {
        let currency: Currency = code.parse().unwrap();
        let minor_units = currency.minor_units();
        let expected = rounded_by_hand(mantissa, scale, minor_units, rounding);
        let in_micros = expected * 10_i128.pow(6 - minor_units);
        match Money::of_product(&[Decimal::from_i128_with_scale(mantissa, scale)], currency, rounding) {
            Ok(money) => prop_assert_eq!(i128::from(money.amount.micros()), in_micros),
            Err(error) => {
                prop_assert_eq!(error, MoneyError::OutOfRange);
                prop_assert!(in_micros.abs() > LARGEST_MICROS);
            }
        }
    }

    #[test]
    fn a_difference_is_exact(a in -LARGEST_MICROS..=LARGEST_MICROS, b in -LARGEST_MICROS..=LARGEST_MICROS) {
        let money = |micros| Money {
            amount: Amount::from_micros(i64::try_from(micros).unwrap()).unwrap(),
            currency: "EUR".parse().unwrap(),
        };
        match money(a).minus(money(b)) {
            Ok(difference) => {
                prop_assert_eq!(i128::from(difference.amount.micros()), a - b);
                prop_assert_eq!(money(b).minus(money(a)).unwrap().amount, difference.amount.negated());
            }
            Err(error) => {
                prop_assert_eq!(error, MoneyError::OutOfRange);
                prop_assert!((a - b).abs() > LARGEST_MICROS);
            }
        }
    }
}
