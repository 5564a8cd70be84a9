//! Secrets: where one is found, and one that was read.
//!
//! The place is written down and may be shown; the content is read at each use, so that a rotated
//! secret is taken up without a restart, and never appears in `Debug`, errors or logs.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::OutsideError;

/// How large a secret may be: a chain of certificates fits.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Where a secret is found. It is read at each use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Secret {
    /// A file; white space around its content is removed.
    File(PathBuf),
    /// A variable of the engine's environment.
    Env(String),
    /// A key of a Secret in the rollout's namespace; in Kubernetes only.
    SecretKeyRef(SecretKeyRef),
}

/// A key of a Secret in the rollout's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// A secret that was read. `Debug` shows that there is one, never which.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

// === impl Secret ===

impl Secret {
    /// Reads the secret.
    ///
    /// # Errors
    /// Where it is absent or empty, naming the file or the variable and what to do.
    pub fn read(&self) -> Result<SecretText, OutsideError> {
        let text = match self {
            Self::File(path) => text_of(path)?,
            Self::Env(name) => env::var(name).map_err(|_absent| {
                let message = format!("the environment variable {name} is not set, or is not text");
                OutsideError::new(message, "set it for the engine, or name a file with `file`")
            })?,
            Self::SecretKeyRef(SecretKeyRef { name, key }) => {
                let message = format!("the Secret {name} (key {key}) cannot be read here");
                return Err(OutsideError::new(
                    message,
                    "secretKeyRef works in Kubernetes only: use `file` or `env`",
                ));
            }
        };
        self.text(&text)
    }

    /// Takes what was read there.
    pub(crate) fn text(&self, read: &str) -> Result<SecretText, OutsideError> {
        let text = read.trim();
        if text.is_empty() {
            let message = format!("{self} is empty");
            return Err(OutsideError::new(message, "write the secret into it"));
        }
        Ok(SecretText(text.to_owned()))
    }
}

/// The place, for people.
impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "the file {}", path.display()),
            Self::Env(name) => write!(out, "the environment variable {name}"),
            Self::SecretKeyRef(SecretKeyRef { name, key }) => {
                write!(out, "the Secret {name} (key {key})")
            }
        }
    }
}

// === impl SecretText ===

impl SecretText {
    /// Returns the secret, to be sent and not to be kept.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText(redacted)")
    }
}

fn text_of(path: &Path) -> Result<String, OutsideError> {
    String::from_utf8(contents(path)?).map_err(|_content| {
        let message = format!("the file {} is not text", path.display());
        OutsideError::new(message, "write the secret into it as UTF-8")
    })
}

/// Reads a small file; the error names it.
pub(crate) fn contents(path: &Path) -> Result<Vec<u8>, OutsideError> {
    let unreadable = |error: io::Error| {
        let message = format!("the file {} cannot be read: {error}", path.display());
        OutsideError::new(message, "mount it, or correct the path")
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut read = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut read).map_err(unreadable)?;
    if read.len() as u64 > SECRET_BYTES_MAX {
        let message = format!("the file {} is larger than 1 MiB", path.display());
        return Err(OutsideError::new(message, "name a file that holds the secret alone"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_file_is_read_anew_at_each_use_and_trimmed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let secret = Secret::File(path.clone());
        assert_eq!(secret.read().unwrap().reveal(), "first");
        fs::write(&path, "second\n").unwrap();
        assert_eq!(secret.read().unwrap().reveal(), "second");
    }

    #[test]
    fn an_absent_secret_is_refused_with_its_place_and_the_remedy() {
        #[track_caller]
        fn check(secret: &Secret, place: &str, remedy: &str) {
            let error = secret.read().unwrap_err();
            assert!(error.message.contains(place), "{error:?}");
            assert!(error.help.unwrap().contains(remedy), "{error:?}");
        }
        check(&Secret::File("/nowhere/token".into()), "/nowhere/token", "mount it");
        check(
            &Secret::Env("HALDANE_NO_SUCH_VARIABLE".into()),
            "HALDANE_NO_SUCH_VARIABLE",
            "set it",
        );
        let key = SecretKeyRef { name: "prom".into(), key: "token".into() };
        check(&Secret::SecretKeyRef(key), "prom (key token)", "use `file` or `env`");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, " \n").unwrap();
        assert!(Secret::File(path).read().unwrap_err().message.ends_with("is empty"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = SecretText("hunter2".into());
        assert_eq!(format!("{text:?}"), "SecretText(redacted)");
    }

    #[test]
    fn a_place_is_one_of_three() {
        let read = |json: &str| serde_json::from_str::<Secret>(json);
        assert_eq!(read(r#"{"env": "TOKEN"}"#).unwrap(), Secret::Env("TOKEN".into()));
        assert!(read(r#"{"secretKeyRef": {"name": "prom", "key": "token"}}"#).is_ok());
        assert!(read(r#"{"value": "hunter2"}"#).is_err());
        assert!(read(r#"{"file": "/a", "env": "B"}"#).is_err());
    }
}
