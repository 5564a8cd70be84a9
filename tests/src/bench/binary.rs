//! How large the binary is, and how fast it starts.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use super::{fleet, spread::Spread};

/// How often each command is started.
const STARTS: usize = 60;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Its size, in bytes.
    pub bytes: u64,
    /// `haldane version`, in milliseconds.
    pub version: Spread,
    /// `haldane validate` on one rollout, in milliseconds.
    pub validate: Spread,
}

/// Measures a release binary.
///
/// # Panics
/// Where it cannot be run.
#[must_use]
pub fn measure(haldane: &Path) -> Binary {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rollout.yaml");
    fs::write(&file, fleet::document("app", fleet::Kind::Baking, 60))
        .expect("a file in the folder");
    let file = file.display().to_string();
    Binary {
        bytes: fs::metadata(haldane).map_or(0, |meta| meta.len()),
        version: starts(haldane, &["version"]),
        validate: starts(haldane, &["validate", &file]),
    }
}

fn starts(program: &Path, arguments: &[&str]) -> Spread {
    Spread::millis((0..STARTS).map(|_| {
        let begin = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("{} must be built: {error}", program.display()));
        assert!(status.success(), "{} {arguments:?}: {status}", program.display());
        begin.elapsed()
    }))
}
