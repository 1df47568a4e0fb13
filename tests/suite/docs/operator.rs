//! `docs/integrate-operator.md`: its blocks are run as pasted after the README's tour, its tables held to the code.

use std::fmt::Write as _;

use postback::domain::verdict::{Code, ParkReason};
use postback::intake::mapping::Role;

use super::text;
use crate::support::tour::{Tour, blocks};

const PAGE: &str = "docs/integrate-operator.md";

#[test]
fn the_blocks_work_as_pasted() {
    let tour = Tour::start();
    let script = tour.script(&format!("echo; echo OPERATOR\n{}", blocks(PAGE, "sh operator")));
    let said = tour.paste(&script);
    let said = said.rsplit_once("\nOPERATOR\n").unwrap().1;
    // Two plain ones, four signed ones, one that is changed later, one that is refunded, one of a customer, one test.
    assert_eq!(
        said.matches("\"verdict\":\"accepted\"").count() + said.matches("\"verdict\": \"accepted\"").count(),
        10,
        "{said}"
    );
    assert_eq!(said.matches("\"verdict\":\"updated\"").count(), 4, "{said}");
    assert_eq!(said.matches("\"verdict\":\"duplicate\"").count(), 1, "{said}");
    // The answer itself, and the receipt of it.
    assert_eq!(said.matches("\"code\":\"bad_amount\"").count(), 2, "{said}");
    assert_eq!(said.matches("\"status\":4").count(), 1, "nothing else was refused: {said}");
}

#[test]
fn every_code_is_told_with_its_status_and_what_to_do() {
    let mut table = "| code | HTTP | what to do |\n| --- | --- | --- |\n".to_owned();
    for code in Code::ALL {
        writeln!(table, "| `{code}` | {} | {} |", code.http_status(), code.sentence()).unwrap();
    }
    assert!(text(PAGE).contains(&format!("\n\n{table}\n")), "{PAGE} must hold this table:\n\n{table}");
}

#[test]
fn every_field_and_every_reason_to_wait_is_told() {
    let page = text(PAGE);
    let fields: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    for role in Role::ALL {
        assert!(fields.contains(&format!("`{}`", role.as_str())), "{PAGE} does not tell of {}", role.as_str());
    }
    for reason in [ParkReason::UnknownClick, ParkReason::UnknownCustomer, ParkReason::OriginalMissing] {
        assert!(page.contains(&format!("`{}`", reason.as_str())), "{PAGE} does not tell of {}", reason.as_str());
    }
}

#[test]
fn the_page_shows_the_examples_as_they_are() {
    let page = text(PAGE);
    for (language, file) in [("python", "fire.py"), ("php", "fire.php")] {
        let shown = format!("```{language}\n{}```", text(&format!("docs/examples/{file}")));
        assert!(page.contains(&shown), "{PAGE} does not show docs/examples/{file} as it is");
    }
}
