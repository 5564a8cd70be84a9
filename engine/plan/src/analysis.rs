//! The analysis: sources, checks, and whether they suffice.

use std::{collections::BTreeMap, time::Duration};

use haldane_crds::{Check as Written, Path, show_duration};
use haldane_model::{Check, CheckName, During, Limits, Source, SourceName, Step, Weight};
use haldane_sources::{CheckEntry, Checked, SettingsError, SourceEntry, TemplateScope};
use serde_json::Value;

use crate::{
    Options, Registries, Unresolved,
    faults::Faults,
    hash, odds,
    phases::{self, Phases},
    sides::source_name,
    traffic::only_kind,
};

const INTERVAL: Duration = Duration::from_secs(10);
/// How often a comparison is asked, and how long its windows are: two that agree are ten seconds.
const INTERVAL_COMPARED: Duration = Duration::from_secs(5);

/// What became of the analysis.
#[derive(Default)]
pub(crate) struct Analysis {
    pub(crate) sources: Vec<Source>,
    /// Those that checks bring along: nobody can name them.
    pub(crate) own_sources: Vec<Source>,
    pub(crate) checks: Vec<Check>,
    pub(crate) guards_at_full: bool,
    pub(crate) unresolved: Vec<Unresolved>,
    pub(crate) written: BTreeMap<CheckName, Value>,
}

/// Compiles sources and checks, and refuses what would let a share rise unseen.
pub(crate) fn compile(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    options: &Options,
    scope: &TemplateScope,
    steps: &[Step],
) -> Analysis {
    let written = &faults.document.rollout.spec.analysis;
    let path = Path::of(&["spec", "analysis"]);
    let mut analysis =
        Analysis { sources: sources(faults, registries, options, scope), ..Analysis::default() };
    let names: Vec<&str> = written.checks.iter().map(Written::name).collect();
    faults.unique(&names, &path.key("checks"), "check");
    let bake = steps.iter().map(|step| step.bake).min();
    let compares_first =
        steps.iter().any(|step| Weight::ZERO < step.weight && step.weight < Weight::FULL);
    let phases = Phases::read(faults, steps);
    let mut context = Context {
        registries,
        options,
        scope,
        bake,
        compares_first,
        phases,
        analysis: &mut analysis,
    };
    for (at, check) in written.checks.iter().enumerate() {
        context.check(faults, check, &path.key("checks").index(at));
    }
    suffices(faults, &analysis, &path);
    analysis
}

/// Whether something judges each step, and something judges 100 %.
fn suffices(faults: &mut Faults<'_>, analysis: &Analysis, path: &Path) {
    let written = &faults.document.rollout.spec.analysis;
    let gating = written.checks.iter().filter(|check| !check.dry_run).count();
    let checks = path.key("checks");
    let sources = path.key("sources");
    if written.none {
        if !written.checks.is_empty() {
            let message = "`none: true` says that nothing is analysed, but there are checks";
            faults.value(&path.key("none"), message, "remove one of the two");
        }
        return;
    }
    // What a template should have brought was told; it may have been just what is missing.
    if faults.origins.lacks {
        return;
    }
    if gating == 0 {
        let message = match written.checks.is_empty() {
            true => "no check judges the side under test",
            false => "every check is a dry run, so that none judges the side under test",
        };
        let help = "add a check that is no dry run, such as `- {name: errors, errors: {max: \"1%\"}}`, \
            or say `analysis: {none: true}` to rise by time alone";
        faults.key(&checks, message, help);
        return;
    }
    let brought = !analysis.own_sources.is_empty();
    if analysis.sources.is_empty() && written.sources.is_empty() && !brought {
        let help =
            "add one, such as `- {name: main, prometheus: {url: \"http://prometheus:9090\"}}`";
        faults.key(&sources, "there is no metric source to ask", help);
    }
    // A check that could not be read is no reason to say that there is none.
    if analysis.checks.len() < written.checks.len() {
        return;
    }
    phases::suffices(faults, analysis, &checks);
    if !analysis.guards_at_full {
        let message = "nothing can guard 100 %: no check has a threshold, and no step before it \
            has both sides to compare";
        let help =
            "give one check a `max`, or let a step such as `{weight: 10, bake: 5m}` come first";
        faults.key(&checks, message, help);
    }
}

fn sources(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    options: &Options,
    scope: &TemplateScope,
) -> Vec<Source> {
    let written = &faults.document.rollout.spec.analysis.sources;
    let list = Path::of(&["spec", "analysis", "sources"]);
    let names: Vec<&str> = written.iter().map(|source| source.name.as_str()).collect();
    faults.unique(&names, &list, "source");
    let known: Vec<&str> = registries.sources.iter().map(|row| row.kind).collect();
    let mut compiled = Vec::new();
    for (at, source) in written.iter().enumerate() {
        let path = list.index(at);
        let Some((kind, settings)) =
            only_kind(faults, &source.kinds, &path, "kind of source", &known)
        else {
            continue;
        };
        if !options.workloads {
            refuse_secrets_of_a_cluster(faults, settings, &path.key(kind));
        }
        compiled.extend(self::source(
            faults,
            (registries, scope),
            source.name.as_str(),
            kind,
            settings,
            &path,
        ));
    }
    if let (true, Some((kind, settings))) = (written.is_empty(), &options.default_source) {
        compiled.extend(self::source(
            faults,
            (registries, scope),
            "default",
            kind,
            settings,
            &list,
        ));
    }
    compiled
}

/// A Secret lies in a rollout's namespace, and a file has none.
fn refuse_secrets_of_a_cluster(faults: &mut Faults<'_>, settings: &Value, path: &Path) {
    match settings {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "secretKeyRef" {
                    let help = "use `file` or `env`";
                    faults.key(&path.key(name), "secretKeyRef works in Kubernetes only", help);
                }
                refuse_secrets_of_a_cluster(faults, value, &path.key(name));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                refuse_secrets_of_a_cluster(faults, item, &path.index(at));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn source(
    faults: &mut Faults<'_>,
    (registries, scope): (&Registries<'_>, &TemplateScope),
    name: &str,
    kind: &str,
    settings: &Value,
    path: &Path,
) -> Option<Source> {
    let path = path.key(kind);
    let row = registries.sources.iter().find(|row| row.kind == kind)?;
    let checked = (row.check)(settings)
        .and_then(|checked| (row.join)(&checked, scope).map_err(|error| vec![error]));
    let settings = match checked {
        Ok(checked) => checked,
        Err(errors) => {
            for error in errors {
                faults.settings(&path, &error.path, error.message, error.help);
            }
            // The name stays known, so that one fault is not told once per check.
            settings.clone()
        }
    };
    let settings = hash::canonical(&settings).to_string().into();
    Some(Source { name: SourceName::from(name), kind: kind.into(), settings })
}

/// Refuses a question that a source could never answer.
pub(crate) fn answers(
    registries: &Registries<'_>,
    sources: &[Source],
    name: &str,
    question: &str,
) -> Result<(), SettingsError> {
    let source = sources.iter().find(|source| source.name.as_str() == name);
    let Some(source) = source else { return Ok(()) };
    let Some(row) = registries.sources.iter().find(|row| row.kind == &*source.kind) else {
        return Ok(());
    };
    let settings: Value = serde_json::from_str(&source.settings).unwrap_or(Value::Null);
    (row.answers)(&settings, question)
}

struct Context<'a> {
    registries: &'a Registries<'a>,
    options: &'a Options,
    scope: &'a TemplateScope,
    bake: Option<Duration>,
    /// Whether both sides have traffic at a step, so that a comparison knows a rate at 100 %.
    compares_first: bool,
    phases: Phases<'a>,
    analysis: &'a mut Analysis,
}

// === impl Context ===

impl Context<'_> {
    fn check(&mut self, faults: &mut Faults<'_>, written: &Written, path: &Path) {
        let known: Vec<&str> = self.registries.checks.iter().map(|row| row.kind).collect();
        let defaults = &faults.document.rollout.spec.analysis;
        let (interval, window) = self.times(faults, written, path);
        let kind = only_kind(faults, &written.kinds, path, "kind of check", &known);
        let named = written.source.as_ref().or(defaults.source.as_ref()).map(|name| name.as_str());
        let own = kind.as_ref().and_then(|(kind, _)| (self.registries.own_source)(kind));
        let source = match own {
            Some(_) => own_name(faults, written, path),
            None => source_name(faults, &self.analysis.sources, named, path),
        };
        let Some((kind, settings)) = kind else { return };
        let Some(row) = self.registries.checks.iter().find(|row| row.kind == kind) else { return };
        let name = CheckName::from(written.name());
        let settings = self.options.settings.get(&name).unwrap_or(settings);
        let checked = self.settings(faults, row, settings, written.min_samples, &path.key(kind));
        if let (Some(own), Some(name), Some(_)) = (own, &source, &checked) {
            let source = brought(faults, own, (name, settings), &path.key(kind));
            self.analysis.own_sources.extend(source);
        }
        let (Some(checked), Some(source)) = (checked, source) else { return };
        self.analysis.written.insert(name.clone(), settings.clone());
        let source = SourceName::from(source);
        let during = self.phases.of(faults, written, path);
        let at_full = !written.dry_run && phases::covers_full(&during);
        let (question, rule) = match checked {
            Checked::Ready { question, rule } => {
                if let Err(error) = self.answers(&source, &question) {
                    faults.key(&path.key(kind), error.message, error.help.unwrap_or_default());
                }
                self.analysis.guards_at_full |= at_full && self.guards(&rule, &during);
                (question, rule)
            }
            Checked::NeedsShape(shape) => {
                // Its limit is known already; what is not is only by which series it is asked.
                let limited = ["max", "min", "slo"].iter().any(|limit| !settings[limit].is_null());
                let frozen = self.compares_first && during.is_background();
                self.analysis.guards_at_full |= at_full && (limited || frozen);
                self.analysis.unresolved.push(Unresolved {
                    check: name.clone(),
                    kind: kind.into(),
                    source: source.clone(),
                    shape,
                    settings: settings.clone(),
                });
                ("".into(), "".into())
            }
        };
        if odds::counts(&rule) {
            warn_of_ignored(faults, written, path);
        }
        let unset = written.interval.or(faults.document.rollout.spec.analysis.interval).is_none();
        let counted = unset && odds::counts(&rule);
        let interval = if counted { INTERVAL_COMPARED } else { interval };
        let check = Check {
            name,
            source,
            kind: kind.into(),
            question,
            rule,
            interval,
            window,
            initial_delay: written
                .initial_delay
                .or(defaults.initial_delay)
                .map_or(Duration::ZERO, |wait| wait.0),
            limits: Limits {
                failures: written.failure_limit.or(defaults.failure_limit).unwrap_or(0),
                consecutive_failures: written
                    .consecutive_failure_limit
                    .or(defaults.consecutive_failure_limit),
                inconclusive: written.inconclusive_limit.or(defaults.inconclusive_limit),
            },
            dry_run: written.dry_run,
            during,
        };
        if let (true, objective) = phases::compares(&check, settings) {
            self.phases.comparison(faults, &check.during, objective, &path.key(kind));
        }
        self.analysis.checks.push(check);
    }

    /// Whether its source can ever answer a question.
    fn answers(&self, source: &SourceName, question: &str) -> Result<(), SettingsError> {
        answers(self.registries, &self.analysis.sources, source.as_str(), question)
    }

    fn settings(
        &self,
        faults: &mut Faults<'_>,
        row: &CheckEntry,
        settings: &Value,
        own: Option<u32>,
        path: &Path,
    ) -> Option<Checked> {
        let all = faults.document.rollout.spec.analysis.min_samples;
        // What holds for all checks passes by those that cannot count; a check's own word does not.
        if let (None, Some(all)) = (own, all)
            && let Ok(checked) = (row.check)(settings, self.scope, Some(f64::from(all)))
        {
            return Some(checked);
        }
        let errors = match (row.check)(settings, self.scope, own.map(f64::from)) {
            Ok(checked) => return Some(checked),
            Err(errors) => errors,
        };
        for error in errors {
            faults.settings(path, &error.path, error.message, error.help);
        }
        None
    }

    /// Whether a rule guards 100 %, where there is no serving side to compare with: by a limit of its
    /// own, or by the rate that the serving side had at a step before.
    fn guards(&self, rule: &str, during: &During) -> bool {
        let rule: Value = serde_json::from_str(rule).unwrap_or(Value::Null);
        let has_limit = |limit: &&str| rule.get(*limit).is_some_and(Value::is_number);
        let compare = rule.get("compare");
        let has_objective = compare.is_some_and(|compare| compare.get("slo").is_some());
        ["min", "max"].iter().any(has_limit)
            || has_objective
            || rule.get("burn").is_some()
            || (compare.is_some() && self.compares_first && during.is_background())
    }

    /// The interval and the window, its own or the analysis'.
    fn times(
        &self,
        faults: &mut Faults<'_>,
        written: &Written,
        path: &Path,
    ) -> (Duration, Option<Duration>) {
        let defaults = &faults.document.rollout.spec.analysis;
        let all = Path::of(&["spec", "analysis"]);
        let at = |own: bool| if own { path } else { &all };
        let interval_path = at(written.interval.is_some()).key("interval");
        let window_path = at(written.window.is_some()).key("window");
        let interval = written.interval.or(defaults.interval).map_or(INTERVAL, |wait| wait.0);
        let window = written.window.or(defaults.window).map(|wait| wait.0);
        if interval.is_zero() {
            faults.value(
                &interval_path,
                "an interval cannot be `0s`",
                "write a time such as `10s`",
            );
        }
        if let Some(bake) = self.bake.filter(|bake| interval > *bake && !bake.is_zero()) {
            let (interval, bake) = (show_duration(interval), show_duration(bake));
            let message =
                format!("the interval `{interval}` is longer than the shortest bake, `{bake}`");
            faults.warn(&interval_path, message, "such a step waits for an answer after its bake");
        }
        let Some(window) = window else { return (interval, None) };
        if window.is_zero() {
            faults.value(&window_path, "a window cannot be `0s`", "write a time such as `1m`");
        }
        if let Some(bake) = self.bake.filter(|bake| window > *bake && !bake.is_zero()) {
            let (window, bake) = (show_duration(window), show_duration(bake));
            let message =
                format!("the window `{window}` is longer than the shortest bake, `{bake}`");
            let help = format!("write at most `{bake}`, or let every step bake for `{window}`");
            faults.value(&window_path, message, help);
        }
        (interval, Some(window))
    }
}

/// The name of a source that a check brings along, which no source can have that is written.
fn own_name(faults: &mut Faults<'_>, written: &Written, path: &Path) -> Option<String> {
    if written.source.is_some() {
        let message = "this check asks whom its own settings name, and no source";
        faults.value(&path.key("source"), message, "remove `source`");
    }
    Some(format!("{} (its own)", written.name()))
}

/// The source of a check that brings its own; its settings are the check's.
fn brought(
    faults: &mut Faults<'_>,
    own: &SourceEntry,
    (name, settings): (&str, &Value),
    path: &Path,
) -> Option<Source> {
    match (own.check)(settings) {
        Ok(settings) => {
            let settings = hash::canonical(&settings).to_string().into();
            Some(Source { name: SourceName::from(name), kind: own.kind.into(), settings })
        }
        Err(errors) => {
            for error in errors {
                faults.settings(path, &error.path, error.message, error.help);
            }
            None
        }
    }
}

/// What counts has its limit in its evidence, and looks at everything once.
fn warn_of_ignored(faults: &mut Faults<'_>, written: &Written, path: &Path) {
    let ignored = [
        ("window", written.window.is_some()),
        ("failureLimit", written.failure_limit.is_some()),
        ("consecutiveFailureLimit", written.consecutive_failure_limit.is_some()),
        ("inconclusiveLimit", written.inconclusive_limit.is_some()),
    ];
    for (name, _) in ignored.iter().filter(|(_, written)| *written) {
        let message = format!("a comparison has no `{name}`: it is ignored");
        faults.warn(&path.key(name), message, "remove it, or set `max` to judge by a limit");
    }
}
