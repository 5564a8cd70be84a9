//! The engine as the Deployment says: its arguments, its environment, its account, and nothing else.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use haldane_tests::{
    cluster::{Access, Cluster},
    process::free_port,
};
use serde_json::{Value, json};

use super::{
    routes::virtual_service,
    stage::{ENGINE, HOME, eventually, haldane, person},
};

/// A process of the engine; ended when dropped.
struct Engine {
    child: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

// === impl Engine ===

impl Engine {
    /// Starts what the container of the Deployment says, as the kubelet would; on loopback.
    fn start(cluster: &Cluster) -> Self {
        let text =
            cluster.admin().within(HOME).kubectl(&["get", "deployment", "haldane", "-o=json"]);
        let deployment: Value = serde_json::from_str(&text).unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let port = free_port();
        let mut command = Command::new(haldane());
        command.env_clear();
        for argument in container["args"].as_array().unwrap() {
            let argument = argument.as_str().unwrap();
            command.arg(argument.replace("0.0.0.0:8081", &format!("127.0.0.1:{port}")));
        }
        for variable in container["env"].as_array().unwrap() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => "haldane-0",
                Some("metadata.namespace") => HOME,
                Some(other) => panic!("what is {other}?"),
                None => variable["value"].as_str().unwrap(),
            };
            command.env(variable["name"].as_str().unwrap(), value);
        }
        // Beside the pod's token, which only a kubelet mounts.
        let account = cluster.account(HOME, "haldane");
        command.env("KUBECONFIG", account.path());
        // As with a root that is read-only: there is no place to write to.
        command.current_dir("/proc").env("HOME", "/proc");
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).stdin(Stdio::null());
        Self { child: command.spawn().unwrap(), port, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    fn get(&self, path: &str) -> Result<String, String> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.starts_with("HTTP/1.1 200") { Ok(text) } else { Err(text) }
    }

    /// Asks it to end, as a kubelet does, and waits until it has.
    fn stop(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the engine said:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A release that begins as soon as somebody looks: in its namespace, as the administrator.
fn shop(cluster: &Cluster, namespace: &str) -> Access {
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], "selector": {"app": name}}})
    };
    let side = |name: &str| json!({"name": name, "labels": {"version": name}});
    let rollout = json!({
        "apiVersion": "haldane.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "checkout"},
        "spec": {
            "sides": [side("blue"), side("green")],
            "revision": "1",
            "traffic": [{"name": "mesh", "istio": {
                "virtualService": {"name": "checkout", "routes": ["primary"]},
                "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}},
            }}],
            "steps": [{"weight": 10, "bake": "1h"}, {"weight": 100}],
            "analysis": {"none": true},
        },
    });
    let all = [service("checkout-blue"), service("checkout-green"), virtual_service(), rollout];
    cluster.apply(namespace, &all.map(|one| one.to_string()).join("\n---\n"));
    cluster.admin().within(namespace)
}

/// What an object shows at a place.
fn shows(access: &Access, object: [&str; 2], path: &str) -> String {
    let path = format!("-o=jsonpath={path}");
    access.try_kubectl(&["get", object[0], object[1], &path]).unwrap_or_else(|error| error)
}

fn is(found: String, wanted: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted:?}")) }
}

/// Writes the request of a person.
fn asks(access: &Access, namespace: &str, by: &str) {
    let object = json!({"apiVersion": "haldane.dev/v1alpha1", "kind": "RolloutRequest",
        "metadata": {"name": "stop"},
        "spec": {"rollout": "checkout", "verb": "Abort", "requestedBy": by}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    let create = ["create", "-f", file.path().to_str().unwrap()];
    eventually("the request is taken", || access.within(namespace).try_kubectl(&create).map(drop));
}

/// Releases and rolls back in a namespace of a cluster with Istio's CRDs and an audit log, where the engine is installed as `haldane`.
///
/// # Panics
/// Where it does not, or where the engine is refused anything.
pub fn releases_and_rolls_back(cluster: &Cluster, namespace: &str) {
    let mut engine = Engine::start(cluster);
    eventually("it is ready", || engine.get("/ready").map(drop));
    assert!(engine.get("/live").is_ok() && engine.get("/metrics").unwrap().contains("haldane_"));

    // A release begins.
    let shop = shop(cluster, namespace);
    let share = || shows(&shop, ["virtualservices", "checkout"], "{.spec.http[1].route[1].weight}");
    let rollout = |path: &str| shows(&shop, ["hro", "checkout"], path);
    eventually("the first step", || is(rollout("{.status.phase}"), "Baking"));
    assert_eq!(share(), "10");

    // A person who may, and is known by name, puts it back.
    let (ann, user) = person(cluster, namespace, "ann", &["haldane-abort"]);
    asks(&ann, namespace, &user);
    eventually("it is put back", || is(rollout("{.status.phase}"), "Degraded"));
    assert_eq!(share(), "0");
    let request = |path: &str| shows(&shop, ["hrr", "stop"], path);
    eventually("it is answered", || is(request("{.status.outcome}"), "Accepted"));
    assert!(request("{.status.actor}").contains(&user), "{}", request("{.status.actor}"));
    assert!(!request("{.status.actor}").contains("claimed"));
    eventually("its journal is kept", || {
        is(shows(&shop, ["har", "checkout-1"], "{.spec.attempt}"), "1")
    });
    eventually("events tell of it", || {
        let told = shop.kubectl(&["get", "events.events.k8s.io", "-o=jsonpath={.items[*].reason}"]);
        if told.contains("AbortedByPerson") { Ok(()) } else { Err(told) }
    });

    // It lets go of what is deleted, and of its Lease.
    shop.kubectl(&["delete", "hro", "checkout", "--timeout=60s"]);
    let holder =
        || shows(&cluster.admin().within(HOME), ["lease", "haldane"], "{.spec.holderIdentity}");
    assert_eq!(holder(), "haldane-0");
    engine.stop();
    assert_eq!(holder(), "");

    let asked = cluster.requests_of(ENGINE);
    let refused: BTreeSet<String> = asked
        .iter()
        .filter(|request| request.code == Some(403))
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}\n{}", engine.log());
    assert!(asked.len() > 50, "only {} requests were seen", asked.len());
}
