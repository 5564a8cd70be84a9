//! Who may speak to the API, and under which name.
//!
//! Over the unix socket the kernel says who the peer is. Over TCP a bearer token opens the door,
//! and a name is only what the caller claims; it is shown as such. A token is never shown.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;
use tokio::io::AsyncReadExt;

/// The longest token file that is read.
const TOKEN_MAX: u64 = 4_096;

/// The shortest token that protects anything.
const TOKEN_MIN: usize = 16;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A user of this machine.
    User(u32),
    /// Somebody who may know the token.
    Remote(TokenFile),
}

/// A file that holds a token. Read at each call, so that a new token needs no restart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenFile(PathBuf);

// === impl Peer ===

impl Peer {
    /// Returns whether this call may be answered at all.
    pub(crate) async fn may_enter(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::User(_) => true,
            Self::Remote(file) => file.opens(headers).await,
        }
    }

    /// Returns the name for the journal; `None`: none is known, and none was claimed.
    pub(crate) fn name(&self, claimed: Option<&str>) -> Option<String> {
        match self {
            Self::User(0) => Some("root".to_owned()),
            Self::User(uid) => Some(format!("uid {uid}")),
            Self::Remote(_) => claimed.map(|name| format!("claimed:{name}")),
        }
    }
}

// === impl TokenFile ===

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    async fn opens(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let Some(given) = given.and_then(|value| value.strip_prefix(b"Bearer ")) else {
            return false;
        };
        match read_token(&self.0).await {
            Ok(token) => token.as_bytes().ct_eq(given).into(),
            Err(why) => {
                tracing::warn!(file = %self.0.display(), "nobody can enter over TCP: {why}");
                false
            }
        }
    }
}

/// Reads a token; what surrounds it is not part of it.
pub(crate) async fn read_token(path: &Path) -> Result<String, String> {
    let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(TOKEN_MAX + 1).read_to_string(&mut text).await;
    read.map_err(|error| error.to_string())?;
    let token = text.trim();
    if text.len() as u64 > TOKEN_MAX {
        return Err(format!("it is longer than {TOKEN_MAX} bytes"));
    }
    if token.len() < TOKEN_MIN {
        return Err(format!("it holds fewer than {TOKEN_MIN} characters"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds characters that a header cannot carry".to_owned());
    }
    Ok(token.to_owned())
}

/// The path, never the token.
impl fmt::Debug for TokenFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TokenFile({})", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_who_a_local_peer_is_whatever_it_claims() {
        assert_eq!(Peer::User(0).name(Some("eve")).unwrap(), "root");
        assert_eq!(Peer::User(1_000).name(Some("eve")).unwrap(), "uid 1000");
    }

    #[test]
    fn a_name_over_tcp_is_shown_as_a_claim() {
        let remote = Peer::Remote(TokenFile::new("/nowhere".into()));
        assert_eq!(remote.name(Some("eve")).unwrap(), "claimed:eve");
        assert_eq!(remote.name(None), None);
    }
}
