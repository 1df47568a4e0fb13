//! The books: append-only on both engines, and every planted fault is found.

use std::collections::BTreeSet;

use postback::domain::postback::ConversionStatus;
use serde_json::json;

use crate::support::engines::{Kind, Raw, on_both_engines};
use crate::support::world::{World, with};

on_both_engines!(
    entries_are_never_changed,
    sound_books_have_no_findings,
    every_planted_fault_is_found,
    sums_beyond_what_one_amount_can_be,
    balances_are_those_under_the_prefix,
);

/// A world with one approved sale, one approved lead, one pending and one reversed sale.
async fn booked(kind: Kind) -> World {
    let world = World::new(kind).await;
    let pending = with(world.a_sale(&world.click(), "s2"), json!({ "status": "pending" }));
    let reversed = world.a_sale(&world.click(), "s3");
    world.record_all([world.a_sale(&world.click(), "s1"), world.a_lead(&world.click(), "l1"), pending, reversed]).await;
    world.record(json!({ "event_id": "s3", "status": "reversed" })).await;
    world.assert_owed("25").await;
    world
}

/// A new id in SQL.
fn new_id(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "randomblob(16)",
        Kind::Postgres => "gen_random_uuid()",
    }
}

/// `amount` euros in SQL.
fn euros(kind: Kind, amount: i64) -> String {
    match kind {
        Kind::Sqlite => format!("{amount}000000"),
        Kind::Postgres => amount.to_string(),
    }
}

async fn entries_are_never_changed(kind: Kind) {
    let world = booked(kind).await;
    let before = world.balances().await;
    let raw = world.database.raw().await;
    let mut attempts = Vec::new();
    for table in ["ledger_entries", "ledger_transactions"] {
        attempts.push(format!("UPDATE {table} SET id = id"));
        attempts.push(format!("DELETE FROM {table}"));
        attempts.push(format!(
            "INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT (id) DO UPDATE SET id = excluded.id"
        ));
        attempts.push(match kind {
            Kind::Sqlite => format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"),
            Kind::Postgres => format!("TRUNCATE {table} CASCADE"),
        });
    }
    for attempt in attempts {
        let refused = raw.execute(&attempt).await.expect_err(&attempt).to_string();
        assert!(refused.contains("is append-only"), "{attempt}: {refused}");
    }
    assert_eq!(world.balances().await, before);
    world.assert_sound().await;
}

async fn sound_books_have_no_findings(kind: Kind) {
    let world = World::new(kind).await;
    world.assert_sound().await;
    let mut world = booked(kind).await;
    world.program.default_plan_id = None;
    world.put(&[postback::store::configuration::Entry::Program(world.program.clone())]).await.unwrap();
    world.accepted(world.a_lead(&world.click(), "unpaid")).await;
    world.accepted(with(world.a_lead(&world.click(), "trial"), json!({ "test": true }))).await;
    world.assert_owed("25").await;
}

/// The checks that find something after these statements.
async fn findings(world: &World, raw: &Raw, statements: &[String]) -> BTreeSet<&'static str> {
    for statement in statements {
        assert!(raw.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}")) > 0, "{statement}");
    }
    world.database.verify_ledger().await.unwrap().into_iter().map(|finding| finding.check).collect()
}

async fn every_planted_fault_is_found(kind: Kind) {
    let id = new_id(kind);
    let approved = "(SELECT id FROM commissions WHERE conversion_id IN \
                    (SELECT id FROM conversions WHERE goal = 'sale' AND status = 'approved'))";
    let posting =
        format!("(SELECT id FROM ledger_transactions WHERE commission_id = {approved} AND kind = 'commission')");
    let entry = |transaction: &str, amount: i64, currency: &str, account: &str| {
        let amount = euros(kind, amount);
        format!(
            "INSERT INTO ledger_entries (id, transaction_id, account, amount, currency) \
             SELECT {id}, {transaction}, {account}, {amount}, '{currency}'"
        )
    };
    let transaction = |kind_name: &str, of: &str, transaction: &str| {
        format!(
            "INSERT INTO ledger_transactions (id, kind, commission_id, posted_at) \
             SELECT {transaction}, '{kind_name}', {of}, posted_at FROM ledger_transactions LIMIT 1"
        )
    };
    let fixed_id = match kind {
        Kind::Sqlite => "x'00000000000000000000000000000001'",
        Kind::Postgres => "'00000000-0000-0000-0000-000000000001'::uuid",
    };
    let of_s1 = |what: &str| {
        format!("(SELECT account FROM ledger_entries WHERE transaction_id = {posting} AND account LIKE '{what}%')")
    };
    let (expense, payable) = (of_s1("operator"), of_s1("affiliate"));
    let extra = |name: &str, amount: i64| {
        vec![
            transaction(name, approved, fixed_id),
            entry(fixed_id, amount, "EUR", &expense),
            entry(fixed_id, -amount, "EUR", &payable),
        ]
    };
    let cases: Vec<(Vec<String>, &[&str])> = vec![
        (vec![entry(&posting, 1, "EUR", &expense)], &["transaction_balances", "currency_nets_to_zero"]),
        (
            vec![entry(&posting, 1, "USD", &expense), entry(&posting, -1, "USD", &payable)],
            &["transaction_has_one_currency", "entry_has_commission_currency"],
        ),
        (vec![entry(fixed_id, 1, "EUR", &expense), entry(fixed_id, -1, "EUR", &expense)], &["entry_has_transaction"]),
        (vec![transaction("commission", approved, fixed_id)], &["transaction_has_entries"]),
        (vec![transaction("commission", fixed_id, fixed_id)], &["transaction_has_commission"]),
        (extra("adjustment", 3), &["commission_is_booked"]),
        (extra("reversal", -7), &["commission_is_booked"]),
        (extra("reversal", -900), &["commission_is_booked", "reversed_at_most_booked", "payable_is_not_negative"]),
        (
            vec![entry(&posting, 1, "EUR", "'elsewhere'"), entry(&posting, -1, "EUR", "'elsewhere'")],
            &["entry_has_commission_account"],
        ),
        (
            vec![format!("DELETE FROM commissions WHERE id = {approved}")],
            &["approved_has_commission", "transaction_has_commission"],
        ),
        (
            vec!["DELETE FROM conversions WHERE goal = 'sale' AND status = 'approved'".to_owned()],
            &["commission_has_conversion"],
        ),
        (
            vec!["UPDATE conversions SET status = 'reversed' WHERE goal = 'sale' AND status = 'approved'".to_owned()],
            &["commission_follows_conversion"],
        ),
        (
            vec!["UPDATE conversions SET status = 'approved' WHERE goal = 'sale' AND status = 'pending'".to_owned()],
            &["commission_follows_conversion"],
        ),
        (
            vec![
                "UPDATE conversions SET no_commission = 'no_plan' WHERE goal = 'sale' AND status = 'approved'"
                    .to_owned(),
            ],
            &["no_commission_has_none"],
        ),
        (
            vec![format!("UPDATE commissions SET booked = booked + 1 WHERE id = {approved}")],
            &["commission_is_booked", "commission_follows_conversion"],
        ),
        (
            vec![format!("UPDATE commissions SET state = 'on_hold', hold_until = created_at WHERE id = {approved}")],
            &["commission_lies_where_it_stands"],
        ),
        (vec![format!("UPDATE commissions SET state = 'on_hold' WHERE id = {approved}")], &["held_has_its_end"]),
        (
            vec![format!("UPDATE commissions SET awaits = 'USD' WHERE id = {approved}")],
            &["awaiting_names_its_currency", "explanation_computes_amount"],
        ),
        (
            vec![format!("UPDATE commissions SET state = 'awaiting_fx' WHERE id = {approved}")],
            &["awaiting_names_its_currency", "commission_follows_conversion"],
        ),
        (
            vec![format!(
                "UPDATE commissions SET explanation = replace(explanation, '\"rate\":\"20\"', '\"rate\":\"19\"') \
                 WHERE id = {approved}"
            )],
            &["explanation_computes_amount"],
        ),
        (
            [extra("reversal", -1), extra("reversal", -1).iter().map(|sql| sql.replace("0001", "0002")).collect()]
                .concat(),
            &["reversed_at_most_once", "commission_is_booked"],
        ),
    ];
    let mut found = BTreeSet::new();
    for (statements, expected) in cases {
        let world = booked(kind).await;
        let raw = world.database.raw().await;
        let findings = findings(&world, &raw, &statements).await;
        for check in expected {
            assert!(findings.contains(check), "{check} is among {findings:?} after {statements:#?}");
        }
        found.extend(findings);
    }
    assert_eq!(found.len(), 20, "each check has found something: {found:?}");
    assert_eq!(ConversionStatus::ALL.len(), 5, "a new status needs a rule in commission_follows_conversion");
}

async fn sums_beyond_what_one_amount_can_be(kind: Kind) {
    let world = booked(kind).await;
    let raw = world.database.raw().await;
    let id = new_id(kind);
    let most = euros(kind, 100_000_000_000);
    // 150 times the largest amount is more than an i64 of micros holds.
    for (account, sign) in [("big:debit", ""), ("big:credit", "-")] {
        let insert = format!(
            "INSERT INTO ledger_entries (id, transaction_id, account, amount, currency) WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) \
             SELECT {id}, (SELECT id FROM ledger_transactions ORDER BY id LIMIT 1), '{account}', {sign}{most}, 'EUR' FROM n"
        );
        assert_eq!(raw.execute(&insert).await.unwrap(), 150);
    }
    let balances = world.database.balances("big:").await.unwrap();
    let shown: Vec<_> = balances.iter().map(|balance| format!("{} {}", balance.account, balance.amount)).collect();
    assert_eq!(shown, ["big:credit -15000000000000", "big:debit 15000000000000"]);
    assert_eq!(serde_json::to_value(&balances[1]).unwrap()["amount"], "15000000000000");
    let checks: BTreeSet<_> =
        world.database.verify_ledger().await.unwrap().into_iter().map(|found| found.check).collect();
    assert_eq!(checks, BTreeSet::from(["entry_has_commission_account"]), "the sums themselves are sound");
}

async fn balances_are_those_under_the_prefix(kind: Kind) {
    let world = booked(kind).await;
    let accounts = async |prefix: &str| {
        let balances = world.database.balances(prefix).await.unwrap();
        balances.into_iter().map(|balance| balance.account).collect::<Vec<_>>()
    };
    assert_eq!(accounts("").await.len(), 2);
    let payable = format!("affiliate:{}:payable", world.affiliate.id);
    assert_eq!(accounts("affiliate:").await, std::slice::from_ref(&payable));
    assert_eq!(accounts(&payable).await, std::slice::from_ref(&payable));
    assert_eq!(accounts(&payable.replace("aff_", "affX")).await, Vec::<String>::new(), "no character is a wildcard");
    assert_eq!(accounts("%").await, Vec::<String>::new());
}
