//! The store against what machines do: kill -9, a second process, a disk that is full or read-only.
//!
//! The other process is this test binary again, told by its environment what to do.

#![allow(clippy::unwrap_used, reason = "every function of a suite is a test or a part of one")]

use std::{
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use haldane_model::RolloutId;
use haldane_standalone::store::{OpenError, Options, Page, Store, StoredEntry, Swap, Write};
use haldane_tests::process::{Server, wait_for};
use tempfile::TempDir;

const PART: &str = "HALDANE_STORE_PART";
const DIR: &str = "HALDANE_STORE_DIR";
const PATIENCE: Duration = Duration::from_secs(20);
/// How many journal entries each write of [`write`] has.
const ENTRIES: u64 = 3;

fn id() -> RolloutId {
    RolloutId::new("shop", "checkout")
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &Options::default()).unwrap()
}

/// The write that makes `version`: every page of the record tells which one.
fn write(version: u64, term: u64, size: usize) -> Write {
    let entry = |at| {
        let id = (version - 1) * ENTRIES + at;
        StoredEntry { id, at_ms: 0, json: version.to_be_bytes().to_vec() }
    };
    Write {
        expect_version: version - 1,
        version,
        term,
        record: version.to_be_bytes().repeat(size / 8),
        header: version.to_be_bytes().to_vec(),
        entries: (1..=ENTRIES).map(entry).collect(),
        trace: Vec::new(),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Told by its environment: what the other process of a test does. Not told: the least that each of
/// them relies on.
#[test]
fn what_one_process_wrote_is_whole() {
    let (Ok(part), Some(dir)) = (env::var(PART), env::var_os(DIR)) else {
        let dir = TempDir::new().unwrap();
        let mut store = open(dir.path());
        assert_eq!(store.swap(&id(), &write(1, store.term(), 8)), Swap::Won);
        return assert_whole(&store, 1);
    };
    let dir = Path::new(&dir);
    match part.as_str() {
        "write" => write_for_ever(dir),
        "fill" => fill(dir),
        "open" => match Store::open(dir, &Options::default()) {
            Ok(_) => say("opened"),
            Err(error) => say(&format!("refused: {error}")),
        },
        other => panic!("no such part: {other}"),
    }
}

fn write_for_ever(dir: &Path) {
    let mut store = open(dir);
    let mut version = store.load(&id()).unwrap().map_or(0, |stored| stored.version);
    loop {
        version += 1;
        assert_eq!(store.swap(&id(), &write(version, store.term(), 40_000)), Swap::Won);
        say(&format!("won {version}"));
    }
}

/// Writes until the disk is full, makes room, and writes again.
fn fill(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 300_000]).unwrap();
    let mut store = open(dir);
    let term = store.term();
    let mut version = 0;
    let message = loop {
        match store.swap(&id(), &write(version + 1, term, 40_000 * (1 + version as usize))) {
            Swap::Won => version += 1,
            Swap::Unknown(message) => break message,
            odd @ (Swap::Stale | Swap::Superseded { .. }) => panic!("{odd:?}"),
        }
    };
    say(&format!("unknown: {message}"));
    assert_whole(&store, version);
    fs::remove_file(ballast).unwrap();
    assert_eq!(store.swap(&id(), &write(version + 1, term, 8)), Swap::Won);
    assert_whole(&store, version + 1);
    say("won again");
}

/// The record, its header and the journal are all of one version.
#[track_caller]
fn assert_whole(store: &Store, version: u64) {
    let stored = store.load(&id()).unwrap().unwrap();
    assert_eq!(stored.version, version);
    let tag = version.to_be_bytes();
    assert_eq!(stored.header, tag);
    assert!(stored.bytes.chunks(8).all(|chunk| chunk == tag), "a record of two versions");
    let newest = store.history(&id(), Page::Newest, ENTRIES as usize).unwrap();
    assert_eq!(newest[0].id, version * ENTRIES);
    assert!(newest.iter().all(|entry| entry.json == tag), "a journal of another version");
}

/// The arguments of `env` that run one part in another process.
fn arguments(part: &str, dir: &Path) -> Vec<String> {
    let exe = env::current_exe().unwrap();
    let mut all = vec![format!("{PART}={part}"), format!("{DIR}={}", dir.display())];
    all.push(exe.display().to_string());
    all.extend(["--exact", "what_one_process_wrote_is_whole", "--nocapture"].map(str::to_owned));
    all
}

/// Runs one part to its end, after a shell command in a mount namespace of its own.
fn in_own_mounts(setup: &str, part: &str, dir: &Path) -> Output {
    let script = format!("set -e; {setup}; exec env \"$@\"");
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .args(arguments(part, dir))
        .output()
        .expect("unshare (util-linux) must be installed")
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "needs root or user namespaces\n{text}\n{errors}");
    text
}

/// The last version that the writer was told it had won.
fn last_won(log: &Path) -> u64 {
    let text = fs::read_to_string(log).unwrap_or_default();
    let won = text.lines().filter_map(|line| line.rsplit_once("won ")?.1.parse().ok());
    won.max().unwrap_or(0)
}

#[test]
fn a_kill_leaves_the_old_record_or_the_new_one_and_never_half_of_either() {
    let dir = TempDir::new().unwrap();
    let logs = TempDir::new().unwrap();
    let mut before = 0;
    for round in 0..12 {
        let log = logs.path().join(round.to_string());
        let mut writer = Server::start("env", &arguments("write", dir.path()), &log);
        wait_for("a won write", PATIENCE, || last_won(&log) > before);
        // The kill falls at another point of a write in each round.
        thread::sleep(Duration::from_micros(1_700 * round));
        writer.kill();
        let won = last_won(&log);
        let store = open(dir.path());
        let version = store.load(&id()).unwrap().unwrap().version;
        assert!(version >= won && version <= won + 1, "won {won}, stored {version}");
        assert_whole(&store, version);
        before = version;
    }
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_id_until_that_is_gone() {
    let dir = TempDir::new().unwrap();
    let logs = TempDir::new().unwrap();
    let log = logs.path().join("log");
    let mut writer = Server::start("env", &arguments("write", dir.path()), &log);
    wait_for("a won write", PATIENCE, || last_won(&log) > 0);
    let error = Store::open(dir.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}:", writer.id())), "{error}");
    writer.kill();
    open(dir.path());
}

#[test]
fn a_full_disk_loses_nothing_names_the_remedy_and_goes_on_once_there_is_room() {
    let dir = TempDir::new().unwrap();
    let mount = format!("mount -t tmpfs -o size=1m tmpfs {}", dir.path().display());
    let text = said(&in_own_mounts(&mount, "fill", dir.path()));
    assert!(text.contains(&format!("free space in {}", dir.path().display())), "{text}");
    assert!(text.contains("won again"), "{text}");
}

#[test]
fn a_read_only_disk_is_refused_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let path = dir.path().display();
    let mount = format!("mount --bind {path} {path}; mount -o remount,bind,ro {path}");
    let text = said(&in_own_mounts(&mount, "open", dir.path()));
    assert!(text.contains("refused: cannot open"), "{text}");
    assert!(text.contains("haldane --state DIR"), "{text}");
}
