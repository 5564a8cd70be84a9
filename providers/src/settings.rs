//! What the settings of all providers have in common: how faults are told, and the two destinations.

use std::collections::BTreeMap;

use haldane_model::SideName;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{SettingsError, Sides};

/// What is wrong, as it is found.
pub(crate) struct Faults(pub(crate) Vec<SettingsError>);

// === impl Faults ===

impl Faults {
    pub(crate) fn add(&mut self, path: impl Into<String>, message: String, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.0.push(SettingsError { path: path.into(), message, help });
    }
}

/// Reads a written form; an error names the path of the field.
pub(crate) fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, SettingsError> {
    serde_path_to_error::deserialize(settings).map_err(|error| SettingsError {
        path: pointer(error.path()),
        message: error.inner().to_string(),
        help: None,
    })
}

/// Returns the two destinations in the order of the sides; `example` is what one looks like.
pub(crate) fn pair<T: Clone>(
    written: &BTreeMap<String, T>,
    sides: &Sides,
    example: &str,
    faults: &mut Faults,
    mut check: impl FnMut(&mut Faults, &str, &T),
) -> Option<[T; 2]> {
    let known = [&sides.first, &sides.second];
    for (name, destination) in written {
        let path = format!("/destinations/{}", escape(name));
        if known.iter().any(|side| side.as_str() == name) {
            check(faults, &path, destination);
            continue;
        }
        faults.add(
            path,
            format!("there is no side {name:?}"),
            &format!("the sides are {} and {}", sides.first, sides.second),
        );
    }
    let mut find = |side: &SideName| {
        let found = written.get(side.as_str()).cloned();
        if found.is_none() {
            let help = format!("add `{side}: {example}`");
            faults.add("/destinations", format!("side {side} has no destination"), &help);
        }
        found
    };
    let (first, second) = (find(&sides.first), find(&sides.second));
    Some([first?, second?])
}

/// Turns serde's path into a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => text.push_str(&format!("/{}", escape(key))),
            Segment::Enum { variant } => text.push_str(&format!("/{}", escape(variant))),
            Segment::Unknown => {}
        }
    }
    text
}

/// Writes a key as a part of a JSON pointer.
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
