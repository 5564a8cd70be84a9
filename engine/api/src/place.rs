//! Where the API listens, and how a socket comes to be there.
//!
//! A unix socket is made in a private folder and moved into place, so that it is never open to
//! others, not even for an instant. A file that something answers on, or that is no socket, is
//! never removed.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::access::{self, TokenFile};

/// The longest path that a unix socket can have.
const SOCKET_PATH_MAX: usize = 107;

/// How long whoever holds a socket may take to accept.
const PROBE: Duration = Duration::from_secs(1);

/// Where the API listens.
#[derive(Clone, Debug)]
pub enum Listener {
    /// On a unix socket that only its owner can use; the peer's user is who asks.
    Unix(PathBuf),
    /// On TCP, for those who know the token.
    Tcp {
        /// Where.
        addr: SocketAddr,
        /// The file that holds the token; read at each call.
        token_file: PathBuf,
        /// Whether an address that is not loopback is meant.
        anywhere: bool,
    },
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another engine serves there.
    #[error("another engine answers on {}", .0.display())]
    Taken(PathBuf),
    /// Something that is no socket stands there.
    #[error("{} is no socket; it is left as it is", .0.display())]
    NoSocket(PathBuf),
    /// The system cannot name a socket there.
    #[error("the path {} is longer than the {SOCKET_PATH_MAX} bytes that a socket can have", .0.display())]
    TooLong(PathBuf),
    /// The address is open to others, and nobody said that this is meant.
    #[error("{0} is not a loopback address, and the API speaks plain HTTP")]
    NotLoopback(SocketAddr),
    /// The token cannot be used.
    #[error("token file {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The socket cannot be opened.
    #[error("cannot listen on {place}: {error}")]
    Listen {
        /// Where.
        place: String,
        /// Why.
        error: io::Error,
    },
}

/// A listener that is open.
#[derive(Debug)]
pub(crate) enum Open {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener, TokenFile),
}

/// The file of a unix socket of ours; removed with it, unless another took its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

// === impl Error ===

impl Error {
    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Taken(_) => "stop that engine, or give this one a state of its own".to_owned(),
            Self::NoSocket(path) => format!("move {} away", path.display()),
            Self::TooLong(_) => "choose a shorter path for the state".to_owned(),
            Self::NotLoopback(_) => {
                "listen on 127.0.0.1 behind a proxy with TLS, or say that it is meant".to_owned()
            }
            Self::Token { path, .. } => {
                format!("write one: openssl rand -hex 32 > {}", path.display())
            }
            Self::Listen { .. } => "choose a place that this user may listen on".to_owned(),
        }
    }
}

// === impl Open ===

impl Open {
    /// Opens a listener.
    pub(crate) async fn new(listener: Listener) -> Result<Self, Error> {
        match listener {
            Listener::Unix(path) => Self::unix(path).await,
            Listener::Tcp { addr, token_file, anywhere } => {
                if !addr.ip().is_loopback() && !anywhere {
                    return Err(Error::NotLoopback(addr));
                }
                let token = TokenFile::new(token_file.clone());
                if let Err(why) = access::read_token(&token_file).await {
                    return Err(Error::Token { path: token_file, why });
                }
                let failed = |error| Error::Listen { place: addr.to_string(), error };
                Ok(Self::Tcp(TcpListener::bind(addr).await.map_err(failed)?, token))
            }
        }
    }

    async fn unix(path: PathBuf) -> Result<Self, Error> {
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
            return Err(Error::TooLong(path));
        }
        clear(&path).await?;
        let failed = |error| Error::Listen { place: path.display().to_string(), error };
        let listener = bind_private(&path).map_err(failed)?;
        let inode = fs::symlink_metadata(&path).map_err(failed)?.ino();
        Ok(Self::Unix(listener, SocketFile { path, inode }))
    }
}

/// Makes sure that nobody serves at this path, and that what stands there may be replaced.
async fn clear(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::Listen { place: path.display().to_string(), error };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(Error::NoSocket(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match tokio::time::timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Err(failed(error)),
        // A full queue, or any other answer, is somebody.
        Ok(Ok(_) | Err(_)) | Err(_) => Err(Error::Taken(path.to_owned())),
    }
}

/// Binds in a folder that only we can enter, then moves the socket to where others look for it.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let folder = parent.join(format!(".h{}", std::process::id()));
    let inner = folder.join("s");
    // What a crash left of one with our id, which in a container is always the same.
    let _ = fs::remove_file(&inner);
    let _ = fs::remove_dir(&folder);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let bound = UnixListener::bind(&inner).and_then(|listener| {
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inner, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&inner);
    let _ = fs::remove_dir(&folder);
    bound
}

// === impl SocketFile ===

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
