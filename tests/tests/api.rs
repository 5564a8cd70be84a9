//! The local API against real loops: what it shows, what it takes, and what it keeps out.

#![allow(clippy::unwrap_used, reason = "a suite: what is not there fails it")]

mod desk;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use desk::{Rig, cart, checkout};
use haldane_api::{Ask, Client, ClientError, Error, Listener, Server};
use haldane_model::Reason;
use haldane_runtime::{replay::replay, trace::Packed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Sends bytes as they are, and returns the status and the body.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> (u16, String) {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    read.await.expect("an answer in time").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

async fn get(socket: &Path, path: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let stream = UnixStream::connect(socket).await.unwrap();
    let (status, body) = exchange(stream, request.as_bytes()).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn post_text(path: &str, body: &str, headers: &str) -> String {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len}\r\n{headers}\r\n{body}"
    )
}

async fn ask(socket: &Path, name: &str, body: Value) -> (u16, Value) {
    let path = format!("/v1/rollouts/default/{name}/requests");
    let stream = UnixStream::connect(socket).await.unwrap();
    let (status, body) = exchange(stream, post_text(&path, &body.to_string(), "").as_bytes()).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

// === showing ===

#[tokio::test(flavor = "multi_thread")]
async fn every_rollout_is_shown_with_its_journal_and_plan() {
    let rig = Rig::start().await;
    let (status, list) = get(&rig.socket(), "/v1/rollouts").await;
    assert_eq!((status, list["rollouts"][1]["rollout"].as_str()), (200, Some("default/checkout")));
    let (_, one) = get(&rig.socket(), "/v1/rollouts/default/checkout").await;
    assert_eq!((one["phase"].as_str(), one["revision"].as_str()), (Some("Healthy"), Some("2.4.1")));
    let (_, page) = get(&rig.socket(), "/v1/rollouts/default/cart/journal?after=1&limit=1").await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!(page["entries"][0]["reason"], "Breach");
    assert!(page["entries"][0]["sentence"].as_str().unwrap().contains("5.2 %"), "{page}");
    assert!(page["completeSince"].is_string());
    let (_, plan) = get(&rig.socket(), "/v1/rollouts/default/checkout/plan").await;
    assert_eq!(plan["spec"]["watch"], "1h");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_with_what_is() {
    let rig = Rig::start().await;
    let (status, body) = get(&rig.socket(), "/v1/rollouts/default/nope").await;
    assert_eq!(status, 404);
    assert!(body["error"].as_str().unwrap().contains("default/nope"), "{body}");
    assert!(body["remedy"].as_str().unwrap().contains("default/checkout"), "{body}");
    assert_eq!(get(&rig.socket(), "/v1/rollouts/default/cart/plan").await.0, 404);
    assert_eq!(get(&rig.socket(), "/v2").await.0, 404);
    assert_eq!(get(&rig.socket(), "/v1/rollouts/default/cart/requests").await.0, 405);
    let (status, body) = get(&rig.socket(), "/v1/rollouts/default/cart/journal?afer=1").await;
    assert_eq!(status, 400);
    assert!(body["error"].as_str().unwrap().contains("afer"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_waited_for_until_it_changes() {
    let rig = Rig::start().await;
    let client = Client::unix(rig.socket());
    let first = client.wait(&checkout(), None, Duration::from_secs(20)).await.unwrap();
    let begin = Instant::now();
    let same = client.wait(&checkout(), Some(&first.version), Duration::from_secs(1)).await;
    assert_eq!(same.unwrap().version, first.version);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());

    let begin = Instant::now();
    let (waiter, since) = (client.clone(), first.version.clone());
    let waiting = tokio::spawn(async move {
        waiter.wait(&checkout(), Some(&since), Duration::from_secs(20)).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(client.request(&checkout(), &Ask::new("pause")).await.unwrap().is_accepted());
    let next = waiting.await.unwrap().unwrap();
    assert_eq!(next.status.phase, "Paused");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_in_is_read_page_by_page_and_decides_the_same_again() {
    let rig = Rig::start().await;
    let client = Client::unix(rig.socket());
    for verb in ["pause", "resume"] {
        assert!(client.request(&checkout(), &Ask::new(verb)).await.unwrap().is_accepted());
    }
    let first = client.trace(&checkout(), 0, 1).await.unwrap();
    assert_eq!(first.len(), 1);
    let rest = client.trace(&checkout(), first[0].version, 20).await.unwrap();
    assert!(rest.iter().all(|batch| batch.version > first[0].version), "{rest:?}");
    let batches: Vec<_> = first.iter().chain(&rest).map(Packed::unpack).collect();
    let again = replay(&batches);
    assert_eq!(again.differences, Vec::<String>::new());
    let decided: Vec<_> = again.decisions.iter().map(|one| one.entry.reason).collect();
    assert!(decided.contains(&Reason::PausedByPerson), "{decided:?}");
    assert!(decided.contains(&Reason::Resumed), "{decided:?}");
    let (status, body) = get(&rig.socket(), "/v1/rollouts/default/cart/trace?before=1").await;
    assert_eq!(status, 400, "{body}");
}

// === asking ===

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_names_who_asks_and_the_journal_keeps_it() {
    let rig = Rig::start().await;
    let body = json!({"verb": "pause", "reason": "lunch", "requestedBy": "somebody else"});
    let (status, answer) = ask(&rig.socket(), "checkout", body).await;
    assert_eq!((status, answer["outcome"].as_str()), (200, Some("accepted")));
    let actor = answer["actor"].as_str().unwrap();
    assert!(actor == "root" || actor.starts_with("uid "), "{actor}");
    let (_, page) = get(&rig.socket(), "/v1/rollouts/default/checkout/journal?after=3").await;
    let told = page["entries"][0]["sentence"].as_str().unwrap();
    assert!(told.contains(actor) && told.contains("lunch"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_request_is_refused_naming_what_is_current() {
    let rig = Rig::start().await;
    let body = json!({"verb": "undo", "revision": "2.3.9"});
    let (status, answer) = ask(&rig.socket(), "checkout", body).await;
    assert_eq!((status, answer["outcome"].as_str()), (409, Some("refused")));
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("2.3.9") && reason.contains("2.4.1"), "{reason}");
    let (status, answer) = ask(&rig.socket(), "checkout", json!({"verb": "abort"})).await;
    assert_eq!(status, 409);
    assert!(answer["reason"].as_str().unwrap().contains("haldane undo"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_the_same_request() {
    let rig = Rig::start().await;
    let pause = json!({"id": "one", "verb": "pause"});
    assert_eq!(ask(&rig.socket(), "checkout", pause.clone()).await.0, 200);
    assert_eq!(ask(&rig.socket(), "checkout", json!({"verb": "resume"})).await.0, 200);
    assert_eq!(ask(&rig.socket(), "checkout", pause).await.0, 200);
    let (_, one) = get(&rig.socket(), "/v1/rollouts/default/checkout").await;
    assert_eq!(one["phase"], "Healthy", "a repeated pause does not pause again");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_bodies_are_refused() {
    let rig = Rig::start().await;
    let (status, body) = ask(&rig.socket(), "cart", json!({"verb": "pause", "forse": true})).await;
    assert_eq!((status, body["field"].as_str()), (400, Some("forse")));
    assert!(body["remedy"].as_str().unwrap().contains("requestedBy"), "{body}");
    let (status, _) = ask(&rig.socket(), "cart", json!(["pause"])).await;
    assert_eq!(status, 400);
    let long = json!({"verb": "pause", "reason": "x".repeat(70_000)});
    let (status, body) = ask(&rig.socket(), "cart", long).await;
    assert_eq!(status, 413, "{body}");
}

// === limits ===

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_closed_and_do_not_keep_others_out() {
    let rig = Rig::start().await;
    let begin = Instant::now();
    let (head, body) = (rig.socket(), rig.socket());
    let head = tokio::spawn(async move {
        let stream = UnixStream::connect(head).await.unwrap();
        exchange(stream, b"GET /v1/version HTTP/1.1\r\nhost: loc").await
    });
    let body = tokio::spawn(async move {
        let stream = UnixStream::connect(body).await.unwrap();
        let part = "POST /v1/rollouts/default/cart/requests HTTP/1.1\r\nhost: localhost\r\n\
            content-length: 50\r\n\r\n{\"verb\"";
        exchange(stream, part.as_bytes()).await
    });
    assert_eq!(get(&rig.socket(), "/v1/version").await.0, 200);
    assert_ne!(head.await.unwrap().0, 200);
    assert_eq!(body.await.unwrap().0, 408);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_at_once() {
    let rig = Rig::start().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(UnixStream::connect(rig.socket()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut stream = UnixStream::connect(rig.socket()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("try again"), "{answer}");
    drop(idle);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(get(&rig.socket(), "/v1/version").await.0, 200);
}

// === sockets ===

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_for_its_owner_and_goes_with_its_server() {
    let mut rig = Rig::start().await;
    let mode = fs::metadata(rig.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = Client::unix(rig.socket());
    let first = client.wait(&checkout(), None, Duration::ZERO).await.unwrap();
    let waiting = tokio::spawn(async move {
        client.wait(&checkout(), Some(&first.version), Duration::from_secs(20)).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    rig.token.cancel();
    rig.server.take().unwrap().await.unwrap();
    assert!(waiting.await.unwrap().is_ok(), "whoever waits is answered");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!rig.socket().exists());
    assert_eq!(fs::read_dir(rig.folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let rig = Rig::start().await;
    let taken = Server::bind(Listener::Unix(rig.socket())).await.unwrap_err();
    assert!(matches!(taken, Error::Taken(_)), "{taken}");
    assert_eq!(get(&rig.socket(), "/v1/version").await.0, 200);

    let dead = rig.folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    fs::create_dir(rig.folder.path().join(format!(".h{}", std::process::id()))).unwrap();
    assert!(Server::bind(Listener::Unix(dead)).await.is_ok(), "a crash leaves nothing in the way");

    let file = rig.folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let refused = Server::bind(Listener::Unix(file.clone())).await.unwrap_err();
    assert!(matches!(refused, Error::NoSocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    let long = rig.folder.path().join("x".repeat(120));
    let long = Server::bind(Listener::Unix(long)).await.unwrap_err();
    assert!(matches!(long, Error::TooLong(_)), "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_client_says_how_to_start_one() {
    let client = Client::unix("/nowhere/haldane.sock");
    let error = client.list().await.unwrap_err();
    assert!(matches!(error, ClientError::NoEngine { .. }), "{error}");
    assert_eq!(error.to_string(), "no engine is running on /nowhere/haldane.sock");
    let remedy = error.remedy().unwrap();
    assert!(remedy.contains("haldane run") && remedy.contains("haldane serve"), "{remedy}");
}

// === tcp ===

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_only_the_token_opens_and_names_are_claims() {
    let rig = Rig::start().await;
    let token_file = rig.folder.path().join("token");
    fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let addr = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::Tcp { addr, token_file: token_file.clone(), anywhere: false };
    let server = Server::bind(listener).await.unwrap();
    let addr = server.addr().unwrap();
    tokio::spawn(server.serve(rig.desk.clone(), rig.token.clone()));

    for (path, header) in [
        ("/v1/rollouts", String::new()),
        ("/v1/nope", String::new()),
        ("/v1/rollouts", format!("authorization: Bearer {}x\r\n", &TOKEN[1..])),
        ("/v1/rollouts", format!("authorization: Bearer {}\r\n", &TOKEN[1..])),
        ("/v1/rollouts", format!("authorization: Basic {TOKEN}\r\n")),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
        let stream = TcpStream::connect(addr).await.unwrap();
        let answer = exchange(stream, request.as_bytes()).await;
        assert_eq!(answer, (401, String::new()), "{path} {header}");
    }

    let client = Client::tcp(&format!("http://{addr}"), &token_file).unwrap();
    assert_eq!(client.list().await.unwrap().len(), 2);
    let ann = Ask { requested_by: Some("ann".to_owned()), ..Ask::new("pause") };
    assert_eq!(client.request(&cart(), &ann).await.unwrap().actor, "claimed:ann");
    let nobody = client.request(&cart(), &Ask::new("resume")).await.unwrap_err();
    assert!(nobody.to_string().contains("requestedBy"), "{nobody}");

    let old = rig.folder.path().join("old");
    fs::write(&old, TOKEN).unwrap();
    fs::write(&token_file, "fedcba9876543210fedcba9876543210").unwrap();
    let outdated = Client::tcp(&format!("http://{addr}"), &old).unwrap();
    let refused = outdated.list().await.unwrap_err();
    assert!(matches!(refused, ClientError::Unauthorized { .. }), "{refused}");
    assert!(client.list().await.is_ok(), "a new token needs no restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_without_a_token_or_beyond_loopback_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let listen = |addr: &str, anywhere| {
        let addr = addr.parse().unwrap();
        Server::bind(Listener::Tcp { addr, token_file: token_file.clone(), anywhere })
    };
    for short in [None, Some(""), Some("short\n")] {
        if let Some(text) = short {
            fs::write(&token_file, text).unwrap();
        }
        let refused = listen("127.0.0.1:0", false).await.unwrap_err();
        assert!(matches!(refused, Error::Token { .. }), "{refused}");
        assert!(refused.remedy().contains("openssl rand"), "{}", refused.remedy());
    }
    fs::write(&token_file, TOKEN).unwrap();
    let open = listen("0.0.0.0:0", false).await.unwrap_err();
    assert!(matches!(open, Error::NotLoopback(_)), "{open}");
}
