//! The same binary on both ends: a real engine answers the verbs, and what it writes is what is shown.

use haldane_tests::operator::{Shop, Start};
use serde_json::{Value, json};

use super::{admin, haldane, holds};

#[test]
fn the_engine_answers_the_verbs_and_its_story_is_told() {
    let shop = Shop::open("whole");
    let namespace = shop.namespace.as_str();
    let _operator = Start::within(namespace).start();
    shop.apply(
        &shop.rollout(
            json!({"steps": [{"weight": 25, "bake": "10m"}, {"weight": 50, "bake": "10m"},
        {"weight": 100, "bake": "4s"}], "progressDeadline": "1h"}),
        ),
    );
    shop.wait_healthy("blue");
    let ask = |arguments: &[&str]| haldane(admin(), &[arguments, &["-n", namespace]].concat());
    let nothing = ask(&["promote", "checkout", "--wait", "60s"]);
    assert_eq!(nothing.code, 11, "{}{}", nothing.out, nothing.err);
    shop.deploy("green", "v2");
    shop.wait("the first step", |status| status["phase"] == "Baking" && shop.share() == 25);

    let tree = ask(&["get", "rollout", "checkout"]);
    holds(
        &tree.out,
        &[
            "Baking",
            "step 1/3 at 25 %",
            "Side green (on trial)",
            "Deployment checkout-green",
            "Running  1/1 ready",
            "AnalysisRun checkout-1  Running",
        ],
    );
    holds(&ask(&["status", "checkout"]).out, &["[25 %] > 50 % > 100 %", "attempt 1"]);
    let promoted = ask(&["promote", "checkout", "--wait", "60s"]);
    assert_eq!(promoted.code, 0, "{}{}", promoted.out, promoted.err);
    holds(&promoted.out, &["checkout: promote accepted (revision", "attempt 1, step 1; by admin"]);
    shop.wait("the second step", |_| shop.share() == 50);
    assert_eq!(ask(&["pause", "checkout", "--reason", "lunch", "--wait", "60s"]).code, 0);
    shop.wait("paused", |status| status["phase"] == "Paused");
    let refused = ask(&["promote", "checkout", "--wait", "60s"]);
    assert_eq!(refused.code, 11, "{}{}", refused.out, refused.err);
    holds(&refused.err, &["promote refused"]);
    holds(
        &ask(&["explain", "checkout"]).out,
        &["is paused in step 2 of 3", "by admin", "`haldane resume` goes on"],
    );
    assert_eq!(ask(&["abort", "checkout", "--reason", "enough", "--wait", "60s"]).code, 0);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(shop.share(), 0);

    holds(
        &ask(&["explain", "checkout"]).out,
        &["was rolled back at", "an abort was asked for", "(by admin)"],
    );
    let history = ask(&["history", "checkout"]);
    holds(
        &history.out,
        &[
            "complete since",
            "Started",
            "PromotedByPerson",
            "PausedByPerson",
            "AbortedByPerson",
            "RolledBack",
        ],
    );
    let journal: Value =
        serde_json::from_str(&ask(&["history", "checkout", "-o", "json"]).out).unwrap();
    let ids: Vec<u64> = journal["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["id"].as_u64().unwrap())
        .collect();
    let follow = ids.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(follow, "none is missing and none is told twice: {ids:?}");
    holds(&ask(&["get", "analysisruns", "checkout"]).out, &["checkout-1", "Inconclusive"]);
    let plot = ask(&["explain", "checkout", "--plot"]);
    assert_eq!(plot.code, 0, "{}", plot.err);
    holds(&plot.out, &["badness, attempt 1 of"]);
}
