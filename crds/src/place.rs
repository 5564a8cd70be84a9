//! Where a node of a document was written: a map from JSON path to line and column.

use std::{collections::BTreeMap, fmt};

/// A place in the text that a document was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many bytes come before it.
    pub offset: Option<usize>,
    /// How many bytes it takes.
    pub len: Option<usize>,
}

/// The way from the root of a document to a node: keys, and indexes of lists as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Index(usize),
}

/// Where every node of a document was written; empty for one that was no text.
#[derive(Clone, Debug, Default)]
pub struct Places {
    keys: BTreeMap<Path, Place>,
    values: BTreeMap<Path, Place>,
}

// === impl Path ===

impl Path {
    /// The document as a whole.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of fields from the root: `Path::of(&["spec", "steps"])`.
    #[must_use]
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Part::Key((*key).to_owned())).collect())
    }

    /// Goes on to a field.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Part::Key(key.to_owned()))
    }

    /// Goes on to an item of a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Part::Index(index))
    }

    /// Goes on along a JSON pointer, such as `/share/map` or `/sockets/0`.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Self {
        let mut path = self.clone();
        for token in pointer.split('/').filter(|token| !token.is_empty()) {
            let key = token.replace("~1", "/").replace("~0", "~");
            path.0.push(match key.parse() {
                Ok(index) => Part::Index(index),
                Err(_) => Part::Key(key),
            });
        }
        path
    }

    /// Returns the path of the node that holds this one; `None` at the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        Some(Self(parents.to_vec()))
    }

    /// Returns whether `other` is this node or lies below it.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Returns the path of the same node where what stands at `from` stands at `to`; `None` where `from`
    /// does not hold it.
    #[must_use]
    pub fn rebased(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(from.0.as_slice())?;
        Some(Self([to.0.as_slice(), rest].concat()))
    }

    fn with(&self, part: Part) -> Self {
        let mut parts = self.0.clone();
        parts.push(part);
        Self(parts)
    }
}

/// `spec.steps[0].weight`; keys that are no plain words are quoted.
impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Index(index) => write!(out, "[{index}]")?,
                Part::Key(key) if !is_word(key) => write!(out, "[{key:?}]")?,
                Part::Key(key) if at == 0 => out.write_str(key)?,
                Part::Key(key) => write!(out, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

// === impl Places ===

impl Places {
    /// Notes where a value begins, and its key where it has one.
    pub(crate) fn note(&mut self, path: Path, key: Option<Place>, value: Option<Place>) {
        if let Some(key) = key {
            self.keys.insert(path.clone(), key);
        }
        if let Some(value) = value {
            self.values.insert(path, value);
        }
    }

    /// Returns where a value was written, or else the nearest node that holds it.
    #[must_use]
    pub fn value(&self, path: &Path) -> Option<Place> {
        self.values.get(path).copied().or_else(|| self.value(&path.parent()?))
    }

    /// Returns where the key of a node was written; for an item of a list, the item.
    ///
    /// What is missing is shown at the key of what lacks it.
    #[must_use]
    pub fn key(&self, path: &Path) -> Option<Place> {
        let own = self.keys.get(path).or_else(|| self.values.get(path));
        own.copied().or_else(|| self.key(&path.parent()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let steps = Path::of(&["spec", "steps"]);
        assert_eq!(steps.index(0).key("weight").to_string(), "spec.steps[0].weight");
        let labels = Path::of(&["labels"]).key("app.kubernetes.io/name");
        assert_eq!(labels.to_string(), r#"labels["app.kubernetes.io/name"]"#);
        assert_eq!(steps.pointer("/0/a~1b").to_string(), r#"spec.steps[0]["a/b"]"#);
        assert_eq!(steps.pointer("").to_string(), "spec.steps");
        let moved = steps.index(0).key("weight").rebased(&steps.index(0), &labels);
        assert_eq!(moved.unwrap().to_string(), r#"labels["app.kubernetes.io/name"].weight"#);
        assert_eq!(labels.rebased(&steps, &labels), None);
    }
}
