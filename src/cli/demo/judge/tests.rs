//! The judge is judged: whatever is planted must be found, under the right name.

use super::*;
use crate::cli::demo::plan::{payouts, stories};

/// What a demo without any fault leaves behind.
fn faultless(events: usize) -> Evidence {
    let stories = stories(events);
    let (mut books, mut acks, mut arrivals) = (Books::default(), Vec::new(), Vec::new());
    books.owed_micros = vec![0; AFFILIATES];
    for story in &stories {
        let outcome = story.outcome();
        let conversion_id = outcome.status.map(|_| format!("cv_{}", story.number));
        for step in &story.steps {
            let (code, receipt_id) = match step.verdict {
                Verdict::Rejected(code) => (Some(code.to_owned()), None),
                _ => (None, Some(format!("rc_{}", step.number))),
            };
            books.receipts.extend(receipt_id.clone());
            let conversion_id = conversion_id.clone().filter(|_| step.verdict != Verdict::Parked);
            let verdict = step.verdict.as_str().to_owned();
            let (step, status) = (step.number, 200);
            acks.push(Ack {
                step,
                run: 1,
                sent_at: 0,
                micros: 1,
                tries: 1,
                status,
                verdict,
                code,
                receipt_id,
                conversion_id,
            });
        }
        let Some((status, id)) = outcome.status.zip(conversion_id) else { continue };
        let event_id = story.event_id("x");
        books.conversions.push(BookedConversion {
            id: id.clone(),
            event_id: event_id.clone(),
            status: status.to_owned(),
        });
        let (amount_micros, booked_micros) = (outcome.commission_cents * 10_000, outcome.owed_cents * 10_000);
        books.commissions.push(BookedCommission {
            conversion_id: id,
            amount_micros,
            booked_micros,
            paid_micros: booked_micros,
        });
        for told in outcome.told {
            for endpoint in [OPERATOR_ENDPOINT.to_owned(), affiliate_endpoint(story.affiliate())] {
                arrivals.push(arrival(endpoint, told.event_type, &event_id));
            }
        }
    }
    let payouts = payouts(events);
    for payout in &payouts {
        let (id, state) = (format!("po_{}", payout.affiliate), "completed".to_owned());
        let told = Payout::TOLD.map(|event_type| arrival(affiliate_endpoint(payout.affiliate), event_type, &id));
        arrivals.extend(told);
        arrivals.push(arrival(OPERATOR_ENDPOINT.to_owned(), plan::COMPLETED, &id));
        let (affiliate, amount_micros) = (payout.affiliate, payout.cents * 10_000);
        books.payouts.push(BookedPayout { id, affiliate, amount_micros, state });
    }
    books.deliveries = vec![BookedDelivery { state: "delivered".to_owned(), attempts: 1 }; arrivals.len()];
    Evidence { demo: "x".to_owned(), stories, payouts, acks, arrivals, books, runs: 1 }
}

fn arrival(endpoint: String, event_type: &str, subject: &str) -> Arrival {
    Arrival {
        at: 1,
        run: 1,
        endpoint,
        webhook_id: format!("ev_{subject}_{event_type}"),
        event_type: event_type.to_owned(),
        subject: subject.to_owned(),
        verified: true,
        answer: 200,
    }
}

/// The findings after something was planted: how many lost, doubled, wrongly signed, otherwise.
fn planted(plant: impl FnOnce(&mut Evidence)) -> (usize, usize, usize, usize) {
    let mut evidence = faultless(60);
    plant(&mut evidence);
    let found = judge(&evidence);
    let counts = (found.lost.len(), found.doubled.len(), found.wrongly_signed.len(), found.otherwise.len());
    assert_eq!(found.is_green(), counts == (0, 0, 0, 0));
    counts
}

#[test]
fn a_faultless_demo_is_green() {
    for events in [0, 1, 7, 60, 2_000] {
        let found = judge(&faultless(events));
        assert!(found.is_green(), "{events}: {found:?}");
    }
}

#[test]
fn what_is_lost_is_found() {
    assert_eq!(planted(|evidence| drop(evidence.acks.remove(0))), (1, 0, 0, 0), "an acknowledgement");
    assert_eq!(planted(|evidence| drop(evidence.books.receipts.pop_first())), (1, 0, 0, 0), "a receipt");
    assert_eq!(planted(|evidence| drop(evidence.books.conversions.remove(0))).0, 1, "a conversion");
    assert_eq!(planted(|evidence| drop(evidence.books.commissions.remove(0))), (1, 0, 0, 1), "a commission");
    assert_eq!(planted(|evidence| drop(evidence.books.deliveries.pop())), (1, 0, 0, 0), "a delivery");
    assert_eq!(planted(|evidence| drop(evidence.arrivals.remove(3))), (1, 0, 0, 0), "a message");
    assert_eq!(planted(|evidence| evidence.arrivals[3].answer = 500), (1, 0, 0, 0), "a message that only failed");
    assert_eq!(planted(|evidence| evidence.books.deliveries[0].state = "dead".to_owned()), (1, 0, 0, 0), "a dead one");
}

#[test]
fn what_is_paid_wrongly_is_found() {
    assert_eq!(
        planted(|evidence| evidence.books.payouts[0].amount_micros -= 10_000),
        (0, 0, 0, 1),
        "a cent too little"
    );
    assert_eq!(planted(|evidence| evidence.books.payouts[1].state = "sent".to_owned()), (0, 0, 0, 1), "not completed");
    let unsaid = |evidence: &mut Evidence| evidence.books.commissions[0].paid_micros = 0;
    assert_eq!(planted(unsaid), (0, 0, 0, 1), "a commission that does not say so");
    let twin = |evidence: &mut Evidence| {
        let twin = BookedPayout { id: "po_twin".to_owned(), ..evidence.books.payouts[0].clone() };
        evidence.books.payouts.push(twin);
    };
    assert_eq!(planted(twin), (0, 1, 0, 0), "paid twice");
    let lost = |evidence: &mut Evidence| {
        let id = evidence.books.payouts.remove(0).id;
        evidence.arrivals.retain(|arrival| arrival.subject != id);
        evidence.books.deliveries.truncate(evidence.arrivals.len());
    };
    assert_eq!(planted(lost), (1, 0, 0, 0), "no payout");
    assert_eq!(planted(|evidence| drop(evidence.arrivals.pop())), (1, 0, 0, 0), "an operator who was not told");
    let grown = |evidence: &mut Evidence| {
        evidence.payouts[0].cents -= 500;
        evidence.books.payouts[0].amount_micros -= 5_000_000;
        evidence.books.commissions[0].paid_micros -= 5_000_000;
        evidence.books.owed_micros[0] += 5_000_000;
    };
    assert_eq!(planted(grown), (0, 0, 0, 0), "what was earned after the payout is owed");
}

#[test]
fn what_is_doubled_is_found() {
    let conversion = |evidence: &mut Evidence| {
        let twin = BookedConversion { id: "cv_twin".to_owned(), ..evidence.books.conversions[0].clone() };
        evidence.books.conversions.push(twin);
    };
    assert_eq!(planted(conversion).1, 1, "a conversion");
    let commission = |evidence: &mut Evidence| evidence.books.commissions.push(evidence.books.commissions[0].clone());
    assert_eq!(planted(commission), (0, 1, 0, 1), "a commission, and what was paid of it");
    let message = |evidence: &mut Evidence| {
        let twin = Arrival { webhook_id: "ev_twin".to_owned(), ..evidence.arrivals[0].clone() };
        evidence.arrivals.push(twin);
    };
    assert_eq!(planted(message), (0, 1, 0, 0), "a message under another id");
    let stranger = |evidence: &mut Evidence| {
        let event_id = evidence.stories.iter().find(|story| story.outcome().status.is_none()).unwrap().event_id("x");
        let (id, status) = ("cv_stranger".to_owned(), "approved".to_owned());
        evidence.books.conversions.push(BookedConversion { id, event_id, status });
    };
    assert_eq!(planted(stranger), (0, 1, 0, 0), "a conversion of what was refused");
    let delivery = |evidence: &mut Evidence| evidence.books.deliveries.push(evidence.books.deliveries[0].clone());
    assert_eq!(planted(delivery), (0, 1, 0, 0), "a delivery");
}

#[test]
fn what_is_wrongly_signed_is_found() {
    let arrival = |evidence: &mut Evidence| {
        evidence.arrivals.push(Arrival { verified: false, answer: 400, ..evidence.arrivals[0].clone() });
    };
    assert_eq!(planted(arrival), (0, 0, 1, 0));
    let taken = |evidence: &mut Evidence| {
        let forged = evidence.stories.iter().flat_map(|story| &story.steps).find(|step| step.forged).unwrap().number;
        evidence.acks[forged].verdict = "accepted".to_owned();
    };
    assert_eq!(planted(taken), (0, 0, 1, 0), "a forged postback that was taken");
}

#[test]
fn what_is_otherwise_wrong_is_found() {
    assert_eq!(planted(|evidence| evidence.books.owed_micros[1] += 10_000), (0, 0, 0, 1), "a cent too much");
    assert_eq!(planted(|evidence| evidence.books.commissions[0].booked_micros = 0), (0, 0, 0, 1), "not booked");
    assert_eq!(planted(|evidence| evidence.books.conversions[0].status = "hold".to_owned()), (0, 0, 0, 1), "a status");
    assert_eq!(planted(|evidence| evidence.books.findings.push("x".to_owned())), (0, 0, 0, 1), "ledger verify");
    assert_eq!(planted(|evidence| evidence.acks[0].verdict = "duplicate".to_owned()), (0, 0, 0, 1), "a verdict");
    let other_id = |evidence: &mut Evidence| evidence.acks[0].conversion_id = Some("cv_other".to_owned());
    assert_eq!(planted(other_id), (0, 0, 0, 1), "a conversion's id");
}

#[test]
fn what_a_crash_allows_is_counted() {
    let resend = |evidence: &mut Evidence| evidence.arrivals.push(evidence.arrivals[0].clone());
    assert_eq!(planted(resend), (0, 0, 0, 1), "not without a crash");
    let after_crash = |evidence: &mut Evidence| {
        evidence.runs = 2;
        evidence.acks[0].run = 2;
        evidence.acks[0].verdict = "duplicate".to_owned();
        evidence.arrivals.push(evidence.arrivals[0].clone());
    };
    assert_eq!(planted(after_crash), (0, 0, 0, 0));
    let mut evidence = faultless(60);
    after_crash(&mut evidence);
    assert_eq!(judge(&evidence).resent, 1);
}
