//! What accompanies a release: testers on the new side and copies of requests, before any user is sent there.

use std::time::Duration;

use haldane_tests::{
    operator::{Shop, Start, cluster},
    process::wait_for,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A shop whose rule for testers has both sides.
pub(crate) fn shop(name: &str) -> Shop {
    let shop = Shop::open(name);
    let both = json!([{"destination": {"host": "checkout-blue"}, "weight": 100},
        {"destination": {"host": "checkout-green"}, "weight": 0}]);
    let patch = json!([{"op": "replace", "path": "/spec/http/0/route", "value": both}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &patch.to_string()]);
    shop
}

fn rollout(shop: &Shop) -> Value {
    let mesh = json!({"virtualService": {"name": "checkout", "routes": ["primary"], "testers": ["testers"]},
        "destinations": {"blue": {"host": "checkout-blue"}, "green": {"host": "checkout-green"}}});
    shop.rollout(json!({
        "traffic": [{"name": "mesh", "istio": mesh}],
        "steps": [{"weight": 0, "mirror": "20%", "bake": "10m"}, {"weight": 100, "bake": "4s"}],
        "progressDeadline": "1h",
    }))
}

pub(crate) fn spec(shop: &Shop) -> Value {
    shop.get("virtualservices", "checkout")["spec"].clone()
}

fn is_accompanied(spec: &Value) -> bool {
    let (testers, primary) = (&spec["http"][0]["route"], &spec["http"][1]);
    primary["mirror"] == json!({"host": "checkout-green"})
        && primary["mirrorPercentage"]["value"] == 20
        && (&testers[0]["weight"], &testers[1]["weight"]) == (&json!(0), &json!(100))
}

#[test]
fn a_breach_before_any_user_ends_the_mirror_and_the_testers_with_one_patch() {
    let shop = shop("company");
    let proxy = cluster().faults();
    let start = Start::within(&shop.namespace);
    let _operator = start.clone().with(start.access.at(&proxy.url())).start();
    shop.apply(&rollout(&shop));
    shop.wait_healthy("blue");
    let before = spec(&shop);
    shop.deploy("green", "v2");
    shop.wait("the step without users", |status| {
        status["phase"] == "Baking" && is_accompanied(&spec(&shop))
    });
    assert_eq!(shop.share(), 0, "no user is moved");
    // Somebody puts the testers back: they are restored, and it is no conflict.
    let back = json!([{"op": "replace", "path": "/spec/http/0/route", "value": before["http"][0]["route"]}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &back.to_string()]);
    wait_for("they are restored", PATIENCE, || is_accompanied(&spec(&shop)));
    assert_eq!(shop.status()["phase"], "Baking", "{:#}", shop.status());
    let sent = proxy.seen().len();
    shop.set_badness(9);
    shop.wait("rolled back", |status| status["phase"] == "Degraded");
    assert_eq!(spec(&shop), before, "everything is as it was");
    let after = proxy.seen().split_off(sent);
    let writes: Vec<String> = after
        .iter()
        .filter(|seen| seen.method == "PATCH" && seen.target.contains("/virtualservices/checkout"))
        .map(|seen| String::from_utf8_lossy(&seen.body).into_owned())
        .collect();
    let first = &writes[0];
    for part in [
        "rollback:",
        r#""op":"remove","path":"/spec/http/1/mirror""#,
        r#""op":"remove","path":"/spec/http/1/mirrorPercentage""#,
        r#""path":"/spec/http/0/route/1/weight","value":0"#,
    ] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    let later = writes[1..].iter().filter(|write| write.contains("mirror")).count();
    assert_eq!(later, 0, "the first was enough: {writes:#?}");
}

#[test]
fn a_rollout_that_mirrors_a_route_with_a_mirror_of_its_own_is_refused_and_never_stuck() {
    let shop = shop("own-mirror");
    let own = json!([{"op": "add", "path": "/spec/http/1/mirror", "value": {"host": "recorder"}}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &own.to_string()]);
    let _operator = Start::within(&shop.namespace).start();
    shop.apply(&rollout(&shop));
    shop.wait("it is told", |status| {
        let told = status["conditions"].to_string();
        told.contains("primary: it has a mirror of its own, to recorder")
    });
    let none = json!([{"op": "remove", "path": "/spec/http/1/mirror"}]);
    shop.kubectl(&["patch", "virtualservice", "checkout", "--type=json", "-p", &none.to_string()]);
    shop.wait_healthy("blue");
}
