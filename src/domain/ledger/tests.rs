//! Whatever is booked balances, and its opposite takes all of it back.

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

const LARGEST_MICROS: i64 = 100_000_000_000 * 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_767_225_600).unwrap()
}

fn sum<'a>(entries: impl Iterator<Item = &'a Entry>) -> Decimal {
    entries.map(|entry| entry.money.amount.decimal()).sum()
}

proptest! {
    #[test]
    fn a_transfer_balances_and_its_opposite_undoes_it(
        micros in -LARGEST_MICROS..=LARGEST_MICROS, code in prop::sample::select(vec!["EUR", "JPY", "BHD"]),
    ) {
        let money = Money { amount: Amount::from_micros(micros).unwrap(), currency: code.parse().unwrap() };
        let accounts =
            [Account::CommissionExpense(OperatorId::new(now())), Account::Payable(AffiliateId::new(now()))];
        let subject = Subject::Commission(CommissionId::new(now()));
        let booked = transfer(PostingKind::Commission, subject, accounts, money, now());
        let opposite = Money { amount: money.amount.negated(), ..money };
        let undone = transfer(PostingKind::Reversal, subject, accounts, opposite, now());
        for posting in [&booked, &undone] {
            prop_assert_eq!(sum(posting.entries.iter()), Decimal::ZERO);
            prop_assert!(posting.entries.iter().all(|entry| entry.money.currency == money.currency));
        }
        prop_assert_eq!(booked.entries[0].money, money, "the debit is positive");
        for account in accounts {
            let both = booked.entries.iter().chain(&undone.entries).filter(|entry| entry.account == account);
            prop_assert_eq!(sum(both), Decimal::ZERO);
        }
        let ids: std::collections::HashSet<_> =
            booked.entries.iter().chain(&undone.entries).map(|entry| entry.id.uuid()).collect();
        prop_assert_eq!(ids.len(), 4);
    }
}
