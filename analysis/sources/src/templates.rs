//! Query templates: what a user writes, resolved to queries in which only the window is open.
//!
//! Unknown variables are refused at load, by name. Whatever is printed is escaped for a PromQL
//! string, so that no value can add a label or leave its selector; `{{ x | safe }}` prints an
//! argument that is PromQL itself. Texts of other languages are resolved to [`Text`]: what is printed is
//! encoded for an address or for JSON, and where neither is known, only plain words are.

use std::{collections::BTreeMap, fmt, fmt::Write as _, sync::Arc};

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior,
    value::{Object, Value},
};

use crate::{
    SettingsError, TemplateScope, promql,
    question::{Query, Text},
};

const FUEL: u64 = 20_000;
const RECURSION_MAX: usize = 32;
/// What a window prints while a template is resolved; control characters are refused elsewhere.
const WINDOW_MARK: &str = "\u{1}window\u{1}";
pub(crate) const RESERVED: [&str; 5] = ["canary", "stable", "window", "namespace", "name"];

/// What only a look knows, besides `window`; not in PromQL, which is asked at a moment anyway.
const MOMENTS: [&str; 4] = ["begin", "end", "begin_seconds", "end_seconds"];
/// What only a look knows of the attempt that it is about.
pub(crate) const ATTEMPT: [&str; 4] = ["attempt", "step", "weight", "revision"];
/// Which of both are texts, that stand in quotes in a document; the others are numbers.
const TEXTS: [&str; 4] = ["window", "begin", "end", "revision"];

/// Whether a name is one that some template has of its own.
pub(crate) fn is_own(name: &str) -> bool {
    [RESERVED.as_slice(), &MOMENTS, &ATTEMPT].iter().any(|names| names.contains(&name))
}

/// How what a template prints is kept in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// PromQL: escaped for a string.
    PromQl,
    /// Any other language: only words that can leave no place.
    Plain,
    /// An address: percent-encoded.
    Url,
    /// A document of JSON: escaped for a string.
    Json,
}

/// A template that names only what is known.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    language: Language,
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
    labels: Option<Value>,
}

/// A side's labels where each is named for itself.
#[derive(Debug)]
struct LabelValues(BTreeMap<String, String>);

// === impl Template ===

impl Template {
    /// Reads a template and refuses names that nothing stands for.
    pub(crate) fn read(
        path: &str,
        text: &str,
        scope: &TemplateScope,
    ) -> Result<Self, SettingsError> {
        Self::read_in(Language::PromQl, &[], path, text, scope)
    }

    /// Reads a template of another language; `more` are names that a look fills in.
    pub(crate) fn read_in(
        language: Language,
        more: &[&str],
        path: &str,
        text: &str,
        scope: &TemplateScope,
    ) -> Result<Self, SettingsError> {
        let moments: &[&str] = if language == Language::PromQl { &[] } else { &MOMENTS };
        promql::check_size(path, text)?;
        if text.contains('\u{1}') {
            let message = "it holds a control character";
            return Err(SettingsError::new(path, message, "remove it"));
        }
        check_scope(path, scope)?;
        let names =
            promql::on_deep_stack(|| names_of(text)).unwrap_or_else(too_odd).map_err(|error| {
                let message = format!("the template cannot be read: {error}");
                SettingsError::new(path, message, "templates are written as {{ canary.labels }}")
            })?;
        for name in &names {
            let root = name.split('.').next().unwrap_or(name);
            let is_open = moments.contains(&root) || more.contains(&root);
            if RESERVED.contains(&root) || is_open || scope.arguments.contains_key(root) {
                continue;
            }
            return Err(unknown(path, root, scope));
        }
        if names.iter().any(|name| name.ends_with(".labels")) {
            check_apart(path, scope)?;
        }
        Ok(Self { language, path: path.to_owned(), text: text.to_owned(), names })
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
        let rendered = self.render(scope, role)?;
        promql::check_size(&self.path, &rendered.replace(WINDOW_MARK, "60s"))?;
        let pieces: Vec<String> = rendered.split(WINDOW_MARK).map(str::to_owned).collect();
        if pieces.iter().any(|piece| piece.contains('\u{1}')) {
            let help = "print it as it is: [{{ window }}]";
            return Err(SettingsError::new(&self.path, "`window` is changed by a filter", help));
        }
        Ok(Query(pieces))
    }

    /// Resolves everything but what a look fills in.
    pub(crate) fn text(&self, scope: &TemplateScope, role: Role) -> Result<Text, SettingsError> {
        let rendered = self.render(scope, role)?;
        promql::check_size(&self.path, &rendered)?;
        Text::new(rendered).ok_or_else(|| {
            let help = "print it as it is, such as {{ window }}";
            SettingsError::new(&self.path, "what a look fills in is changed by a filter", help)
        })
    }

    /// Resolves a document of JSON, whatever a look fills in.
    pub(crate) fn document(
        &self,
        scope: &TemplateScope,
        role: Role,
    ) -> Result<Text, SettingsError> {
        let text = self.text(scope, role)?;
        let example = |name: &str| if TEXTS.contains(&name) { "text" } else { "0" };
        let filled = text.filled(|name| Some(example(name).to_owned()));
        serde_json::from_str::<serde_json::Value>(&filled).map_err(|error| {
            let help = "write it as {\"side\": \"{{ canary }}\", \"from\": \"{{ begin }}\"}";
            SettingsError::new(&self.path, format!("it is no JSON: {error}"), help)
        })?;
        Ok(text)
    }

    fn render(&self, scope: &TemplateScope, role: Role) -> Result<String, SettingsError> {
        let rendered = promql::on_deep_stack(|| render(self.language, &self.text, scope, role));
        rendered.unwrap_or_else(too_odd).map_err(|error| self.refusal(&error, scope))
    }

    fn refusal(&self, error: &minijinja::Error, scope: &TemplateScope) -> SettingsError {
        let unlabelled = scope.sides.iter().find(|(_, labels)| labels.is_empty());
        if let (ErrorKind::UndefinedError, Some((side, _))) = (error.kind(), unlabelled) {
            let message = format!("the side {side} has no labels, so its series cannot be told");
            let help = "give each side `labels` that its series carry, such as {version: v2}";
            return SettingsError::new(&self.path, message, help);
        }
        if let (ErrorKind::UndefinedError, false) =
            (error.kind(), self.language == Language::PromQl)
        {
            let known = scope.sides.iter().flat_map(|(_, labels)| labels.keys());
            let known: std::collections::BTreeSet<&str> = known.map(String::as_str).collect();
            let known: Vec<&str> = known.into_iter().collect();
            let message = "the template names a label that a side has not";
            let help = format!("the sides have {}", known.join(", "));
            return SettingsError::new(&self.path, message, &help);
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

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("promql".into()));
    environment.set_formatter(move |out, _state, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(ErrorKind::UndefinedError));
        }
        if value.downcast_object_ref::<LabelValues>().is_some() {
            let message = "all labels at once are PromQL: name one, such as canary.labels.version";
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
        }
        let text = value.to_string();
        let text = if value.is_safe() { text } else { language.place(&text)? };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment.add_filter("promql", |text: String| Value::from_safe_string(promql::escape(&text)));
    environment
}

fn names_of(text: &str) -> Result<Vec<String>, minijinja::Error> {
    let environment = environment(Language::PromQl);
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

fn render(
    language: Language,
    text: &str,
    scope: &TemplateScope,
    role: Role,
) -> Result<String, minijinja::Error> {
    let [first, second] = &scope.sides;
    let (canary, stable) = match role {
        Role::FirstIsCanary => (first, second),
        Role::SecondIsCanary => (second, first),
    };
    let mut known: BTreeMap<&str, Value> = BTreeMap::new();
    if language != Language::PromQl {
        let open = MOMENTS.iter().chain(&ATTEMPT);
        known.extend(open.map(|name| (*name, Value::from_safe_string(mark(name)))));
    }
    let arguments = scope.arguments.iter();
    known.extend(arguments.map(|(name, value)| (name.as_str(), Value::from(value.as_str()))));
    known.insert("canary", side(language, canary));
    known.insert("stable", side(language, stable));
    known.insert("window", Value::from_safe_string(WINDOW_MARK.to_owned()));
    known.insert("namespace", Value::from(scope.namespace.as_str()));
    known.insert("name", Value::from(scope.name.as_str()));
    environment(language).render_str(text, known)
}

/// What stands for a name until a look fills it in.
fn mark(name: &str) -> String {
    format!("\u{1}{name}\u{1}")
}

fn side(language: Language, (name, labels): &(String, BTreeMap<String, String>)) -> Value {
    let labels = (!labels.is_empty()).then(|| match language {
        Language::PromQl => Value::from_safe_string(promql::matchers(labels)),
        Language::Plain | Language::Url | Language::Json => {
            Value::from_object(LabelValues(labels.clone()))
        }
    });
    Value::from_object(SideValue { name: name.clone(), labels })
}

// === impl Language ===

impl Language {
    /// Keeps a value in its place.
    pub(crate) fn place(self, text: &str) -> Result<String, minijinja::Error> {
        match self {
            Self::PromQl => Ok(promql::escape(text)),
            // A path steps up by these, encoded or not.
            Self::Url if matches!(text, "." | "..") => {
                let message = format!("{text:?} would be another path");
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            }
            Self::Url => Ok(url::form_urlencoded::byte_serialize(text.as_bytes())
                .map(|part| part.replace('+', "%20"))
                .collect()),
            Self::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                Ok(quoted[1..quoted.len() - 1].to_owned())
            }
            Self::Plain => {
                let odd = |letter: &char| !(letter.is_alphanumeric() || "_.:/@-".contains(*letter));
                let Some(odd) = text.chars().find(odd) else { return Ok(text.to_owned()) };
                let message = format!(
                    "{text:?} has a {odd:?}, which may mean something where it is printed: \
                     `| safe` prints it as it is"
                );
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            }
        }
    }
}

// === impl LabelValues ===

impl Object for LabelValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).map(|value| Value::from(value.as_str()))
    }
}

// === impl SideValue ===

impl Object for SideValue {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            // Without labels there is none: an empty matcher would match both sides.
            "labels" => self.labels.clone(),
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
