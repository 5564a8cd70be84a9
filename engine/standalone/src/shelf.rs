//! The files that hold analysis templates: read, and read again when they change.
//!
//! A template is found whichever file of a directory it stands in. A file that cannot be used holds
//! none; what then is missing is told with why.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use haldane_host::text;
use haldane_plan::{Template, Templates, parse};

use crate::files::{AWAY, is_rollout_file, one_line};

/// Files that may hold templates.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Files, and directories of them, that are looked at beside those that are put in.
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Held>,
    /// Grows whenever a template may be another one.
    version: u64,
}

#[derive(Debug)]
struct Held {
    /// The file itself, however it is named.
    file: PathBuf,
    text: String,
    /// For how many looks it was not there.
    away: u32,
    read: Result<Vec<Template>, String>,
}

// === impl Shelf ===

impl Shelf {
    /// Reads files, and every rollout file of directories. An error says what cannot be read.
    pub fn open(paths: Vec<PathBuf>) -> Result<Self, String> {
        if let Some(path) = paths.iter().find(|path| !path.exists()) {
            return Err(format!(
                "cannot read {}: there is no such file or directory",
                path.display()
            ));
        }
        let mut shelf = Self { paths, ..Self::default() };
        for path in shelf.there() {
            let text = text(&path)?;
            shelf.put(&path, Some(&text));
        }
        Ok(shelf)
    }

    /// Looks at the files again. One that cannot be read, or is not there, is taken as it was; one that
    /// stays away holds nothing.
    pub(crate) fn look(&mut self) {
        let mut paths = self.there();
        if !self.paths.is_empty() {
            paths.extend(self.files.keys().cloned());
        }
        paths.sort();
        paths.dedup();
        for path in paths {
            match text(&path) {
                Ok(text) => self.put(&path, Some(&text)),
                Err(_) => self.missed(&path),
            }
        }
    }

    fn missed(&mut self, path: &Path) {
        let Some(held) = self.files.get_mut(path).filter(|_| !path.exists()) else { return };
        held.away += 1;
        if held.away == AWAY {
            self.put(path, None);
        }
    }

    /// Returns why files could not be read.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.files.values().filter_map(|held| held.read.as_ref().err().map(String::as_str))
    }

    /// Takes what a file says now; `None`: it is gone.
    pub(crate) fn put(&mut self, path: &Path, text: Option<&str>) {
        // Without the word there is no template, and most files have none.
        let Some(text) = text.filter(|text| text.contains("AnalysisTemplate")) else {
            self.version += u64::from(self.files.remove(path).is_some());
            return;
        };
        if let Some(held) = self.files.get_mut(path).filter(|held| held.text == text) {
            held.away = 0;
            return;
        }
        let read = parse(text).map(|documents| documents.templates);
        let read = read.map_err(|found| one_line(path, &found));
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.files.insert(path.to_owned(), Held { file, text: text.to_owned(), away: 0, read });
        self.version += 1;
    }

    /// Tells one state of the shelf from another.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the templates for the rollouts of a file, but for those of the file itself.
    #[must_use]
    pub fn beside(&self, path: &Path) -> Templates {
        let own = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut templates = Templates::default();
        let mut seen: Vec<&Path> = vec![&own];
        for (path, held) in &self.files {
            if seen.contains(&held.file.as_path()) {
                continue;
            }
            seen.push(&held.file);
            match &held.read {
                Ok(read) => templates.add(read.iter().cloned(), Some(&path.display().to_string())),
                Err(why) => templates.add_unread(why),
            }
        }
        templates
    }

    fn there(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                let entries = fs::read_dir(path).into_iter().flatten().flatten();
                files
                    .extend(entries.map(|entry| entry.path()).filter(|path| is_rollout_file(path)));
            } else {
                files.push(path.clone());
            }
        }
        files.sort();
        files
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

    use super::*;

    const TEMPLATE: &str = "{apiVersion: haldane.dev/v1alpha1, kind: AnalysisTemplate, \
        metadata: {name: http}, spec: {checks: [{errors: {max: \"1%\"}}]}}";

    #[test]
    fn templates_are_read_again_when_their_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        fs::write(&file, TEMPLATE).unwrap();
        fs::write(folder.path().join("notes.txt"), TEMPLATE).unwrap();
        let mut shelf = Shelf::open(vec![folder.path().to_owned(), file.clone()]).unwrap();
        let (first, count) = (shelf.version(), |shelf: &Shelf| shelf.beside(&other).iter().count());
        assert_eq!((count(&shelf), shelf.beside(&file).iter().count()), (1, 0));
        shelf.look();
        assert_eq!(shelf.version(), first, "nothing changed");
        fs::write(&other, TEMPLATE.replace("http", "other")).unwrap();
        shelf.look();
        assert!(shelf.version() > first && shelf.beside(&file).iter().count() == 1);
        let second = shelf.version();
        fs::write(&other, "AnalysisTemplate: [").unwrap();
        shelf.look();
        assert!(shelf.version() > second && shelf.beside(&file).iter().count() == 0);
        assert!(shelf.unread().next().unwrap().contains("b.yaml:1:"), "{shelf:?}");
        fs::remove_file(&file).unwrap();
        for _ in 1..AWAY {
            shelf.look();
            assert_eq!(count(&shelf), 1, "editors replace files");
        }
        shelf.look();
        assert_eq!(count(&shelf), 0);
        assert!(Shelf::open(vec![folder.path().join("none")]).unwrap_err().contains("none"));
    }
}
