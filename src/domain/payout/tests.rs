//! The way of a payout: every step from every state, what is booked on it, and that giving back leaves nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::catalog::CatalogDelta;
use crate::domain::endpoint::{Endpoint, EndpointKind, EndpointStatus, Subscription};
use crate::domain::ids::EndpointId;

fn now() -> Timestamp {
    Timestamp::from_micros(1_000_000)
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn payout(state: PayoutState) -> Payout {
    Payout {
        id: PayoutId::new(now()),
        affiliate_id: AffiliateId::new(now()),
        money: Money { amount: amount("60"), currency: "EUR".parse().unwrap() },
        items: 3,
        state,
        revision: 1,
        reference: None,
        created_by: Some(KeyId::new(now())),
        created_at: now(),
        updated_at: now(),
    }
}

fn steps() -> [Step; 8] {
    let reason = || serde_json::from_value::<Reason>("bank says no".into()).unwrap();
    [
        Step::Submit,
        Step::Approve,
        Step::Process,
        Step::Send("ref-1".parse().unwrap()),
        Step::Complete,
        Step::Fail(reason()),
        Step::Return(reason()),
        Step::Cancel(reason()),
    ]
}

#[test]
fn every_step_from_every_state() {
    use PayoutState::{Approved, Canceled, Completed, Draft, Failed, PendingApproval, Processing, Returned, Sent};
    let allowed: &[(PayoutState, &[PayoutState])] = &[
        (Draft, &[PendingApproval, Canceled]),
        (PendingApproval, &[Approved, Canceled]),
        (Approved, &[Processing, Sent, Canceled]),
        (Processing, &[Sent, Failed]),
        (Sent, &[Completed, Failed, Returned]),
        (Completed, &[Returned]),
        (Failed, &[Processing, Returned]),
        (Returned, &[]),
        (Canceled, &[]),
    ];
    assert_eq!(allowed.len(), PayoutState::ALL.len());
    for (from, targets) in allowed {
        for step in steps() {
            let stands = payout(*from);
            let judged = stands.after(&step, KeyId::new(now()), Amount::ZERO, now());
            match judged {
                Ok(Some(after)) => {
                    assert!(targets.contains(&step.target()), "{from:?} {step:?}");
                    assert_eq!((after.state, after.revision, after.money), (step.target(), 2, stands.money));
                }
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::NotFrom(*from));
                    assert!(!targets.contains(&step.target()), "{from:?} {step:?}");
                }
                Ok(None) => assert_eq!(step.target(), *from, "taken already"),
            }
        }
        assert_eq!(serde_json::to_value(from).unwrap(), from.as_str());
    }
}

#[test]
fn a_repeated_send_is_taken_already_only_under_its_reference() {
    let [_, _, _, send, ..] = steps();
    let sent = payout(PayoutState::Approved).after(&send, KeyId::new(now()), Amount::ZERO, now()).unwrap().unwrap();
    assert_eq!(sent.after(&send, KeyId::new(now()), Amount::ZERO, now()), Ok(None));
    let other = Step::Send("ref-2".parse().unwrap());
    let refused = sent.after(&other, KeyId::new(now()), Amount::ZERO, now());
    assert_eq!(refused, Err(Refusal::NotFrom(PayoutState::Sent)));
}

#[test]
fn above_the_limit_a_second_person_approves() {
    let waiting = payout(PayoutState::PendingApproval);
    let (creator, other) = (waiting.created_by.unwrap(), KeyId::new(now()));
    let approve = |payout: &Payout, by, limit: &str| payout.after(&Step::Approve, by, amount(limit), now());
    assert_eq!(approve(&waiting, creator, "59.99"), Err(Refusal::SecondPerson));
    assert!(approve(&waiting, creator, "60").unwrap().is_some());
    assert!(approve(&waiting, other, "0").unwrap().is_some());
    let scheduled = Payout { created_by: None, ..waiting };
    assert!(approve(&scheduled, creator, "0").unwrap().is_some(), "whoever approves is the second, after the schedule");
}

#[test]
fn balances_that_are_not_paid() {
    let judge = |balance: &str, minimum: &str| judge_balance(amount(balance), amount(minimum));
    assert_eq!(judge("-60", "0"), Err(NoPayout::Debt));
    assert_eq!(judge("0", "0"), Err(NoPayout::BelowMinimum));
    assert_eq!(judge("49.99", "50"), Err(NoPayout::BelowMinimum));
    assert_eq!(judge("50", "50"), Ok(()));
}

#[test]
fn references_and_reasons_have_a_form() {
    let long = "x".repeat(256);
    for bad in ["", "a b", "é", "a\n", &long] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
    assert!("TX/2026-01.7".parse::<Reference>().is_ok());
    for bad in ["", "  ", "a\nb", &long] {
        assert!(serde_json::from_value::<Reason>(bad.into()).is_err(), "{bad}");
    }
}

/// Applies what is booked to balances; a posting must balance by itself.
fn book(balances: &mut BTreeMap<String, i64>, posting: &Posting) {
    let mut sum = 0;
    for entry in &posting.entries {
        sum += entry.money.amount.micros();
        *balances.entry(entry.account.to_string()).or_default() += entry.money.amount.micros();
    }
    assert_eq!(sum, 0, "{posting:?}");
    assert!(posting.entries.iter().all(|entry| !entry.money.amount.is_zero()), "nothing is booked as nothing");
}

proptest! {
    #[test]
    fn the_books_follow_the_payout(
        parts in prop::collection::vec(-5_000_000_i64..20_000_000, 1..5),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let total: i64 = parts.iter().sum();
        prop_assume!(total > 0);
        let part = |micros: &i64| Share {
            operator_id: OperatorId::new(now()),
            amount: Amount::from_micros(*micros).unwrap(),
        };
        let shares: Vec<Share> = parts.iter().map(part).collect();
        let mut stands = payout(PayoutState::Draft);
        stands.money.amount = Amount::from_micros(total).unwrap();
        let mut balances = BTreeMap::new();
        book(&mut balances, &posting(None, &stands, &shares, now()).unwrap());
        for choice in choices {
            let open: Vec<Step> = steps().into_iter().filter(|step| step.leads_from(stands.state)).collect();
            if open.is_empty() {
                break;
            }
            let after = stands.after(choice.get(&open), KeyId::new(now()), Amount::ZERO, now()).unwrap().unwrap();
            if let Some(posting) = posting(Some(stands.state), &after, &shares, now()) {
                book(&mut balances, &posting);
            }
            stands = after;
            let lies = |account: Account| balances.get(&account.to_string()).copied().unwrap_or_default();
            let held = if stands.state.gave_back() { 0 } else { total };
            prop_assert_eq!(lies(Account::Payable(stands.affiliate_id)), held);
            prop_assert_eq!(lies(Account::Clearing), if stands.state.is_under_way() { -total } else { 0 });
            for share in &shares {
                let arrived = if stands.state == PayoutState::Completed { share.amount.micros() } else { 0 };
                prop_assert_eq!(lies(Account::Settled(share.operator_id)), -arrived);
            }
        }
    }
}

#[test]
fn the_affiliate_hears_of_each_step_and_operators_of_their_part_when_it_has_arrived() {
    let (mine, others) = (OperatorId::new(now()), OperatorId::new(now()));
    let stands = payout(PayoutState::Completed);
    let endpoint = |owner| Endpoint {
        id: EndpointId::new(now()),
        owner,
        kind: EndpointKind::Webhook,
        url: String::new(),
        subscription: Subscription::default(),
        expected_status: None,
        status: EndpointStatus::Active,
        status_reason: None,
        created_at: now(),
    };
    let owners = [Owner::Affiliate(stands.affiliate_id), Owner::Operator(mine), Owner::Operator(others)];
    let endpoints = owners.map(endpoint).to_vec();
    let catalog = Catalog::default().with(CatalogDelta { version: 1, endpoints, ..CatalogDelta::default() });
    let shares = [(mine, "70"), (others, "-10")].map(|(operator_id, part)| Share { operator_id, amount: amount(part) });
    let told = |from: Option<PayoutState>, to: PayoutState| {
        let (mut outbox, payout) = (Outbox::default(), Payout { state: to, ..stands.clone() });
        tell(&mut outbox, &catalog, from, (&payout, &shares), None, now());
        let event = |event: &event::Event| (event.event_type.as_str(), event.operator_id);
        assert_eq!(outbox.events.len(), outbox.deliveries.len());
        (outbox.events.iter().map(event).collect::<Vec<_>>(), outbox)
    };
    use PayoutState::{Canceled, Completed, Draft, Failed, PendingApproval, Processing, Returned, Sent};
    assert_eq!(told(None, Draft).0, []);
    assert_eq!(told(Some(Draft), Canceled).0, []);
    assert_eq!(told(Some(Failed), Processing).0, []);
    assert_eq!(told(None, PendingApproval).0, [("payout.created", None)]);
    assert_eq!(told(Some(Sent), Failed).0, [("payout.failed", None)]);
    assert_eq!(told(Some(PendingApproval), Canceled).0, [("payout.returned", None)]);
    let everybody = |name| vec![(name, None), (name, Some(mine)), (name, Some(others))];
    let (events, outbox) = told(Some(Sent), Completed);
    assert_eq!(events, everybody("payout.completed"));
    let amounts: Vec<String> = outbox
        .events
        .iter()
        .map(|event| {
            let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
            format!("{} {}", body["data"]["amount"].as_str().unwrap(), body["data"]["currency"].as_str().unwrap())
        })
        .collect();
    assert_eq!(amounts, ["60.00 EUR", "70.00 EUR", "-10.00 EUR"], "each its own");
    assert_eq!(told(Some(Completed), Returned).0, everybody("payout.returned"));
    assert_eq!(
        told(Some(Sent), Returned).0,
        [("payout.returned", None)],
        "the operators were not told that it arrived"
    );
}
