//! The judge and the counters against reference values that were computed independently.
//!
//! Every kind of case in the file has its test here; a kind that none knows fails.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use haldane_analysis_tests::reference;

#[path = "vectors/betting.rs"]
mod betting;
#[path = "vectors/ranks.rs"]
mod ranks;

/// The kinds that a test below covers.
const COVERED: &[&[&str]] = &[betting::COVERED, ranks::COVERED];

#[test]
fn every_kind_of_case_has_its_test() {
    let missing: Vec<String> = reference::all()
        .into_iter()
        .map(|case| case.kind)
        .filter(|kind| !COVERED.iter().any(|kinds| kinds.contains(&kind.as_str())))
        .collect();
    assert!(missing.is_empty(), "no test covers {missing:?}");
}
