//! Real HAProxy processes, tiny HTTP servers behind them, and load in front.
//!
//! Everything binds 127.0.0.1 on free ports and ends with its owner.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::process::{Server, free_port, wait_for};

const PROGRAM: &str = "/usr/sbin/haproxy";
const PATIENCE: Duration = Duration::from_secs(10);

/// A tiny HTTP server that answers its name to everything; ends when dropped.
#[derive(Debug)]
pub struct Origin {
    name: String,
    port: u16,
    alive: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

/// What runs in front of the origins.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// How many processes; 0 counts as 1. Each has a port, a socket and a configuration of its own.
    pub processes: usize,
    /// Whether each runs as master and worker, and can be reloaded.
    pub reloadable: bool,
    /// Lines of the one frontend; without a `default_backend` it has none.
    pub frontend: String,
    /// The backends.
    pub backends: Vec<Backend>,
    /// More of the `stats socket` line; empty: `level admin`.
    pub socket: String,
    /// Whether the first process also listens on a loopback port.
    pub tcp: Option<u16>,
}

/// One backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Its lines but for the servers.
    pub lines: String,
    /// Its servers, by name and port; each is checked.
    pub servers: Vec<(String, u16)>,
}

/// Some HAProxy processes, stopped when dropped.
#[derive(Debug)]
pub struct Haproxy {
    directory: PathBuf,
    layout: Layout,
    processes: Vec<Option<Server>>,
    ports: Vec<u16>,
}

/// What clients have met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// How many answers came from whom.
    pub answers: BTreeMap<String, u64>,
    /// How many requests failed: no answer, or a status other than 200.
    pub failures: u64,
}

/// Clients that ask over and over on kept connections, until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Met>>,
}

// === impl Origin ===

impl Origin {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// Where no loopback port is free.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let alive = Arc::new(AtomicBool::new(true));
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let thread = {
            let (name, alive, open) = (name.to_owned(), alive.clone(), open.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if !alive.load(Ordering::SeqCst) {
                        return;
                    }
                    open.lock().expect("no holder panics").extend(stream.try_clone());
                    let name = name.clone();
                    thread::spawn(move || serve(stream, &name));
                }
            })
        };
        Self { name: name.to_owned(), port, alive, open, thread: Some(thread) }
    }

    /// Returns its name and port, as [`Backend::servers`] takes them.
    #[must_use]
    pub fn server(&self) -> (String, u16) {
        (self.name.clone(), self.port)
    }

    /// Ends it as a crash would: it listens no more, and open connections break.
    pub fn crash(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Ok(mut open) = self.open.lock() {
            for stream in open.drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Answers every request on a connection with a name.
fn serve(stream: TcpStream, name: &str) {
    let Ok(mut out) = stream.try_clone() else { return };
    let _ = stream.set_nodelay(true);
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line == "\r\n" => {
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                if out.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Ok(_) => {}
        }
    }
}

// === impl Haproxy ===

impl Haproxy {
    /// Starts the processes, with their files in `directory`, and waits until they answer.
    ///
    /// # Panics
    /// Where HAProxy is not installed, or does not take the configuration.
    #[must_use]
    pub fn start(directory: &TempDir, layout: Layout) -> Self {
        let count = layout.processes.max(1);
        let mut haproxy = Self {
            directory: directory.path().to_owned(),
            processes: (0..count).map(|_| None).collect(),
            ports: (0..count).map(|_| free_port()).collect(),
            layout,
        };
        (0..count).for_each(|at| haproxy.run(at));
        haproxy
    }

    /// Returns the port of a process.
    #[must_use]
    pub fn port(&self, at: usize) -> u16 {
        self.ports[at]
    }

    /// Returns the admin socket of a process.
    #[must_use]
    pub fn socket(&self, at: usize) -> PathBuf {
        self.directory.join(format!("admin-{at}.sock"))
    }

    /// Returns all admin sockets, as settings name them.
    #[must_use]
    pub fn sockets(&self) -> Vec<String> {
        (0..self.processes.len()).map(|at| self.socket(at).display().to_string()).collect()
    }

    /// Sends a signal to a process; with [`Layout::reloadable`] to its master.
    pub fn signal(&self, at: usize, name: &str) {
        if let Some(process) = &self.processes[at] {
            process.signal(name);
        }
    }

    /// Ends a process as a crash would.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.processes[at].take() {
            process.kill();
        }
    }

    /// Ends a process and starts it again.
    pub fn restart(&mut self, at: usize) {
        self.processes[at] = None;
        self.run(at);
    }

    /// Reloads as a person would, and waits until the new worker answers.
    ///
    /// # Panics
    /// Where no new worker comes.
    pub fn reload(&self, at: usize) {
        let old = self.worker(at);
        // A master that is still busy with the last reload may miss a signal, so it is repeated.
        for _ in 0..5 {
            self.signal(at, "USR2");
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {
                let new = self.worker(at);
                if !new.is_empty() && new != old {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!(
            "haproxy was not reloaded: {}",
            text(&self.directory.join(format!("haproxy-{at}.log")))
        );
    }

    /// Sends one line to the admin socket of a process, as a person with socat would.
    ///
    /// # Panics
    /// Where the socket does not answer.
    #[track_caller]
    #[must_use]
    pub fn tell(&self, at: usize, command: &str) -> String {
        self.ask(at, command, PATIENCE).expect("the admin socket answers")
    }

    fn ask(&self, at: usize, command: &str, patience: Duration) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket(at))?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn worker(&self, at: usize) -> String {
        let info = self.ask(at, "show info", Duration::from_millis(500)).unwrap_or_default();
        info.lines().find(|line| line.starts_with("Pid:")).unwrap_or_default().to_owned()
    }

    fn run(&mut self, at: usize) {
        let config = self.directory.join(format!("haproxy-{at}.cfg"));
        fs::write(&config, self.config(at)).expect("a configuration file");
        let log = self.directory.join(format!("haproxy-{at}.log"));
        let mut arguments = vec!["-db", "-f", config.to_str().expect("a path in ASCII")];
        if self.layout.reloadable {
            arguments.push("-W");
        }
        let mut process = Server::start(PROGRAM, &arguments, &log);
        wait_for("haproxy", PATIENCE, || {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(!process.has_ended(), "haproxy refused its configuration: {}", said());
            !self.worker(at).is_empty()
        });
        self.processes[at] = Some(process);
    }

    fn config(&self, at: usize) -> String {
        let level = match self.layout.socket.as_str() {
            "" => "level admin",
            other => other,
        };
        let mut text = format!(
            "global\n    stats socket {} {level}\n    nbthread 2\n    maxconn 500\n    \
             hard-stop-after 5s\n",
            self.socket(at).display()
        );
        if let (Some(port), 0) = (self.layout.tcp, at) {
            writeln!(text, "    stats socket ipv4@127.0.0.1:{port} level admin").expect("a string");
        }
        write!(
            text,
            "defaults\n    mode http\n    option idle-close-on-response\n    timeout connect 1s\n    \
             timeout client 30s\n    timeout server 30s\n    default-server inter 100ms fall 2 rise 1\n\
             frontend fe\n    bind 127.0.0.1:{}\n{}\n",
            self.ports[at], self.layout.frontend
        )
        .expect("a string");
        for Backend { name, lines, servers } in &self.layout.backends {
            write!(text, "backend {name}\n{lines}\n").expect("a string");
            for (server, port) in servers {
                writeln!(text, "    server {server} 127.0.0.1:{port} check").expect("a string");
            }
        }
        text
    }
}

// === impl Met ===

impl Met {
    /// Returns how many answers there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Returns the share of the answers whose name begins with `prefix`, in percent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a test counts far below 2^52")]
    pub fn percent(&self, prefix: &str) -> f64 {
        let own = self.answers.iter().filter(|(name, _)| name.starts_with(prefix));
        100.0 * own.map(|(_, count)| count).sum::<u64>() as f64 / self.total().max(1) as f64
    }

    /// Adds what others met.
    pub fn add(&mut self, other: Self) {
        self.failures += other.failures;
        for (name, count) in other.answers {
            *self.answers.entry(name).or_default() += count;
        }
    }
}

/// Asks `count` times on one kept connection.
#[must_use]
pub fn ask_times(port: u16, count: u64) -> Met {
    client(port, || true, count)
}

/// Asks on one connection while `more` says so, at most `limit` times.
fn client(port: u16, mut more: impl FnMut() -> bool, limit: u64) -> Met {
    let mut met = Met::default();
    let mut connection = None;
    let mut asked = 0;
    while asked < limit && more() {
        asked += 1;
        match request(&mut connection, port) {
            Some((200, name)) => *met.answers.entry(name).or_default() += 1,
            Some(_) | None => {
                met.failures += 1;
                connection = None;
            }
        }
    }
    met
}

/// Sends one request; a connection that was closed between requests is opened again, once.
fn request(connection: &mut Option<BufReader<TcpStream>>, port: u16) -> Option<(u16, String)> {
    if let Some(kept) = connection {
        match exchange(kept) {
            Exchange::Answer(status, name) => return Some((status, name)),
            Exchange::ClosedBefore => {}
            Exchange::Broken => return None,
        }
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_nodelay(true).ok()?;
    match exchange(connection.insert(BufReader::new(stream))) {
        Exchange::Answer(status, name) => Some((status, name)),
        Exchange::ClosedBefore | Exchange::Broken => None,
    }
}

enum Exchange {
    Answer(u16, String),
    /// The kept connection was closed before the first byte of an answer: no request was lost.
    ClosedBefore,
    Broken,
}

fn exchange(stream: &mut BufReader<TcpStream>) -> Exchange {
    if stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").is_err() {
        return Exchange::ClosedBefore;
    }
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) => return Exchange::ClosedBefore,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            return Exchange::ClosedBefore;
        }
        Ok(_) => {}
        Err(_) => return Exchange::Broken,
    }
    answer(stream, &line).map_or(Exchange::Broken, |(status, name)| Exchange::Answer(status, name))
}

fn answer(stream: &mut BufReader<TcpStream>, status: &str) -> Option<(u16, String)> {
    let status = status.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok().map(|name| (status, name))
}

// === impl Load ===

impl Load {
    /// Starts `clients` threads against a port.
    #[must_use]
    pub fn start(port: u16, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let stop = stop.clone();
            thread::spawn(move || client(port, || !stop.load(Ordering::Relaxed), u64::MAX))
        };
        let clients = (0..clients).map(one).collect();
        Self { stop, clients }
    }

    /// Stops them, and returns what they met together.
    #[must_use]
    pub fn stop(self) -> Met {
        self.stop.store(true, Ordering::Relaxed);
        let mut met = Met::default();
        for client in self.clients {
            match client.join() {
                Ok(one) => met.add(one),
                Err(_) => met.failures += 1,
            }
        }
        met
    }
}

/// Returns the text of a file.
///
/// # Panics
/// Where it cannot be read.
#[track_caller]
#[must_use]
pub fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}
