//! A real Prometheus that scrapes pages of the test, once a second.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    cluster::ward::Ward,
    process::{Server, free_port, wait_for},
};

/// One target to scrape.
#[derive(Clone, Debug)]
pub struct Target {
    /// The job that it belongs to.
    pub job: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Labels that the target gets, such as `track`.
    pub labels: BTreeMap<String, String>,
}

/// A Prometheus of a test; stopped, and its data removed, when dropped.
#[derive(Debug)]
pub struct Prometheus {
    /// Its process.
    pub server: Server,
    /// Where it listens: `http://127.0.0.1:port`.
    pub url: String,
    ward: Ward,
}

/// A page of metrics that is written anew at each scrape; gone when dropped.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

// === impl Target ===

impl Target {
    /// Names a target with its labels.
    #[must_use]
    pub fn new(job: &str, address: SocketAddr, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { job: job.into(), address, labels }
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one that scrapes these targets every second, and waits until it answers.
    ///
    /// # Panics
    /// Where it is not installed or does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(targets: &[Target]) -> Self {
        Self::launch(targets, None)
    }

    /// Starts one with a web configuration (TLS, users); its addresses begin with `https`.
    ///
    /// # Panics
    /// Where it is not installed or does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_with_web(targets: &[Target], web: &str) -> Self {
        Self::launch(targets, Some(web))
    }

    /// Returns where its files and its log are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.ward.folder()
    }

    #[track_caller]
    fn launch(targets: &[Target], web: Option<&str>) -> Self {
        let ward = Ward::new();
        let folder = ward.folder();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file in the temporary folder");
            path
        };
        let port = free_port();
        let log = ward.log("prometheus");
        let mut arguments = vec![
            format!("--config.file={}", file("prometheus.yml", &config(targets)).display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        if let Some(web) = web {
            arguments.push(format!("--web.config.file={}", file("web.yml", web).display()));
        }
        let mut server = ward.start(Path::new("/usr/bin/prometheus"), "prometheus", &arguments);
        wait_for("prometheus answers", Duration::from_secs(30), || {
            let told = fs::read_to_string(&log).unwrap_or_default();
            assert!(!server.has_ended(), "prometheus ended:\n{told}");
            told.contains("ready to receive web requests")
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let scheme = if web.is_some() { "https" } else { "http" };
        Self { server, url: format!("{scheme}://127.0.0.1:{port}"), ward }
    }
}

/// Writes the configuration; JSON strings are YAML strings.
fn config(targets: &[Target]) -> String {
    let mut text =
        "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\n\
                    scrape_configs:\n"
            .to_owned();
    let mut jobs: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        jobs.entry(&target.job).or_default().push(target);
    }
    for (job, targets) in jobs {
        let statics: Vec<_> = targets
            .into_iter()
            .map(|target| {
                serde_json::json!({"targets": [target.address.to_string()], "labels": target.labels})
            })
            .collect();
        let statics = serde_json::Value::from(statics);
        let job = serde_json::Value::from(job);
        writeln!(text, "- {{job_name: {job}, static_configs: {statics}}}")
            .expect("text takes text");
    }
    text
}

// === impl Page ===

impl Page {
    /// Serves what `write` returns, at any path.
    ///
    /// # Panics
    /// Where no port is free.
    #[must_use]
    pub fn serve(write: impl Fn() -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream, &write());
            }
        });
        Self { address, ended }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this is the last one.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: TcpStream, text: &str) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut request = [0_u8; 4096];
    let _ = stream.read(&mut request);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(text.as_bytes());
}
