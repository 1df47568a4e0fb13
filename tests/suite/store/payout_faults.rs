//! Every planted fault in payouts is found by the ledger's checks.

use std::collections::BTreeSet;

use postback::domain::payout::Step;

use super::payouts::{cancel, give_back, send};
use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::World;

on_both_engines!(every_planted_fault_is_found,);

/// A world with a completed, a waiting, a returned and a canceled payout.
async fn paid(kind: Kind) -> World {
    let world = World::new(kind).await;
    world.sales(&["s1"]).await;
    let returned = world.payout("k1").await;
    world.steps(returned.id, [Step::Approve, send("tx-1"), Step::Complete, give_back()]).await;
    world.sales(&["s2"]).await;
    let completed = world.payout("k2").await;
    world.steps(completed.id, [Step::Approve, send("tx-2"), Step::Complete]).await;
    world.sales(&["s3"]).await;
    let canceled = world.payout("k3").await;
    world.steps(canceled.id, [cancel()]).await;
    world.payout("k4").await;
    world.sales(&["s4"]).await;
    world.assert_sound().await;
    world
}

async fn every_planted_fault_is_found(kind: Kind) {
    let (new_id, nobody) = match kind {
        Kind::Sqlite => ("randomblob(16)", "x'00000000000000000000000000000001'"),
        Kind::Postgres => ("gen_random_uuid()", "'00000000-0000-0000-0000-000000000001'::uuid"),
    };
    let of = |state: &str| format!("(SELECT id FROM payouts WHERE state = '{state}')");
    let (completed, waiting) = (of("completed"), of("pending_approval"));
    let made =
        |payout: &str| format!("(SELECT id FROM ledger_transactions WHERE payout_id = {payout} AND kind = 'payout')");
    let entry = |account: &str, amount: &str| {
        format!(
            "INSERT INTO ledger_entries (id, transaction_id, account, amount, currency) SELECT {new_id}, transaction_id, \
             account, {amount}, currency FROM ledger_entries WHERE transaction_id = {} AND account LIKE '{account}'",
            made(&waiting)
        )
    };
    let twice = format!(
        "INSERT INTO payout_items (payout_id, entry_id, commission_id, operator_id, amount) \
         SELECT {waiting}, entry_id, commission_id, operator_id, amount FROM payout_items \
         WHERE payout_id = {completed} LIMIT 1"
    );
    let one_index = "CREATE UNIQUE INDEX payout_items_paid_once ON payout_items (entry_id) WHERE released_at IS NULL";
    let cases: Vec<(Vec<String>, &[&str])> = vec![
        (
            vec![format!("UPDATE payouts SET amount = amount + 1 WHERE id = {completed}")],
            &["payout_is_its_items", "payout_is_booked"],
        ),
        (vec![format!("DELETE FROM payout_items WHERE payout_id = {waiting}")], &["payout_is_its_items"]),
        (
            vec![format!("UPDATE payout_shares SET amount = amount + 1 WHERE payout_id = {waiting}")],
            &["payout_is_its_shares"],
        ),
        (
            vec![format!(
                "UPDATE payout_items SET released_at = (SELECT created_at FROM payouts WHERE id = {waiting}) \
                 WHERE payout_id = {waiting}"
            )],
            &["payout_holds_its_items", "payable_is_unpaid"],
        ),
        (vec!["DROP INDEX payout_items_paid_once".to_owned(), twice], &["entry_is_paid_once", "payout_is_its_items"]),
        (
            vec![format!("UPDATE payout_items SET amount = amount + 1 WHERE payout_id = {waiting}")],
            &["item_is_an_entry", "payout_is_its_items"],
        ),
        (
            vec![format!("UPDATE payout_items SET operator_id = {nobody} WHERE payout_id = {waiting}")],
            &["item_is_an_entry", "payout_is_its_shares"],
        ),
        (
            vec![format!(
                "INSERT INTO ledger_transactions (id, kind, payout_id, posted_at) \
                 SELECT {new_id}, 'payout', {nobody}, created_at FROM payouts WHERE id = {waiting}"
            )],
            &["transaction_has_payout"],
        ),
        (
            vec![format!("UPDATE payouts SET state = 'completed' WHERE id = {waiting}")],
            &["payout_is_booked", "payout_follows_its_steps"],
        ),
        (
            vec![entry("%:payable", "amount"), entry("payouts:clearing", "amount")],
            &["payout_is_booked", "payable_is_unpaid"],
        ),
        (
            vec![format!("UPDATE payouts SET revision = revision + 1 WHERE id = {completed}")],
            &["payout_follows_its_steps"],
        ),
    ];
    let mut found = BTreeSet::new();
    for (statements, expected) in cases {
        let world = paid(kind).await;
        let raw = world.database.raw().await;
        for statement in &statements {
            let touched = raw.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            assert!(touched > 0 || statement.starts_with("DROP"), "{statement}");
        }
        let findings = world.database.verify_ledger().await.unwrap();
        let findings: BTreeSet<_> = findings.into_iter().map(|finding| finding.check).collect();
        if statements[0].starts_with("DROP") {
            // The database is used again.
            raw.execute(&format!("DELETE FROM payout_items WHERE payout_id = {waiting}")).await.unwrap();
            raw.execute(one_index).await.unwrap();
        }
        for check in expected {
            assert!(findings.contains(check), "{check} is among {findings:?} after {statements:#?}");
        }
        found.extend(expected.iter().copied());
    }
    assert_eq!(found.len(), 9, "each check has found something: {found:?}");
}
