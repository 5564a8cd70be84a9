//! A steady load on kept connections, which remembers every answer that was not good.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
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
        let mut connection = None;
        let mut next = Instant::now();
        while !self.stop.load(Relaxed) {
            self.requests.fetch_add(1, Relaxed);
            let began = Instant::now();
            match once(&mut connection, port) {
                Ok(Answer { status: 200, .. }) => {}
                Ok(answer) => self.failed(began, answer.injected),
                Err(_) => {
                    connection = None;
                    self.failed(began, false);
                }
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

struct Answer {
    status: u16,
    injected: bool,
}

/// Sends one request on a kept connection, and reads its answer whole.
fn once(connection: &mut Option<BufReader<TcpStream>>, port: u16) -> std::io::Result<Answer> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            connection.insert(BufReader::new(stream))
        }
    };
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let (mut length, mut injected, mut closes) = (0, false, status == 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        injected |= lower.starts_with("x-injected:");
        closes |= lower.starts_with("connection: close");
    }
    std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink())?;
    if closes {
        *connection = None;
    }
    Ok(Answer { status, injected })
}
