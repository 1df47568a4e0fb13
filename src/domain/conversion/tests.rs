use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn said(fields: Value) -> Postback {
    serde_json::from_value(fields).unwrap()
}

/// A conversion as `fields` made it: approved unless they say otherwise.
fn made_of(fields: Value) -> Conversion {
    let now = Timestamp::from_seconds(1_767_225_600).unwrap();
    let content = said(fields);
    let mut seen = Seen::default();
    seen.insert(content.sent_hash());
    Conversion {
        id: ConversionId::new(now),
        operator_id: OperatorId::new(now),
        source_id: SourceId::new(now),
        program_id: ProgramId::new(now),
        goal_id: GoalId::new(now),
        affiliate_id: AffiliateId::new(now),
        receipt_id: ReceiptId::new(now),
        status: content.status.unwrap_or(ConversionStatus::Approved),
        currency: content.currency.unwrap_or("EUR".parse().unwrap()),
        occurred_at: content.occurred_at.unwrap_or(now),
        received_at: now,
        updated_at: now,
        revision: 1,
        test: false,
        content,
        refunds: Vec::new(),
        click_subs: BTreeMap::new(),
        hold_until: None,
        booked_period: None,
        changed_by: ChangedBy::Sender,
        seen,
        no_commission: None,
        recurrence: None,
    }
}

fn sale() -> Value {
    json!({ "click_id": "c1", "event_id": "e1", "goal": "sale", "amount": "10" })
}

fn with(mut base: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    base.as_object_mut().unwrap().extend(more);
    base
}

fn event(conversion: &Conversion, fields: Value) -> Change {
    judge(conversion, "sale", &said(fields), NamedBy::Event)
}

fn is_duplicate(change: &Change) -> bool {
    matches!(change, Change::None { .. })
}

/// DOMAIN 2.4, as a table: a row is where it stands, a column what is sent. A dash is an illegal transition. Two
/// readings: `rejected` for what is approved takes it back, `reversed` for what is not approved yet refuses it.
const TRANSITIONS: &str = "
              pending   approved  hold  rejected  reversed
    pending   pending   approved  hold  rejected  rejected
    approved  -         approved  -     reversed  reversed
    hold      -         approved  hold  rejected  rejected
    rejected  -         -         -     -         -
    reversed  -         -         -     -         -
";

#[test]
fn transitions_are_those_of_the_table() {
    let mut lines = TRANSITIONS.lines().filter(|line| !line.trim().is_empty()).map(|line| line.split_whitespace());
    let columns: Vec<_> = lines.next().unwrap().map(|name| ConversionStatus::from_name(name).unwrap()).collect();
    assert_eq!(columns.len(), ConversionStatus::ALL.len());
    let mut rows = 0;
    for mut line in lines {
        let current = ConversionStatus::from_name(line.next().unwrap()).unwrap();
        for (sent, expected) in columns.iter().zip(line) {
            assert_eq!(after(current, Some(*sent)), ConversionStatus::from_name(expected), "{current} → {sent}");
        }
        let over = matches!(current, ConversionStatus::Rejected | ConversionStatus::Reversed);
        assert_eq!(after(current, None), (!over).then_some(current), "nothing sent, nothing changed");
        rows += 1;
    }
    assert_eq!(rows, ConversionStatus::ALL.len());
}

#[test]
fn the_same_again_is_a_duplicate() {
    let conversion = made_of(sale());
    assert!(is_duplicate(&event(&conversion, sale())));
    assert!(is_duplicate(&event(&conversion, json!({ "event_id": "e1" }))), "what is omitted is unchanged");
    assert!(is_duplicate(&event(&conversion, json!({ "event_id": "e1", "amount": "10.00" }))));
}

#[test]
fn what_was_defaulted_makes_no_difference_when_it_is_said() {
    let conversion = made_of(sale());
    for (field, value) in [
        ("status", json!("approved")),
        ("currency", json!("EUR")),
        ("occurred_at", json!(conversion.occurred_at)),
        ("goal", json!("sale")),
    ] {
        let fields = with(sale(), json!({ field: value }));
        assert!(is_duplicate(&event(&conversion, fields)), "{field}");
    }
}

#[test]
fn a_changed_amount_is_a_revision_of_all_fields() {
    let conversion = made_of(sale());
    let Change::Revision { content, status, .. } = event(&conversion, json!({ "event_id": "e1", "amount": "7" }))
    else {
        panic!("a revision");
    };
    assert_eq!(*content, said(with(sale(), json!({ "amount": "7" }))));
    assert_eq!(status, ConversionStatus::Approved);
}

#[test]
fn a_delayed_retry_never_undoes_a_later_one() {
    let mut conversion = made_of(sale());
    let later = said(with(sale(), json!({ "amount": "7" })));
    conversion.seen.insert(later.sent_hash());
    conversion.content = later;
    assert!(is_duplicate(&event(&conversion, sale())));
}

#[test]
fn the_senders_own_count_decides_what_is_older() {
    let conversion = made_of(with(sale(), json!({ "version": 2, "updated_at": "2026-01-02T00:00:00Z" })));
    let sent = |more: Value| event(&conversion, with(sale(), more));
    assert!(is_duplicate(&sent(json!({ "version": 1, "amount": "7", "updated_at": "2026-01-03T00:00:00Z" }))));
    assert!(is_duplicate(&sent(json!({ "amount": "7", "updated_at": "2026-01-01T00:00:00Z" }))));
    assert!(matches!(sent(json!({ "version": 3, "amount": "7" })), Change::Revision { .. }));
    assert!(matches!(sent(json!({ "amount": "7", "updated_at": "2026-01-03T00:00:00Z" })), Change::Revision { .. }));
    let reused = sent(json!({ "version": 2, "amount": "7" }));
    assert_eq!(reused, Change::Refused(Code::ConflictingRevision.into()), "one version cannot say two things");
}

#[test]
fn another_click_goal_or_currency_is_refused() {
    let conversion = made_of(sale());
    for other in [json!({ "click_id": "c2" }), json!({ "goal": "lead" }), json!({ "currency": "USD" })] {
        let change = event(&conversion, with(sale(), other.clone()));
        assert_eq!(change, Change::Refused(Code::ConflictingRevision.into()), "{other}");
    }
}

#[test]
fn what_is_over_stays_over() {
    for end in ["rejected", "reversed"] {
        let conversion = made_of(with(sale(), json!({ "status": end })));
        let approve = event(&conversion, with(sale(), json!({ "status": "approved" })));
        assert_eq!(approve, Change::Refused(Code::IllegalTransition.into()));
        for word in ["rejected", "reversed"] {
            let again = event(&conversion, json!({ "event_id": "e1", "status": word }));
            assert!(is_duplicate(&again), "{end} and {word} say the same");
        }
    }
}

#[test]
fn under_another_event_id_only_an_end_is_meant_for_the_conversion() {
    let conversion = made_of(sale());
    let other = |fields: Value| judge(&conversion, "sale", &said(fields), NamedBy::Once);
    let more = json!({ "event_id": "e2", "click_id": "c1", "goal": "sale", "amount": "99" });
    assert!(is_duplicate(&other(more.clone())));
    for word in ["rejected", "reversed"] {
        let Change::Revision { content, status, .. } =
            other(with(more.clone(), json!({ "status": word, "reason": "fraud" })))
        else {
            panic!("a revision");
        };
        assert_eq!(status, ConversionStatus::Reversed);
        let expected = made_of(with(sale(), json!({ "status": word, "reason": "fraud" }))).content;
        assert_eq!(*content, expected, "the conversion keeps its event id and its amount");
    }
}

#[test]
fn seen_hashes_survive_storage() {
    let mut seen = Seen::default();
    assert!(seen.insert(said(sale()).sent_hash()));
    assert!(!seen.insert(said(sale()).sent_hash()));
    assert!(seen.insert(said(json!({})).sent_hash()));
    assert_eq!(Seen::from_bytes(&seen.to_bytes()), Some(seen));
    assert_eq!(Seen::from_bytes(&[0; 17]), None);
}

proptest! {
    #[test]
    fn what_was_judged_once_is_a_duplicate_ever_after(
        amounts in proptest::collection::vec(0..5_u32, 1..8), again in any::<prop::sample::Index>(),
    ) {
        let mut conversion = made_of(sale());
        let sent: Vec<Value> = amounts.iter().map(|amount| with(sale(), json!({ "amount": amount.to_string() }))).collect();
        for fields in &sent {
            match event(&conversion, fields.clone()) {
                Change::Revision { content, status, remember, .. } => {
                    remember.into_iter().for_each(|hash| { conversion.seen.insert(hash); });
                    (conversion.content, conversion.status) = (*content, status);
                }
                Change::None { remember } => remember.into_iter().for_each(|hash| { conversion.seen.insert(hash); }),
                Change::Refused(rejection) => prop_assert!(false, "refused: {rejection}"),
            }
        }
        prop_assert!(is_duplicate(&event(&conversion, again.get(&sent).clone())));
    }
}
