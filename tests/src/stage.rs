//! A whole stage on loopback: two copies of the service, HAProxy before them, Prometheus beside
//! them, and a load. Everything ends with its owner.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use haldane_providers::{Sides, haproxy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Server, free_port, wait_for};

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two sides of every stage.
pub const SIDES: [&str; 2] = ["blue", "green"];

/// The stage.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    /// The program that serves the application: `PROGRAM app PORT VERSION`.
    program: PathBuf,
    apps: [Option<Server>; 2],
    app_ports: [u16; 2],
    haproxy: Option<Server>,
    prometheus: Option<Server>,
    /// Where users come in.
    pub port: u16,
    /// Where users come in whose traffic is split between the servers of one backend.
    pub servers_port: u16,
    prometheus_port: u16,
}

/// Every change of the share that users got, as HAProxy had it.
#[derive(Debug)]
pub struct Shares {
    stop: Arc<AtomicBool>,
    changes: Arc<Mutex<Vec<(Instant, u32)>>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Stage ===

impl Stage {
    /// Starts everything, with both sides at `v1` and all traffic on blue.
    ///
    /// # Panics
    /// Where a program is not installed or does not become ready.
    #[must_use]
    pub fn start(program: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("haldane-stage-").tempdir();
        let folder = folder.expect("a temporary folder");
        let mut stage = Self {
            folder,
            program: program.to_owned(),
            apps: [None, None],
            app_ports: [free_port(), free_port()],
            haproxy: None,
            prometheus: None,
            port: free_port(),
            servers_port: free_port(),
            prometheus_port: free_port(),
        };
        for side in SIDES {
            stage.deploy(side, "v1");
        }
        stage.start_haproxy();
        stage.start_prometheus();
        stage
    }

    /// Returns where the stage keeps its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the address of Prometheus.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus_port)
    }

    /// Returns the port of Prometheus.
    #[must_use]
    pub fn prometheus_port(&self) -> u16 {
        self.prometheus_port
    }

    /// Returns HAProxy's admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("admin.sock")
    }

    /// Returns the map that holds the share.
    #[must_use]
    pub fn map(&self) -> PathBuf {
        self.folder().join("share.map")
    }

    /// Returns the settings of the traffic entry, as a rollout file writes them.
    #[must_use]
    pub fn traffic(&self) -> Value {
        json!({
            "sockets": [self.socket()],
            "share": {"map": self.map(), "key": "app"},
            "destinations": {"blue": {"backend": "be_blue"}, "green": {"backend": "be_green"}},
        })
    }

    /// Returns the settings of the entry that splits between the servers of one backend.
    #[must_use]
    pub fn server_traffic(&self) -> Value {
        json!({
            "sockets": [self.socket()],
            "mode": "ServerWeights",
            "destinations": {
                "blue": {"backend": "be_both", "servers": ["b2", "b3"]},
                "green": {"backend": "be_both", "servers": ["g2", "g3"]},
            },
        })
    }

    /// Puts a version on a side, in a new process.
    pub fn deploy(&mut self, side: &str, version: &str) {
        let at = index(side);
        self.apps[at] = None;
        let port = self.app_ports[at].to_string();
        let log = self.folder().join(format!("{side}.log"));
        let program = self.program.display().to_string();
        let server = Server::start(&program, &["app", &port, version], &log);
        self.apps[at] = Some(server);
        let port = self.app_ports[at];
        wait_for("the service answers", PATIENCE, || get(port, "/health").is_some());
    }

    /// Returns where a side's service listens.
    #[must_use]
    pub fn app_port(&self, side: &str) -> u16 {
        self.app_ports[index(side)]
    }

    /// Returns where each side shows its metrics, as a source's settings name them.
    #[must_use]
    pub fn pages(&self) -> Value {
        let page = |side| format!("http://127.0.0.1:{}/metrics", self.app_ports[index(side)]);
        json!({"blue": [page("blue")], "green": [page("green")]})
    }

    /// Ends a side's process as a crash would.
    pub fn crash(&mut self, side: &str) {
        if let Some(mut app) = self.apps[index(side)].take() {
            app.kill();
        }
    }

    /// Gives a side a fault, `error_rate=0.05`, `latency_ms=200` or `fault=1`, or another version in
    /// the same process: `version=v3`.
    ///
    /// # Panics
    /// Where the service does not answer.
    pub fn inject(&self, side: &str, fault: &str) {
        let port = self.app_ports[index(side)];
        assert!(get(port, &format!("/control?{fault}")).is_some(), "{side} takes the fault");
    }

    /// Starts HAProxy, again after [`Self::kill_haproxy`].
    pub fn start_haproxy(&mut self) {
        let config = self.folder().join("haproxy.cfg");
        let map = self.map();
        let sides = Sides { first: SIDES[0].into(), second: SIDES[1].into() };
        let snippet = haproxy::snippet(&self.traffic(), &sides).expect("the settings are valid");
        if let Some((_, line)) = &snippet.map
            && !map.exists()
        {
            fs::write(&map, line).expect("a map in the folder");
        }
        fs::write(&config, self.haproxy_config(&snippet.frontend)).expect("a file in the folder");
        let log = self.folder().join("haproxy.log");
        let config = config.display().to_string();
        self.haproxy = Some(Server::start("/usr/sbin/haproxy", &["-db", "-f", &config], &log));
        let (socket, port) = (self.socket(), self.port);
        wait_for("haproxy answers", PATIENCE, || {
            admin(&socket, "show info").is_some() && get(port, "/health").is_some()
        });
    }

    /// Sets green's share by hand, as a person at the socket would.
    ///
    /// # Panics
    /// Where HAProxy refuses.
    pub fn set_by_hand(&self, basis_points: u32) {
        let told = self.admin(&format!("set map {} app {basis_points}", self.map().display()));
        assert_eq!(told.as_deref().map(str::trim), Some(""), "haproxy takes a share by hand");
    }

    /// Ends HAProxy as a crash would.
    pub fn kill_haproxy(&mut self) {
        if let Some(mut haproxy) = self.haproxy.take() {
            haproxy.kill();
        }
    }

    /// Sends HAProxy a signal.
    pub fn signal_haproxy(&self, name: &str) {
        if let Some(haproxy) = &self.haproxy {
            haproxy.signal(name);
        }
    }

    fn haproxy_config(&self, frontend: &str) -> String {
        let (socket, port) = (self.socket().display().to_string(), self.port);
        let [blue, green] = self.app_ports;
        let servers_port = self.servers_port;
        format!(
            "global
    stats socket {socket} mode 660 level admin
    stats timeout 30s
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option idle-close-on-response
    option redispatch
frontend fe
    bind 127.0.0.1:{port}
    http-request use-service prometheus-exporter if {{ path /haproxy-metrics }}
{frontend}
backend be_blue
    option httpchk GET /health
    server b1 127.0.0.1:{blue} check inter 300ms fall 2 rise 1
backend be_green
    option httpchk GET /health
    server g1 127.0.0.1:{green} check inter 300ms fall 2 rise 1
frontend fe_servers
    bind 127.0.0.1:{servers_port}
    default_backend be_both
backend be_both
    balance roundrobin
    option httpchk GET /health
    server b2 127.0.0.1:{blue} weight 100 check inter 300ms fall 2 rise 1
    server b3 127.0.0.1:{blue} weight 100 check inter 300ms fall 2 rise 1
    server g2 127.0.0.1:{green} weight 0 check inter 300ms fall 2 rise 1
    server g3 127.0.0.1:{green} weight 0 check inter 300ms fall 2 rise 1
"
        )
    }

    /// Starts Prometheus, again after [`Self::kill_prometheus`], with its data kept.
    pub fn start_prometheus(&mut self) {
        let [blue, green] = self.app_ports;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
- job_name: app
  static_configs:
  - {{targets: ['127.0.0.1:{blue}'], labels: {{side: blue}}}}
  - {{targets: ['127.0.0.1:{green}'], labels: {{side: green}}}}
- job_name: haproxy
  metrics_path: /haproxy-metrics
  static_configs:
  - {{targets: ['127.0.0.1:{}']}}
",
            self.port
        );
        let file = self.folder().join("prometheus.yml");
        fs::write(&file, config).expect("a file in the folder");
        let log = self.folder().join("prometheus.log");
        let port = self.prometheus_port;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", self.folder().join("prometheus").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        self.prometheus = Some(Server::start("/usr/bin/prometheus", &arguments, &log));
        wait_for("prometheus is ready", PATIENCE, || {
            get(port, "/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// Ends Prometheus as a crash would.
    pub fn kill_prometheus(&mut self) {
        if let Some(mut prometheus) = self.prometheus.take() {
            prometheus.kill();
        }
    }

    /// Sends Prometheus a signal.
    pub fn signal_prometheus(&self, name: &str) {
        if let Some(prometheus) = &self.prometheus {
            prometheus.signal(name);
        }
    }

    /// Asks Prometheus for one number; `None` where it has none.
    #[must_use]
    pub fn ask(&self, query: &str) -> Option<f64> {
        let path = format!("/api/v1/query?query={}", escape(query));
        let answer = get(self.prometheus_port, &path)?;
        let body = answer.split_once("\r\n\r\n")?.1;
        let value: Value = serde_json::from_str(body).ok()?;
        value.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// Returns how many requests Prometheus has answered on one of its own paths.
    #[must_use]
    pub fn served(&self, path: &str) -> Option<f64> {
        let answer = get(self.prometheus_port, "/metrics")?;
        let label = format!("handler=\"{path}\"");
        let counts = answer.lines().filter_map(|line| {
            let line = line.strip_prefix("prometheus_http_requests_total{")?;
            line.contains(&label).then(|| line.rsplit_once(' ')?.1.trim().parse::<f64>().ok())?
        });
        Some(counts.sum())
    }

    /// Returns green's share, in basis points, as HAProxy has it.
    #[must_use]
    pub fn green_share(&self) -> Option<u32> {
        share(&self.socket(), &self.map())
    }

    /// Begins to follow a side's share, closely.
    #[must_use]
    pub fn follow(&self, side: &str) -> Shares {
        Shares::follow(self.socket(), self.map(), side == SIDES[0])
    }

    /// Sends a command to HAProxy's admin socket.
    #[must_use]
    pub fn admin(&self, command: &str) -> Option<String> {
        admin(&self.socket(), command)
    }
}

// === impl Shares ===

impl Shares {
    fn follow(socket: PathBuf, map: PathBuf, complement: bool) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let changes = Arc::<Mutex<Vec<(Instant, u32)>>>::default();
        let thread = {
            let (stop, changes) = (stop.clone(), changes.clone());
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    if let Some(green) = share(&socket, &map) {
                        let share = if complement { 10_000 - green } else { green };
                        let mut changes = changes.lock().expect("no holder panics");
                        if changes.last().is_none_or(|(_, last)| *last != share) {
                            changes.push((Instant::now(), share));
                        }
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            })
        };
        Self { stop, changes, thread: Some(thread) }
    }

    /// Returns every change so far: when, and to which share in basis points.
    ///
    /// # Panics
    /// Where the follower panicked.
    #[must_use]
    pub fn changes(&self) -> Vec<(Instant, u32)> {
        self.changes.lock().expect("no holder panics").clone()
    }

    /// Returns the share now; 0 before it was read.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.changes().last().map_or(0, |(_, share)| *share)
    }

    /// Returns when the share first was 0 after a moment.
    #[must_use]
    pub fn zero_after(&self, moment: Instant) -> Option<Instant> {
        let changes = self.changes();
        changes.into_iter().find(|(at, share)| *at >= moment && *share == 0).map(|(at, _)| at)
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn index(side: &str) -> usize {
    SIDES.iter().position(|name| *name == side).expect("a stage has blue and green")
}

/// Reads the share of the second side from HAProxy.
fn share(socket: &Path, map: &Path) -> Option<u32> {
    let answer = admin(socket, &format!("show map {}", map.display()))?;
    let line = answer.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next() == Some("app")).then(|| words.next().map(ToOwned::to_owned))?
    })?;
    line.parse().ok()
}

fn admin(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Sends one request, and returns the whole answer.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(part.get(..count)?),
            Err(_) if answer.is_empty() => return None,
            Err(_) => break,
        }
        if is_whole(&answer) {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.starts_with("HTTP/1.1").then_some(answer)
}

/// Whether an answer with a content length is there in full.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length
        .and_then(|length| length.trim().parse().ok())
        .is_some_and(|length: usize| body.len() >= length)
}

fn escape(query: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    query.bytes().map(byte).collect()
}
