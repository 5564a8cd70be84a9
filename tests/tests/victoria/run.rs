//! Whole rollouts with no Prometheus: the real binary before a real HAProxy, gated on VictoriaMetrics.

use std::time::{Duration, Instant};

use haldane_tests::{
    prometheus::Target,
    rig::{Rig, SOON},
    victoria::Victoria,
};
use serde_json::{Value, json};

/// A VictoriaMetrics that scrapes both sides of a rig, whose Prometheus is gone.
fn watched(rig: &mut Rig) -> Victoria {
    rig.stage.kill_prometheus();
    let pages = rig.stage.pages();
    let targets: Vec<Target> = ["blue", "green"]
        .into_iter()
        .map(|side| {
            let page = pages[side][0].as_str().unwrap();
            let address = page.trim_start_matches("http://").trim_end_matches("/metrics");
            Target::new("app", address.parse().unwrap(), &[("side", side)])
        })
        .collect();
    Victoria::start(&targets)
}

fn rollout(rig: &Rig, victoria: &Victoria, revision: &str, steps: &[(u32, &str)]) -> Value {
    let mut rollout = rig.rollout(revision, steps);
    let analysis = &mut rollout["spec"]["analysis"];
    analysis["sources"] = json!([{"name": "main", "prometheus": {"url": victoria.url}}]);
    rollout
}

#[test]
fn a_good_release_is_promoted_and_one_that_breaks_goes_back() {
    let mut rig = Rig::start();
    let victoria = watched(&mut rig);
    let good = rollout(&rig, &victoria, "v2", &[(25, "3s"), (50, "3s"), (100, "3s")]);
    let shares = rig.stage.follow("green");
    let mut run = rig.run(&good, &[]);
    rig.ends(&mut run, 0);
    let seen: Vec<u32> = shares.changes().into_iter().map(|(_, share)| share).collect();
    assert_eq!(seen, [0, 2_500, 5_000, 10_000]);
    assert!(rig.load.failures().is_empty(), "{:?}", rig.load.failures());

    rig.stage.deploy("blue", "v3");
    let bad = rollout(&rig, &victoria, "v3", &[(25, "30s"), (100, "3s")]);
    let shares = rig.stage.follow("blue");
    let mut run = rig.run(&bad, &[]);
    rig.wait_for("blue has a quarter", SOON, || shares.now() == 2_500);
    let begin = Instant::now();
    rig.stage.inject("blue", "error_rate=0.2");
    rig.ends(&mut run, 10);
    let zero = shares.zero_after(begin).expect("the traffic is back").duration_since(begin);
    println!("breach to weight 0 on VictoriaMetrics: {zero:?}");
    assert!(zero < Duration::from_secs(10), "{zero:?}");
}

#[test]
fn two_sides_are_compared_by_its_raw_samples() {
    let mut rig = Rig::start();
    let victoria = watched(&mut rig);
    let mut good = rollout(&rig, &victoria, "v2", &[(50, "5s"), (100, "5s")]);
    let errors = json!({"metrics": "prometheus", "minStep": "3s", "margin": {"harm": "2%"}});
    good["spec"]["analysis"]["checks"] = json!([{"errors": errors}]);
    let mut run = rig.run(&good, &[]);
    let ended = run.wait(Duration::from_secs(120));
    assert_eq!(ended, Some(0), "{}{}", run.text(), rig.story());
}
