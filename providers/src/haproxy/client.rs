//! The admin socket: one connection, some commands, their answers.
//!
//! It speaks in prompt mode, and sends the commands only once the process has answered the prompt:
//! a process that hangs is told nothing that it could carry out hours later. Every call has a
//! deadline and every answer a cap. It never retries.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// The longest answer to one call: a map that is shared by many thousand keys still fits.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// What HAProxy takes as one line; its own limit is a buffer of 16 KiB.
const LINE_BYTES_MAX: usize = 8 << 10;
const PROMPT: &[u8] = b"\n> ";
/// What is wrong with a socket that lets us look but not write.
pub(super) const LEVEL: &str =
    "the socket is not of level admin; write `level admin` on its `stats socket` line";

/// Where the admin socket of a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// Why a process gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing listens there.
    Absent,
    /// The system does not let us.
    Denied,
    /// It did not answer in time.
    Hung(Duration),
    /// It accepts no connection: as many as fit are waiting.
    Full,
    /// It answered more than can be meant.
    Flood,
    /// The connection broke.
    Broken(String),
    /// It answered, and refused; a person is needed.
    Refused(String),
}

/// Sends commands to one process and returns one answer for each, without the blank line at its end.
pub(super) async fn ask(
    address: &Address,
    commands: &[String],
    deadline: Duration,
) -> Result<Vec<String>, Fault> {
    match timeout(deadline, connect_and_ask(address, commands)).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Hung(deadline)),
    }
}

async fn connect_and_ask(address: &Address, commands: &[String]) -> Result<Vec<String>, Fault> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| connecting(&error))?;
            converse(stream, commands).await
        }
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(|error| connecting(&error))?;
            converse(stream, commands).await
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    commands: &[String],
) -> Result<Vec<String>, Fault> {
    send(&mut stream, "prompt\n").await?;
    let greeting = receive(&mut stream, 1).await?;
    if greeting != [""] {
        return Err(Fault::Broken(format!("it greeted with {:?}", short(&greeting.concat()))));
    }
    let mut answers = Vec::with_capacity(commands.len());
    for line in lines(commands) {
        send(&mut stream, &format!("{}\n", line.join(";"))).await?;
        answers.extend(receive(&mut stream, line.len()).await?);
    }
    Ok(answers)
}

/// Packs as many commands into a line as fit, in their order.
fn lines(commands: &[String]) -> Vec<&[String]> {
    let mut lines = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, command) in commands.iter().enumerate() {
        if bytes + command.len() > LINE_BYTES_MAX && at > begin {
            lines.push(&commands[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += command.len() + 1;
    }
    if begin < commands.len() {
        lines.push(&commands[begin..]);
    }
    lines
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> Result<(), Fault> {
    stream.write_all(text.as_bytes()).await.map_err(|error| Fault::Broken(error.to_string()))
}

/// Reads until `count` prompts came.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    count: usize,
) -> Result<Vec<String>, Fault> {
    let mut bytes = Vec::with_capacity(8 << 10);
    loop {
        let read = stream.read_buf(&mut bytes).await;
        if read.map_err(|error| Fault::Broken(error.to_string()))? == 0 {
            return Err(Fault::Broken("it closed the connection".into()));
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Fault::Flood);
        }
        if bytes.ends_with(PROMPT) {
            let text = String::from_utf8_lossy(&bytes);
            let answers: Vec<&str> = text.split("\n> ").collect();
            if answers.len() == count + 1 {
                return Ok(answers[..count].iter().map(|answer| (*answer).to_owned()).collect());
            }
        }
    }
}

fn connecting(error: &io::Error) -> Fault {
    let kind = error.kind();
    if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&kind) {
        Fault::Absent
    } else if kind == io::ErrorKind::PermissionDenied {
        Fault::Denied
    } else if kind == io::ErrorKind::WouldBlock {
        Fault::Full
    } else {
        Fault::Broken(error.to_string())
    }
}

/// Returns the beginning of an answer, on one line, for a message.
fn short(answer: &str) -> String {
    answer.trim().chars().take(160).collect::<String>().replace('\n', " ")
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

// === impl Fault ===

impl Fault {
    /// What an answer means that should have been empty.
    pub(super) fn refusal(told: &str) -> Self {
        Self::Refused(if told.starts_with("Permission denied") {
            LEVEL.into()
        } else {
            format!("it answered {:?}", short(told))
        })
    }

    /// Whether asking again is useless until a person did something.
    pub(super) fn needs_person(&self) -> bool {
        match self {
            Self::Denied | Self::Flood | Self::Refused(_) => true,
            Self::Absent | Self::Hung(_) | Self::Full | Self::Broken(_) => false,
        }
    }

    /// Says what is wrong with the process at `address`, and what to do.
    pub(super) fn why(&self, address: &Address) -> String {
        match self {
            Self::Absent => format!(
                "nothing listens there; is haproxy running, and has its global section \
                 `stats socket {address} level admin`?"
            ),
            Self::Denied => "permission denied; add the engine's user to the group of the socket \
                             (`usermod -aG haproxy USER`) and restart the engine"
                .into(),
            Self::Hung(after) => format!("no answer within {after:?}; the process hangs"),
            Self::Full => "it accepts no more connections; the process hangs".into(),
            Self::Flood => format!(
                "the answer is longer than {} MiB; give the rollouts a map of their own",
                ANSWER_BYTES_MAX >> 20
            ),
            Self::Broken(why) | Self::Refused(why) => why.clone(),
        }
    }
}
