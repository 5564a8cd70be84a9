//! The three programs of a cluster and their arguments.

use std::{fs, path::Path};

use super::{assets, pki::Pki, ward::Ward};
use crate::process::{Server, free_port};

/// What the controllers are called in the audit log.
pub(super) const CONTROLLERS: &str = "system:kube-controller-manager";

/// Those that workloads need, and the one that makes `view`, `edit` and `admin`. Nobody schedules.
const RUNNING: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
                       daemonset-controller,garbage-collector-controller,namespace-controller,\
                       endpointslice-controller,service-cidr-controller,\
                       clusterrole-aggregation-controller";

/// Every request once it is answered; a watch when it begins, too. Bodies are not kept.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The store of one or several API servers; ended and removed when dropped.
#[derive(Debug)]
pub(super) struct Etcd {
    pub(super) port: u16,
    server: Server,
    _ward: Ward,
}

/// What an API server needs to know.
#[derive(Clone, Debug)]
pub(super) struct Api<'a> {
    pub(super) port: u16,
    pub(super) etcd: u16,
    pub(super) prefix: &'a str,
    pub(super) pki: &'a Pki,
    pub(super) audit: bool,
}

// === impl Etcd ===

impl Etcd {
    pub(super) fn start() -> Self {
        let ward = Ward::new();
        let (port, peer) = (free_port(), free_port());
        let url = |port| format!("http://127.0.0.1:{port}");
        let arguments = [
            "--name=n1".to_owned(),
            format!("--data-dir={}", ward.folder().join("data").display()),
            format!("--listen-client-urls={}", url(port)),
            format!("--advertise-client-urls={}", url(port)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=n1={}", url(peer)),
            "--unsafe-no-fsync".to_owned(),
            "--logger=zap".to_owned(),
        ];
        let server = ward.start(Path::new("etcd"), "etcd", &arguments);
        Self { port, server, _ward: ward }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Its data goes with it.
        self.server.kill();
    }
}

// === the API server and the controllers ===

pub(super) fn start_api(ward: &Ward, api: &Api<'_>) -> Server {
    let file = |path: &Path| path.display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", api.etcd),
        format!("--etcd-prefix={}", api.prefix),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", api.port),
        format!("--tls-cert-file={}", file(&api.pki.certificate)),
        format!("--tls-private-key-file={}", file(&api.pki.key)),
        format!("--client-ca-file={}", file(&api.pki.authority)),
        format!("--token-auth-file={}", file(&ward.folder().join("tokens.csv"))),
        format!("--service-account-issuer=https://127.0.0.1:{}/", api.port),
        format!("--service-account-key-file={}", file(&api.pki.checking)),
        format!("--service-account-signing-key-file={}", file(&api.pki.signing)),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--allow-privileged=true".to_owned(),
    ];
    if api.audit {
        let policy = ward.folder().join("audit.yaml");
        fs::write(&policy, AUDIT).expect("the folder can be written");
        arguments.push(format!("--audit-policy-file={}", file(&policy)));
        arguments.push(format!("--audit-log-path={}", file(&ward.folder().join("audit.json"))));
    }
    ward.start(&assets::program("kube-apiserver"), "kube-apiserver", &arguments)
}

pub(super) fn start_controllers(ward: &Ward, kubeconfig: &Path) -> Server {
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--controllers={RUNNING}"),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", free_port()),
        // It would make one in /var/run otherwise.
        format!("--cert-dir={}", ward.folder().join("controllers").display()),
    ];
    let program = assets::program("kube-controller-manager");
    ward.start(&program, "kube-controller-manager", &arguments)
}
