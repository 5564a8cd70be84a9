//! The arguments of a template: what is declared, what a use says, and where they stand in settings.

use std::collections::{BTreeMap, BTreeSet};

use haldane_crds::{Declared, Path, Template, TemplateUse, nearest};
use haldane_sources::{
    fill, fill_as_literals, is_of_another_language, is_reserved, is_template, named_in,
};
use serde_json::Value;

/// Arguments by name.
pub(super) type Arguments = BTreeMap<String, String>;

/// What is wrong, at a path of the document at hand, and what to do about it.
pub(super) struct Wrong {
    pub(super) path: Path,
    pub(super) message: String,
    pub(super) help: String,
}

/// Returns what is wrong with the declarations of a template.
pub(super) fn of_declarations(template: &Template) -> Vec<Wrong> {
    let declared = &template.template.spec.arguments;
    let list = Path::of(&["spec", "arguments"]);
    let mut found = Vec::new();
    for (at, one) in declared.iter().enumerate() {
        let path = list.index(at);
        let (name, path_of_name) = (&one.name, path.key("name"));
        if declared[..at].iter().any(|other| other.name == *name) {
            let message = format!("the argument `{name}` is declared twice");
            found.push(wrong(path_of_name, message, "keep one of the two"));
        } else if is_reserved(name) {
            let message = format!("the argument `{name}` hides a name that templates have");
            found.push(wrong(path_of_name, message, "call it something else"));
        } else if !is_identifier(name) {
            let message = format!("`{name}` is no name of an argument");
            found.push(wrong(path_of_name, message, "use letters, digits and _, a letter first"));
        }
        if one.default.as_ref().is_some_and(|text| is_template(text.as_str())) {
            let message = "a default is plain text, nothing is filled in there";
            found.push(wrong(path.key("default"), message, "write the text itself"));
        }
    }
    found
}

/// Returns the arguments that a use gives to a template, with the defaults of those that it does not
/// say. `outer`: what is filled in, where the use stands in a template itself. `path`: the use's.
pub(super) fn of_use(
    used: &TemplateUse,
    template: &Template,
    outer: Option<&Arguments>,
    path: &Path,
) -> Result<Arguments, Vec<Wrong>> {
    let declared = &template.template.spec.arguments;
    let list = path.key("arguments");
    let (mut arguments, mut found) = (Arguments::new(), Vec::new());
    for (name, value) in &used.arguments {
        let path = list.key(name);
        if !declared.iter().any(|one| one.name == *name) {
            found.push(unknown(path, template, name));
            continue;
        }
        match text(value.as_str(), outer) {
            Ok(text) => drop(arguments.insert(name.clone(), text)),
            Err((message, help)) => found.push(wrong(path, message, &help)),
        }
    }
    for one in declared {
        if used.arguments.contains_key(&one.name) {
            continue;
        }
        match &one.default {
            Some(default) => drop(arguments.insert(one.name.clone(), default.as_str().to_owned())),
            None => found.push(missing(&list, template, one)),
        }
    }
    if found.is_empty() { Ok(arguments) } else { Err(found) }
}

/// An argument's text: in a rollout as it is, in a template with its own arguments filled in.
fn text(written: &str, outer: Option<&Arguments>) -> Result<String, (String, String)> {
    if !is_template(written) {
        return Ok(written.to_owned());
    }
    let Some(outer) = outer else {
        let message = format!("`{written}` is no plain text, and nothing is filled in here");
        return Err((message, "write the text itself, such as `checkout`".to_owned()));
    };
    let help = "pass an argument on as it is: `\"{{ service }}\"`".to_owned();
    let filled = filled(written, outer)?;
    match is_template(&filled) {
        true => Err((format!("`{written}` is known only at a look"), help)),
        false => Ok(filled),
    }
}

fn unknown(path: Path, template: &Template, name: &str) -> Wrong {
    let declared = &template.template.spec.arguments;
    let names: Vec<&str> = declared.iter().map(|one| one.name.as_str()).collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "remove it: the template has no arguments".to_owned(),
        None => format!("known: {}", names.join(", ")),
    };
    wrong(path, format!("the template `{}` has no argument `{name}`", template.name()), &help)
}

fn missing(list: &Path, template: &Template, one: &Declared) -> Wrong {
    let message = format!("the template `{}` needs the argument `{}`", template.name(), one.name);
    let mut help = format!("add `arguments: {{{}: …}}`", one.name);
    if let Some(description) = &one.description {
        help.push_str(&format!(": {description}"));
    }
    wrong(list.key(&one.name), message, &help)
}

/// Fills the arguments of a template into every text of a check's settings. A fault's path is one
/// below `path`.
pub(super) fn fill_check(
    (kind, settings): (&str, &Value),
    arguments: &Arguments,
    path: &Path,
    found: &mut Vec<Wrong>,
) -> Value {
    let Value::Object(fields) = settings else {
        return fill_in(settings, arguments, path, found);
    };
    let fields = fields.iter().map(|(name, value)| {
        let path = path.key(name);
        let filled = match value {
            Value::String(text) if is_of_another_language(kind, name) => {
                let filled = filled_by(fill_as_literals, text, arguments);
                filled.map(Value::from).unwrap_or_else(|(message, help)| {
                    found.push(wrong(path, message, &help));
                    value.clone()
                })
            }
            Value::String(_)
            | Value::Array(_)
            | Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_) => fill_in(value, arguments, &path, found),
        };
        (name.clone(), filled)
    });
    Value::Object(fields.collect())
}

/// Fills the arguments of a template into every text of a value.
fn fill_in(value: &Value, arguments: &Arguments, path: &Path, found: &mut Vec<Wrong>) -> Value {
    match value {
        Value::String(written) => match filled(written, arguments) {
            Ok(text) => text.into(),
            Err((message, help)) => {
                found.push(wrong(path.clone(), message, &help));
                value.clone()
            }
        },
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(at, item)| fill_in(item, arguments, &path.index(at), found)).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                (name.clone(), fill_in(value, arguments, &path.key(name), found))
            });
            Value::Object(fields.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Returns every name that the texts of a value speak of.
pub(super) fn names_in(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => named_in(text).unwrap_or_default(),
        Value::Array(items) => items.iter().flat_map(names_in).collect(),
        Value::Object(fields) => fields.values().flat_map(names_in).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
    }
}

/// A text with the arguments filled in; or what is wrong with it, and what to do about it.
fn filled(written: &str, arguments: &Arguments) -> Result<String, (String, String)> {
    filled_by(fill, written, arguments)
}

fn filled_by(
    fill: fn(&str, &Arguments) -> Result<String, String>,
    written: &str,
    arguments: &Arguments,
) -> Result<String, (String, String)> {
    let form = || "arguments are written as `{{ service }}`".to_owned();
    let names = named_in(written)
        .map_err(|why| (format!("`{written}` cannot be read as a template: {why}"), form()))?;
    let unknown = names.iter().find(|name| !is_reserved(name) && !arguments.contains_key(*name));
    if let Some(name) = unknown {
        return Err((format!("`{name}` is no argument of this template"), remedy(name, arguments)));
    }
    let text = fill(written, arguments)
        .map_err(|why| (why, "write another value, without `{`".to_owned()))?;
    let left = named_in(&text).unwrap_or_default();
    match left.iter().find(|name| arguments.contains_key(*name)) {
        None => Ok(text),
        Some(name) => {
            let message =
                format!("`{written}` does something with `{name}` before it is filled in");
            Err((
                message,
                format!("write it by itself: `{{{{ {name} }}}}`, or `{{{{ {name} | safe }}}}`"),
            ))
        }
    }
}

fn remedy(name: &str, arguments: &Arguments) -> String {
    if matches!(name, "args" | "arguments") {
        return "an argument is written by its name alone: `{{ service }}`".to_owned();
    }
    match nearest(name, arguments.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("declare it: `arguments: [{{name: {name}}}]`"),
    }
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn wrong(path: Path, message: impl Into<String>, help: &str) -> Wrong {
    Wrong { path, message: message.into(), help: help.to_owned() }
}
