//! Query templates: what a user writes, resolved to queries in which only the window is open.
//!
//! Unknown variables are refused at load, by name. Whatever is printed is escaped for a PromQL
//! string, so that no value can add a label or leave its selector; `{{ x | safe }}` prints an
//! argument that is PromQL itself.

use std::{collections::BTreeMap, fmt, fmt::Write as _, sync::Arc};

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior,
    value::{Object, Value},
};

use crate::{SettingsError, TemplateScope, promql, question::Query};

const FUEL: u64 = 20_000;
const RECURSION_MAX: usize = 32;
/// What a window prints while a template is resolved; control characters are refused elsewhere.
const WINDOW_MARK: &str = "\u{1}window\u{1}";
pub(crate) const RESERVED: [&str; 5] = ["canary", "stable", "window", "namespace", "name"];

/// A template that names only what is known.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    path: String,
    text: String,
    names: Vec<String>,
}

/// Which side is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first side of the file.
    FirstIsCanary,
    /// The second.
    SecondIsCanary,
}

/// A side in templates: prints its name, and has labels.
#[derive(Debug)]
struct SideValue {
    name: String,
    matchers: Option<String>,
}

// === impl Template ===

impl Template {
    /// Reads a template and refuses names that nothing stands for.
    pub(crate) fn read(
        path: &str,
        text: &str,
        scope: &TemplateScope,
    ) -> Result<Self, SettingsError> {
        promql::check_size(path, text)?;
        check_scope(path, scope)?;
        let names =
            promql::on_deep_stack(|| names_of(text)).unwrap_or_else(too_odd).map_err(|error| {
                let message = format!("the template cannot be read: {error}");
                SettingsError::new(path, message, "templates are written as {{ canary.labels }}")
            })?;
        for name in &names {
            let root = name.split('.').next().unwrap_or(name);
            if RESERVED.contains(&root) || scope.arguments.contains_key(root) {
                continue;
            }
            return Err(unknown(path, root, scope));
        }
        if names.iter().any(|name| name.ends_with(".labels")) {
            check_apart(path, scope)?;
        }
        Ok(Self { path: path.to_owned(), text: text.to_owned(), names })
    }

    /// Returns whether it speaks of the side on trial, so that it can be asked with the roles
    /// exchanged.
    pub(crate) fn names_canary(&self) -> bool {
        self.names_any(&["canary"])
    }

    /// Returns whether its meaning depends on who is who.
    pub(crate) fn names_roles(&self) -> bool {
        self.names_any(&["canary", "stable"])
    }

    fn names_any(&self, roots: &[&str]) -> bool {
        self.names.iter().any(|name| roots.contains(&name.split('.').next().unwrap_or(name)))
    }

    /// Resolves everything but the window.
    pub(crate) fn resolve(
        &self,
        scope: &TemplateScope,
        role: Role,
    ) -> Result<Query, SettingsError> {
        let rendered = promql::on_deep_stack(|| render(&self.text, scope, role));
        let rendered =
            rendered.unwrap_or_else(too_odd).map_err(|error| self.refusal(&error, scope))?;
        promql::check_size(&self.path, &rendered.replace(WINDOW_MARK, "60s"))?;
        let pieces: Vec<String> = rendered.split(WINDOW_MARK).map(str::to_owned).collect();
        if pieces.iter().any(|piece| piece.contains('\u{1}')) {
            let help = "print it as it is: [{{ window }}]";
            return Err(SettingsError::new(&self.path, "`window` is changed by a filter", help));
        }
        Ok(Query(pieces))
    }

    fn refusal(&self, error: &minijinja::Error, scope: &TemplateScope) -> SettingsError {
        let unlabelled = scope.sides.iter().find(|(_, labels)| labels.is_empty());
        if let (ErrorKind::UndefinedError, Some((side, _))) = (error.kind(), unlabelled) {
            let message = format!("the side {side} has no labels, so its series cannot be told");
            let help = "give each side `labels` that its series carry, such as {version: v2}";
            return SettingsError::new(&self.path, message, help);
        }
        let message = format!("the template cannot be resolved: {error}");
        SettingsError::new(&self.path, message, "see docs/checks/query.md for what may be named")
    }
}

/// The answer of an engine that panicked.
fn too_odd<T>() -> Result<T, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the template engine gave up"))
}

fn unknown(path: &str, name: &str, scope: &TemplateScope) -> SettingsError {
    let mut known = RESERVED.join(", ");
    for argument in scope.arguments.keys() {
        write!(known, ", {argument}").expect("text takes text");
    }
    let message = format!("the template names `{name}`, which is not known");
    let help = if name == "revision" {
        "no name stands for the revision; tell it by a label that the side's series carry"
            .to_owned()
    } else {
        format!("known are {known}")
    };
    SettingsError::new(path, message, &help)
}

/// Refuses what would make rendering ambiguous.
fn check_scope(path: &str, scope: &TemplateScope) -> Result<(), SettingsError> {
    for name in scope.arguments.keys() {
        if RESERVED.contains(&name.as_str()) {
            let message = format!("the argument `{name}` hides a name that templates have");
            return Err(SettingsError::new(path, message, "call it something else"));
        }
    }
    let labels = scope.sides.iter().flat_map(|(_, labels)| labels);
    for (name, value) in labels.clone() {
        if !promql::is_label_name(name) {
            let message = format!("{name:?} is no name of a label");
            return Err(SettingsError::new(path, message, "use letters, digits and _"));
        }
        if value.is_empty() {
            let message = format!("the label {name} is empty, which matches series without it");
            return Err(SettingsError::new(path, message, "give the value that the series carry"));
        }
    }
    let texts = labels.map(|(_, value)| value).chain(scope.arguments.values());
    if let Some(odd) = texts.into_iter().find(|text| text.contains('\u{1}')) {
        let message = format!("{odd:?} holds a control character");
        return Err(SettingsError::new(path, message, "remove it"));
    }
    Ok(())
}

/// Refuses labels of one side that the other side's series carry as well.
fn check_apart(path: &str, scope: &TemplateScope) -> Result<(), SettingsError> {
    let [(first, one), (second, other)] = &scope.sides;
    let covers = |few: &BTreeMap<String, String>, many: &BTreeMap<String, String>| {
        !few.is_empty() && few.iter().all(|(name, value)| many.get(name) == Some(value))
    };
    if covers(one, other) || covers(other, one) {
        let message = format!("the labels of {first} and {second} match the same series");
        let help = "give both a label with different values, such as version: v1 and version: v2";
        return Err(SettingsError::new(path, message, help));
    }
    Ok(())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("promql".into()));
    environment.set_formatter(|out, _state, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(ErrorKind::UndefinedError));
        }
        let text = value.to_string();
        let text = if value.is_safe() { text } else { promql::escape(&text) };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment.add_filter("promql", |text: String| Value::from_safe_string(promql::escape(&text)));
    environment
}

fn names_of(text: &str) -> Result<Vec<String>, minijinja::Error> {
    let environment = environment();
    let template = environment.template_from_str(text)?;
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort();
    Ok(names)
}

/// Returns what a text speaks of, in full: `canary.labels`.
pub(crate) fn names(text: &str) -> Result<Vec<String>, String> {
    let names = promql::on_deep_stack(|| names_of(text)).unwrap_or_else(too_odd);
    names.map_err(|error| error.to_string())
}

fn render(text: &str, scope: &TemplateScope, role: Role) -> Result<String, minijinja::Error> {
    let [first, second] = &scope.sides;
    let (canary, stable) = match role {
        Role::FirstIsCanary => (first, second),
        Role::SecondIsCanary => (second, first),
    };
    let mut known: BTreeMap<&str, Value> = scope
        .arguments
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
        .collect();
    known.insert("canary", side(canary));
    known.insert("stable", side(stable));
    known.insert("window", Value::from_safe_string(WINDOW_MARK.to_owned()));
    known.insert("namespace", Value::from(scope.namespace.as_str()));
    known.insert("name", Value::from(scope.name.as_str()));
    environment().render_str(text, known)
}

fn side((name, labels): &(String, BTreeMap<String, String>)) -> Value {
    let matchers = (!labels.is_empty()).then(|| promql::matchers(labels));
    Value::from_object(SideValue { name: name.clone(), matchers })
}

// === impl SideValue ===

impl Object for SideValue {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            // Without labels there is none: an empty matcher would match both sides.
            "labels" => self.matchers.clone().map(Value::from_safe_string),
            "name" => Some(Value::from(self.name.as_str())),
            _ => None,
        }
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
