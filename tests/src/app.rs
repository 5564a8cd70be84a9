//! A small instrumented HTTP service: one copy stands for one side of a rollout.
//!
//! It answers `/`, shows `/metrics` in the conventions of the Prometheus client libraries, and takes
//! faults at `/control?error_rate=0.05&latency_ms=200`. An injected failure carries the header
//! `x-injected`, so that it is never mistaken for one that a weight change caused.
//! `fault=1` shows in the gauge `app_fault` alone, with or without traffic; `version=v3` changes what
//! the copy says of itself, as an update without a gap does. [`Served`] runs beside a test, in its process.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// The bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What one copy counts, and which faults it has.
#[derive(Debug)]
pub struct App {
    version: Mutex<String>,
    good: AtomicU64,
    bad: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    /// One of so many requests in a million fails.
    fails_in_million: AtomicU64,
    latency_millis: AtomicU64,
    /// What the gauge `app_fault` shows.
    fault: AtomicU64,
}

/// A copy in the process of its owner: takes no connections any more once dropped.
#[derive(Debug)]
pub struct Served {
    app: Arc<App>,
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

// === impl Served ===

impl Served {
    /// Serves on a socket.
    ///
    /// # Panics
    /// Where the socket has no address.
    #[must_use]
    pub fn start(listener: TcpListener, version: &str) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let app = Arc::new(App::new(version));
        let ended = Arc::<AtomicBool>::default();
        let (serving, over) = (app.clone(), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Relaxed) {
                    return;
                }
                let app = serving.clone();
                thread::spawn(move || app.connection(stream));
            }
        });
        Self { app, address, ended }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many requests it was sent, but for those of its pages.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.app.good.load(Relaxed) + self.app.bad.load(Relaxed)
    }

    /// Gives it faults, in the words of `/control`: `error_rate=0.05&latency_ms=200`.
    pub fn control(&self, query: &str) {
        self.app.control(query);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        // The thread waits for a connection: this is the last one.
        let _ = TcpStream::connect(self.address);
    }
}

// === impl App ===

impl App {
    /// Serves on a loopback port until the process ends.
    ///
    /// # Panics
    /// Where the port is taken.
    pub fn serve(port: u16, version: &str) {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let app = Arc::new(Self::new(version));
        for stream in listener.incoming().flatten() {
            let app = app.clone();
            thread::spawn(move || app.connection(stream));
        }
    }

    fn new(version: &str) -> Self {
        Self {
            version: Mutex::new(version.to_owned()),
            good: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            buckets: Default::default(),
            nanos: AtomicU64::new(0),
            fails_in_million: AtomicU64::new(0),
            latency_millis: AtomicU64::new(0),
            fault: AtomicU64::new(0),
        }
    }

    /// Answers the requests of one connection, one after another.
    fn connection(&self, stream: TcpStream) {
        let Ok(mut out) = stream.try_clone() else { return };
        let _ = stream.set_nodelay(true);
        let mut lines = BufReader::new(stream);
        loop {
            let mut path = String::new();
            loop {
                let mut line = String::new();
                match lines.read_line(&mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) if line == "\r\n" => break,
                    Ok(_) if path.is_empty() => {
                        path = line.split(' ').nth(1).unwrap_or("/").to_owned();
                    }
                    Ok(_) => {}
                }
            }
            if out.write_all(self.answer(&path).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, path: &str) -> String {
        match path.split_once('?') {
            None if path == "/metrics" => response(200, "", &self.metrics()),
            None if path == "/health" => response(200, "", "ok"),
            Some(("/control", query)) => {
                self.control(query);
                response(200, "", "ok")
            }
            _ => self.request(),
        }
    }

    fn control(&self, query: &str) {
        for pair in query.split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            if name == "version" {
                *self.version.lock().expect("no holder panics") = value.to_owned();
            }
            let Ok(value) = value.parse::<f64>() else { continue };
            match name {
                "error_rate" => self.fails_in_million.store((value * 1e6) as u64, Relaxed),
                "latency_ms" => self.latency_millis.store(value as u64, Relaxed),
                "fault" => self.fault.store(value as u64, Relaxed),
                _ => {}
            }
        }
    }

    fn version(&self) -> String {
        self.version.lock().expect("no holder panics").clone()
    }

    fn request(&self) -> String {
        let begin = Instant::now();
        let latency = self.latency_millis.load(Relaxed);
        if latency > 0 {
            thread::sleep(Duration::from_millis(latency));
        }
        let count = self.good.load(Relaxed) + self.bad.load(Relaxed);
        let rate = self.fails_in_million.load(Relaxed);
        // Spread evenly: a share of requests fails exactly, without chance.
        let fails = (count * rate / 1_000_000) != ((count + 1) * rate / 1_000_000);
        self.observe(begin.elapsed(), fails);
        let version = self.version();
        let side = format!("x-version: {version}\r\n");
        if fails {
            response(500, &format!("{side}x-injected: 1\r\n"), "injected")
        } else {
            response(200, &side, &version)
        }
    }

    fn observe(&self, took: Duration, failed: bool) {
        if failed { &self.bad } else { &self.good }.fetch_add(1, Relaxed);
        let at = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        self.buckets[at.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("text takes text");
        };
        line(format_args!("# TYPE http_requests_total counter"));
        line(format_args!("http_requests_total{{code=\"200\"}} {}", self.good.load(Relaxed)));
        line(format_args!("http_requests_total{{code=\"500\"}} {}", self.bad.load(Relaxed)));
        line(format_args!("# TYPE http_request_duration_seconds histogram"));
        let mut total = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            total += bucket.load(Relaxed);
            line(format_args!("http_request_duration_seconds_bucket{{le=\"{bound}\"}} {total}"));
        }
        total += self.buckets[BOUNDS.len()].load(Relaxed);
        line(format_args!("http_request_duration_seconds_bucket{{le=\"+Inf\"}} {total}"));
        line(format_args!("http_request_duration_seconds_count {total}"));
        let seconds = self.nanos.load(Relaxed) as f64 / 1e9;
        line(format_args!("http_request_duration_seconds_sum {seconds}"));
        line(format_args!("# TYPE app_build_info gauge"));
        line(format_args!("app_build_info{{version=\"{}\"}} 1", self.version()));
        line(format_args!("# TYPE app_fault gauge"));
        line(format_args!("app_fault {}", self.fault.load(Relaxed)));
        text
    }
}

fn response(status: u16, headers: &str, body: &str) -> String {
    let reason = if status == 200 { "OK" } else { "Internal Server Error" };
    format!("HTTP/1.1 {status} {reason}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
