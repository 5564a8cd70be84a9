//! A steady load on kept connections, which remembers every answer that was not good; and one caller by itself.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many clients share the load.
const CLIENTS: u64 = 8;

/// One answer that was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When the request was sent: what it met was in force then.
    pub began: Instant,
    /// When the answer came, or did not.
    pub at: Instant,
    /// Whether the service says that it was injected.
    pub injected: bool,
}

/// A steady load; ends when dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// Asks for the same thing again and again.
#[derive(Debug)]
pub struct Caller {
    address: SocketAddr,
    request: String,
    stream: Option<BufReader<TcpStream>>,
}

/// What a caller is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 where the first line cannot be read.
    pub status: u16,
    /// What the service says of itself, in `x-version`.
    pub version: Option<String>,
    /// Whether the service says that it fails because it was told to.
    pub injected: bool,
}

// === impl Load ===

impl Load {
    /// Sends so many requests a second to a loopback port.
    #[must_use]
    pub fn start(port: u16, per_second: u64) -> Self {
        let shared = Arc::<Shared>::default();
        let pause = Duration::from_nanos(1_000_000_000 * CLIENTS / per_second.max(1));
        let clients = (0..CLIENTS)
            .map(|client| {
                let shared = shared.clone();
                thread::spawn(move || {
                    thread::sleep(pause * u32::try_from(client).unwrap_or(0) / CLIENTS as u32);
                    shared.ask(port, pause);
                })
            })
            .collect();
        Self { shared, clients }
    }

    /// Returns how many requests were sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Relaxed)
    }

    /// Returns all failures so far.
    ///
    /// # Panics
    /// Where a client panicked.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.shared.failures.lock().expect("no client panics").clone()
    }
}

impl Load {
    /// Stops it, and returns how many requests were sent in all.
    #[must_use]
    pub fn stop(mut self) -> u64 {
        self.end();
        self.requests()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Shared ===

impl Shared {
    fn ask(&self, port: u16, pause: Duration) {
        let mut caller = Caller::new(port);
        let mut next = Instant::now();
        while !self.stop.load(Relaxed) {
            self.requests.fetch_add(1, Relaxed);
            let began = Instant::now();
            match caller.ask() {
                Ok(Answer { status: 200, .. }) => {}
                Ok(answer) => self.failed(began, answer.injected),
                Err(_) => self.failed(began, false),
            }
            next += pause;
            let now = Instant::now();
            if next > now {
                thread::sleep(next - now);
            } else if now > next + Duration::from_millis(200) {
                // The service is slower than the pace: what was missed is not made up for.
                next = now;
            }
        }
    }

    fn failed(&self, began: Instant, injected: bool) {
        let failure = Failure { began, at: Instant::now(), injected };
        self.failures.lock().expect("no client panics").push(failure);
    }
}

// === impl Caller ===

impl Caller {
    /// A caller of `/` at a loopback port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self::to((Ipv4Addr::LOCALHOST, port).into(), "app", "/", &[])
    }

    /// A caller of a host and a path with more headers, at an address.
    #[must_use]
    pub fn to(address: SocketAddr, host: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        let more: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n");
        Self { address, request, stream: None }
    }

    /// Sends one request on a kept connection, and reads its answer whole.
    ///
    /// # Errors
    /// Where nobody listens, or the answer breaks off or takes more than 5 s; the next one begins anew.
    pub fn ask(&mut self) -> std::io::Result<Answer> {
        let told = self.once();
        if told.is_err() {
            self.stream = None;
        }
        told
    }

    fn once(&mut self) -> std::io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(self.request.as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, version: None, injected: false };
        let (mut length, mut closes) = (0, status == 0);
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if let Some(version) = lower.strip_prefix("x-version:") {
                answer.version = Some(version.trim().to_owned());
            }
            answer.injected |= lower.starts_with("x-injected:");
            closes |= lower.starts_with("connection: close");
        }
        std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink())?;
        if closes {
            self.stream = None;
        }
        Ok(answer)
    }
}
