//! The README's tour, as pasted: the blocks marked `sh tour` are run in one shell against a service of their own.
//! Only the program's path and the two ports differ from what a reader pastes.

use crate::support::tour::Tour;

#[test]
fn the_tour_of_the_readme_works_as_pasted() {
    let tour = Tour::start();
    let said = tour.paste(&tour.script(""));
    assert_eq!(said.matches("\"verdict\":\"accepted\"").count(), 2, "{said}");
    assert_eq!(said.matches("\"type\":\"payout.").count(), 4, "{said}");
    for expected in [
        "\"amount\":\"10.00\"",
        "\"verdict\":\"duplicate\"",
        "commission.approved",
        "\"amount\":\"5.00\"",
        "/track?banner=banner-7&payout=5.00&cur=EUR",
        "signature_invalid",
    ] {
        assert!(said.contains(expected), "no {expected} in: {said}");
    }
}
