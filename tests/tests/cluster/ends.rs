//! A server that goes and comes back, one beside another, and that nothing is left of any.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use haldane_tests::{
    cluster::{Cluster, Options, shared},
    process::wait_for,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{ListParams, PostParams},
};

use super::{PATIENCE, code, config_map, config_maps};

#[tokio::test]
async fn a_server_that_was_down_comes_back_with_its_objects_on_the_same_port() {
    let own = shared().beside("down", Options::BARE);
    let namespace = own.namespace("kept");
    let maps = config_maps(own.admin(), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    let token = own.account(&namespace, "engine");

    own.crash();
    assert!(maps.get("here").await.is_err(), "nobody answers");
    own.resume();
    assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "value");
    let told = config_maps(&token, &namespace).get("here").await;
    assert_eq!(code(told), 403, "the token is still known, and has no rights");

    own.signal("STOP");
    let asked = tokio::time::timeout(Duration::from_secs(1), maps.get("here")).await;
    assert!(asked.is_err(), "{asked:?}");
    own.signal("CONT");
    maps.get("here").await.unwrap();
}

#[tokio::test]
async fn a_second_cluster_has_its_own_objects_and_its_own_authority() {
    let west = shared().beside("west", Options::BARE);
    let namespace = shared().namespace("east");
    let account = shared().account(&namespace, "engine");
    let namespaces: Api<Namespace> = Api::all(west.admin().client());
    assert!(namespaces.get_opt(&namespace).await.unwrap().is_none());
    let stranger = config_maps(&account.at(&west.url()), "default");
    let told = stranger.list(&ListParams::default()).await;
    assert!(!matches!(told, Ok(_) | Err(kube::Error::Api(_))), "not even the question is asked");
}

// === the end ===

/// The processes that carry a folder in their arguments.
fn processes_of(folder: &Path) -> usize {
    let is_named = |entry: &fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(folder.to_str().unwrap())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(is_named).count()
}

#[test]
fn a_cluster_that_is_dropped_leaves_no_process_and_no_file() {
    let own = Cluster::start(Options::BARE);
    let folder = own.admin().path().parent().unwrap().to_owned();
    assert!(folder.exists());
    assert!(processes_of(&folder) >= 2, "the server and its guard");
    drop(own);
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), 0);
}

/// Starts the program of `make cluster` and returns it with the folder that it works in.
fn for_a_person() -> (Child, PathBuf) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .arg("bare")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let kubeconfig =
        lines.find_map(|line| line.unwrap().strip_prefix("export KUBECONFIG=").map(PathBuf::from));
    let kubeconfig = kubeconfig.expect("it says where the kubeconfig is");
    std::thread::spawn(move || lines.for_each(drop));
    (program, kubeconfig.parent().unwrap().to_owned())
}

#[test]
fn an_interrupt_stops_and_removes_what_a_person_started() {
    let (mut program, folder) = for_a_person();
    assert!(processes_of(&folder) >= 2);
    let id = program.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(program.wait().unwrap().success());
    wait_for("all is gone", PATIENCE, || processes_of(&folder) == 0 && !folder.exists());
}

#[test]
fn a_cluster_ends_with_its_test_even_where_that_is_killed() {
    let (mut program, folder) = for_a_person();
    assert!(processes_of(&folder) >= 2);
    program.kill().unwrap();
    program.wait().unwrap();
    wait_for("all is gone", PATIENCE, || processes_of(&folder) == 0 && !folder.exists());
}
