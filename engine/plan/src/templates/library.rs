//! What may be used: every template that was read, and how one is found.

use std::sync::Arc;

use haldane_crds::{Path, Place, Template, TemplateUse, nearest};

/// The templates that rollouts may use.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    all: Vec<Arc<Template>>,
    /// Files that could not be read, and why: what is missing may be in them.
    unread: Vec<Arc<str>>,
}

/// Why a use finds no template: what is wrong, and what to do about it.
pub(super) struct NotFound {
    pub(super) message: String,
    pub(super) help: String,
}

// === impl Templates ===

impl Templates {
    /// Adds the templates of a file; `None` where it is the file of the rollouts themselves.
    pub fn add(&mut self, templates: impl IntoIterator<Item = Template>, file: Option<&str>) {
        let file: Option<Arc<str>> = file.map(Arc::from);
        let own = |template| Arc::new(Template { file: file.clone(), ..template });
        self.all.extend(templates.into_iter().map(own));
    }

    /// Notes that a file could not be read, so that what is missing is looked for there.
    pub fn add_unread(&mut self, why: &str) {
        self.unread.push(why.into());
    }

    /// Adds what another library holds.
    pub fn extend(&mut self, other: &Self) {
        self.all.extend(other.all.iter().cloned());
        self.unread.extend(other.unread.iter().cloned());
    }

    /// Returns every template, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.all.iter().map(|template| &**template)
    }

    /// Finds the one template that a use means, for rollouts of a namespace.
    pub(super) fn find(
        &self,
        wanted: &TemplateUse,
        namespace: &str,
    ) -> Result<Arc<Template>, NotFound> {
        let scope = (!wanted.cluster_scope).then_some(namespace);
        let mut found = self.named(wanted.name.as_str()).filter(|one| one.namespace() == scope);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(one), Some(other)) => Err(NotFound {
                message: format!(
                    "the {} `{}` is written twice, at {} and at {}",
                    wanted.kind(),
                    wanted.name,
                    stands(one),
                    stands(other)
                ),
                help: "remove one of the two, or give it a name of its own".to_owned(),
            }),
            (None, _) => Err(self.missing(wanted, namespace)),
        }
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Template>> {
        self.all.iter().filter(move |one| one.name() == name)
    }

    fn missing(&self, wanted: &TemplateUse, namespace: &str) -> NotFound {
        let (kind, name) = (wanted.kind(), wanted.name.as_str());
        let place = if wanted.cluster_scope {
            String::new()
        } else {
            format!(" in the namespace {namespace}")
        };
        let message = format!("there is no {kind} `{name}`{place}");
        let mut others: Vec<&Arc<Template>> = self.named(name).collect();
        others.sort_by_key(|one| one.namespace() != Some(namespace));
        let Some(other) = others.first() else {
            return NotFound { message, help: self.where_it_may_be(wanted, namespace) };
        };
        let at = stands(other);
        match other.namespace() {
            None => NotFound {
                message: format!("{message}, but a ClusterAnalysisTemplate of that name at {at}"),
                help: "say `clusterScope: true` to use that one".to_owned(),
            },
            Some(own) if own == namespace => NotFound {
                message: format!("{message}, but an AnalysisTemplate of that name at {at}"),
                help: "leave `clusterScope` out to use that one".to_owned(),
            },
            Some(own) => NotFound {
                message: format!("{message}, but one in the namespace {own} at {at}"),
                help: "a rollout uses templates of its own namespace: write it there as well, or make \
                    it a ClusterAnalysisTemplate"
                    .to_owned(),
            },
        }
    }

    fn where_it_may_be(&self, wanted: &TemplateUse, namespace: &str) -> String {
        let scope = (!wanted.cluster_scope).then_some(namespace);
        let known = self.all.iter().filter(|one| one.namespace() == scope);
        let names: Vec<&str> = known.map(|one| one.name()).collect();
        if let Some(near) = nearest(wanted.name.as_str(), names.iter().copied()) {
            return format!("did you mean `{near}`?");
        }
        let mut help =
            "write it in the same file or, for `serve`, in the same directory; other commands \
            read more files with `--templates PATH`"
                .to_owned();
        if !names.is_empty() {
            help.push_str(&format!("; known: {}", names.join(", ")));
        }
        for why in &self.unread {
            help.push_str(&format!("; not read: {why}"));
        }
        help
    }
}

/// Where a template stands, for people: `templates.yaml:3:1`.
pub(super) fn stands(template: &Template) -> String {
    shown(template, template.places.value(&Path::root()))
}

/// A place within a template, for people.
pub(super) fn shown(template: &Template, place: Option<Place>) -> String {
    let file = template.file.as_deref();
    match (file, place) {
        (Some(file), Some(place)) => format!("{file}:{}:{}", place.line, place.column),
        (Some(file), None) => file.to_owned(),
        (None, Some(place)) => format!("{}:{}", place.line, place.column),
        (None, None) => "an unknown place".to_owned(),
    }
}
