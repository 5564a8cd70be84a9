//! Secrets that a rollout names: read in its own namespace alone, used, and never shown.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use haldane_tests::operator::{Shop, Start, cluster, let_secrets_be_read};
use serde_json::{Value, json};

/// The one that opens the door.
const OWN: &str = "s3cr3t-token";
/// What lies under the same name in another namespace.
const OTHER: &str = "0ther-token";

/// Stands before Prometheus: lets in who shows the token, and keeps what everybody showed.
struct Door {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<String>>>,
}

// === impl Door ===

impl Door {
    /// Serves until the process ends.
    fn before(prometheus: &str) -> Self {
        let upstream = prometheus.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = shown.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (upstream, kept) = (upstream.clone(), kept.clone());
                // A client that goes away is none of the door's business.
                std::thread::spawn(move || pass(stream, &upstream, &kept).ok());
            }
        });
        Self { address, shown }
    }

    fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }
}

/// Carries one request, and ends its connection.
fn pass(mut client: TcpStream, upstream: &str, shown: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length, mut bears) = (String::new(), 0, String::new());
    reader.read_line(&mut head)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match &*name.to_ascii_lowercase() {
            "authorization" => value.trim().clone_into(&mut bears),
            "connection" => {}
            "content-length" => {
                length = value.trim().parse().unwrap();
                head.push_str(&line);
            }
            _ => head.push_str(&line),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let is_let_in = bears == format!("Bearer {OWN}");
    shown.lock().unwrap().push(bears);
    if !is_let_in {
        return client.write_all(
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut client)?;
    Ok(())
}

fn secret(token: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prom"}, "stringData": {"token": token}})
}

/// A rollout that is judged behind the door.
fn rollout(shop: &Shop, door: &Door, reference: &Value) -> Value {
    let prometheus =
        json!({"url": format!("http://{}", door.address), "bearer": {"secretKeyRef": reference}});
    shop.rollout(json!({"analysis": {"interval": "1s", "sources": [{"name": "main", "prometheus": prometheus}],
        "checks": [{"name": "badness", "query": {"promql": "badness", "max": "1"}}]}}))
}

#[test]
fn a_secret_of_another_namespace_is_not_read_and_one_of_its_own_is_never_shown() {
    let shop = Shop::open("secrets");
    let elsewhere = cluster().namespace("elsewhere");
    // The engine may read both: what keeps it from the other one is not its rights.
    for namespace in [&shop.namespace, &elsewhere] {
        let_secrets_be_read(namespace);
    }
    cluster().apply(&elsewhere, &secret(OTHER).to_string());
    let door = Door::before(shop.prometheus_url());
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let access = start.access.at(&proxy.url());
    let namespaces = vec![shop.namespace.clone(), elsewhere.clone()];
    let mut operator = Start { access, namespaces, ..start }.start();
    let own = json!({"name": "prom", "key": "token"});
    shop.apply(&rollout(&shop, &door, &own));
    shop.wait_healthy("blue");
    shop.deploy("green", "v2");
    shop.wait("what is missing is named", |status| {
        let told = status.to_string();
        told.contains("the Secret prom") && told.contains("not found")
    });
    assert_eq!(shop.share(), 0);
    assert_eq!(door.shown(), [""; 0], "nothing is asked without it");
    // No words of a rollout reach into another namespace.
    for (reference, why) in [
        (json!({"name": "prom", "key": "token", "namespace": elsewhere}), "namespace"),
        (json!({"name": format!("../../{elsewhere}/secrets/prom"), "key": "token"}), "name"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rollout.json");
        std::fs::write(&file, rollout(&shop, &door, &reference).to_string()).unwrap();
        let access = cluster().admin().within(&shop.namespace);
        let told = access.try_kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]);
        let told = told.expect_err("it is refused");
        assert!(told.contains(why), "{told}");
    }
    shop.apply(&secret(OWN));
    shop.wait_healthy("green");
    operator.stop();
    let shown = door.shown();
    assert!(shown.len() > 5, "it was judged by what the token opens: {shown:?}");
    assert!(shown.iter().all(|one| *one == format!("Bearer {OWN}")), "{shown:?}");
    let asked = proxy.seen().into_iter().filter_map(|seen| {
        let path = seen.target.split('?').next()?;
        let is_of_secrets = path.ends_with("/secrets") || path.contains("/secrets/");
        is_of_secrets.then(|| format!("{} {path}", seen.method))
    });
    let asked: BTreeSet<String> = asked.collect();
    let only = format!("GET /api/v1/namespaces/{}/secrets/prom", shop.namespace);
    assert_eq!(asked, BTreeSet::from([only]));
    let told = shop.kubectl(&["get", "hro,har,events", "-o=yaml"]);
    for text in [operator.log(), told] {
        for word in [OWN, OTHER, "czNjcjN0LXRva2Vu", "MHRoZXItdG9rZW4"] {
            assert!(!text.contains(word), "{word} is shown: {text}");
        }
    }
}
