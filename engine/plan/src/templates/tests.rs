//! What templates bring, and every way in which they are refused.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use haldane_crds::{Diagnostic, Severity, parse};
use serde_json::Value;

use super::*;
use crate::{Compiled, Options, compile, effective, registries};

/// A rollout of the namespace shop with what is written under `analysis`.
fn rollout(analysis: &str) -> String {
    format!(
        r#"apiVersion: haldane.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec:
  sides:
  - {{name: blue, labels: {{version: v1}}}}
  - {{name: green, labels: {{version: v2}}}}
  traffic:
  - name: edge
    haproxy:
      share: {{map: /etc/haproxy/haldane/share.map, key: checkout}}
      destinations: {{blue: {{backend: be_blue}}, green: {{backend: be_green}}}}
  analysis:
    sources: [{{name: main, prometheus: {{url: "http://127.0.0.1:9090"}}}}]
{}
"#,
        indented(analysis, "    ")
    )
}

fn indented(text: &str, by: &str) -> String {
    text.trim().lines().map(|line| format!("{by}{line}")).collect::<Vec<_>>().join("\n")
}

/// A template of the namespace shop, or of all.
fn template(kind: &str, name: &str, spec: &str) -> String {
    let namespace = if kind == "AnalysisTemplate" { ", namespace: shop" } else { "" };
    format!(
        "apiVersion: haldane.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\nspec:\n{}\n",
        indented(spec, "  ")
    )
}

const HTTP: &str = r#"
arguments:
- {name: service, description: the value of the label `service`}
- {name: limit, default: "1%"}
checks:
- name: errors
  errors:
    max: "{{ limit }}"
    metrics:
      total: 'requests_total{service="{{ service }}"}'
      bad: 'sum(increase(requests_total{service="{{ service }}",code=~"5..",{{ canary.labels }}}[{{ window }}]))'
"#;

fn http() -> String {
    template("AnalysisTemplate", "http", HTTP)
}

/// Compiles the rollout of a text, with templates of another file.
fn with(text: &[&str], elsewhere: &str) -> Result<Compiled, Vec<Diagnostic>> {
    let documents = parse(&text.join("---\n"))?;
    let mut templates = Templates::default();
    templates.add(documents.templates, None);
    if !elsewhere.is_empty() {
        templates.add(parse(elsewhere)?.templates, Some("templates.yaml"));
    }
    compile(&documents.rollouts[0], &registries(), &Options { templates, ..Options::default() })
}

#[track_caller]
fn good(text: &[&str]) -> Compiled {
    with(text, "").unwrap_or_else(|found| panic!("{found:#?}"))
}

/// The faults of a rollout, as they are told.
#[track_caller]
fn refused(text: &[&str], elsewhere: &str) -> Vec<String> {
    let found = with(text, elsewhere).err().unwrap_or_else(|| panic!("accepted"));
    for fault in &found {
        assert!(fault.help.is_some(), "no remedy: {fault}");
        assert!(fault.line.is_some() && fault.column.is_some(), "no place: {fault}");
    }
    found.iter().map(ToString::to_string).collect()
}

/// One fault that holds all these words.
#[track_caller]
fn one(found: &[String], words: &[&str]) {
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{word:?} is missing in {}", found[0]);
    }
}

/// What is wrong with a template by itself.
fn alone(text: &str) -> Vec<Diagnostic> {
    let documents = parse(text).unwrap();
    let mut templates = Templates::default();
    templates.add(documents.templates.clone(), None);
    validate_template(&documents.templates[0], &registries(), &templates)
}

// === what is brought ===

#[test]
fn a_template_brings_its_checks_with_the_arguments_filled_in() {
    let own = "checks: [{name: own, errors: {max: \"2%\", metrics: prometheus}}]\n\
               templates: [{name: http, arguments: {service: cart}}]";
    let compiled = good(&[&rollout(own), &http()]);
    let names: Vec<_> = compiled.plan.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["own", "errors"]);
    let brought = &compiled.plan.checks[1];
    assert!(brought.question.contains(r#"service=\"cart\""#), "{}", brought.question);
    assert!(brought.question.contains(r#"version=\"v2\""#), "{}", brought.question);
    assert!(brought.rule.contains("0.01"), "{}", brought.rule);
    assert!(compiled.plan.guards_at_full);
}

#[test]
fn the_effective_plan_shows_the_checks_of_templates_as_its_own() {
    let compiled =
        good(&[&rollout("templates: [{name: http, arguments: {service: cart}}]"), &http()]);
    let shown = effective(&compiled);
    assert_eq!(shown["spec"]["analysis"]["checks"][0]["errors"]["max"], "1%");
    assert!(!shown.to_string().contains("templates"), "{shown}");
    let again = good(&[&shown.to_string()]);
    assert_eq!(again.plan, compiled.plan);
}

#[test]
fn an_argument_says_more_than_a_default_and_a_prefix_keeps_names_apart() {
    let uses = "templates:\n\
                - {name: http, arguments: {service: cart}, prefix: cart-}\n\
                - {name: http, arguments: {service: pay, limit: \"5%\"}, prefix: pay-}";
    let plan = good(&[&rollout(uses), &http()]).plan;
    let told: Vec<_> =
        plan.checks.iter().map(|check| (check.name.as_str(), &*check.rule)).collect();
    assert_eq!((told[0].0, told[1].0), ("cart-errors", "pay-errors"));
    assert!(told[0].1.contains("0.01") && told[1].1.contains("0.05"), "{told:?}");
}

#[test]
fn templates_use_templates_and_pass_arguments_on() {
    let outer = template(
        "AnalysisTemplate",
        "web",
        "arguments: [{name: app}]\n\
         templates: [{name: http, clusterScope: true, arguments: {service: \"{{ app }}-web\"}, prefix: a-}]",
    );
    let inner = template("ClusterAnalysisTemplate", "http", HTTP);
    let uses = rollout("templates: [{name: web, arguments: {app: cart}, prefix: b-}]");
    let plan = good(&[&uses, &outer, &inner]).plan;
    assert_eq!(plan.checks[0].name.as_str(), "b-a-errors");
    assert!(plan.checks[0].question.contains(r#"service=\"cart-web\""#));
}

#[test]
fn an_argument_cannot_leave_its_string() {
    let uses = rollout("templates: [{name: http, arguments: {service: 'x\"} or up{a=\"'}}]");
    let question = good(&[&uses, &http()]).plan.checks[0].question.to_string();
    assert!(question.contains(r#"service=\"x\\\"} or up{a=\\\"\""#), "{question}");
}

#[test]
fn an_argument_keeps_its_place_in_an_address_and_in_json() {
    let hook = r#"
arguments: [{name: service}]
checks:
- name: smoke
  webhook:
    url: "https://ci.example.com/x?service={{ service }}&side={{ canary }}&at={{ attempt }}"
    body: '{"service": "{{ service }}", "until": {{ end_seconds }}}'
"#;
    let hook = template("AnalysisTemplate", "hook", hook);
    let with = |value: &str| {
        let argument = Value::from(value);
        rollout(&format!("templates: [{{name: hook, arguments: {{service: {argument}}}}}]"))
    };
    let evil = "a&admin=1#\"}, {\"x";
    let question = good(&[&with(evil), &hook]).plan.checks[0].question.to_string();
    let question: Value = serde_json::from_str(&question).unwrap();
    let asked = question["sides"].as_object().unwrap().values().next().unwrap();
    let request = &asked["ask"]["consent"]["request"];
    let url = request["url"].as_str().unwrap();
    assert!(url.contains("?service=a%26admin%3D1%23%22%7D%2C%20%7B%22x&side="), "{url}");
    let body = request["body"].as_str().unwrap().replace("\u{1}end_seconds\u{1}", "0");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["service"], evil);
    let found = refused(&[&with("a\u{1}b"), &hook], "");
    one(&found, &["the argument holds a control character"]);
}

// === what is refused ===

#[test]
fn an_unknown_template_is_refused_with_the_nearest_name() {
    let found = refused(&[&rollout("templates: [{name: htp}]"), &http()], "");
    let words = ["spec.analysis.templates[0].name", "AnalysisTemplate `htp`", "shop", "`http`?"];
    one(&found, &words);
    let found = refused(&[&rollout("templates: [{name: other}]")], "");
    one(&found, &["there is no AnalysisTemplate `other`", "--templates PATH"]);
}

#[test]
fn a_template_of_the_other_scope_or_namespace_is_named_and_not_taken() {
    let cluster = template("ClusterAnalysisTemplate", "http", HTTP);
    let found =
        refused(&[&rollout("templates: [{name: http, arguments: {service: a}}]")], &cluster);
    one(&found, &["but a ClusterAnalysisTemplate", "templates.yaml:1:1", "`clusterScope: true`"]);
    let asked = rollout("templates: [{name: http, clusterScope: true, arguments: {service: a}}]");
    one(&refused(&[&asked, &http()], ""), &["but an AnalysisTemplate", "leave `clusterScope` out"]);
    let foreign = http().replace("namespace: shop", "namespace: web");
    let asked = rollout("templates: [{name: http, arguments: {service: a}}]");
    one(&refused(&[&asked, &foreign], ""), &["but one in the namespace web", "its own namespace"]);
    let inner = template("ClusterAnalysisTemplate", "all", "templates: [{name: http}]");
    let asked = rollout("templates: [{name: all, clusterScope: true}]");
    let words = ["ClusterAnalysisTemplate cannot use the AnalysisTemplate `http`", "clusterScope"];
    one(&refused(&[&asked, &inner, &http()], ""), &words);
}

#[test]
fn a_template_that_is_written_twice_is_refused_with_both_places() {
    let asked = rollout("templates: [{name: http, arguments: {service: a}}]");
    let found = refused(&[&asked, &http()], &http());
    one(&found, &["written twice", "at 17:1 and at templates.yaml:1:1", "remove one of the two"]);
}

#[test]
fn arguments_that_lack_are_unknown_or_are_no_text_are_refused() {
    let found = refused(&[&rollout("templates: [{name: http}]"), &http()], "");
    let words = ["templates[0].arguments.service", "`http` needs the argument `service`", "label"];
    one(&found, &words);
    let uses = "templates: [{name: http, arguments: {service: a, limt: \"2%\"}}]";
    let found = refused(&[&rollout(uses), &http()], "");
    one(&found, &["arguments.limt", "has no argument `limt`", "did you mean `limit`?"]);
    for (value, words) in [
        ("{valueFrom: {secretKeyRef: {name: a, key: b}}}", ["from a secret", "the source"]),
        ("{secretKeyRef: {name: a, key: b}}", ["from a secret", "the source"]),
        ("5", ["`5` is no argument", "quote it"]),
        ("'{{ name }}'", ["nothing is filled in here", "the text itself"]),
    ] {
        let uses = format!("templates: [{{name: http, arguments: {{service: {value}}}}}]");
        let found = refused(&[&rollout(&uses), &http()], "");
        one(&found, &words);
        one(&found, &["spec.analysis.templates[0].arguments.service"]);
    }
}

#[test]
fn an_argument_that_is_written_or_declared_twice_is_refused() {
    let uses = "templates: [{name: http, arguments: {service: a, service: b}}]";
    one(&refused(&[&rollout(uses), &http()], ""), &["the key `service` is written twice"]);
    let twice = http().replace("name: limit", "name: service");
    let uses = rollout("templates: [{name: http, arguments: {service: a}}]");
    let found = refused(&[&uses, &twice], "");
    assert!(found[0].contains("the argument `service` is declared twice"), "{found:#?}");
    assert!(found[0].contains("spec.arguments[1].name"), "{found:#?}");
}

#[test]
fn templates_in_a_circle_are_refused_with_the_circle() {
    let of = |name: &str, next: &str| {
        template("AnalysisTemplate", name, &format!("templates: [{{name: {next}}}]"))
    };
    let asked = rollout("templates: [{name: start}]");
    let found = refused(&[&asked, &of("start", "a"), &of("a", "b"), &of("b", "a")], "");
    one(&found, &["circle: a -> b -> a", "spec.templates[0].name", "the template `b`"]);
    one(&refused(&[&asked, &of("start", "start")], ""), &["circle: start -> start"]);
}

#[test]
fn templates_more_than_eight_deep_are_refused() {
    let chain = |depth: usize| {
        let mut text = vec![rollout("templates: [{name: t1, arguments: {service: a}}]")];
        for at in 1..depth {
            let next = at + 1;
            let spec = format!(
                "arguments: [{{name: service}}]\n\
                 templates: [{{name: t{next}, arguments: {{service: \"{{{{ service }}}}\"}}}}]"
            );
            text.push(template("AnalysisTemplate", &format!("t{at}"), &spec));
        }
        text.push(template("AnalysisTemplate", &format!("t{depth}"), HTTP));
        text
    };
    let text = chain(8);
    good(&text.iter().map(String::as_str).collect::<Vec<_>>());
    let text = chain(9);
    let found = refused(&text.iter().map(String::as_str).collect::<Vec<_>>(), "");
    one(&found, &["more than 8 deep: t1 -> t2", "the template `t8`"]);
}

#[test]
fn more_than_32_checks_are_refused_however_they_are_brought() {
    let check = |at: usize| format!("- {{name: c{at}, errors: {{max: \"1%\", metrics: otel}}}}\n");
    let many = |count| {
        let checks: String = (0..count).map(check).collect();
        template("AnalysisTemplate", "many", &format!("checks:\n{checks}"))
    };
    let uses = rollout("templates: [{name: many, prefix: a-}, {name: many, prefix: b-}]");
    assert_eq!(good(&[&uses, &many(16)]).plan.checks.len(), 32);
    let found = refused(&[&uses, &many(17)], "");
    one(&found, &["spec.analysis.templates", "has 34 checks", "at most 32"]);
}

#[test]
fn templates_without_end_are_refused_before_they_are_all_read() {
    let mut text = vec![rollout("templates: [{name: t1}]")];
    for at in 1..8 {
        let uses = format!("{{name: t{}}}, ", at + 1).repeat(16);
        let spec = format!("templates: [{}]", uses.trim_end_matches(", "));
        text.push(template("AnalysisTemplate", &format!("t{at}"), &spec));
    }
    text.push(template("AnalysisTemplate", "t8", HTTP));
    // Sixteen to the power of eight would not end.
    let found = refused(&text.iter().map(String::as_str).collect::<Vec<_>>(), "");
    assert!(found.iter().any(|told| told.contains("or more checks")), "{found:#?}");
}

#[test]
fn two_checks_of_one_name_are_refused_with_both_places_and_the_prefix() {
    let own = "checks: [{name: errors, errors: {max: \"1%\", metrics: otel}}]\n\
               templates: [{name: http, arguments: {service: a}}]";
    let found = refused(&[&rollout(own)], &http());
    let words = ["16:", "templates.yaml:9:5", "the one at 15:14", "`prefix: http-`"];
    one(&found, &words);
    let uses = "templates:\n- {name: http, arguments: {service: a}}\n- {name: http, arguments: {service: b}}";
    let words = ["17:", "the one at 27:5, used at 16:7", "`prefix: http-`"];
    one(&refused(&[&rollout(uses), &http()], ""), &words);
    let uses = "templates: [{name: http, arguments: {service: a}, prefix: A_}]";
    one(&refused(&[&rollout(uses), &http()], ""), &["`A_errors` is no name of a check", "prefix"]);
}

#[test]
fn a_fault_of_a_filled_check_is_told_in_the_template_with_the_rollout_that_uses_it() {
    let uses = "templates: [{name: http, arguments: {service: a, limit: 2x}}]";
    let found = refused(&[&rollout(uses)], &http());
    let words = [
        "templates.yaml:11:12: error: spec.checks[0].errors.max: \"2x\" cannot be read",
        "the template `http`, used by the rollout shop/checkout",
        "write a share",
    ];
    one(&found, &words);
}

#[test]
fn an_argument_that_nobody_declared_is_refused_where_it_is_named() {
    let uses = rollout("templates: [{name: http, arguments: {service: a}}]");
    let slip = http().replace("{service=\"{{ service }}\"}", "{service=\"{{ servce }}\"}");
    let found = refused(&[&uses, &slip], "");
    one(&found, &["spec.checks[0].errors.metrics.total", "`servce` is no argument", "`service`?"]);
    let foreign = http().replace("{{ limit }}", "{{ args.limit }}");
    one(&refused(&[&uses, &foreign], ""), &["`args` is no argument", "by its name alone"]);
    let changed = http().replace("{{ limit }}", "{{ limit | upper }}");
    one(&refused(&[&uses, &changed], ""), &["does something with `limit`", "`{{ limit }}`"]);
}

// === a template by itself ===

#[test]
fn a_template_is_good_by_itself_though_nothing_says_its_arguments() {
    assert_eq!(alone(&http()), []);
    let odd = template(
        "ClusterAnalysisTemplate",
        "odd",
        r#"
arguments: [{name: metric}, {name: matchers}, {name: most}, {name: kind}, {name: backend}]
checks:
- {name: a, query: {promql: 'sum({{ metric | safe }}{ {{ matchers | safe }} })', max: "{{ most }}", unit: s}}
- {name: b, errors: {max: "1%", metrics: "{{ kind }}", proxies: {blue: "{{ backend }}"}}}
"#,
    );
    assert_eq!(alone(&odd), []);
}

#[test]
fn what_is_wrong_with_a_template_is_told_though_nothing_uses_it() {
    let faulty = template(
        "AnalysisTemplate",
        "faulty",
        r#"
arguments: [{name: limit}, {name: canary}, {name: 1st}, {name: limit}, {name: idle, default: "{{ x }}"}]
checks:
- {name: a, errors: {max: "{{ limit }}", maxx: "2%", metrics: otel}}
- {name: b, erors: {max: "1%"}}
- {name: c, query: {promql: 'sum(up', max: "{{ limit }}"}}
- {name: c, query: {promql: 'sum(up{ {{ canery.labels }} })', max: "1"}}
templates: [{name: missing}]
"#,
    );
    let found = alone(&faulty);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    for words in [
        ["spec.arguments[1].name", "hides a name that templates have"],
        ["spec.arguments[2].name", "no name of an argument"],
        ["spec.arguments[3].name", "declared twice"],
        ["spec.arguments[4].default", "plain text"],
        ["spec.checks[0].errors", "maxx"],
        ["spec.checks[1].erors", "kind of check `erors` is not known"],
        ["spec.checks[2].query.promql", "sum(up"],
        ["spec.checks[3]", "has the name of the one at 9:5"],
        ["spec.checks[3].query.promql", "`canery` is no argument"],
        ["spec.templates[0].name", "no AnalysisTemplate `missing`"],
    ] {
        let there = told.iter().any(|told| words.iter().all(|word| told.contains(word)));
        assert!(there, "{words:?} is missing in {told:#?}");
    }
    // What a kind says of its own unknown fields lists the known ones instead.
    let helps =
        |fault: &Diagnostic| fault.help.is_some() || fault.message.contains("expected one of");
    assert!(found.iter().all(|fault| helps(fault) && fault.line.is_some()), "{told:#?}");
}

#[test]
fn an_argument_that_nothing_names_is_a_warning_and_an_empty_template_a_fault() {
    let idle =
        http().replace("- {name: service,", "- {name: idle, default: a}\n  - {name: service,");
    let found = alone(&idle);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].message.contains("nothing names the argument `idle`"));
    let empty = template("AnalysisTemplate", "empty", "checks: []");
    assert!(alone(&empty)[0].message.contains("brings no check"));
}

#[test]
fn unknown_fields_and_a_namespace_for_all_are_refused_as_the_form() {
    let told = |text: &str| parse(text).unwrap_err()[0].to_string();
    let found = told(&template("AnalysisTemplate", "x", "args: [{name: a}]"));
    assert!(found.contains("the field `args` is not known"), "{found}");
    let secret = "arguments: [{name: a, valueFrom: {secretKeyRef: {name: b, key: c}}}]";
    let found = told(&template("AnalysisTemplate", "x", secret));
    assert!(found.contains("secrets belong to the source"), "{found}");
    let found = told(&template("ClusterAnalysisTemplate", "x, namespace: shop", HTTP));
    assert!(found.contains("for every namespace and has none"), "{found}");
}
