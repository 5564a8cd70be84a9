//! What breaks around a rollout and inside it: the engine is killed, its disk is full or hangs, the
//! data plane is edited by hand, dies, hangs, or loses a side. The real binary, real servers.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use haldane_model::{Block, JournalEntry, LeaseSeen, Now, Reason, Record, RolloutId};
use haldane_runtime::{Command as Asked, Core, Input, codec, ports::Stored};
use haldane_tests::rig::{Rig, Run, SOON};
use jiff::Timestamp;
use serde_json::Value;

/// What a rollback may take from the fault on, on a machine that does other things as well.
const IN_TIME: Duration = Duration::from_secs(8);

/// The spans in which an engine was alive.
#[derive(Default)]
struct Lives(Vec<(Timestamp, Timestamp)>);

impl Lives {
    /// How much of a span an engine was alive in.
    fn within(&self, from: Timestamp, to: Timestamp) -> f64 {
        let overlap = |(begin, end): &(Timestamp, Timestamp)| {
            let (begin, end) = ((*begin).max(from), (*end).min(to));
            end.duration_since(begin).as_secs_f64().max(0.0)
        };
        self.0.iter().map(overlap).sum()
    }
}

/// An engine that is killed and started again with the same command.
struct Mortal<'a> {
    rig: &'a Rig,
    rollout: Value,
    run: Run,
    born: Timestamp,
    lives: Lives,
    kills: usize,
}

impl<'a> Mortal<'a> {
    fn start(rig: &'a Rig, rollout: Value) -> Self {
        let born = Timestamp::now();
        let run = rig.run(&rollout, &[]);
        Self { rig, rollout, run, born, lives: Lives::default(), kills: 0 }
    }

    /// Kills it, and starts it again after a while.
    fn kill(&mut self, dead: Duration) {
        assert_eq!(self.run.ended(), None, "it runs until it is killed\n{}", self.run.text());
        self.run.kill();
        self.lives.0.push((self.born, Timestamp::now()));
        self.kills += 1;
        thread::sleep(dead);
        self.born = Timestamp::now();
        self.run = self.rig.run_again(&self.rig.stage.folder().join("rollout.yaml"), &[]);
    }

    fn finish(&mut self) {
        self.rig.ends(&mut self.run, 0);
        self.lives.0.push((self.born, Timestamp::now()));
    }

    /// How long each step was held by an engine that was alive, in seconds.
    fn held(&self) -> Vec<f64> {
        let journal = self.rig.journal();
        let steps = self.rollout["spec"]["steps"].as_array().map_or(0, Vec::len);
        let find = |reason: Reason, step: usize| -> &JournalEntry {
            let found = journal.iter().find(|e| e.reason == reason && e.step == Some(step));
            found.unwrap_or_else(|| panic!("{reason:?} of step {step}\n{}", self.rig.story()))
        };
        let span = |step| {
            let (from, to) = (find(Reason::StepConfirmed, step), find(Reason::StepPassed, step));
            self.lives.within(from.at, to.at)
        };
        (0..steps).map(span).collect()
    }
}

fn is_passed(rig: &Rig, step: usize) -> bool {
    rig.journal().iter().any(|e| e.reason == Reason::StepPassed && e.step == Some(step))
}

fn is_confirmed(rig: &Rig, step: usize) -> bool {
    rig.journal().iter().any(|e| e.reason == Reason::StepConfirmed && e.step == Some(step))
}

#[track_caller]
fn at_step(rig: &Rig, step: usize) {
    rig.wait_for(&format!("step {step} is confirmed"), SOON, || is_confirmed(rig, step));
}

// === the engine ===

#[test]
fn twenty_five_kills_change_nothing_but_the_time() {
    let rig = Rig::start();
    let shares = rig.stage.follow("green");
    let weights = [10, 25, 50, 100];
    let mut it = Mortal::start(&rig, rig.rollout("v2", &weights.map(|weight| (weight, "3s"))));
    let blink = Duration::ZERO;
    // Before anything was decided, and while the record is made.
    it.kill(blink);
    thread::sleep(Duration::from_millis(60));
    it.kill(blink);
    for (step, weight) in weights.iter().enumerate() {
        // The write is out, its confirmation is not.
        rig.wait_for("the raise", SOON, || shares.now() == weight * 100);
        it.kill(blink);
        // Confirmed a moment ago.
        at_step(&rig, step);
        it.kill(Duration::from_millis(300));
        // Just loaded; in the middle of the bake; at its end.
        for alive in [200, 1_200, 2_600] {
            thread::sleep(Duration::from_millis(alive));
            it.kill(Duration::from_millis(alive / 4));
        }
        // The step is done, the next raise may be on its way.
        rig.wait_for("the step is done", SOON, || is_passed(&rig, step));
        if step < 3 {
            it.kill(blink);
        }
    }
    it.finish();
    assert!(it.kills >= 25, "{} kills", it.kills);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 1_000, 2_500, 5_000, 10_000], "{}", rig.story());
    for reason in [Reason::Started, Reason::Promoted, Reason::WatchEnded] {
        assert_eq!(rig.count(reason), 1, "{reason:?} once\n{}", rig.story());
    }
    assert_eq!(rig.count(Reason::StepPassed), 4, "{}", rig.story());
    assert_eq!(rig.count(Reason::Breach) + rig.count(Reason::CanaryLost), 0, "{}", rig.story());
    for held in it.held() {
        assert!(
            held >= 3.0,
            "a step was held for {held} s of life, its bake is 3 s\n{}",
            rig.story()
        );
    }
    let ids: Vec<u64> = rig.journal().iter().map(|entry| entry.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no entry is lost");
}

#[test]
fn a_kill_late_in_a_bake_loses_fifteen_seconds_at_most_and_downtime_is_no_bake() {
    let rig = Rig::start();
    let mut it = Mortal::start(&rig, rig.rollout("v2", &[(25, "20s"), (100, "1s")]));
    at_step(&rig, 0);
    thread::sleep(Duration::from_millis(18_000));
    it.kill(Duration::from_secs(5));
    it.finish();
    let held = it.held()[0];
    assert!(held >= 20.0, "{held} s of life for a bake of 20 s\n{}", rig.story());
    // 18 s had passed; all but 15 of them may be lost, and none but those.
    assert!(held <= 20.0 + 15.0, "{held} s of life for a bake of 20 s\n{}", rig.story());
    assert!(
        held <= 18.0 + 20.0 - 10.0,
        "what was written at 15 s counts: {held} s\n{}",
        rig.story()
    );
}

#[test]
fn a_breach_while_no_engine_runs_rolls_back_as_soon_as_one_does() {
    let rig = Rig::start();
    let mut it = Mortal::start(&rig, rig.rollout("v2", &[(25, "20s"), (100, "1s")]));
    at_step(&rig, 0);
    let shares = rig.stage.follow("green");
    rig.stage.inject("green", "error_rate=0.3");
    it.kill(Duration::from_secs(3));
    let begin = Instant::now();
    rig.wait_for("the traffic is back", SOON, || shares.now() == 0);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    rig.ends(&mut it.run, 10);
}

#[test]
fn a_restarted_engine_writes_nothing_before_it_has_its_own_term() {
    let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(100), boot: 2 };
    let (mut core, _) = Core::new(RolloutId::new("default", "app"), now);
    let mut record = Record::new("green".into(), "blue".into(), 1, Now { boot: 1, ..now });
    // Something that was told and is over: the first turn has a decision to write.
    record.told.insert(Block::SplitRefused);
    let stored = Stored { version: 7, bytes: codec::encode(&record) };
    let terms = |commands: Vec<Asked>| -> Vec<u64> {
        let swaps = commands.into_iter().filter_map(|command| {
            if let Asked::Swap(request) = command { Some(request.term) } else { None }
        });
        swaps.collect()
    };
    // In the term of the one before, the store would call it superseded, and it would stop.
    assert_eq!(terms(core.handle(Input::Loaded(Ok(Some(stored))), now)), [0; 0]);
    let lease = Input::Lease(LeaseSeen::Held { term: 2 });
    assert_eq!(terms(core.handle(lease, now)), [2]);
}

// === its disk ===

/// Fills a file system to the last page.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = fs::File::create(&path).expect("a file");
    let page = [0; 4_096];
    while file.write_all(&page).is_ok() {}
    path
}

/// Starts a run whose state directory is a small file system of its own. Returns where it is to be
/// found from outside.
fn run_on_a_small_disk(rig: &Rig, rollout: &Value) -> (Run, PathBuf) {
    let state = rig.state();
    fs::create_dir_all(&state).expect("a folder");
    let file = rig.write("rollout.yaml", &format!("{rollout:#}\n"));
    let haldane = rig.command();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=6m tmpfs \"$0\" && exec \"$@\"")
        .arg(&state)
        .arg(haldane.get_program())
        .arg("run")
        .arg(file)
        .arg("--state")
        .arg(&state);
    let run = Run::start(command);
    let seen = PathBuf::from(format!("/proc/{}/root{}", run.id(), state.display()));
    rig.wait_for("the engine's own disk (this needs user namespaces)", SOON, || {
        seen.join("haldane.db").exists()
    });
    (run, seen)
}

#[test]
fn with_a_full_disk_nothing_is_raised_and_a_breach_still_goes_back_in_time() {
    let rig = Rig::start();
    let shares = rig.stage.follow("green");
    // Long enough to fill a disk in, on a machine that has much to do.
    let rollout = rig.rollout("v2", &[(25, "8s"), (50, "20s"), (100, "1s")]);
    let (mut run, disk) = run_on_a_small_disk(&rig, &rollout);
    rig.wait_for("25 %", SOON, || run.said("StepConfirmed").is_some());
    let filler = fill(&disk);
    rig.holds("25 % while the disk is full", Duration::from_secs(14), || {
        rig.stage.green_share() == Some(2_500)
    });
    let told = run.said("the record cannot be written");
    assert!(told.is_some(), "it says so\n{}", run.text());
    fs::remove_file(filler).expect("the filler goes");
    rig.wait_for_share(5_000);

    rig.wait_for("50 %", SOON, || run.text().matches("StepConfirmed").count() == 2);
    let filler = fill(&disk);
    let begin = Instant::now();
    rig.stage.inject("green", "fault=1");
    rig.wait_for("no traffic", SOON, || shares.zero_after(begin).is_some());
    let took = shares.zero_after(begin).expect("it was there") - begin;
    assert!(took < IN_TIME, "{took:?}\n{}", run.text());
    assert!(run.said("Breach").is_none(), "what is not on the disk is not told\n{}", run.text());
    rig.holds("0 %", Duration::from_secs(3), || rig.stage.green_share() == Some(0));
    fs::remove_file(filler).expect("the filler goes");
    rig.ends(&mut run, 10);
    assert!(run.said("Breach").is_some(), "told once it can be\n{}", run.text());
    assert_eq!(run.text().matches("StepConfirmed").count(), 2, "{}", run.text());
    for words in ["the record cannot be written", "the record can be written again"] {
        assert_eq!(run.text().matches(words).count(), 2, "told once each time\n{}", run.text());
    }
}

/// Locks the engine's database for as long as it is held, as a backup that hangs does.
fn lock(rig: &Rig) -> rusqlite::Connection {
    let connection =
        rusqlite::Connection::open(rig.state().join("haldane.db")).expect("a database");
    connection.busy_timeout(Duration::from_secs(5)).expect("a pragma");
    connection.execute_batch("begin exclusive").expect("the lock");
    connection
}

#[test]
fn with_a_hung_store_nothing_is_raised_and_a_breach_still_goes_back_in_time() {
    let rig = Rig::start();
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&rig.rollout("v2", &[(25, "8s"), (50, "20s"), (100, "1s")]), &[]);
    at_step(&rig, 0);
    let held = lock(&rig);
    rig.holds("25 % while the store hangs", Duration::from_secs(14), || {
        rig.stage.green_share() == Some(2_500)
    });
    assert!(run.said("the record cannot be written").is_some(), "it says so\n{}", run.text());
    let status = rig.status("app");
    assert!(status["storeTrouble"].is_string(), "{status}");
    drop(held);
    at_step(&rig, 1);

    let held = lock(&rig);
    let begin = Instant::now();
    rig.stage.inject("green", "fault=1");
    rig.wait_for("no traffic", SOON, || shares.zero_after(begin).is_some());
    let took = shares.zero_after(begin).expect("it was there") - begin;
    assert!(took < IN_TIME, "{took:?}\n{}", run.text());
    rig.holds("0 %", Duration::from_secs(3), || rig.stage.green_share() == Some(0));
    drop(held);
    rig.ends(&mut run, 10);
    assert_eq!(rig.count(Reason::Breach), 1, "{}", rig.story());
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 5_000, 0], "{}", rig.story());
}

// === the data plane ===

#[test]
fn a_hand_that_raises_is_undone_at_once_and_one_that_lowers_is_restored_after_the_guards() {
    let rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(50, "6s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    // Up: undone at once.
    rig.stage.set_by_hand(9_000);
    let begin = Instant::now();
    rig.wait_for_share(5_000);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    rig.wait_for_reason(Reason::RaiseUndone, 1);
    // Down: restored once the guards had a look, and the bake begins anew.
    rig.stage.set_by_hand(2_000);
    rig.wait_for_reason(Reason::LoweredByOther, 1);
    rig.wait_for_share(5_000);
    rig.wait_for_reason(Reason::StepConfirmed, 2);
    assert_eq!(rig.count(Reason::StepPassed), 0, "{}", rig.story());
    rig.ends(&mut run, 0);
    assert_eq!(rig.stage.green_share(), Some(10_000));
}

#[test]
fn a_rollback_by_hand_is_not_fought_until_a_person_resumes() {
    let rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(50, "6s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    rig.stage.set_by_hand(0);
    rig.wait_for_reason(Reason::Conflicted, 1);
    rig.holds("0 % stays", Duration::from_secs(8), || rig.stage.green_share() == Some(0));
    assert_eq!(rig.count(Reason::CanaryLost), 0, "{}", rig.story());
    assert_eq!(rig.status("app")["phase"], "Conflicted");
    assert_eq!(rig.haldane(&["resume", "app"]).code, Some(0));
    rig.wait_for_share(5_000);
    rig.ends(&mut run, 0);
    assert_eq!(rig.stage.green_share(), Some(10_000));
}

#[test]
fn haproxy_restarted_in_a_step_keeps_its_share_and_the_rollout_goes_on() {
    let mut rig = Rig::start();
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&rig.rollout("v2", &[(25, "6s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    thread::sleep(Duration::from_secs(1));
    rig.stage.kill_haproxy();
    rig.wait_for_reason(Reason::ProviderUnreadable, 1);
    rig.stage.start_haproxy();
    rig.ends(&mut run, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 10_000], "{}", rig.story());
    assert_eq!(rig.count(Reason::ProviderUnreadable), 1, "told once\n{}", rig.story());
}

#[test]
fn a_breach_while_haproxy_hangs_is_written_as_soon_as_it_answers() {
    let rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "20s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    rig.stage.signal_haproxy("STOP");
    rig.stage.inject("green", "fault=1");
    rig.wait_for_reason(Reason::Breach, 1);
    rig.wait_for_reason(Reason::LowerFailing, 1);
    rig.stage.signal_haproxy("CONT");
    let begin = Instant::now();
    rig.wait_for_share(0);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    rig.ends(&mut run, 10);
    assert_eq!(rig.stage.green_share(), Some(0));
}

#[test]
fn a_breach_while_the_socket_is_gone_is_written_as_soon_as_it_is_back() {
    let rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "20s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    let (socket, away) = (rig.stage.socket(), rig.stage.folder().join("away.sock"));
    fs::rename(&socket, &away).expect("the socket goes");
    rig.stage.inject("green", "fault=1");
    rig.wait_for_reason(Reason::LowerFailing, 1);
    fs::rename(&away, &socket).expect("the socket comes back");
    let begin = Instant::now();
    rig.wait_for_share(0);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    rig.ends(&mut run, 10);
}

#[test]
fn a_side_under_test_that_dies_loses_its_traffic() {
    let mut rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(50, "20s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    rig.stage.crash("green");
    let begin = Instant::now();
    rig.wait_for_share(0);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    rig.ends(&mut run, 10);
    assert_eq!(rig.count(Reason::CanaryLost), 1, "{}", rig.story());
    let told = rig.haldane(&["explain", "app"]);
    assert!(told.text.contains("vanished"), "{}", told.text);
}

#[test]
fn nothing_goes_back_to_a_dead_side_until_it_lives() {
    let mut rig = Rig::start();
    let mut run = rig.run(&rig.rollout("v2", &[(25, "20s"), (100, "3s")]), &[]);
    at_step(&rig, 0);
    rig.stage.crash("blue");
    rig.wait_for_reason(Reason::HomeDead, 1);
    rig.stage.inject("green", "fault=1");
    rig.wait_for_reason(Reason::RollbackBlocked, 1);
    rig.holds("25 % stays", Duration::from_secs(3), || rig.stage.green_share() == Some(2_500));
    rig.stage.deploy("blue", "v1");
    let begin = Instant::now();
    rig.wait_for_share(0);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    rig.ends(&mut run, 10);
}
