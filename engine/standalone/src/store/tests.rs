//! What the store promises, claim by claim; on real files.

use std::{fs, path::Path, sync::mpsc, time::Duration};

use haldane_model::RolloutId;
use tempfile::TempDir;

use super::{database::SIZED_EVERY, *};

fn id() -> RolloutId {
    RolloutId::new("shop", "checkout")
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &Options::default()).unwrap()
}

fn entry(id: u64) -> StoredEntry {
    StoredEntry { id, at_ms: 1_000 * i64::try_from(id).unwrap(), json: vec![b'j'; 3] }
}

/// The write that makes version `version`, with the entry of the same number.
fn write(version: u64, term: u64) -> Write {
    Write {
        expect_version: version - 1,
        version,
        term,
        record: format!("record {version}").into_bytes(),
        header: b"header".to_vec(),
        entries: vec![entry(version)],
        trace: format!("batch {version}").into_bytes(),
    }
}

fn ids(entries: &[StoredEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id).collect()
}

#[track_caller]
fn unknown(swap: Swap) -> String {
    match swap {
        Swap::Unknown(message) => message,
        Swap::Won | Swap::Stale | Swap::Superseded { .. } => panic!("not unknown: {swap:?}"),
    }
}

#[test]
fn a_won_record_is_there_after_the_next_opening() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    assert_eq!(store.load(&id()).unwrap(), None);
    assert_eq!(store.swap(&id(), &write(1, 1)), Swap::Won);
    drop(store);
    let store = open(dir.path());
    let stored = store.load(&id()).unwrap().unwrap();
    assert_eq!((stored.version, stored.term), (1, 1));
    assert_eq!((stored.bytes, stored.header), (b"record 1".to_vec(), b"header".to_vec()));
    assert_eq!(store.list().unwrap(), [Listed { id: id(), version: 1 }]);
}

#[test]
fn every_opening_has_a_higher_term_and_an_older_one_is_superseded() {
    let dir = TempDir::new().unwrap();
    assert_eq!(open(dir.path()).term(), 1);
    let mut store = open(dir.path());
    assert_eq!(store.term(), 2);
    assert_eq!(store.swap(&id(), &write(1, 1)), Swap::Superseded { term: 2 });
    assert_eq!(store.next_term().unwrap(), 3);
    assert_eq!(store.swap(&id(), &write(1, 2)), Swap::Superseded { term: 3 });
    assert_eq!(store.swap(&id(), &write(1, 3)), Swap::Won);
}

#[test]
fn another_version_is_stale_and_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    assert_eq!(store.swap(&id(), &write(2, 1)), Swap::Stale);
    assert_eq!(store.swap(&id(), &write(1, 1)), Swap::Won);
    assert_eq!(store.swap(&id(), &write(1, 1)), Swap::Stale);
    assert_eq!(ids(&store.history(&id(), Page::Newest, 9).unwrap()), [1]);
}

#[test]
fn a_second_engine_is_refused_with_the_process_that_has_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("--state"), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_swap_that_fails_half_way_leaves_the_old_record_whole() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.swap(&id(), &write(1, 1));
    // The second entry's id is taken: the record and the first entry were already put.
    let mut half = write(2, 1);
    half.entries.push(entry(1));
    unknown(store.swap(&id(), &half));
    assert_eq!(store.load(&id()).unwrap().unwrap().bytes, b"record 1");
    assert_eq!(ids(&store.history(&id(), Page::Newest, 9).unwrap()), [1]);
    assert_eq!(store.swap(&id(), &write(2, 1)), Swap::Won);
}

#[test]
fn a_full_disk_is_unknown_names_the_remedy_and_leaves_the_old_record() {
    let dir = TempDir::new().unwrap();
    let options = Options { pages_max: Some(16), ..Options::default() };
    let mut store = Store::open(dir.path(), &options).unwrap();
    assert_eq!(store.swap(&id(), &write(1, 1)), Swap::Won);
    let big = Write { record: vec![0; 1 << 20], ..write(2, 1) };
    let message = unknown(store.swap(&id(), &big));
    assert!(message.contains(&format!("free space in {}", dir.path().display())), "{message}");
    assert_eq!(store.load(&id()).unwrap().unwrap().version, 1);
    assert_eq!(store.swap(&id(), &write(2, 1)), Swap::Won);
}

#[test]
fn a_store_that_became_read_only_is_unknown_and_names_the_remedy() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.forbid_writing();
    let message = unknown(store.swap(&id(), &write(1, 1)));
    assert!(message.contains("haldane --state"), "{message}");
}

#[test]
fn a_corrupt_file_is_reported_with_the_remedy_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("haldane.db");
    let noise = vec![b'x'; 8_192];
    fs::write(&path, &noise).unwrap();
    let error = Store::open(dir.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("haldane.db away; the split in the data plane is read back"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), noise);
}

#[test]
fn damage_within_the_file_is_found_at_the_opening() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    for version in 1..=200 {
        store.swap(&id(), &write(version, 1));
    }
    drop(store);
    let path = dir.path().join("haldane.db");
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[4_096..] {
        *byte = 0xA5;
    }
    fs::write(&path, bytes).unwrap();
    let error = Store::open(dir.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_file_of_a_newer_engine_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("haldane.db");
    let other = rusqlite::Connection::open(path).unwrap();
    other.pragma_update(None, "user_version", 9).unwrap();
    drop(other);
    let error = Store::open(dir.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error:?}");
}

#[test]
fn the_oldest_entries_are_dropped_and_the_journal_says_since_when_it_is_complete() {
    let dir = TempDir::new().unwrap();
    let options = Options { entries_max: 5, ..Options::default() };
    let mut store = Store::open(dir.path(), &options).unwrap();
    for version in 1..=5 {
        store.swap(&id(), &write(version, 1));
    }
    assert_eq!(store.complete_since(&id()).unwrap(), None);
    for version in 6..=8 {
        store.swap(&id(), &write(version, 1));
    }
    assert_eq!(ids(&store.history(&id(), Page::Newest, 99).unwrap()), [8, 7, 6, 5, 4]);
    assert_eq!(ids(&store.history(&id(), Page::Before(7), 2).unwrap()), [6, 5]);
    assert_eq!(ids(&store.history(&id(), Page::After(6), 99).unwrap()), [7, 8]);
    assert_eq!(store.complete_since(&id()).unwrap().unwrap().as_millisecond(), 3_000);
}

#[test]
fn a_deleted_rollout_leaves_nothing_and_others_alone() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let other = RolloutId::new("shop", "cart");
    store.swap(&id(), &write(1, 1));
    store.swap(&other, &write(1, 1));
    store.delete(&id()).unwrap();
    store.delete(&id()).unwrap();
    assert_eq!(store.load(&id()).unwrap(), None);
    assert!(store.history(&id(), Page::Newest, 9).unwrap().is_empty());
    assert_eq!(store.list().unwrap(), [Listed { id: other, version: 1 }]);
}

#[tokio::test]
async fn a_hung_disk_blocks_its_thread_alone_and_a_call_given_up_is_not_done() {
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);
    let dir = TempDir::new().unwrap();
    let handle = StoreHandle::start(open(dir.path())).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let hung = handle.clone();
    let hang = tokio::spawn(async move { hung.ask(LONG, move |_| released.recv()).await });
    tokio::time::sleep(SHORT).await;
    let message = unknown(handle.swap(&id(), write(1, 1), SHORT).await);
    assert!(message.contains("did not answer within 50ms"), "{message}");
    assert!(handle.load(&id(), SHORT).await.is_err());
    release.send(()).unwrap();
    hang.await.unwrap().unwrap().unwrap();
    assert_eq!(handle.load(&id(), LONG).await.unwrap(), None);
    assert_eq!(handle.swap(&id(), write(1, 1), LONG).await, Swap::Won);
    assert_eq!(handle.list(LONG).await.unwrap().len(), 1);
    handle.delete(&id(), LONG).await.unwrap();
    assert!(handle.history(&id(), Page::Newest, 9, LONG).await.unwrap().is_empty());
    assert_eq!(handle.complete_since(&id(), LONG).await.unwrap(), None);
}

#[test]
fn a_trace_is_read_batch_by_batch_keeps_the_newest_and_goes_with_its_rollout() {
    let dir = TempDir::new().unwrap();
    let options = Options { batches_max: 3, ..Options::default() };
    let mut store = Store::open(dir.path(), &options).unwrap();
    for version in 1..=5 {
        assert_eq!(store.swap(&id(), &write(version, 1)), Swap::Won);
    }
    let nothing = Write { trace: Vec::new(), ..write(6, 1) };
    assert_eq!(store.swap(&id(), &nothing), Swap::Won, "most progress takes nothing in");
    let versions = |after, limit| {
        let batches = store.trace(&id(), after, limit).unwrap();
        batches.iter().map(|batch| batch.version).collect::<Vec<_>>()
    };
    assert_eq!((versions(0, 2), versions(4, 10)), (vec![3, 4], vec![5]));
    assert_eq!(store.trace(&id(), 4, 1).unwrap()[0].bytes, b"batch 5");
    store.delete(&id()).unwrap();
    assert!(store.trace(&id(), 0, 10).unwrap().is_empty());
}

#[test]
fn large_batches_are_dropped_by_their_size_and_read_a_few_at_a_time() {
    let dir = TempDir::new().unwrap();
    let options = Options { trace_bytes_max: 1_000_000, ..Options::default() };
    let mut store = Store::open(dir.path(), &options).unwrap();
    let large = |version| Write { trace: vec![b't'; 100_000], ..write(version, 1) };
    for version in 1..=100 {
        assert_eq!(store.swap(&id(), &large(version)), Swap::Won);
    }
    let kept = store.trace(&id(), 0, 200).unwrap();
    let bytes: usize = kept.iter().map(|batch| batch.bytes.len()).sum();
    let most = 1_000_000 + 100_000 * usize::try_from(SIZED_EVERY).unwrap();
    assert!(bytes <= most, "{bytes} bytes are kept");
    assert_eq!(kept.last().unwrap().version, 100, "the newest are kept");
    let huge = |version| Write { trace: vec![b't'; 5 << 20], ..write(version, 1) };
    for version in 101..=103 {
        assert_eq!(store.swap(&id(), &huge(version)), Swap::Won);
    }
    let mut read = Vec::new();
    while let page = store.trace(&id(), read.last().copied().unwrap_or(100), 20).unwrap()
        && !page.is_empty()
    {
        assert!(page.len() < 3, "{} batches of 5 MiB at once", page.len());
        read.extend(page.iter().map(|batch| batch.version));
    }
    assert_eq!(read, [101, 102, 103], "page by page all are read");
}
