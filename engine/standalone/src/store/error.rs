//! What can go wrong with a state directory, and what a person can do about it.

use std::{io, path::Path, path::PathBuf};

use rusqlite::ErrorCode;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another engine has it.
    #[error(
        "{dir} is in use by {holder}: stop that engine, or choose another directory with haldane --state DIR"
    )]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// `process 4711`, or what is known of it.
        holder: String,
    },
    /// The directory or a file in it cannot be made or opened.
    #[error(
        "cannot open {path}: {source}; make it writable, or choose another directory with haldane --state DIR"
    )]
    Unusable {
        /// What was opened.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no intact database; it is left as it is.
    #[error(
        "{path} is corrupt ({message}): move {path} away; the split in the data plane is read back at the next start"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// The file was written by a newer engine.
    #[error(
        "{path} has layout {found}, this engine knows {known}: start the newer engine again, or choose another directory with haldane --state DIR"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database answers with an error that may pass.
    #[error("cannot open the database: {0}")]
    Failed(#[from] StoreError),
}

/// A call that failed: what was done, why not, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// The whole sentence.
    pub message: String,
}

// === impl StoreError ===

impl StoreError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// Says what to do about an error of SQLite.
    pub(super) fn of(doing: &str, dir: &Path, error: &rusqlite::Error) -> Self {
        let (dir, file) = (dir.display(), dir.join(super::database::FILE));
        let file = file.display();
        let remedy = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => format!("free space in {dir}"),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                format!("make {dir} writable, or choose another directory with haldane --state DIR")
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
                "move {file} away; the split in the data plane is read back at the next start"
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("another program has {file} open: close it")
            }
            Some(ErrorCode::SystemIoFailure) => format!("check the disk under {dir}"),
            _ => format!("check {dir}; it is tried again"),
        };
        Self::new(format!("cannot {doing}: {error}; {remedy}"))
    }
}

/// Tells corruption from errors that may pass.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
