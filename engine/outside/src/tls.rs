//! TLS settings, as they are written in files and in resources.
//!
//! Certificates are verified unless `insecureSkipVerify` says otherwise by name.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OutsideError, secret::contents};

/// How a server is trusted, and how we show who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// The certificates (PEM) that may sign the server's; instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Our certificate (PEM), with its chain; needs `keyFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The key (PEM) of `certFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Trusts any certificate. Whoever stands between can then forge every answer.
    pub insecure_skip_verify: bool,
}

/// What the files held when they were read: equal material can share connections.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsMaterial {
    roots: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
    insecure: bool,
}

// === impl Tls ===

impl Tls {
    /// Reads the files. They are read at each use, so that rotated certificates are taken up.
    pub(crate) fn read(&self) -> Result<TlsMaterial, OutsideError> {
        let roots = self.ca_file.as_deref().map(pem).transpose()?;
        let identity = match (self.cert_file.as_deref(), self.key_file.as_deref()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let mut both = pem(key)?;
                both.push(b'\n');
                both.extend(pem(certificate)?);
                Some(both)
            }
            (Some(_), None) => return Err(half("certFile", "keyFile")),
            (None, Some(_)) => return Err(half("keyFile", "certFile")),
        };
        Ok(TlsMaterial { roots, identity, insecure: self.insecure_skip_verify })
    }

    /// Names the files for an error about their content.
    pub(crate) fn files(&self) -> String {
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        let named: Vec<_> =
            files.into_iter().flatten().map(|file| file.display().to_string()).collect();
        if named.is_empty() { "the system's certificates".to_owned() } else { named.join(", ") }
    }
}

// === impl TlsMaterial ===

impl TlsMaterial {
    /// Applies it to a client in the making.
    pub(crate) fn apply(
        &self,
        mut builder: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        if let Some(roots) = &self.roots {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(roots)?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(Identity::from_pem(identity)?);
        }
        Ok(builder.tls_danger_accept_invalid_certs(self.insecure))
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, OutsideError> {
    let read = contents(path)?;
    if !read.windows(10).any(|window| window == b"-----BEGIN") {
        let message = format!("the file {} holds no PEM block", path.display());
        return Err(OutsideError::new(message, "convert it to PEM (`-----BEGIN …`)"));
    }
    Ok(read)
}

fn half(given: &str, missing: &str) -> OutsideError {
    let message = format!("{given} is set and {missing} is not");
    OutsideError::new(message, "a client certificate needs both certFile and keyFile")
}
