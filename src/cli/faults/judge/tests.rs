use super::*;
use crate::cli::faults::inbox::Told;

/// Four postbacks of one affiliate, all of them booked and told.
fn sound() -> Evidence {
    let booking = |number| Booking { amount: amount(number), commissions: vec![("12.50".into(), "12.50".into())] };
    let told = |number| Told { posts: vec![1], good: 1, ids: vec![number] };
    let seen = Seen {
        told: (0..4).map(|number| (number, told(number))).collect(),
        ids: (0..4).map(|number| (number, format!("evt_{number}"))).collect(),
        ..Seen::default()
    };
    Evidence {
        affiliates: 1,
        fired: vec![Entry { fired_micros: 1, acknowledged: true, accepted: 1 }; 4],
        booked: (0..4).map(|number| (number, vec![booking(number)])).collect(),
        receivers: vec![ReceiverEvidence { name: "receiver".into(), affiliate: 0, seen }],
        attempts: (0..4).map(|number| (format!("evt_{number}"), 1)).collect(),
    }
}

fn found(change: impl FnOnce(&mut Evidence)) -> Findings {
    let mut evidence = sound();
    change(&mut evidence);
    let findings = judge(&evidence);
    assert_eq!(findings.is_green(), findings.sentences.is_empty(), "{findings:?}");
    findings
}

fn told(evidence: &mut Evidence, number: u64) -> &mut Told {
    evidence.receivers[0].seen.told.get_mut(&number).unwrap()
}

fn booked(evidence: &mut Evidence, number: u64) -> &mut Vec<Booking> {
    evidence.booked.get_mut(&number).unwrap()
}

#[test]
fn nothing_is_wrong_with_what_is_sound() {
    assert_eq!(found(|_| {}), Findings { acknowledged: 4, ..Findings::default() });
}

#[test]
fn a_planted_loss_is_found() {
    let unbooked = found(|evidence| assert!(evidence.booked.remove(&2).is_some()));
    assert_eq!(unbooked.lost, 1);
    let unearned = found(|evidence| booked(evidence, 2)[0].commissions.clear());
    assert_eq!(unearned.lost, 1);
    let promised_nothing = found(|evidence| {
        evidence.fired[3] = Entry { acknowledged: false, accepted: 0, fired_micros: 1 };
        evidence.booked.remove(&3);
        evidence.receivers[0].seen.told.remove(&3);
    });
    assert!(promised_nothing.is_green() && promised_nothing.acknowledged == 3, "{promised_nothing:?}");
}

#[test]
fn a_planted_missing_delivery_is_found() {
    let untold = found(|evidence| assert!(evidence.receivers[0].seen.told.remove(&1).is_some()));
    assert_eq!(untold.lost, 1);
    assert_eq!(found(|evidence| told(evidence, 1).good = 0).lost, 1, "told, and never with success");
    let others = found(|evidence| {
        evidence.affiliates = 2;
        evidence.receivers[0].seen.told.retain(|number, _| number % 2 == 0);
    });
    assert!(others.is_green(), "postbacks 1 and 3 are another affiliate's: {others:?}");
}

#[test]
fn a_planted_double_booking_is_found() {
    let twice = found(|evidence| {
        let again = booked(evidence, 0)[0].clone();
        booked(evidence, 0).push(again);
    });
    assert_eq!(twice.doubled, 1);
    let earned_twice = found(|evidence| {
        let again = booked(evidence, 0)[0].commissions[0].clone();
        booked(evidence, 0)[0].commissions.push(again);
    });
    assert_eq!(earned_twice.doubled, 1);
    assert_eq!(found(|evidence| evidence.fired[0].accepted = 3).doubled, 2);
    assert_eq!(found(|evidence| told(evidence, 0).ids.push(99)).doubled, 1, "told under two ids");
}

#[test]
fn wrong_amounts_are_found() {
    assert_eq!(found(|evidence| booked(evidence, 1)[0].amount = amount(2)).wrong_amounts, 1);
    assert_eq!(found(|evidence| booked(evidence, 1)[0].commissions[0].0 = "12.51".into()).wrong_amounts, 1);
    assert_eq!(found(|evidence| booked(evidence, 1)[0].commissions[0].1 = "0.00".into()).wrong_amounts, 1);
}

#[test]
fn an_extra_post_is_explained_by_an_attempt_and_by_nothing_else() {
    let with = |attempts| {
        let findings = found(|evidence| {
            told(evidence, 3).posts = vec![1, 2, 3];
            evidence.attempts.insert("evt_3".into(), attempts);
        });
        (findings.extra_posts, findings.unexplained_posts)
    };
    assert_eq!([with(0), with(1), with(3), with(4)], [(2, 3), (2, 2), (2, 0), (2, 0)]);
}

#[test]
fn forged_strange_and_redirected_messages_are_found() {
    assert_eq!(found(|evidence| evidence.receivers[0].seen.wrongly_signed = 2).strange, 2);
    assert_eq!(found(|evidence| evidence.receivers[0].seen.strange = 1).strange, 1);
    assert_eq!(found(|evidence| evidence.receivers[0].seen.followed = 1).strange, 1);
    let unfired = found(|evidence| {
        let again = evidence.booked[&0].clone();
        evidence.booked.insert(9, again);
    });
    assert_eq!(unfired.strange, 1);
}
