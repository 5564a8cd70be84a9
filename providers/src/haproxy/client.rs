//! The admin socket: one connection, some commands, their answers.
//!
//! It speaks in prompt mode, and sends the commands only once the process has answered the prompt:
//! a process that hangs is told nothing that it could carry out hours later. Every call has a
//! deadline and every answer a cap. It never retries.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use haldane_model::Mark;
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
    /// It holds a rollback that the raise does not know.
    Overruled(Mark),
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
            Self::Absent | Self::Hung(_) | Self::Full | Self::Broken(_) | Self::Overruled(_) => {
                false
            }
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
            Self::Overruled(held) => {
                format!("it carries {held}, which is newer than this raise; nothing was written")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::{UnixListener, UnixStream as Peer},
        path::Path,
        thread,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(300);

    /// Asks one question of a process that does what it is told with each connection.
    async fn asked(process: fn(Peer)) -> Result<Vec<String>, Fault> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || listener.incoming().flatten().for_each(process));
        ask(&Address::Unix(path), &["show info".into()], DEADLINE).await
    }

    /// Answers the prompt and takes the question.
    fn greet(peer: &mut Peer) {
        peer.read_exact(&mut [0; "prompt\n".len()]).unwrap();
        peer.write_all(PROMPT).unwrap();
        peer.read_exact(&mut [0; "show info\n".len()]).unwrap();
    }

    #[tokio::test]
    async fn a_process_that_never_answers_is_told_nothing() {
        let outcome = asked(|mut peer| {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, b"prompt\n");
        });
        assert_eq!(outcome.await, Err(Fault::Hung(DEADLINE)));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let outcome = asked(|mut peer| {
            greet(&mut peer);
            while peer.write_all(&[b'x'; 1 << 16]).is_ok() {}
        });
        let outcome = outcome.await;
        assert!(matches!(outcome, Err(Fault::Flood | Fault::Hung(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_broken_connection_is_no_answer() {
        let outcome = asked(|mut peer| {
            greet(&mut peer);
            peer.write_all(b"Name: HAPr").unwrap();
        });
        assert_eq!(outcome.await, Err(Fault::Broken("it closed the connection".into())));
    }

    #[tokio::test]
    async fn answers_come_in_pieces() {
        let outcome = asked(|mut peer| {
            greet(&mut peer);
            for piece in ["Name: a\nVer", "sion: 2\n", "\n", "> "] {
                peer.write_all(piece.as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert_eq!(outcome.await, Ok(vec!["Name: a\nVersion: 2\n".into()]));
    }

    #[tokio::test]
    async fn a_full_backlog_is_a_process_that_hangs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = connect(&path).await {
            waiting.push(stream);
        }
        let outcome = ask(&Address::Unix(path), &["show info".into()], DEADLINE).await;
        assert_eq!(outcome, Err(Fault::Full));
    }

    async fn connect(path: &Path) -> io::Result<UnixStream> {
        UnixStream::connect(path).await
    }

    #[test]
    fn long_lines_are_cut_between_commands() {
        let commands: Vec<String> = (0..3).map(|_| "x".repeat(LINE_BYTES_MAX / 2)).collect();
        assert_eq!(lines(&commands).iter().map(|line| line.len()).collect::<Vec<_>>(), [1, 1, 1]);
        let short: Vec<String> = (0..300).map(|_| "set server be/s weight 1".into()).collect();
        assert_eq!(lines(&short).concat().len(), 300);
        assert!(lines(&short).iter().all(|line| line.join(";").len() <= LINE_BYTES_MAX));
        assert!(lines(&[]).is_empty());
    }
}
