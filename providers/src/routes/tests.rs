//! Patches of real documents, without a server: what they change, what they refuse, what they leave.

use haldane_model::{Direction, Mark, Split, Weight};
use serde_json::{Value, json};

use super::{
    company::{self, Escort},
    kind::{Destination, Kind, List, Said},
    layout::{Layout, Picks, Target, mark_key},
    mirror::Form,
    patch::Wish,
};

static HTTP_ROUTE: Kind = Kind {
    name: "HTTPRoute",
    plural: "httproutes",
    group: "gateway.networking.k8s.io",
    versions: &["v1"],
    lists: &[List {
        word: "",
        field: "rules",
        backends: "backendRefs",
        matches: "matches",
        unset: 1,
        mirror: Some(Form::Filter),
    }],
    in_order: false,
    full: 10_000,
    of: "the Gateway API",
    said: |_, _| Said::Yes,
};

static VIRTUAL_SERVICE: Kind = Kind {
    name: "VirtualService",
    plural: "virtualservices",
    group: "networking.istio.io",
    versions: &["v1"],
    lists: &[
        List {
            word: "http",
            field: "http",
            backends: "route",
            matches: "match",
            unset: 0,
            mirror: Some(Form::Fields),
        },
        List {
            word: "tcp",
            field: "tcp",
            backends: "route",
            matches: "match",
            unset: 0,
            mirror: None,
        },
    ],
    in_order: true,
    full: 100,
    of: "Istio",
    said: |_, _| Said::Yes,
};

const KEY: &str = "mark.haldane.dev/checkout-blue.80";

fn service(name: &str) -> Destination {
    Destination::Service { name: name.into(), port: 80 }
}

fn http_target(named: &[&str]) -> Target {
    let pair = [service("checkout-blue"), service("checkout-green")];
    target(&HTTP_ROUTE, named, pair)
}

fn target(kind: &'static Kind, named: &[&str], pair: [Destination; 2]) -> Target {
    let named = named.iter().map(|name| (*name).to_owned()).collect();
    Target {
        kind,
        namespace: "shop".into(),
        name: "checkout".into(),
        picks: Picks { named, matching: Vec::new() },
        testers: Picks::default(),
        mark_key: mark_key(&pair[0]),
        pair,
    }
}

fn subsets() -> Target {
    let subset =
        |name: &str| Destination::Host { host: None, subset: Some(name.into()), port: None };
    target(&VIRTUAL_SERVICE, &[], [subset("v1"), subset("v2")])
}

/// As an API server shows it: a rule for testers, one with a mirror, and the one that splits.
fn http_route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "checkout", "namespace": "shop", "resourceVersion": "41", "generation": 3,
            "uid": "u", "labels": {"team": "payments"},
            "annotations": {"note": "do not touch", "a/b~c": "odd"},
        },
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "https"}],
            "hostnames": ["checkout.example"],
            "rules": [
                {
                    "name": "testers",
                    "matches": [{"headers": [{"name": "x-canary", "value": "1", "type": "Exact"}]}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "checkout-green", "port": 80, "weight": 1}],
                },
                {
                    "name": "primary",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "checkout-green", "port": 80}}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "checkout-blue", "port": 80, "weight": 9000, "filters": []},
                        {"group": "", "kind": "Service", "name": "checkout-green", "port": 80, "weight": 1000},
                    ],
                    "timeouts": {"request": "5s"},
                },
            ],
        },
    })
}

fn weight(points: u32) -> Weight {
    Weight::from_basis_points(points).unwrap()
}

fn raise(points: u32) -> Wish {
    wish(points, Direction::Raise, Mark::raise(7))
}

fn lower(points: u32) -> Wish {
    wish(points, Direction::Lower, Mark::rollback(8))
}

fn wish(points: u32, direction: Direction, mark: Mark) -> Wish {
    let split = Split::new("green".into(), weight(points));
    Wish { split, direction, mark, second: "green".into() }
}

/// Does what an API server does with a JSON Patch; `Err` where a test fails or a path is not there.
fn applied(document: &Value, operations: &[Value]) -> Result<Value, String> {
    let mut document = document.clone();
    for operation in operations {
        let path = operation["path"].as_str().unwrap();
        let value = operation["value"].clone();
        let (parent, last) = path.rsplit_once('/').unwrap();
        let last = last.replace("~1", "/").replace("~0", "~");
        match operation["op"].as_str().unwrap() {
            "test" => {
                let there = document.pointer(path).cloned().unwrap_or(Value::Null);
                if there != value {
                    return Err(format!("testing {path} failed"));
                }
            }
            "add" => add(document.pointer_mut(parent).ok_or("a path is missing")?, last, value),
            "replace" => *document.pointer_mut(path).ok_or("a path is missing")? = value,
            "remove" => remove(document.pointer_mut(parent).ok_or("a path is missing")?, &last)?,
            other => panic!("{other} is not used"),
        }
    }
    Ok(document)
}

fn add(parent: &mut Value, last: String, value: Value) {
    if let Some(items) = parent.as_array_mut() {
        let at = if last == "-" { items.len() } else { last.parse().unwrap() };
        items.insert(at, value);
    } else {
        parent.as_object_mut().unwrap().insert(last, value);
    }
}

fn remove(parent: &mut Value, last: &str) -> Result<(), String> {
    if let Some(items) = parent.as_array_mut() {
        items.remove(last.parse().unwrap());
        return Ok(());
    }
    let gone = parent.as_object_mut().unwrap().shift_remove(last);
    gone.map(drop).ok_or_else(|| format!("{last} is missing"))
}

fn sent(target: &Target, wish: &Wish, document: &Value) -> Vec<Value> {
    wish.operations(target, &target.layout(document)).unwrap()
}

fn written(target: &Target, wish: &Wish, document: &Value) -> Value {
    applied(document, &sent(target, wish, document)).unwrap()
}

/// The document with these weights of the pair in its second rule and this mark, and nothing else changed.
fn expected(first: u64, second: u64, mark: &str) -> Value {
    let mut document = http_route();
    document["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(first);
    document["spec"]["rules"][1]["backendRefs"][1]["weight"] = json!(second);
    document["metadata"]["annotations"][KEY] = json!(mark);
    document
}

fn shares(layout: &Layout) -> Vec<Weight> {
    layout.fit().map(|rule| rule.share().unwrap()).collect()
}

#[track_caller]
fn unfit(target: &Target, document: &Value, words: &str) {
    let complaints = target.layout(document).complaints().unwrap_or_default();
    assert!(complaints.contains(words), "{complaints:?}");
}

#[test]
fn nothing_but_two_weights_and_the_mark_changes() {
    let target = http_target(&[]);
    let after = written(&target, &raise(2_500), &http_route());
    assert_eq!(after.to_string(), expected(7_500, 2_500, "raise:7").to_string(), "to the byte");
    let back = written(&target, &lower(0), &after);
    assert_eq!(back.to_string(), expected(10_000, 0, "rollback:8").to_string(), "to the byte");
}

#[test]
fn a_raise_tests_the_version_and_a_lowering_only_the_structure() {
    let target = http_target(&[]);
    let (up, down) =
        (sent(&target, &raise(1), &http_route()), sent(&target, &lower(0), &http_route()));
    let mut edited = http_route();
    edited["metadata"]["resourceVersion"] = json!("42");
    edited["spec"]["hostnames"] = json!(["other.example"]);
    assert!(applied(&edited, &up).unwrap_err().contains("resourceVersion"));
    assert!(applied(&edited, &down).is_ok(), "an edit of something else is no obstacle");
}

#[test]
fn a_lowering_never_gives_one_destination_anothers_weight() {
    let target = http_target(&[]);
    let down = sent(&target, &lower(0), &http_route());
    let mut swapped = http_route();
    swapped["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap().reverse();
    assert!(applied(&swapped, &down).unwrap_err().contains("backendRefs/0/name"));
    let mut moved = http_route();
    moved["spec"]["rules"].as_array_mut().unwrap().reverse();
    assert!(applied(&moved, &down).unwrap_err().contains("rules/1/name"));
    let mut port = http_route();
    port["spec"]["rules"][1]["backendRefs"][1]["port"] = json!(81);
    assert!(applied(&port, &down).unwrap_err().contains("port"));
}

#[test]
fn the_order_of_destinations_is_of_no_importance() {
    let target = http_target(&[]);
    let mut swapped = http_route();
    swapped["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap().reverse();
    let after = written(&target, &raise(2_500), &swapped);
    let refs = &after["spec"]["rules"][1]["backendRefs"];
    assert_eq!([&refs[0]["weight"], &refs[1]["weight"]], [&json!(2_500), &json!(7_500)]);
    assert_eq!(shares(&target.layout(&after)), [weight(2_500)]);
}

#[test]
fn a_rule_without_a_name_is_known_by_what_it_takes() {
    let target = http_target(&[]);
    let mut nameless = http_route();
    nameless["spec"]["rules"][1].as_object_mut().unwrap().remove("name");
    let down = sent(&target, &lower(0), &nameless);
    assert_eq!(shares(&target.layout(&applied(&nameless, &down).unwrap())), [Weight::ZERO]);
    nameless["spec"]["rules"][1]["matches"] = json!([{"path": {"value": "/other"}}]);
    assert!(applied(&nameless, &down).unwrap_err().contains("rules/1/matches"));
}

#[test]
fn another_destination_keeps_its_share() {
    let target = http_target(&[]);
    let mut document = http_route();
    let refs = document["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap();
    refs[0]["weight"] = json!(60);
    refs[1]["weight"] = json!(20);
    refs.insert(0, json!({"name": "checkout-old", "port": 80, "weight": 20}));
    let after = written(&target, &raise(2_500), &document);
    let weights = after["spec"]["rules"][1]["backendRefs"].as_array().unwrap();
    let weights: Vec<_> =
        weights.iter().map(|backend| backend["weight"].as_u64().unwrap()).collect();
    assert_eq!(weights, [20, 60, 20]);
    let after = written(&target, &lower(0), &document);
    assert_eq!(after["spec"]["rules"][1]["backendRefs"][2]["weight"], json!(0));
    assert_eq!(after["spec"]["rules"][1]["backendRefs"][1]["weight"], json!(80));
    let refused = raise(101).operations(&target, &target.layout(&document)).unwrap_err();
    assert!(refused.contains("1.01 % cannot be said by weights that add up to 80"), "{refused}");
    assert!(refused.contains("checkout-old (20)"), "{refused}");
    assert!(
        lower(101).operations(&target, &target.layout(&document)).is_ok(),
        "lowering rounds down"
    );
}

#[test]
fn nothing_and_everything_are_exact_and_every_share_comes_back() {
    let target = http_target(&[]);
    for points in [0, 1, 3_333, 5_000, 9_999, 10_000] {
        let after = written(&target, &raise(points), &http_route());
        assert_eq!(shares(&target.layout(&after)), [weight(points)]);
    }
    let of = |first: u64, second: u64| {
        let document = expected(first, second, "raise:1");
        target.layout(&document).fit().next().unwrap().share()
    };
    assert_eq!(of(1_000_000, 0), Ok(Weight::ZERO));
    assert_eq!(of(0, 1), Ok(Weight::FULL));
    assert_eq!(of(1_000_000, 1), Ok(weight(1)), "a little is not nothing");
    assert_eq!(of(1, 1_000_000), Ok(weight(9_999)), "nor almost all everything");
    assert_eq!(of(2, 1), Ok(weight(3_333)));
    assert!(of(0, 0).unwrap_err().contains("the weights of both sides are 0"));
}

#[test]
fn a_weight_that_is_not_written_is_what_the_api_says() {
    let target = http_target(&[]);
    let mut document = http_route();
    for at in 0..2 {
        let backend = &mut document["spec"]["rules"][1]["backendRefs"][at];
        backend.as_object_mut().unwrap().remove("weight");
    }
    assert_eq!(shares(&target.layout(&document)), [weight(5_000)], "1 of 2 in the Gateway API");
    let after = written(&target, &lower(0), &document);
    assert_eq!(shares(&target.layout(&after)), [Weight::ZERO]);
}

#[test]
fn several_rules_are_driven_together_and_read_apart() {
    let target = http_target(&[]);
    let mut document = http_route();
    let mut second = document["spec"]["rules"][1].clone();
    second["name"] = json!("api");
    second["backendRefs"][0]["weight"] = json!(1);
    second["backendRefs"][1]["weight"] = json!(1);
    document["spec"]["rules"].as_array_mut().unwrap().push(second);
    assert_eq!(shares(&target.layout(&document)), [weight(1_000), weight(5_000)]);
    let after = written(&target, &lower(0), &document);
    assert_eq!(shares(&target.layout(&after)), [Weight::ZERO, Weight::ZERO]);
    let only = http_target(&["api"]);
    assert_eq!(shares(&only.layout(&document)), [weight(5_000)], "one that is named alone");
    assert_eq!(shares(&http_target(&["#2"]).layout(&document)), [weight(5_000)], "or by its place");
}

#[test]
fn a_rule_may_be_picked_by_what_it_takes() {
    let mut target = http_target(&[]);
    let mut document = http_route();
    let mut second = document["spec"]["rules"][1].clone();
    second["matches"] = json!([{"path": {"value": "/pay"}}, {"path": {"value": "/order"}}]);
    second["backendRefs"][1]["weight"] = json!(9_000);
    document["spec"]["rules"].as_array_mut().unwrap().push(second);
    target.picks.matching = vec![json!({"path": {"value": "/order"}})];
    assert_eq!(shares(&target.layout(&document)), [weight(5_000)]);
    target.picks.matching = vec![json!("/order")];
    unfit(&target, &document, "a rule matching \"/order\": there is no such rule");
}

#[test]
fn what_cannot_be_driven_is_told_with_the_remedy_and_hides_nothing() {
    unfit(&http_target(&["primry"]), &http_route(), "primry: there is no such rule");
    unfit(
        &http_target(&["testers"]),
        &http_route(),
        "checkout-blue:80 is not among its backendRefs; add it with weight 0",
    );
    let mut none = http_route();
    none["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap().pop();
    unfit(&http_target(&[]), &none, "no rule names both checkout-blue:80 and checkout-green:80");
    let mut twice = http_route();
    let backend = twice["spec"]["rules"][1]["backendRefs"][0].clone();
    twice["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap().push(backend);
    unfit(&http_target(&[]), &twice, "primary: checkout-blue:80 is more than once");
    let half = http_target(&["primary", "gone"]);
    let after = written(&half, &lower(0), &http_route());
    assert_eq!(shares(&half.layout(&after)), [Weight::ZERO], "the rule that is there is lowered");
}

#[test]
fn odd_documents_are_told_and_never_panic() {
    for odd in [
        json!({}),
        json!(null),
        json!({"spec": []}),
        json!({"spec": {"rules": 7}}),
        json!({"spec": {"rules": [null, 1, {"backendRefs": "x"}, {"backendRefs": [null, []]}]}}),
    ] {
        for target in [http_target(&[]), http_target(&["primary"]), subsets()] {
            let layout = target.layout(&odd);
            assert!(layout.complaints().is_some() && layout.fit().next().is_none(), "{odd}");
        }
    }
}

#[test]
fn a_route_without_annotations_gets_one_unless_somebody_was_faster() {
    let target = http_target(&[]);
    let mut bare = http_route();
    bare["metadata"].as_object_mut().unwrap().remove("annotations");
    let down = sent(&target, &lower(0), &bare);
    let after = applied(&bare, &down).unwrap();
    assert_eq!(after["metadata"]["annotations"], json!({KEY: "rollback:8"}));
    assert!(applied(&http_route(), &down).is_err(), "theirs are never replaced");
}

#[test]
fn the_mark_of_each_rollout_is_its_own() {
    assert_eq!(http_target(&[]).mark_key, KEY);
    let host = |host: &str, subset: Option<&str>| {
        let subset = subset.map(ToOwned::to_owned);
        mark_key(&Destination::Host { host: Some(host.into()), subset, port: None })
    };
    assert_eq!(host("web", Some("v1")), "mark.haldane.dev/web.v1");
    // Objects have these: they are found by the same words for ever, though two spellings are one destination.
    assert_eq!(
        host("web.shop.svc.cluster.local", None),
        "mark.haldane.dev/web.shop.svc.cluster.local"
    );
    assert_eq!(subsets().mark_key, "mark.haldane.dev/v1.ce924683");
    let (long, longer) = ("a".repeat(70), "a".repeat(71));
    let keys = [host(&long, None), host(&longer, None)];
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() <= 17 + 63), "{keys:?}");
    let target = http_target(&[]);
    let document = expected(1, 1, "rollback:9");
    assert_eq!(target.layout(&document).mark, Some(Mark::rollback(9)));
    assert_eq!(target.layout(&expected(1, 1, "nonsense")).mark, None);
    assert!(target.layout(&expected(1, 1, "nonsense")).marked, "and yet it is taken away");
}

// === Istio ===

fn virtual_service() -> Value {
    let route = |subset: &str, weight: u64| json!({"destination": {"host": "checkout", "subset": subset, "port": {"number": 80}}, "weight": weight});
    json!({
        "metadata": {"name": "checkout", "namespace": "shop", "resourceVersion": "5", "annotations": {"a": "b"}},
        "spec": {
            "hosts": ["checkout"],
            "http": [
                {"name": "testers", "match": [{"headers": {"x-canary": {"exact": "1"}}}], "route": [{"destination": {"host": "checkout", "subset": "v2"}}]},
                {"name": "primary", "mirror": {"host": "checkout", "subset": "v2"}, "route": [route("v1", 90), route("v2", 10)], "retries": {"attempts": 2}},
            ],
            "tcp": [{"match": [{"port": 9000}], "route": [route("v2", 10), route("v1", 90)]}],
        },
    })
}

#[test]
fn subsets_of_http_and_tcp_are_split_in_whole_percent() {
    let target = subsets();
    let before = virtual_service();
    assert_eq!(shares(&target.layout(&before)), [weight(1_000), weight(1_000)]);
    let after = written(&target, &raise(2_555), &before);
    let mut expected = before;
    expected["spec"]["http"][1]["route"][0]["weight"] = json!(75);
    expected["spec"]["http"][1]["route"][1]["weight"] = json!(25);
    expected["spec"]["tcp"][0]["route"][0]["weight"] = json!(25);
    expected["spec"]["tcp"][0]["route"][1]["weight"] = json!(75);
    expected["metadata"]["annotations"][&target.mark_key] = json!("raise:7");
    assert_eq!(after.to_string(), expected.to_string(), "to the byte");
}

#[test]
fn a_share_below_what_weights_can_say_is_refused_and_never_rounded_to_nothing() {
    let target = subsets();
    let layout = target.layout(&virtual_service());
    let refused = raise(50).operations(&target, &layout).unwrap_err();
    assert!(refused.contains("0.5 % is less than the weights can say"), "{refused}");
}

#[test]
fn a_host_may_be_short_or_in_full() {
    let pair = |first: &str, second: &str| {
        let host =
            |host: &str| Destination::Host { host: Some(host.into()), subset: None, port: None };
        target(&VIRTUAL_SERVICE, &["http#0"], [host(first), host(second)])
    };
    let document = json!({"spec": {"http": [{"route": [
        {"destination": {"host": "blue.shop.svc.cluster.local"}, "weight": 75},
        {"destination": {"host": "green"}, "weight": 25},
    ]}]}});
    let short = pair("blue", "green").layout(&document);
    assert_eq!(shares(&short), [weight(2_500)]);
    let full = pair("Blue.shop.svc.cluster.local", "green.shop.svc.cluster.local");
    assert_eq!(shares(&full.layout(&document)), [weight(2_500)]);
    unfit(&pair("blue", "green.other"), &document, "green.other is not among its route");
}

// === others ===

#[test]
fn a_route_that_another_program_drives_is_told_by_its_name() {
    #[track_caller]
    fn check(metadata: Value, words: &str) {
        let mut document = http_route();
        for (field, value) in metadata.as_object().unwrap() {
            document["metadata"][field] = value.clone();
        }
        let driven = http_target(&[]).layout(&document).driven_by.unwrap_or_default();
        assert_eq!(driven, words);
    }
    let owner = |version: &str, kind: &str| json!({"ownerReferences": [{"apiVersion": version, "kind": kind, "name": "shop"}]});
    check(owner("flagger.app/v1beta1", "Canary"), "Flagger (its Canary shop owns it)");
    check(owner("argoproj.io/v1alpha1", "Rollout"), "Argo Rollouts (its Rollout shop owns it)");
    check(
        json!({"labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}}),
        "Argo Rollouts (it has rollouts.argoproj.io/gatewayapi-canary among its labels)",
    );
    check(
        json!({"managedFields": [{"manager": "flagger", "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:rules": {}}}}]}),
        "Flagger (flagger wrote its weights last)",
    );
    // Argo CD delivers, and does not drive.
    check(json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), "");
    check(owner("argoproj.io/v1alpha1", "Application"), "");
}

#[test]
fn the_last_writer_is_the_one_of_the_rules() {
    let mut document = http_route();
    document["metadata"]["managedFields"] = json!([
        {"manager": "kubectl", "time": "2026-01-01T00:00:01Z", "fieldsV1": {"f:spec": {"f:rules": {}}}},
        {"manager": "haldane", "time": "2026-01-01T00:00:02Z", "fieldsV1": {"f:spec": {"f:rules": {}}}},
        {"manager": "gateway", "time": "2026-01-01T00:00:03Z", "fieldsV1": {"f:status": {}}},
    ]);
    let writer = http_target(&[]).layout(&document).writer.unwrap();
    assert_eq!(writer.to_string(), "haldane (2026-01-01T00:00:02Z)");
}

// === what accompanies the split ===

/// The rule for testers has both sides, and nothing is mirrored yet.
fn with_testers(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(rules) = document.pointer_mut("/spec/rules").and_then(Value::as_array_mut) {
        rules[0]["backendRefs"] = json!([
            {"group": "", "kind": "Service", "name": "checkout-blue", "port": 80, "weight": 10_000},
            {"group": "", "kind": "Service", "name": "checkout-green", "port": 80, "weight": 0},
        ]);
        rules[1].as_object_mut().unwrap().shift_remove("filters");
    }
    if let Some(http) = document.pointer_mut("/spec/http").and_then(Value::as_array_mut) {
        let both = json!([
            {"destination": {"host": "checkout", "subset": "v1"}, "weight": 100},
            {"destination": {"host": "checkout", "subset": "v2"}, "weight": 0},
        ]);
        http[0]["route"] = both;
        http[1].as_object_mut().unwrap().shift_remove("mirror");
    }
    document
}

/// With a rule for testers, and in the VirtualService the http routes alone.
fn accompanied(kind: &'static Kind) -> (Target, Value) {
    let (mut target, document) = match kind.name {
        "HTTPRoute" => (http_target(&["primary"]), http_route()),
        _ => (subsets(), virtual_service()),
    };
    target.picks.named = vec!["primary".into()];
    target.testers.named = vec!["testers".into()];
    (target, with_testers(&document))
}

fn on(percent: u32) -> Escort {
    Escort { testers: Some(1), mirror: Some((1, weight(percent * 100))) }
}

fn off() -> Escort {
    Escort { testers: Some(0), mirror: None }
}

/// Applies what makes it so, and checks that it is: asked again there is nothing to do.
#[track_caller]
fn made(target: &Target, escort: Escort, document: &Value) -> Value {
    let steps = escort.steps(target, &target.layout(document));
    assert!(steps.complaints.is_empty(), "{:?}", steps.complaints);
    let after = applied(document, &steps.operations).unwrap();
    assert_eq!(escort.steps(target, &target.layout(&after)), company::Steps::default());
    after
}

#[track_caller]
fn complains(target: &Target, escort: Escort, document: &Value, words: &str) {
    let complaints = escort.steps(target, &target.layout(document)).complaints.join("; ");
    assert!(complaints.contains(words), "{complaints:?}");
}

#[test]
fn a_step_turns_testers_and_copies_and_afterwards_every_byte_is_as_before() {
    for kind in [&HTTP_ROUTE, &VIRTUAL_SERVICE] {
        let (target, before) = accompanied(kind);
        let during = made(&target, on(20), &before);
        let after = made(&target, off(), &during);
        assert_eq!(after.to_string(), before.to_string(), "{}", kind.name);
        let (rule, expected) = match kind.name {
            "HTTPRoute" => (
                "/spec/rules/1/filters",
                json!([{"type": "RequestMirror", "requestMirror": {
                    "backendRef": {"group": "", "kind": "Service", "name": "checkout-green", "port": 80},
                    "percent": 20}}]),
            ),
            _ => (
                "/spec/http/1/mirror",
                json!({"host": "checkout", "subset": "v2", "port": {"number": 80}}),
            ),
        };
        assert_eq!(during.pointer(rule), Some(&expected));
        let percentage = during.pointer("/spec/http/1/mirrorPercentage");
        assert!(percentage.is_none_or(|value| *value == json!({"value": 20})));
        let shares = |document: &Value| {
            let layout = target.layout(document);
            layout.testers().map(|rule| rule.share().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((shares(&before), shares(&during)), (vec![Weight::ZERO], vec![Weight::FULL]));
    }
}

#[test]
fn a_rule_for_testers_is_no_part_of_the_split() {
    for kind in [&HTTP_ROUTE, &VIRTUAL_SERVICE] {
        let (mut target, before) = accompanied(kind);
        for named in [vec!["primary".to_owned()], Vec::new()] {
            target.picks.named = named;
            let during = made_but_tcp(&target, &before);
            let shares: Vec<_> = shares(&target.layout(&during));
            assert!(
                shares.iter().all(|share| *share == weight(1_000)),
                "{}: {shares:?}",
                kind.name
            );
        }
    }
}

/// Testers alone: a tcp route, which is among those that have both sides, copies nothing.
fn made_but_tcp(target: &Target, document: &Value) -> Value {
    made(target, Escort { testers: Some(1), mirror: None }, document)
}

#[test]
fn a_rollback_takes_all_of_it_off_with_its_one_patch() {
    for kind in [&HTTP_ROUTE, &VIRTUAL_SERVICE] {
        let (target, before) = accompanied(kind);
        let during = made(&target, on(20), &before);
        let (wish, layout) = (lower(0), target.layout(&during));
        let mut operations = wish.operations(&target, &layout).unwrap();
        operations.extend(wish.ends().unwrap().steps(&target, &layout).operations);
        let after = applied(&during, &operations).unwrap();
        let alone = written(&target, &lower(0), &before);
        assert_eq!(after.to_string(), alone.to_string(), "{}", kind.name);
    }
}

#[test]
fn only_a_rollback_ends_it_and_sends_testers_to_the_side_that_gets_everything() {
    assert_eq!(lower(0).ends(), Some(off()));
    assert_eq!(raise(0).ends(), None);
    assert_eq!(lower(1_000).ends(), None, "a foreign raise is undone");
    assert_eq!(wish(0, Direction::Lower, Mark::raise(7)).ends(), None);
    let back = Wish { split: Split::new("blue".into(), Weight::ZERO), ..lower(0) };
    assert_eq!(back.ends(), Some(Escort { testers: Some(1), mirror: None }), "after an undo");
}

#[test]
fn a_mirror_of_the_users_own_is_named_and_neither_replaced_nor_taken_away() {
    for (target, document) in
        [(http_target(&["primary"]), http_route()), (subsets(), virtual_service())]
    {
        let mut target = target;
        target.picks.named = vec!["primary".into()];
        complains(&target, on(20), &document, "primary: it has a mirror of its own, to checkout");
        let copy = Escort { testers: None, ..on(20) };
        assert_eq!(copy.steps(&target, &target.layout(&document)).operations, [] as [Value; 0]);
        assert_eq!(off().steps(&target, &target.layout(&document)).operations, [] as [Value; 0]);
    }
}

#[test]
fn a_filter_of_the_users_own_stays_and_so_does_an_empty_list() {
    let (target, mut document) = accompanied(&HTTP_ROUTE);
    let header =
        json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}});
    for filters in [json!([header]), json!([])] {
        document["spec"]["rules"][1]["filters"] = filters.clone();
        let during = made(&target, on(100), &document);
        let there = during["spec"]["rules"][1]["filters"].as_array().unwrap();
        let last = there.last().unwrap();
        assert!(last["requestMirror"].get("percent").is_none(), "all is said by saying nothing");
        assert_eq!(there.len(), filters.as_array().unwrap().len() + 1);
        let after = made(&target, off(), &during);
        assert_eq!(after.to_string(), document.to_string());
    }
}

#[test]
fn a_copy_that_somebody_changed_is_put_right_and_a_missing_one_is_told() {
    let (target, before) = accompanied(&VIRTUAL_SERVICE);
    let mut during = made(&target, on(20), &before);
    during["spec"]["http"][1]["mirrorPercentage"]["value"] = json!(50.5);
    let read = |document: &Value| {
        company::copies(&target.layout(document), [&"blue".into(), &"green".into()])
    };
    assert_eq!(read(&during)[0].as_ref().unwrap().share, weight(5_050));
    let again = made(&target, on(20), &during);
    assert_eq!(again["spec"]["http"][1]["mirrorPercentage"]["value"], json!(20));
    during["spec"]["http"][1].as_object_mut().unwrap().shift_remove("mirror");
    during["spec"]["http"][1].as_object_mut().unwrap().shift_remove("mirrorPercentage");
    assert_eq!(read(&during), [None]);
    assert_eq!(made(&target, off(), &during).to_string(), before.to_string(), "our note goes");
}

#[test]
fn parts_of_a_percent_are_said_as_each_api_can() {
    let (http, document) = accompanied(&HTTP_ROUTE);
    let half = Escort { testers: None, mirror: Some((1, weight(50))) };
    let during = made(&http, half, &document);
    let mirror = &during["spec"]["rules"][1]["filters"][0]["requestMirror"];
    assert_eq!(mirror["fraction"], json!({"numerator": 50, "denominator": 10_000}));
    let (istio, document) = accompanied(&VIRTUAL_SERVICE);
    let during = made(&istio, half, &document);
    assert_eq!(during["spec"]["http"][1]["mirrorPercentage"], json!({"value": 0.5}));
}

#[test]
fn routes_of_connections_cannot_be_copied() {
    let (mut target, document) = accompanied(&VIRTUAL_SERVICE);
    target.picks.named = vec!["tcp#0".into()];
    complains(&target, on(20), &document, "tcp#0: it routes connections, which cannot be copied");
}

#[test]
fn a_rule_for_testers_that_everybody_matches_is_refused_and_still_given_back() {
    let (target, mut document) = accompanied(&HTTP_ROUTE);
    let during = made(&target, on(20), &document);
    for odd in [json!([{"path": {"value": "/"}}]), json!([]), json!([{"headers": []}])] {
        document["spec"]["rules"][0]["matches"] = odd.clone();
        complains(
            &target,
            on(20),
            &document,
            "testers: it is for testers, and takes requests of others too",
        );
        let mut during = during.clone();
        during["spec"]["rules"][0]["matches"] = odd;
        // What the split gives to nobody is no ground for a complaint either.
        let steps = off().steps(&target, &target.layout(&written(&target, &lower(0), &during)));
        assert!(steps.complaints.is_empty() && !steps.operations.is_empty());
    }
}

#[test]
fn a_rule_for_testers_that_is_gone_is_told_and_hides_nothing() {
    let (mut target, document) = accompanied(&HTTP_ROUTE);
    target.testers.named = vec!["tester".into()];
    complains(&target, on(20), &document, "tester: there is no such rule");
    let steps = on(20).steps(&target, &target.layout(&document));
    assert!(!steps.operations.is_empty(), "the mirror is made");
    target.testers.named = vec!["primary".into()];
    unfit(&target, &document, "it is named among the testers' as well");
}

#[test]
fn a_route_without_annotations_gets_one_for_the_copies_too() {
    let (target, mut bare) = accompanied(&HTTP_ROUTE);
    bare["metadata"].as_object_mut().unwrap().shift_remove("annotations");
    let during = made(&target, on(20), &bare);
    assert_eq!(during["metadata"]["annotations"], json!({target.mirror_key(): "20%"}));
}
