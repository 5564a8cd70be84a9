//! `haldane operator`, as a process beside the cluster.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::page;
use crate::{
    cluster::{Access, ward::Ward},
    process::{Server, free_port},
};

/// How long it may take until it leads.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine in charge of one namespace, whose Lease lies there as well; ended when dropped.
#[derive(Debug)]
pub struct Operator {
    server: Server,
    address: SocketAddr,
    ward: Ward,
}

// === impl Operator ===

impl Operator {
    /// Starts one as somebody, and waits until it is ready.
    ///
    /// # Panics
    /// Where it is not built or does not become ready, with its last words.
    #[must_use]
    #[track_caller]
    pub fn start(haldane: &Path, access: &Access, namespace: &str) -> Self {
        let ward = Ward::new();
        let kubeconfig = ward.folder().join("kubeconfig");
        fs::copy(access.path(), &kubeconfig).expect("the folder can be written");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let arguments = [
            "operator".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespace={namespace}"),
            format!("--lease-namespace={namespace}"),
            format!("--listen={address}"),
        ];
        let server = ward.start(haldane, "operator", &arguments);
        let mut operator = Self { server, address, ward };
        let begin = Instant::now();
        while operator.page("/ready").is_none() {
            let ended = operator.server.has_ended();
            if ended || begin.elapsed() > PATIENCE {
                let (took, words) = (begin.elapsed(), operator.last_words());
                panic!("haldane operator is not ready after {took:?} (ended: {ended}):\n{words}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        operator
    }

    /// Returns one of its pages, such as `/metrics`; `None` where it does not answer with 200.
    #[must_use]
    pub fn page(&self, path: &str) -> Option<String> {
        page::get(self.address, path)
    }

    /// Returns the last lines that it wrote.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.ward.last_words("operator")
    }
}
