//! A real VictoriaMetrics that scrapes pages of the test, once a second.
//!
//! It is told nothing but where to listen and what to scrape: what Haldane needs of it must come from
//! its defaults.

use std::{fs, net::TcpStream, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    process::{Server, free_port, wait_for},
    prometheus::Target,
};

/// A VictoriaMetrics of a test; stopped, and its data removed, when dropped.
#[derive(Debug)]
pub struct Victoria {
    /// Its process.
    pub server: Server,
    /// Where it listens: `http://127.0.0.1:port`.
    pub url: String,
    _folder: TempDir,
}

// === impl Victoria ===

impl Victoria {
    /// Starts one that scrapes these targets every second, and waits until it answers.
    ///
    /// # Panics
    /// Where it is not installed or does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(targets: &[Target]) -> Self {
        let folder = tempfile::Builder::new().prefix("haldane-victoria-").tempdir();
        let folder = folder.expect("a temporary folder");
        let config = folder.path().join("scrape.yml");
        fs::write(&config, format!("{:#}\n", scrapes(targets))).expect("a file in the folder");
        let port = free_port();
        let log = folder.path().join("victoria.log");
        let arguments = [
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", folder.path().join("data").display()),
            format!("-promscrape.config={}", config.display()),
        ];
        let mut server = Server::start("/usr/bin/victoria-metrics", &arguments, &log);
        wait_for("victoria-metrics answers", Duration::from_secs(30), || {
            let told = fs::read_to_string(&log).unwrap_or_default();
            assert!(!server.has_ended(), "victoria-metrics ended:\n{told}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { server, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }
}

/// Writes the configuration; JSON is YAML.
fn scrapes(targets: &[Target]) -> Value {
    let jobs = targets.iter().enumerate().map(|(at, target)| {
        let address = target.address.to_string();
        let statics = json!([{"targets": [address], "labels": target.labels}]);
        // A job has one name, and each target may be of another.
        let relabel = json!([{"target_label": "job", "replacement": target.job}]);
        json!({"job_name": format!("{at}"), "static_configs": statics, "relabel_configs": relabel})
    });
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}
