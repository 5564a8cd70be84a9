//! A template by itself: what is wrong with it whoever uses it.
//!
//! Arguments without a default stand for words that are tried until a setting takes one; what still
//! is refused because of such an argument is left to the use that fills it.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use haldane_crds::{Check, Diagnostic, Document, Path, Template};
use haldane_sources::{CheckEntry, SettingsError, TemplateScope};
use serde_json::{Value, json};

use super::{
    Templates,
    arguments::{Arguments, fill_check, names_in, of_declarations},
    expand::{Expansion, Filled, Origins},
};
use crate::{Registries, faults::Faults, traffic::only_kind};

/// What an argument may stand for: a number or a share, a time, a word, a matcher, a usual metric.
const WORDS: [&str; 5] = ["0.5", "1s", "word", "word=\"word\"", "prometheus"];

/// A rollout that stands for any: faults need a document, and are told at the template's places.
static ANY: LazyLock<Document> = LazyLock::new(|| {
    let side = |name: &str| json!({"name": name});
    let value = json!({
        "apiVersion": haldane_crds::API_VERSION,
        "kind": "Rollout",
        "metadata": {"name": "any"},
        "spec": {"sides": [side("blue"), side("green")], "traffic": [{"name": "any"}]},
    });
    Document::from_value(value).expect("this rollout's form is right")
});

/// Tells everything that is wrong with a template whoever uses it, and what a person should know.
#[must_use]
pub fn validate_template(
    template: &Template,
    registries: &Registries<'_>,
    templates: &Templates,
) -> Vec<Diagnostic> {
    let template = Arc::new(template.clone());
    let declared = &template.template.spec.arguments;
    let open =
        |name: &String| declared.iter().any(|one| one.name == *name && one.default.is_none());
    let word = |one: &haldane_crds::Declared| {
        let default = one.default.as_ref().map_or(WORDS[2], |default| default.as_str());
        (one.name.clone(), default.to_owned())
    };
    let arguments: Arguments = declared.iter().map(word).collect();
    let namespace = template.namespace().unwrap_or("default").to_owned();
    let mut expansion = Expansion::new(templates, &namespace, None);
    let filled =
        Filled { template: template.clone(), arguments: arguments.clone(), prefix: String::new() };
    expansion.bring(&filled, None);
    let origins = Origins::alone(&template);
    let mut faults = Faults::new(&ANY, &origins);
    faults.extend(expansion.found);
    let list = Path::of(&["spec", "analysis", "checks"]);
    for (at, check) in template.template.spec.checks.iter().enumerate() {
        let alone = Alone { registries, arguments: &arguments, open: &open, namespace: &namespace };
        alone.check(&mut faults, check, &list.index(at));
    }
    if of_declarations(&template).is_empty() {
        unused(&mut faults, &template);
    }
    faults.finish().unwrap_or_else(|found| found)
}

/// Tells which arguments nothing names.
fn unused(faults: &mut Faults<'_>, template: &Template) {
    let spec = &template.template.spec;
    let of_checks = spec.checks.iter().flat_map(|check| check.kinds.values());
    let mut named: Vec<String> = of_checks.flat_map(names_in).collect();
    let of_uses = spec.templates.iter().flat_map(|used| used.arguments.values());
    named.extend(of_uses.flat_map(|text| names_in(&Value::from(text.as_str()))));
    let list = Path::of(&["spec", "arguments"]);
    for (at, one) in spec.arguments.iter().enumerate() {
        if !named.contains(&one.name) {
            let path = list.index(at).key("name");
            let message = format!("nothing names the argument `{}`", one.name);
            let help = "remove it, or write it where it belongs";
            let place = template.places.value(&path);
            let fault = Diagnostic::warning(&path, message).help(help).at(place);
            faults.extend(vec![fault.in_file(template.file.clone())]);
        }
    }
}

/// What a template's own checks are held against.
struct Alone<'a> {
    registries: &'a Registries<'a>,
    arguments: &'a Arguments,
    /// Whether only a use knows an argument.
    open: &'a dyn Fn(&String) -> bool,
    namespace: &'a str,
}

// === impl Alone ===

impl Alone<'_> {
    fn check(&self, faults: &mut Faults<'_>, check: &Check, path: &Path) {
        let known: Vec<&str> = self.registries.checks.iter().map(|row| row.kind).collect();
        let kind = only_kind(faults, &check.kinds, path, "kind of check", &known);
        let Some((kind, settings)) = kind else { return };
        let Some(row) = self.registries.checks.iter().find(|row| row.kind == kind) else { return };
        let samples = check.min_samples.map(f64::from);
        for error in self.refused(row, settings, samples) {
            faults.settings(&path.key(kind), &error.path, error.message, error.help);
        }
    }

    /// What is wrong with settings whatever a use fills in.
    fn refused(
        &self,
        row: &CheckEntry,
        settings: &Value,
        samples: Option<f64>,
    ) -> Vec<SettingsError> {
        let mut arguments = self.arguments.clone();
        let mut tried: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let filled =
                fill_check((row.kind, settings), &arguments, &Path::root(), &mut Vec::new());
            let Err(errors) = (row.check)(&filled, &self.scope(), samples) else {
                return Vec::new();
            };
            let depends = |error: &SettingsError| self.open_at(settings, &error.path);
            let own = errors.iter().find_map(depends);
            let Some((name, is_text)) = own else { return errors };
            let next = tried.entry(name.clone()).or_default();
            let Some(word) = WORDS.get(*next).filter(|_| is_text) else { return Vec::new() };
            *next += 1;
            arguments.insert(name, (*word).to_owned());
        }
    }

    /// The open argument that what stands at a pointer names, and whether that is one text.
    fn open_at(&self, settings: &Value, pointer: &str) -> Option<(String, bool)> {
        let value = settings.pointer(pointer).filter(|_| !pointer.is_empty())?;
        let name = names_in(value).into_iter().find(|name| (self.open)(name))?;
        Some((name, value.is_string()))
    }

    /// Two sides that any check can tell apart.
    fn scope(&self) -> TemplateScope {
        let side = |name: &str| {
            let labels = ["side", "proxy"].map(|label| (label.to_owned(), name.to_owned()));
            (name.to_owned(), BTreeMap::from(labels))
        };
        TemplateScope {
            namespace: self.namespace.to_owned(),
            name: "any".to_owned(),
            sides: [side("blue"), side("green")],
            arguments: BTreeMap::new(),
        }
    }
}
