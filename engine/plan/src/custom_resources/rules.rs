//! The rules that span fields of a rollout or a template, as far as the API server can say them at bounded cost.
//!
//! Each says what `compile` says as well; what only the engine can tell (queries, limits, templates of another
//! object) it tells in the conditions. Messages name the field and the remedy.

use serde_json::Value;

use super::rule::{self, Rule, at, by_name};
use crate::{Registries, steps};

/// An expression that holds for a text which is plain, so that nothing is filled in.
const PLAIN: &str = "!TEXT.contains('{{') && !TEXT.contains('{%') && !TEXT.contains('{#')";

/// Adds what a rollout must hold to.
pub(super) fn rollout(root: &mut Value, registries: &Registries<'_>) {
    by_name(root, "spec.sides", "name");
    by_name(root, "spec.traffic", "name");
    by_name(root, "spec.steps[].gates", "name");
    by_name(root, "spec.analysis.sources", "name");
    by_name(root, "spec.alerts", "name");
    at(root, "spec.steps[].checks").insert("x-kubernetes-list-type".to_owned(), "set".into());
    named(root);
    sides(root);
    traffic(root, registries);
    mirrors(root, registries);
    each_step(root);
    all_steps(root);
    times(root);
    analysis(root);
    sources(root, registries);
    phases(root);
    checks(root, "spec.analysis.checks", registries);
    uses(root);
    let matcher = r#"self.matches('^[ ]*[a-zA-Z_][a-zA-Z0-9_]*[ ]*(=~|!~|!=|=)[ ]*".*"[ ]*$')"#;
    let message = "this is no matcher: write `label=\"value\"`, or with one of `!=`, `=~`, `!~`";
    rule::add(at(root, "spec.alerts[].matchers[]"), &Rule::new(matcher, message));
}

/// Adds what a template must hold to.
pub(super) fn template(root: &mut Value, is_for_all: bool, registries: &Registries<'_>) {
    by_name(root, "spec.arguments", "name");
    named(root);
    checks(root, "spec.checks", registries);
    let brings = "(has(self.checks) && size(self.checks) > 0) \
                  || (has(self.templates) && size(self.templates) > 0)";
    let message = "spec.checks: the template brings no check: add one, such as \
                   `- {name: errors, errors: {max: \"1%\"}}`";
    rule::add(at(root, "spec"), &Rule::new(brings, message));
    let name = "self.matches('^[a-zA-Z][a-zA-Z0-9_]*$')";
    let message = "the name of an argument has letters, digits and _, a letter first: correct it";
    rule::add(at(root, "spec.arguments[].name"), &Rule::new(name, message));
    let message = "a default is plain text, nothing is filled in there: write the text itself";
    rule::add(at(root, "spec.arguments[].default"), &Rule::new(plain("self"), message));
    if is_for_all {
        let message = "a ClusterAnalysisTemplate cannot use an AnalysisTemplate of one namespace: say \
                       `clusterScope: true`, and write that one for all as well";
        let rule = Rule::new("has(self.clusterScope) && self.clusterScope", message);
        rule::add(at(root, "spec.templates[]"), &rule);
    }
}

/// Names go into labels, metrics and names of other objects: they are shorter than a cluster's.
fn named(root: &mut Value) {
    let rule = "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')";
    let message = "metadata.name: a name has at most 63 lower case letters, digits and dashes, and no dot: \
                   choose another";
    rule::add(at(root, ""), &Rule::new(rule, message));
}

fn sides(root: &mut Value) {
    let rule = "size(self) != 2 || !has(self[0].labels) || !has(self[1].labels) \
                || size(self[0].labels) == 0 || self[0].labels != self[1].labels";
    let message = "both sides have the same labels, so that their series cannot be told apart: write what \
                   differs between the sides";
    rule::add(at(root, "spec.sides"), &Rule::new(rule, message));
    let rule = "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))";
    let message = "labels of series consist of letters, digits and underscores: correct the name of the label";
    rule::add(at(root, "spec.sides[].labels"), &Rule::new(rule, message));
    let rule = "[has(self.deployment), has(self.statefulSet), has(self.daemonSet), has(self.replicaSet), \
                has(self.pods)].exists_one(it, it)";
    let message = "a side has exactly one workload: write one of `deployment`, `statefulSet`, `daemonSet`, \
                   `replicaSet` or `pods`";
    rule::add(at(root, "spec.sides[].workload"), &Rule::new(rule, message));
    let message = "pods by label have no template that would refer to contents: name the workload that makes them, \
                   or remove `contents`";
    let rule = Rule::new("!has(self.contents) || !has(self.pods)", message);
    rule::add(at(root, "spec.sides[].workload"), &rule);
}

fn traffic(root: &mut Value, registries: &Registries<'_>) {
    let message = "entries that follow another one are not available in this version: remove this entry, and \
                   open what stands behind the other to both sides by hand before the rollout";
    rule::add(at(root, "spec.traffic[].follow"), &Rule::new("self != 'Open'", message));
    for kind in registries.providers.iter().map(|row| row.kind) {
        let place = format!("spec.traffic[].{kind}");
        let settings = at(root, &place).get("properties");
        if settings.is_none_or(|fields| fields.get("destinations").is_none()) {
            continue;
        }
        let there = format!("has(it.{kind}) && has(it.{kind}.destinations)");
        let all = format!("it.{kind}.destinations");
        let rule = format!(
            "self.traffic.all(it, !({there}) || ({all}.all(name, self.sides.exists(side, side.name == name)) \
             && self.sides.all(side, side.name in {all})))"
        );
        let message = format!(
            "spec.traffic[].{kind}.destinations: each of the two sides has a destination under its name, and \
             nothing else has: correct the names"
        );
        rule::add(at(root, "spec"), &Rule::new(rule, message));
    }
}

/// Refuses mirrors where the kind of an entry never copies traffic; what a kind's settings decide, `compile` says.
fn mirrors(root: &mut Value, registries: &Registries<'_>) {
    let never =
        registries.providers.iter().filter(|row| !(row.capabilities)(&Value::Null).mirroring);
    for kind in never.map(|row| row.kind) {
        let rule = format!(
            "!has(self.steps) || !self.steps.exists(it, has(it.mirror)) \
             || self.traffic.all(it, !has(it.{kind}))"
        );
        let message = format!(
            "spec.steps[].mirror: {kind} cannot copy traffic: remove `mirror` from the steps, or drive the \
             traffic by a provider that can, such as istio or gateway"
        );
        rule::add(at(root, "spec"), &Rule::new(rule, message));
    }
}

fn each_step(root: &mut Value) {
    let step = at(root, "spec.steps[]");
    let message = "the step has no weight: add `weight:`, or write only `pause: true`";
    rule::add(step, &Rule::new("has(self.weight) || (has(self.pause) && self.pause)", message));
    let rule = "has(self.weight) || !(has(self.bake) || has(self.maxBake) || has(self.mirror) \
                || (has(self.gates) && size(self.gates) > 0) || (has(self.checks) && size(self.checks) > 0))";
    let message = "a pause has nothing beside it: move `bake`, `maxBake`, `mirror`, `gates` and `checks` to the \
                   step they belong to";
    rule::add(step, &Rule::new(rule, message));
    let rule = format!("!has(self.weight) || {} <= 10000", points("self.weight"));
    rule::add(step, &Rule::new(rule, "weight: it is more than all traffic: the most is `100`"));
    let (weight, mirror) = (points("self.weight"), points("self.mirror"));
    let rule = format!("!has(self.mirror) || ({mirror} > 0 && {mirror} <= 10000)");
    let message = "mirror: a share above `0` and at most `100%` is copied: write such as `20%`, or leave it out";
    rule::add(step, &Rule::new(rule, message));
    let rule = format!("!has(self.mirror) || !has(self.weight) || {weight} < 10000");
    let message = "mirror: at 100 % the serving side gets no traffic that could be copied: remove it, or write \
                   it at a step below";
    rule::add(step, &Rule::new(rule, message));
    let default = haldane_crds::show_duration(steps::BAKE);
    let bake = format!("(has(self.bake) ? self.bake : '{default}')");
    let rule = format!("!has(self.maxBake) || duration(self.maxBake) >= duration({bake})");
    let message = "maxBake: it is shorter than `bake`: write at least that";
    let shows = format!(
        "'maxBake `' + self.maxBake + '` is shorter than bake `' + {bake} + '`: write at least that'"
    );
    rule::add(step, &Rule::new(rule, message).shows(shows));

    let gate = at(root, "spec.steps[].gates[]");
    let rule = "[has(self.manual), has(self.webhook), has(self.window)].exists_one(it, it)";
    let message = "a gate has exactly one kind: write one of `manual: {}`, `webhook`, `window`";
    rule::add(gate, &Rule::new(rule, message));
    for (field, what, help) in [
        ("webhook", "webhook gates are", "use `manual: {}`: a person opens it with `promote`"),
        ("window", "window gates are", "use `manual: {}`: a person opens it with `promote`"),
        ("manual.group", "groups are", "write `manual: {}`"),
    ] {
        let message = format!("{what} not available in this version: {help}");
        let field = at(root, &format!("spec.steps[].gates[].{field}"));
        field.entry("type").or_insert_with(|| "object".into());
        rule::add(field, &Rule::never(message));
    }
    above_zero(
        root,
        "spec.steps[].gates[].expires",
        "a gate cannot expire at once: write a time such as `1h`",
    );
}

fn all_steps(root: &mut Value) {
    let steps = at(root, "spec.steps");
    let (it, other) = (points("it.weight"), points("other.weight"));
    let rule = format!(
        "self.map(it, has(it.weight), {it}).isSorted() && self.all(it, !has(it.weight) \
         || self.exists_one(other, has(other.weight) && {other} == {it}))"
    );
    let message = "the weights do not rise: write the steps in rising order, each weight once";
    rule::add(steps, &Rule::new(rule, message));
    let last = "self[size(self) - 1]";
    let rule = format!("size(self) == 0 || !(has({last}.pause) && {last}.pause)");
    let message = "no step follows the last pause: remove it; `watch` goes on after the last step";
    rule::add(steps, &Rule::new(rule, message));
    let full = points(&format!("{last}.weight"));
    let rule = format!("size(self) == 0 || !has({last}.weight) || {full} >= 10000");
    let message = "the last step is not 100 %: add `- {weight: 100}` as the last step: a rollout ends with all \
                   traffic on one side";
    rule::add(steps, &Rule::new(rule, message));
}

fn times(root: &mut Value) {
    let default = haldane_crds::show_duration(steps::BAKE);
    let bake = format!("duration(has(it.bake) ? it.bake : '{default}')");
    // Whole seconds never refuse what is long enough.
    let planned = format!(
        "(has(self.steps) ? self.steps.map(it, has(it.weight), {bake}.getSeconds()).sum() : {})",
        steps::BAKE.as_secs() * steps::DEFAULT_PERCENTS.len() as u64,
    );
    let rule = format!(
        "!has(self.progressDeadline) || (duration(self.progressDeadline).getSeconds() >= {planned} \
         && duration(self.progressDeadline) > duration('0s'))"
    );
    let message = "spec.progressDeadline: it is shorter than the bakes together: leave it out for the planned \
                   bake and an hour, or write a longer one";
    rule::add(at(root, "spec"), &Rule::new(rule, message));
    let rule = format!(
        "{} || !has(self.steps) || self.steps.all(it, !has(it.bake) || duration(it.bake) > duration('0s'))",
        NONE,
    );
    let message = "spec.steps[].bake: a bake of `0s` leaves no time to judge: write how long the share is held \
                   before it may rise, such as `5m`";
    rule::add(at(root, "spec"), &Rule::new(rule, message));
    let fits = |window: &str| {
        format!(
            "(has(self.steps) ? self.steps.all(it, !has(it.weight) || {bake} >= duration({window}) \
             || {bake} == duration('0s')) : duration('{default}') >= duration({window}))"
        )
    };
    let rule = format!(
        "!has(self.analysis) || !has(self.analysis.checks) || (self.analysis.checks.all(check, \
         !has(check.window) || {}) && (!has(self.analysis.window) \
         || self.analysis.checks.all(check, has(check.window)) || {}))",
        fits("check.window"),
        fits("self.analysis.window"),
    );
    let message = "spec.analysis: a window is longer than the shortest bake: write a shorter one, or let every \
                   step bake for as long";
    rule::add(at(root, "spec"), &Rule::new(rule, message));
}

/// Whether a rollout says that nothing is analysed.
const NONE: &str = "(has(self.analysis) && has(self.analysis.none) && self.analysis.none)";
/// Whether templates bring checks that only the engine knows.
const TEMPLATES: &str =
    "(has(self.analysis) && has(self.analysis.templates) && size(self.analysis.templates) > 0)";

fn analysis(root: &mut Value) {
    let rule = format!(
        "{NONE} || {TEMPLATES} || (has(self.analysis) && has(self.analysis.checks) \
         && self.analysis.checks.exists(check, !has(check.dryRun) || !check.dryRun))"
    );
    let message = "spec.analysis.checks: no check judges the side under test: add one that is no dry run, such \
                   as `- {name: errors, errors: {max: \"1%\"}}`, or say `analysis: {none: true}` to rise by time \
                   alone";
    rule::add(at(root, "spec"), &Rule::new(rule, message));
    let rule = "!has(self.none) || !self.none || !((has(self.checks) && size(self.checks) > 0) \
                || (has(self.templates) && size(self.templates) > 0))";
    let message =
        "`none: true` says that nothing is analysed, but there are checks: remove one of the two";
    rule::add(at(root, "spec.analysis"), &Rule::new(rule, message));
    for (field, message) in [
        ("interval", "an interval cannot be `0s`: write a time such as `10s`"),
        ("window", "a window cannot be `0s`: write a time such as `1m`"),
    ] {
        above_zero(root, &format!("spec.analysis.{field}"), message);
    }
}

fn sources(root: &mut Value, registries: &Registries<'_>) {
    // Where a rollout names none, the engine's own is called so.
    let known = |from: &str, name: &str| {
        format!(
            "(has({from}.sources) && size({from}.sources) > 0 ? {from}.sources.exists(source, \
             source.name == {name}) : {name} == 'default')"
        )
    };
    let analysis = at(root, "spec.analysis");
    let rule = format!("!has(self.source) || {}", known("self", "self.source"));
    let message = "source: it names no source: correct it, or add it to `sources`";
    let shows = "'source: `' + self.source + '` is not known: correct it, or add it to `sources`'";
    rule::add(analysis, &Rule::new(rule, message).shows(shows));
    let unknown = format!("has(check.source) && !{}", known("self", "check.source"));
    let rule = format!("!has(self.checks) || self.checks.all(check, !({unknown}))");
    let message = "checks[].source: it names no source: correct it, or add it to `sources`";
    rule::add(analysis, &Rule::new(rule, message));
    let own = registries.checks.iter().map(|row| row.kind);
    let own: Vec<&str> = own.filter(|kind| (registries.own_source)(kind).is_some()).collect();
    let brings: String = own.iter().map(|kind| format!(" || has(check.{kind})")).collect();
    let rule = format!(
        "!has(self.sources) || size(self.sources) < 2 || has(self.source) || !has(self.checks) \
         || self.checks.all(check, has(check.source){brings})"
    );
    let message = "checks[].source: a check does not say which source is asked: add `source:` to it, or to \
                   `analysis` for all";
    rule::add(analysis, &Rule::new(rule, message));
    let rule = format!(
        "self.sides.all(side, !has(side.revisionQuery) || !has(side.revisionQuery.source) \
         || (has(self.analysis) ? {} : side.revisionQuery.source == 'default'))",
        known("self.analysis", "side.revisionQuery.source"),
    );
    let message = "spec.sides[].revisionQuery.source: it names no source: correct it, or add it to \
                   `spec.analysis.sources`";
    rule::add(at(root, "spec"), &Rule::new(rule, message));
}

/// When checks are asked.
fn phases(root: &mut Value) {
    let checks = "!has(self.analysis) || !has(self.analysis.checks)";
    let named = "has(self.steps) && self.steps.exists(it, has(it.checks) \
                 && it.checks.exists(name, name == check.name))";
    let spec = at(root, "spec");
    let rule =
        format!("{checks} || self.analysis.checks.all(check, !has(check.during) || !({named}))");
    let message = "spec.analysis.checks[].during: a step names this check, so that it is asked in such steps \
                   alone: remove `during`, or the name from the `checks` of the steps";
    rule::add(spec, &Rule::new(rule, message));
    let rule = format!(
        "{TEMPLATES} || !has(self.steps) || self.steps.all(it, !has(it.checks) || it.checks.all(name, \
         has(self.analysis) && has(self.analysis.checks) \
         && self.analysis.checks.exists(check, check.name == name)))"
    );
    let message = "spec.steps[].checks: it names a check that there is not: correct the name, or add the check \
                   to `spec.analysis.checks`";
    rule::add(spec, &Rule::new(rule, message));
    let zero = points("it.weight");
    let rule = format!(
        "{checks} || (has(self.steps) && self.steps.exists(it, has(it.weight) && {zero} == 0)) \
         || self.analysis.checks.all(check, !has(check.during) || check.during != 'BeforeTraffic')"
    );
    let message = "spec.analysis.checks[].during: no step has the weight 0, so that `BeforeTraffic` never is: \
                   let a step such as `{weight: 0, bake: 1m}` come first";
    rule::add(spec, &Rule::new(rule, message));
    let rule = format!(
        "{checks} || {TEMPLATES} || self.analysis.checks.all(check, has(check.dryRun) && check.dryRun) \
         || self.analysis.checks.exists(check, (!has(check.dryRun) || !check.dryRun) \
         && (!has(check.during) || check.during == 'Background') && !({named}))"
    );
    let message = "spec.analysis.checks: every check is asked in a phase alone, so that between them nothing \
                   guards: let one be asked all along: leave its `during` out, and its name out of the steps";
    rule::add(spec, &Rule::new(rule, message));
}

/// Checks, which a cluster merges by their names.
fn checks(root: &mut Value, place: &str, registries: &Registries<'_>) {
    by_name(root, place, "name");
    for (field, message) in [
        ("interval", "an interval cannot be `0s`: write a time such as `10s`"),
        ("window", "a window cannot be `0s`: write a time such as `1m`"),
    ] {
        above_zero(root, &format!("{place}[].{field}"), message);
    }
    let own = registries.checks.iter().map(|row| row.kind);
    for kind in own.filter(|kind| (registries.own_source)(kind).is_some()) {
        let rule = format!("!has(self.{kind}) || !has(self.source)");
        let message = "this check asks whom its own settings name, and no source: remove `source`";
        rule::add(at(root, &format!("{place}[]")), &Rule::new(rule, message));
    }
}

/// Uses of templates by a rollout.
fn uses(root: &mut Value) {
    let rule = format!("self.all(name, {})", plain("self[name]"));
    let message = "an argument is plain text, and nothing is filled in here: write the text itself, such as \
                   `checkout`";
    rule::add(at(root, "spec.analysis.templates[].arguments"), &Rule::new(rule, message));
}

fn above_zero(root: &mut Value, place: &str, message: &str) {
    rule::add(at(root, place), &Rule::new("duration(self) > duration('0s')", message));
}

fn plain(text: &str) -> String {
    PLAIN.replace("TEXT", text)
}

/// A share in basis points. The digits of `"0.5%"` are read one by one: older servers reckon that a share may have
/// three megabytes, and any other way is too dear for fifty steps.
fn points(share: &str) -> String {
    let sum = |digits: &[(usize, u32)]| {
        let worth = |(at, worth): &(usize, u32)| format!("int({share}.charAt({at})) * {worth}");
        digits.iter().map(worth).collect::<Vec<_>>().join(" + ")
    };
    let dot = |at: usize, there: &[(usize, u32)], elsewhere: &[(usize, u32)]| {
        format!("({share}.charAt({at}) == '.' ? {} : {})", sum(there), sum(elsewhere))
    };
    let forms = [
        (2, sum(&[(0, 100)])),
        (3, sum(&[(0, 1_000), (1, 100)])),
        (4, dot(1, &[(0, 100), (2, 10)], &[(0, 10_000), (1, 1_000), (2, 100)])),
        (5, dot(1, &[(0, 100), (2, 10), (3, 1)], &[(0, 1_000), (1, 100), (3, 10)])),
        (
            6,
            dot(
                2,
                &[(0, 1_000), (1, 100), (3, 10), (4, 1)],
                &[(0, 10_000), (1, 1_000), (2, 100), (4, 10)],
            ),
        ),
    ];
    let longest = sum(&[(0, 10_000), (1, 1_000), (2, 100), (4, 10), (5, 1)]);
    let by_size = forms
        .iter()
        .rev()
        .fold(longest, |rest, (size, form)| format!("size({share}) == {size} ? {form} : ({rest})"));
    format!("(type({share}) == int ? int({share}) * 100 : ({by_size}))")
}
