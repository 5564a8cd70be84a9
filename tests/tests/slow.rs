//! A source that hangs is its own rollout's trouble: the real binary serves another one beside it.

use std::{
    env, fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use haldane_tests::{load::Load, stage::Stage};
use serde_json::{Value, json};

/// What the healthy rollout may take: two bakes, two settling times, and room for a busy machine.
const IN_TIME: Duration = Duration::from_secs(40);

/// An engine that does not outlive its test.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rollout(name: &str, traffic: &Value, source: &str) -> Value {
    json!({
        "apiVersion": "haldane.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "sides": [
                {"name": "blue", "labels": {"side": "blue"}},
                {"name": "green", "labels": {"side": "green"}},
            ],
            "revision": "v2",
            "traffic": [{"name": "edge", "haproxy": traffic}],
            "steps": [{"weight": 50, "bake": "4s"}, {"weight": 100, "bake": "4s"}],
            "watch": "1s",
            "analysis": {
                "sources": [{"name": "main", "prometheus": {"url": source}}],
                "interval": "1s",
                "checks": [{"name": "errors", "errors": {"max": "1%", "metrics": "prometheus"}}],
            },
        },
    })
}

#[test]
fn a_source_that_hangs_delays_no_other_rollout() {
    let this = env::current_exe().expect("a test has a path");
    let built = this.ancestors().nth(2).expect("it lies in target/PROFILE/deps");
    let stage = Stage::start(&built.join("demo"));
    let _users = Load::start(stage.port, 200);

    // A second route in the same map, whose source takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hung = format!("http://{}", silent.local_addr().expect("it is bound"));
    let map = stage.map().display().to_string();
    let lines = fs::read_to_string(stage.map()).expect("the map is there");
    fs::write(stage.map(), format!("{lines}other 0\n")).expect("the map is ours");
    let _ = stage.admin(&format!("add map {map} other 0"));
    let mut other = stage.traffic();
    other["share"]["key"] = json!("other");

    let folder = stage.folder().join("rollouts");
    fs::create_dir(&folder).expect("a folder of ours");
    for (name, traffic, source) in
        [("slow", &other, &hung), ("app", &stage.traffic(), &stage.prometheus_url())]
    {
        let text = format!("{:#}\n", rollout(name, traffic, source));
        fs::write(folder.join(format!("{name}.yaml")), text).expect("a file of ours");
    }
    let mut command = Command::new(built.join("haldane"));
    command.arg("serve").arg(&folder).arg("--state").arg(stage.folder().join("state"));
    let begin = Instant::now();
    let _engine = Engine(command.stderr(Stdio::null()).spawn().expect("haldane is built"));

    while stage.green_share() != Some(10_000) {
        assert!(begin.elapsed() < IN_TIME, "app waits for slow: {:?}", stage.green_share());
        std::thread::sleep(Duration::from_millis(50));
    }
    let shown = stage.admin(&format!("show map {map}")).expect("haproxy answers");
    assert!(shown.lines().any(|line| line.ends_with("other 0")), "nothing rises unseen: {shown}");
}
