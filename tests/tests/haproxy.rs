//! The HAProxy provider against real HAProxy processes, under real load.

#![allow(clippy::unwrap_used, reason = "a suite: what is not there fails it")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Direction, Health, Mark, Reading, Split, Weight};
use haldane_outside::Outside;
use haldane_providers::{
    Error, Scope, Sides, TrafficProvider,
    contract::{self, Bench},
    find,
    haproxy::snippet,
};
use haldane_tests::{
    haproxy::{Backend, Haproxy, Layout, Load, Origin, ask_times, text},
    process::{free_port, wait_for},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two backends and the snippet between them, exactly as a person pastes it.
struct Bed {
    // Fields drop in this order: the processes before their directory.
    haproxy: Haproxy,
    blue: Vec<Origin>,
    green: Vec<Origin>,
    settings: Value,
    directory: TempDir,
    provider: Arc<dyn TrafficProvider>,
}

fn sides() -> Sides {
    Sides { first: "blue".into(), second: "green".into() }
}

fn green(points: u32) -> Split {
    Split::new("green".into(), weight(points))
}

fn weight(points: u32) -> Weight {
    Weight::from_basis_points(points).unwrap()
}

fn origins(prefix: &str, count: usize) -> Vec<Origin> {
    (1..=count).map(|at| Origin::start(&format!("{prefix}{at}"))).collect()
}

fn build(settings: &Value) -> Arc<dyn TrafficProvider> {
    let entry = find("haproxy").unwrap();
    let scope = Scope { namespace: "shop", sides: &sides() };
    let checked = (entry.check)(settings, scope).unwrap();
    (entry.build)(&checked, &sides(), &Outside::default()).unwrap()
}

// === impl Bed ===

impl Bed {
    fn share(layout: Layout) -> Self {
        let directory = TempDir::new().unwrap();
        let (blue, green) = (origins("blue", 2), origins("green", 1));
        let map = directory.path().join("share.map");
        let settings = |sockets: &[String]| {
            json!({
                "sockets": sockets,
                "share": {"map": map.to_str().unwrap(), "key": "checkout"},
                "destinations": {"blue": {"backend": "be_blue"}, "green": {"backend": "be_green"}},
            })
        };
        let pasted = snippet(&settings(&["/run/any.sock".into()]), &sides()).unwrap();
        let (path, line) = pasted.map.as_ref().unwrap();
        fs::write(path, format!("# shared\nother 5\n{line}")).unwrap();
        let servers = |origins: &[Origin]| origins.iter().map(Origin::server).collect();
        let layout = Layout {
            frontend: pasted.to_string(),
            backends: vec![
                Backend { name: "be_blue".into(), lines: String::new(), servers: servers(&blue) },
                Backend { name: "be_green".into(), lines: String::new(), servers: servers(&green) },
            ],
            ..layout
        };
        Self::new(directory, layout, blue, green, settings)
    }

    fn weights(blue: usize, green: usize, lines: &str) -> Self {
        Self::weights_of_level(blue, green, lines, "")
    }

    fn weights_of_level(blue: usize, green: usize, lines: &str, level: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let (blue, green) = (origins("blue", blue), origins("green", green));
        let names = |origins: &[Origin]| -> Vec<String> {
            origins.iter().map(|origin| origin.server().0).collect()
        };
        let settings = |sockets: &[String]| {
            json!({
                "sockets": sockets,
                "mode": "ServerWeights",
                "destinations": {
                    "blue": {"backend": "be_app", "servers": names(&blue)},
                    "green": {"backend": "be_app", "servers": names(&green)},
                },
            })
        };
        let servers = blue.iter().chain(&green).map(Origin::server).collect();
        let layout = Layout {
            frontend: "    default_backend be_app".into(),
            backends: vec![Backend { name: "be_app".into(), lines: lines.into(), servers }],
            socket: level.into(),
            ..Layout::default()
        };
        let made = settings(&[]);
        let settings = |sockets: &[String]| {
            let mut made = made.clone();
            made["sockets"] = json!(sockets);
            made
        };
        Self::new(directory, layout, blue, green, settings)
    }

    fn new(
        directory: TempDir,
        layout: Layout,
        blue: Vec<Origin>,
        green: Vec<Origin>,
        settings: impl Fn(&[String]) -> Value,
    ) -> Self {
        let haproxy = Haproxy::start(&directory, layout);
        let settings = settings(&haproxy.sockets());
        let provider = build(&settings);
        let bed = Self { haproxy, blue, green, settings, directory, provider };
        bed.wait_for_servers();
        bed
    }

    /// The checks of every server were good once.
    fn wait_for_servers(&self) {
        for at in 0..self.haproxy.sockets().len() {
            wait_for("every server up", Duration::from_secs(10), || {
                let stat = self.haproxy.tell(at, "show stat -1 4 -1");
                !stat.contains(",DOWN") && !stat.contains("UP 1/")
            });
        }
    }

    fn map(&self) -> PathBuf {
        self.directory.path().join("share.map")
    }

    async fn raise(&self, points: u32, number: u64) -> Result<(), Error> {
        let raise = || self.provider.write(green(points), Direction::Raise, Mark::raise(number));
        // The disk of a busy machine may not answer in time: then it is asked again, as ever.
        for _ in 0..5 {
            match raise().await {
                Err(Error::Unavailable(why)) if why.contains("map file") => {}
                done => return done,
            }
        }
        raise().await
    }

    async fn lower(&self, number: u64) -> Result<(), Error> {
        self.provider.write(green(0), Direction::Lower, Mark::rollback(number)).await
    }

    async fn read(&self) -> Reading {
        self.provider.read().await.unwrap()
    }

    async fn refusal(&self) -> String {
        match self.provider.preflight().await {
            Err(Error::Invalid(message)) => message,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

impl Bench for Bed {
    fn provider(&self) -> Arc<dyn TrafficProvider> {
        self.provider.clone()
    }

    fn sides(&self) -> Sides {
        sides()
    }

    fn foreign_write(&self, share: Weight) {
        assert_eq!(share, weight(5_000), "the suite asks for halves");
        for at in 0..self.haproxy.sockets().len() {
            let map = self.map();
            if map.exists() {
                let command =
                    format!("set map {} checkout {}", map.display(), share.basis_points());
                assert_eq!(self.haproxy.tell(at, &command).trim(), "");
            } else {
                // Halves: the servers of each side weigh as many as the other side has.
                let sides = [(&self.blue, self.green.len()), (&self.green, self.blue.len())];
                for (origins, weight) in sides {
                    for origin in origins {
                        let (name, _) = origin.server();
                        let command = format!("set server be_app/{name} weight {weight}");
                        assert_eq!(self.haproxy.tell(at, &command).trim(), "");
                    }
                }
            }
        }
    }
}

// --- the contract ---

#[tokio::test(flavor = "multi_thread")]
async fn a_share_in_one_process_keeps_the_contract() {
    contract::check(|| Bed::share(Layout::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_in_three_processes_keeps_the_contract() {
    contract::check(|| Bed::share(Layout { processes: 3, ..Layout::default() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_weights_keep_the_contract() {
    contract::check(|| Bed::weights(3, 1, "    balance roundrobin")).await;
    contract::check(|| Bed::weights(2, 5, "    balance roundrobin")).await;
}

// --- under load ---

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_within_a_point_under_load() {
    let bed = Bed::share(Layout::default());
    let port = bed.haproxy.port(0);
    for (number, points) in [0, 1_000, 2_500, 5_000, 9_900, 10_000].into_iter().enumerate() {
        bed.raise(points, number as u64).await.unwrap();
        let met = load(port, 40_000);
        let wanted = f64::from(points) / 100.0;
        let measured = met.percent("green");
        assert_eq!(met.failures, 0);
        let exact = points == 0 || points == 10_000;
        let limit = if exact { 1e-9 } else { 1.0 };
        assert!((measured - wanted).abs() < limit, "asked {wanted} %, measured {measured} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_weights_are_within_a_point_under_load() {
    let bed = Bed::weights(3, 1, "    balance roundrobin");
    let port = bed.haproxy.port(0);
    for (number, points) in [0, 1_000, 2_500, 5_000, 9_000, 10_000].into_iter().enumerate() {
        let made = bed.provider.representable(&green(points));
        bed.provider.write(made, Direction::Raise, Mark::raise(number as u64)).await.unwrap();
        let met = load(port, 4_000);
        let wanted = f64::from(points) / 100.0;
        assert_eq!(met.failures, 0);
        let measured = met.percent("green");
        let limit = if points == 0 || points == 10_000 { 1e-9 } else { 1.0 };
        assert!((measured - wanted).abs() < limit, "asked {wanted} %, measured {measured} %");
    }
}

/// Sends at least `count` requests from four clients.
fn load(port: u16, count: u64) -> haldane_tests::haproxy::Met {
    let clients: Vec<_> =
        (0..4).map(|_| std::thread::spawn(move || ask_times(port, count / 4))).collect();
    let mut all = haldane_tests::haproxy::Met::default();
    for client in clients {
        all.add(client.join().unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_changes_lose_no_request() {
    let share = Bed::share(Layout::default());
    let weights = Bed::weights(3, 1, "    balance roundrobin");
    for bed in [&share, &weights] {
        let load = Load::start(bed.haproxy.port(0), 8);
        for number in 0..100 {
            bed.raise(100 * u32::try_from(number + 1).unwrap(), 2 * number).await.unwrap();
            bed.lower(2 * number + 1).await.unwrap();
        }
        let met = load.stop();
        assert_eq!(met.failures, 0, "{met:?}");
        assert!(met.total() > 2_000, "there was load: {met:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowering_counts_for_the_very_next_request() {
    let bed = Bed::share(Layout::default());
    for number in 0..50 {
        bed.raise(10_000, 2 * number).await.unwrap();
        assert_eq!(ask_times(bed.haproxy.port(0), 3).percent("green"), 100.0);
        bed.lower(2 * number + 1).await.unwrap();
        assert_eq!(ask_times(bed.haproxy.port(0), 3).percent("blue"), 100.0);
    }
}

// --- restarts ---

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_comes_back_with_the_last_share_and_mark() {
    let mut bed = Bed::share(Layout::default());
    bed.raise(2_500, 4).await.unwrap();
    bed.haproxy.restart(0);
    let reading = bed.read().await;
    assert_eq!((reading.highest, reading.mark), (weight(2_500), Some(Mark::raise(4))));
    bed.lower(5).await.unwrap();
    bed.haproxy.kill(0);
    bed.haproxy.restart(0);
    let reading = bed.read().await;
    assert_eq!((reading.highest, reading.mark), (Weight::ZERO, Some(Mark::rollback(5))));
    assert!(text(&bed.map()).starts_with("# shared\nother 5\n"), "the rest of the file stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_by_hand_keeps_the_share_and_loses_no_request() {
    let bed = Bed::share(Layout { reloadable: true, ..Layout::default() });
    bed.raise(2_500, 4).await.unwrap();
    let load = Load::start(bed.haproxy.port(0), 4);
    for number in 0..5 {
        bed.haproxy.reload(0);
        let reading = bed.read().await;
        assert_eq!(reading.highest, weight(2_500 + 100 * number));
        bed.raise(2_600 + 100 * number, 5 + u64::from(number)).await.unwrap();
    }
    let met = load.stop();
    assert_eq!(met.failures, 0, "{met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_weights_are_lost_by_a_restart_and_read_as_they_are() {
    let mut bed = Bed::weights(3, 1, "    balance roundrobin");
    bed.raise(1_000, 1).await.unwrap();
    assert_eq!(bed.read().await.highest, weight(1_000));
    bed.haproxy.restart(0);
    assert_eq!(bed.read().await.highest, weight(2_500), "one of four equal servers");
}

// --- several processes ---

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_process_neither_hides_nor_delays_the_other() {
    let bed = Bed::share(Layout { processes: 2, ..Layout::default() });
    bed.raise(5_000, 1).await.unwrap();
    bed.haproxy.signal(1, "STOP");
    let begin = Instant::now();
    let lowering = tokio::spawn({
        let provider = bed.provider.clone();
        async move { provider.write(green(0), Direction::Lower, Mark::rollback(2)).await }
    });
    let map = bed.map();
    wait_for("the living process lowered", Duration::from_secs(5), || {
        bed.haproxy.tell(0, &format!("get map {} checkout", map.display())).contains("value=\"0\"")
    });
    assert!(!lowering.is_finished(), "it did not wait for the other one");
    let outcome = lowering.await.unwrap();
    let Err(Error::Partial { done: 1, of: 2, message }) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("admin-1.sock") && message.contains("hangs"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(text(&map).contains("checkout 0\n"), "a reload of the hung one would be low too");

    let reading = bed.read().await;
    assert_eq!((reading.lowest, reading.highest), (Weight::ZERO, Weight::ZERO));
    assert_eq!(reading.mark, Some(Mark::rollback(2)));
    let silent: Vec<_> = reading.silent_parts().collect();
    assert_eq!(silent, [bed.haproxy.sockets()[1].as_str()]);

    // Once it lives again it still has what it had: nothing was left behind that it carries out.
    bed.haproxy.signal(1, "CONT");
    wait_for("the other process", Duration::from_secs(5), || {
        bed.haproxy.tell(1, "show info").contains("Pid")
    });
    let reading = bed.read().await;
    assert_eq!((reading.lowest, reading.highest), (Weight::ZERO, weight(5_000)));
    bed.lower(2).await.unwrap();
    assert_eq!(bed.read().await.highest, Weight::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_at_all_is_unavailable_and_named() {
    let mut bed = Bed::share(Layout { processes: 2, ..Layout::default() });
    bed.haproxy.kill(0);
    bed.haproxy.kill(1);
    for outcome in
        [bed.raise(1_000, 1).await, bed.lower(2).await, bed.provider.read().await.map(drop)]
    {
        let Err(Error::Unavailable(message)) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("admin-0.sock") && message.contains("admin-1.sock"), "{message}");
        assert!(message.contains("is haproxy running"), "{message}");
    }
    assert!(text(&bed.map()).contains("checkout 0\n"), "a lowering reaches the file all the same");
}

// --- what is refused ---

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_refused_with_the_remedy_but_a_lowering_adds_it() {
    let bed = Bed::share(Layout::default());
    let remove = format!("del map {} checkout", bed.map().display());
    assert_eq!(bed.haproxy.tell(0, &remove).trim(), "");
    assert!(bed.refusal().await.contains("haldane haproxy snippet"));
    for outcome in [bed.raise(1_000, 1).await, bed.provider.read().await.map(drop)] {
        let Err(Error::Invalid(message)) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("key \"checkout\" is not in map"), "{message}");
    }
    bed.lower(2).await.unwrap();
    assert_eq!(bed.read().await.mark, Some(Mark::rollback(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_stands_twice_is_refused() {
    let bed = Bed::share(Layout::default());
    let twice = format!("add map {} checkout 7", bed.map().display());
    assert_eq!(bed.haproxy.tell(0, &twice).trim(), "");
    assert!(bed.refusal().await.contains("more than once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_refused_by_name() {
    let bed = Bed::share(Layout::default());
    let refusal = |field: &str, value: Value| {
        let mut settings = bed.settings.clone();
        *settings.pointer_mut(field).unwrap() = value;
        let provider = build(&settings);
        async move { provider.preflight().await.unwrap_err().to_string() }
    };
    let message = refusal("/destinations/green/backend", json!("be_gren")).await;
    assert!(message.contains("there is no backend \"be_gren\""), "{message}");
    let message = refusal("/share/key", json!("chekout")).await;
    assert!(message.contains("key \"chekout\" is not in map"), "{message}");
    let other = bed.directory.path().join("other.map");
    let message = refusal("/share/map", json!(other.to_str().unwrap())).await;
    assert!(message.contains("is not loaded; run `haldane haproxy snippet`"), "{message}");
    let message = refusal("/sockets", json!(["/nowhere/admin.sock"])).await;
    assert!(message.contains("/nowhere/admin.sock: nothing listens there"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_the_admin_level_is_refused() {
    let bed = Bed::share(Layout { socket: "level operator".into(), ..Layout::default() });
    assert!(bed.refusal().await.contains("write `level admin` on its `stats socket` line"));
    let bed = Bed::weights_of_level(2, 1, "    balance roundrobin", "level operator");
    assert!(bed.refusal().await.contains("level admin"));
    let outcome = bed.raise(1_000, 1).await;
    let Err(Error::Invalid(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("level admin"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_stops_a_raise_and_not_a_lowering() {
    let bed = Bed::share(Layout::default());
    bed.raise(2_500, 1).await.unwrap();
    fs::rename(bed.map(), bed.directory.path().join("away")).unwrap();
    assert!(bed.refusal().await.contains("make it as `haldane haproxy snippet` shows"));
    let outcome = bed.raise(5_000, 2).await;
    assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
    assert_eq!(bed.read().await.highest, weight(2_500), "the processes were not raised");
    bed.lower(3).await.unwrap();
    assert_eq!(bed.read().await.highest, Weight::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_says_otherwise_is_a_warning() {
    let bed = Bed::share(Layout::default());
    fs::write(bed.map(), "checkout 7000\n").unwrap();
    let snapshot = bed.provider.preflight().await.unwrap();
    assert!(snapshot.warnings[0].contains("the map file says 70 %"), "{:?}", snapshot.warnings);
}

/// The test runs itself again as a user that the socket is closed to.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_closed_to_us_names_the_group() {
    if let Ok(settings) = std::env::var("HALDANE_TEST_CLOSED_SOCKET") {
        let provider = build(&serde_json::from_str(&settings).unwrap());
        let Err(Error::Invalid(message)) = provider.read().await else { panic!("it is open") };
        assert!(message.contains("usermod -aG haproxy"), "{message}");
        return;
    }
    let bed = Bed::share(Layout { socket: "mode 600 level admin".into(), ..Layout::default() });
    fs::set_permissions(bed.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let itself = bed.directory.path().join("itself");
    fs::copy(std::env::current_exe().unwrap(), &itself).unwrap();
    fs::set_permissions(&itself, fs::Permissions::from_mode(0o755)).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&itself);
        command
    } else {
        fs::set_permissions(bed.haproxy.socket(0), fs::Permissions::from_mode(0o000)).unwrap();
        Command::new(&itself)
    };
    let done = command
        .args(["--exact", "a_socket_that_is_closed_to_us_names_the_group"])
        .env("HALDANE_TEST_CLOSED_SOCKET", bed.settings.to_string())
        .current_dir("/")
        .output()
        .expect("setpriv (util-linux) must be installed");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

// --- what is seen ---

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_hand_is_seen_under_the_old_mark() {
    let bed = Bed::share(Layout::default());
    bed.raise(2_500, 17).await.unwrap();
    let set = |value: &str| {
        let command = format!("set map {} checkout {value}", bed.map().display());
        assert_eq!(bed.haproxy.tell(0, &command).trim(), "");
    };
    for (value, share) in [("6000", 6_000), ("0", 0), ("20000", 10_000), ("-5", 0), ("half", 0)] {
        set(value);
        let reading = bed.read().await;
        assert_eq!(
            (reading.highest, reading.mark),
            (weight(share), Some(Mark::raise(17))),
            "{value}"
        );
        // HAProxy acts on it as it is read.
        let met = ask_times(bed.haproxy.port(0), 200);
        match share {
            0 => assert_eq!(met.percent("blue"), 100.0, "{value}"),
            10_000 => assert_eq!(met.percent("green"), 100.0, "{value}"),
            _ => assert!((met.percent("green") - 60.0).abs() < 20.0, "{value}: {met:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_backend_is_down_and_its_share_goes_to_the_other() {
    let mut bed = Bed::share(Layout { processes: 2, ..Layout::default() });
    bed.raise(5_000, 1).await.unwrap();
    let ready = |ready, wanted| Health::Ready { ready, wanted };
    assert_eq!(bed.read().await.health, (ready(1, 1), ready(2, 2)));
    bed.green[0].crash();
    wait_for_health(&bed, (Health::Down, ready(2, 2))).await;
    let met = ask_times(bed.haproxy.port(0), 200);
    assert_eq!((met.percent("blue"), met.failures), (100.0, 0), "between 0 and 100 it falls back");
    bed.raise(10_000, 2).await.unwrap();
    assert_eq!(ask_times(bed.haproxy.port(0), 10).failures, 10, "at 100 % it does not");
    bed.blue[0].crash();
    wait_for_health(&bed, (Health::Down, ready(1, 2))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_without_a_share_never_serves() {
    let mut bed = Bed::share(Layout::default());
    bed.blue.iter_mut().for_each(Origin::crash);
    wait_for_health(&bed, (Health::Ready { ready: 1, wanted: 1 }, Health::Down)).await;
    assert_eq!(ask_times(bed.haproxy.port(0), 10).failures, 10);
    bed.raise(1_000, 1).await.unwrap();
    let met = ask_times(bed.haproxy.port(0), 100);
    assert_eq!((met.percent("green"), met.failures), (100.0, 0));
}

async fn wait_for_health(bed: &Bed, health: (Health, Health)) {
    let begin = Instant::now();
    loop {
        let seen = bed.read().await.health;
        if seen == health {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "saw {seen:?}, wanted {health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_port_serves_as_a_socket() {
    let port = free_port();
    let bed = Bed::share(Layout { tcp: Some(port), ..Layout::default() });
    let mut settings = bed.settings.clone();
    settings["sockets"] = json!([format!("127.0.0.1:{port}")]);
    let provider = build(&settings);
    provider.preflight().await.unwrap();
    provider.write(green(2_500), Direction::Raise, Mark::raise(1)).await.unwrap();
    assert_eq!(bed.read().await.highest, weight(2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_raise_leaves_a_newer_rollback_alone_in_every_process_and_in_the_file() {
    let bed = Bed::share(Layout { processes: 2, ..Layout::default() });
    bed.raise(2_500, 4).await.unwrap();
    let told = |at: usize| bed.haproxy.tell(at, &format!("show map {}", bed.map().display()));
    let values = |text: String| -> Vec<String> {
        // What stands before the key is where the process keeps it.
        text.lines().map(|line| line.split_once(' ').map_or("", |(_, rest)| rest).into()).collect()
    };
    let everything = || (values(told(0)), values(told(1)), fs::read_to_string(bed.map()).unwrap());
    let mark = |mark: &str| format!("set map {} checkout.mark {mark}", bed.map().display());
    // Another engine's rollback reached one process alone.
    assert_eq!(bed.haproxy.tell(1, &mark("rollback:6")).trim(), "");
    let before = everything();
    for number in [5, 6] {
        let late = bed.raise(5_000, number).await;
        let Err(Error::Conflict(why)) = &late else { panic!("{number}: {late:?}") };
        assert!(why.contains("rollback:6"), "{why}");
        assert_eq!(everything(), before, "nothing was written");
    }
    // It reached the file alone.
    assert_eq!(bed.haproxy.tell(1, &mark("raise:4")).trim(), "");
    let file = fs::read_to_string(bed.map()).unwrap().replace("raise:4", "rollback:6");
    fs::write(bed.map(), file).unwrap();
    let before = everything();
    assert!(matches!(bed.raise(5_000, 6).await, Err(Error::Conflict(_))));
    assert_eq!(everything(), before, "nothing was written");
    // A lowering asks for nothing, and a raise that knows the rollback goes on.
    bed.provider.write(green(1_000), Direction::Lower, Mark::raise(4)).await.unwrap();
    assert_eq!(bed.read().await.highest, weight(1_000));
    bed.raise(5_000, 7).await.unwrap();
    assert_eq!(bed.read().await.mark, Some(Mark::raise(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_reached_the_file_alone_is_read_and_counted_on_from() {
    let bed = Bed::share(Layout { processes: 2, ..Layout::default() });
    bed.raise(2_500, 4).await.unwrap();
    assert_eq!(bed.read().await.mark, Some(Mark::raise(4)));
    let file = fs::read_to_string(bed.map()).unwrap().replace("raise:4", "rollback:57");
    fs::write(bed.map(), file).unwrap();
    // What was read before is believed until a raise yields to it.
    assert!(matches!(bed.raise(5_000, 5).await, Err(Error::Conflict(_))));
    assert_eq!(bed.read().await.mark, Some(Mark::rollback(57)));
    bed.raise(5_000, 58).await.unwrap();
    assert_eq!(bed.read().await.mark, Some(Mark::raise(58)));
    // It counts no more, even where the processes lose their mark.
    for at in [0, 1] {
        let gone = format!("del map {} checkout.mark", bed.map().display());
        assert_eq!(bed.haproxy.tell(at, &gone).trim(), "");
    }
    assert_eq!(bed.read().await.mark, None);
}

// --- mode ServerWeights ---

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_or_is_taken_out_moves_what_is_in_force_and_not_what_is_set() {
    let mut bed = Bed::weights(3, 1, "    balance roundrobin");
    bed.raise(1_000, 1).await.unwrap();
    let told = |reading: &Reading| (reading.lowest, reading.highest, reading.measured);
    let (set, whole) = (weight(1_000), Some(weight(1_000)));
    assert_eq!(told(&bed.read().await), (set, set, whole));
    bed.blue[0].crash();
    let two_of_three = Health::Ready { ready: 2, wanted: 3 };
    wait_for_health(&bed, (Health::Ready { ready: 1, wanted: 1 }, two_of_three)).await;
    assert_eq!(told(&bed.read().await), (set, set, Some(weight(1_429))), "nobody wrote it");
    let measured = load(bed.haproxy.port(0), 2_000).percent("green");
    assert!((measured - 14.29).abs() < 1.0, "what users get: {measured} %");
    // A person takes the second one out.
    let name = bed.blue[1].server().0;
    assert_eq!(bed.haproxy.tell(0, &format!("set server be_app/{name} state maint")).trim(), "");
    assert_eq!(told(&bed.read().await), (set, set, Some(weight(2_500))));
    // A write sets what it set before: the servers that come back find their weight.
    bed.raise(1_000, 2).await.unwrap();
    assert_eq!(bed.haproxy.tell(0, &format!("set server be_app/{name} state ready")).trim(), "");
    wait_for_health(&bed, (Health::Ready { ready: 1, wanted: 1 }, two_of_three)).await;
    assert_eq!(told(&bed.read().await), (set, set, Some(weight(1_429))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_whose_weights_make_no_split_is_refused() {
    for (lines, why) in [
        ("    balance leastconn", "balance leastconn"),
        ("    balance random", "balance random"),
        ("    balance source", "balance source"),
        ("    balance static-rr", "balance static-rr"),
        ("    cookie SRV insert", "`cookie`"),
        ("    server stray 127.0.0.1:9", "be_app/stray is on neither side"),
    ] {
        let bed = Bed::weights(2, 1, lines);
        let message = bed.refusal().await;
        assert!(message.contains(why), "{lines}: {message}");
    }
}
