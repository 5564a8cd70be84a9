//! A shop whose releases go through a mesh: two Deployments under the real controllers, a mesh before what they
//! stand for, a real Prometheus that scrapes the proxy, and the rollout that releases them.
//!
//! The Deployments' pods run nowhere: the harness writes their status, and the mesh's copies answer for them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Istiod, Mesh, SIDES, VERSIONS, Way};
use crate::{
    cluster::{Cluster, Kubelet},
    operator::{Operator, Start},
    process::wait_for,
    prometheus::Prometheus,
};

/// How long something may take until it is as it was asked to be.
const PATIENCE: Duration = Duration::from_secs(120);

/// One namespace with everything that a release needs but the engine; ended when dropped.
#[derive(Debug)]
pub struct Shop<'a> {
    /// The cluster that it lies in.
    pub cluster: &'a Cluster,
    /// What carries its traffic.
    pub mesh: Mesh,
    /// How its split is said.
    pub way: Way,
    prometheus: Prometheus,
    _kubelet: Kubelet,
}

// === impl Shop ===

impl<'a> Shop<'a> {
    /// Opens one in a namespace of its own, with `web:v1` on both sides and all users on blue.
    ///
    /// The cluster runs the controllers of workloads.
    ///
    /// # Panics
    /// Where something is refused, or does not become ready.
    #[must_use]
    pub fn open(cluster: &'a Cluster, istiod: &Istiod, name: &str, way: Way) -> Self {
        let namespace = cluster.namespace(name);
        let kubelet = Kubelet::start(cluster.admin(), &namespace);
        let mesh = Mesh::start(cluster, istiod, &namespace);
        let prometheus = Prometheus::start(&[mesh.metrics()]);
        cluster.apply(&namespace, &way.document().to_string());
        let shop = Self { cluster, mesh, way, prometheus, _kubelet: kubelet };
        for side in SIDES {
            shop.deploy(side, "web:v1");
        }
        let mut user = shop.mesh.caller(way.door(), "/", &[]);
        wait_for("users are answered", PATIENCE, || {
            user.ask().is_ok_and(|answer| answer.status == 200)
        });
        shop
    }

    /// Puts an image on a side, and waits until the controllers say that all its pods have it.
    ///
    /// # Panics
    /// Where they do not in two minutes.
    pub fn deploy(&self, side: &str, image: &str) {
        let namespace = self.mesh.namespace();
        self.cluster.apply(namespace, &deployment(side, image).to_string());
        let name = format!("deployment/web-{side}");
        let status = ["rollout", "status", &name, "--timeout=110s"];
        self.cluster.admin().within(namespace).kubectl(&status);
    }

    /// Gives a side a fault, such as `error_rate=0.2`, or takes it away.
    pub fn inject(&self, side: &str, fault: &str) {
        self.mesh.copy(side).control(fault);
    }

    /// Returns a side's share in percent, as the proxy has it.
    #[must_use]
    pub fn share(&self, side: &str) -> Option<f64> {
        let green = self.mesh.share(self.way.door(), "primary")?;
        Some(if side == "green" { green } else { 100.0 - green })
    }

    /// Starts an operator that looks at this shop alone, as the administrator, and waits until it is ready and
    /// has had time to read what runs here.
    ///
    /// # Panics
    /// Where it does not become ready.
    #[must_use]
    pub fn operator(&self, haldane: &Path) -> Operator {
        let namespace = self.mesh.namespace().to_owned();
        let start = Start {
            access: self.cluster.admin().clone(),
            namespaces: vec![namespace.clone()],
            lease_namespace: namespace,
            identity: "one".to_owned(),
            program: Some(haldane.to_owned()),
        };
        let operator = start.start();
        wait_for("the operator is ready", PATIENCE, || operator.ask("/ready").is_some());
        operator
    }

    /// Returns the folder in which its files may lie; removed with it.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.prometheus.folder().to_owned()
    }

    /// Returns the rollout `web`: limits on the failed requests, as the proxy counts them for each side.
    ///
    /// With a revision for outside of the cluster; without one for inside, where the Deployments tell it.
    #[must_use]
    pub fn rollout(&self, revision: Option<&str>, steps: &[(u32, &str)]) -> Value {
        let side = |side: &str| {
            let labels = json!({"cluster_name": self.cluster_name(side)});
            let mut entry = json!({"name": side, "labels": labels});
            if revision.is_none() {
                entry["workload"] = json!({"deployment": format!("web-{side}")});
            }
            entry
        };
        let steps = steps.iter().map(|(weight, bake)| json!({"weight": weight, "bake": bake}));
        let metrics = json!({
            "total": "envoy_cluster_upstream_rq_completed",
            "bad": "envoy_cluster_upstream_rq{response_code_class=\"5xx\"}",
        });
        let mut rollout = json!({
            "apiVersion": "haldane.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "web", "namespace": self.mesh.namespace()},
            "spec": {
                "sides": SIDES.map(side),
                "traffic": [{"name": "mesh", self.way.provider(): self.way.settings()}],
                "steps": steps.collect::<Vec<_>>(),
                "watch": "3s",
                "analysis": {
                    "sources": [{"name": "main", "prometheus": {"url": self.prometheus.url}}],
                    "interval": "1s",
                    "checks": [{"name": "errors", "errors": {"max": "1%", "metrics": metrics}}],
                },
            },
        });
        if let Some(revision) = revision {
            rollout["spec"]["revision"] = revision.into();
        }
        rollout
    }

    /// What the proxy calls a side in its metrics.
    fn cluster_name(&self, side: &str) -> String {
        let namespace = self.mesh.namespace();
        match self.way {
            Way::Subsets => {
                let version = VERSIONS[super::index(side)];
                format!("outbound|80|{version}|web.{namespace}.svc.cluster.local")
            }
            Way::Hosts | Way::HttpRoute => {
                format!("outbound|80||web-{side}.{namespace}.svc.cluster.local")
            }
        }
    }
}

fn deployment(side: &str, image: &str) -> Value {
    let labels = json!({"app": "web", "side": side});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": format!("web-{side}")},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    })
}
