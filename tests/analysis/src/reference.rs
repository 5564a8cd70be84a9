//! Reference values that were computed independently: inputs, what must come out, and how near.
//!
//! The committed copy is read, or the file that `HALDANE_VECTORS` names.

use std::{env, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What is computed.
    pub kind: String,
    /// From what.
    pub input: Value,
    /// What must come out.
    pub expect: Value,
    /// How far a number may lie from the expected one: relative above 1, absolute below.
    pub tol: f64,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// Reads every case.
///
/// # Panics
/// Where the file cannot be read.
#[must_use]
pub fn all() -> Vec<Case> {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/analysis_vectors.json");
    let path = env::var_os("HALDANE_VECTORS").map_or_else(|| committed.into(), PathBuf::from);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File = serde_json::from_str(&text).expect("the reference values are JSON");
    file.cases
}

/// Reads the cases of one kind.
///
/// # Panics
/// Where there is none: a test of nothing must not pass.
#[must_use]
pub fn cases(kind: &str) -> Vec<Case> {
    let cases: Vec<Case> = all().into_iter().filter(|case| case.kind == kind).collect();
    assert!(!cases.is_empty(), "there is no case of the kind {kind}");
    cases
}

impl Case {
    /// Fails where a number lies further from the expected one than the case allows.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn near(&self, what: &str, got: f64, expected: f64) {
        let both_infinite = got == expected;
        let room = self.tol * expected.abs().max(1.0) + f64::EPSILON * expected.abs();
        assert!(
            both_infinite || (got - expected).abs() <= room,
            "{}: {what} is {got}, expected {expected} within {}",
            self.id,
            self.tol
        );
    }
}
