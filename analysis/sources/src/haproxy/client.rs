//! The admin socket, for reading: one connection, one line, its answer up to the end.
//!
//! The caller sets the deadline; an answer has a cap. What is sent changes nothing, so that a
//! process that reads it late does no harm.

use std::{collections::BTreeSet, fmt, io, net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::sampled::Fault;

/// The longest answer: a backend with hundreds of servers has less.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where the admin socket of a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// Asks who the process is, and what these commands show.
pub(super) async fn ask(address: &Address, commands: &BTreeSet<String>) -> Result<String, Fault> {
    let shown: String = commands.iter().map(|command| format!(";{command}")).collect();
    let line = format!("show info{shown}\n");
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| absent(&error))?;
            exchange(stream, &line).await
        }
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(|error| absent(&error))?;
            exchange(stream, &line).await
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
) -> Result<String, Fault> {
    let broken = |error: io::Error| Fault::passing(format!("the socket broke: {error}"));
    stream.write_all(line.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let most = ANSWER_BYTES_MAX as u64 + 1;
    stream.take(most).read_to_end(&mut answer).await.map_err(broken)?;
    if answer.len() > ANSWER_BYTES_MAX {
        let message = format!("it answered more than {ANSWER_BYTES_MAX} bytes");
        return Err(Fault::person(message));
    }
    String::from_utf8(answer).map_err(|_odd| Fault::person("its answer is no text"))
}

fn absent(error: &io::Error) -> Fault {
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        let remedy = "permission denied; add the engine's user to the group of the socket";
        Fault::person(remedy)
    } else if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&kind) {
        let remedy = "nothing listens there; is haproxy running, and has its global section a \
                      `stats socket` line?";
        Fault::passing(remedy)
    } else {
        Fault::passing(format!("it cannot be reached: {error}"))
    }
}

// === impl Address ===

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(out),
            Self::Tcp(address) => address.fmt(out),
        }
    }
}
