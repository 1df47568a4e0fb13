//! Amounts, currencies: digits are read for what they are, by a reference in whole numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postback_fuzz::domain::money::{Amount, Currency, Money};

fuzz_target!(|text: &str| {
    if let Ok(currency) = text.parse::<Currency>() {
        assert_eq!(currency.code(), text);
    }
    let Ok(amount) = text.parse::<Amount>() else { return };
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i128 = integer.parse::<i128>().expect("digits") * 1_000_000;
    let micros: i128 = format!("{fraction:0<6}")[..6].parse().expect("digits");
    assert!(fraction.bytes().skip(6).all(|digit| digit == b'0'), "nothing is rounded");
    assert_eq!(i128::from(amount.micros()), sign * (whole + micros));
    assert_eq!(amount.to_string().parse(), Ok(amount));
    assert_eq!(Amount::from_micros(amount.micros()), Ok(amount));
    let money = Money { amount, currency: "BHD".parse().expect("a currency") };
    assert_eq!(money.amount_text().parse(), Ok(amount));
});
