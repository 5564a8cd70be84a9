//! What a rollout uses becomes checks of its own.
//!
//! Bounded whatever the templates say: a circle, a chain of more than eight and more than 32 checks are
//! refused, and no more than so many uses are followed.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use haldane_crds::{Check, Diagnostic, Document, Name, Path, Place, Template, TemplateUse};
use haldane_model::RolloutId;
use serde_json::Value;

use super::{
    Templates,
    arguments::{Arguments, Wrong, fill_check, of_declarations, of_use},
    library::{shown, stands},
};

/// How many checks a rollout may have, its templates' included.
const CHECKS_MAX: usize = 32;
/// How many templates may use one another in a row.
const DEPTH_MAX: usize = 8;
/// How many uses are followed: as many as 32 checks can need.
const USES_MAX: usize = CHECKS_MAX * DEPTH_MAX;

/// A rollout with the checks of its templates behind its own.
pub(crate) struct Expanded<'a> {
    pub(crate) document: Cow<'a, Document>,
    pub(crate) origins: Origins,
    pub(crate) found: Vec<Diagnostic>,
}

/// Where the checks behind a rollout's own stand.
#[derive(Default)]
pub(crate) struct Origins {
    /// How many checks are the rollout's own.
    own: usize,
    each: Vec<Origin>,
    /// Who uses them; `None` for a template that is looked at by itself.
    user: Option<String>,
    /// Whether a use brought less than it should.
    pub(crate) lacks: bool,
}

/// One check of a template.
struct Origin {
    template: Arc<Template>,
    at: usize,
}

/// Where a use stands.
pub(super) enum Stands<'a> {
    Rollout(&'a Document),
    Template(Arc<Template>),
}

/// One use of a template, and what it stands in.
pub(super) struct Use<'a> {
    written: &'a TemplateUse,
    stands: Stands<'a>,
    path: Path,
    /// What is put before the names of its checks by those around it.
    prefix: String,
    /// The arguments of the template that it stands in.
    outer: Option<&'a Arguments>,
}

/// A template whose arguments are known.
pub(super) struct Filled {
    pub(super) template: Arc<Template>,
    pub(super) arguments: Arguments,
    pub(super) prefix: String,
}

/// What is known while uses are followed.
pub(super) struct Expansion<'a> {
    templates: &'a Templates,
    namespace: &'a str,
    user: Option<String>,
    /// The templates that are being followed, the outermost first.
    chain: Vec<Arc<Template>>,
    uses: usize,
    /// Where each name of a check stands.
    names: BTreeMap<String, String>,
    checks: Vec<Check>,
    each: Vec<Origin>,
    pub(super) found: Vec<Diagnostic>,
    lacks: bool,
}

/// Puts the checks of every template that a rollout uses behind its own.
pub(crate) fn expand<'a>(
    document: &'a Document,
    id: &RolloutId,
    templates: &Templates,
) -> Expanded<'a> {
    let analysis = &document.rollout.spec.analysis;
    if analysis.templates.is_empty() {
        return Expanded {
            document: Cow::Borrowed(document),
            origins: Origins::default(),
            found: Vec::new(),
        };
    }
    let mut expansion = Expansion::new(templates, &id.namespace, Some(id.to_string()));
    let list = Path::of(&["spec", "analysis"]);
    for (at, check) in analysis.checks.iter().enumerate() {
        let place = document.value_at(&list.key("checks").index(at));
        let place = place.map_or_else(String::new, |at| format!(" at {}:{}", at.line, at.column));
        expansion.names.insert(check.name().to_owned(), place);
    }
    let list = list.key("templates");
    for (at, written) in analysis.templates.iter().enumerate() {
        let (stands, path) = (Stands::Rollout(document), list.index(at));
        let used = Use { written, stands, path, prefix: String::new(), outer: None };
        expansion.follow(&used);
    }
    let count = analysis.checks.len() + expansion.checks.len();
    // What was not followed would be missing: it is never left out in silence.
    if count > CHECKS_MAX || expansion.uses > USES_MAX {
        let more = if expansion.uses > USES_MAX { "or more " } else { "" };
        let message = format!(
            "the rollout has {count} {more}checks with those of its templates, at most {CHECKS_MAX} are \
             allowed"
        );
        let fault = Diagnostic::error(&list, message).help("use fewer templates, or split one up");
        expansion.found.push(fault.at(document.key_at(&list)));
        expansion.lacks = true;
    }
    expansion.into_expanded(document)
}

// === impl Expansion ===

impl<'a> Expansion<'a> {
    pub(super) fn new(templates: &'a Templates, namespace: &'a str, user: Option<String>) -> Self {
        Self {
            templates,
            namespace,
            user,
            chain: Vec::new(),
            uses: 0,
            names: BTreeMap::new(),
            checks: Vec::new(),
            each: Vec::new(),
            found: Vec::new(),
            lacks: false,
        }
    }

    fn into_expanded(self, document: &Document) -> Expanded<'_> {
        let own = document.rollout.spec.analysis.checks.len();
        let room = CHECKS_MAX.saturating_sub(own);
        let mut document = document.clone();
        document.rollout.spec.analysis.checks.extend(self.checks.into_iter().take(room));
        let origins = Origins { own, each: self.each, user: self.user, lacks: self.lacks };
        Expanded { document: Cow::Owned(document), origins, found: self.found }
    }

    /// Brings what one use means, and what that uses.
    fn follow(&mut self, used: &Use<'_>) {
        self.uses += 1;
        if self.uses > USES_MAX {
            self.lacks = true;
            return;
        }
        let template = match self.find(used) {
            Ok(template) => template,
            Err(wrong) => return self.refuse(&used.stands, vec![wrong]),
        };
        let (written, outer) = (used.written, used.outer);
        match of_use(written, &template, outer, &used.path) {
            Ok(arguments) => {
                let prefix = format!("{}{}", used.prefix, written.prefix.as_deref().unwrap_or(""));
                self.bring(&Filled { template, arguments, prefix }, Some(used));
            }
            Err(wrong) => self.refuse(&used.stands, wrong),
        }
    }

    fn find(&self, used: &Use<'_>) -> Result<Arc<Template>, Wrong> {
        let path = used.path.key("name");
        let refuse = |message: String, help: &str| {
            Err(Wrong { path: path.clone(), message, help: help.to_owned() })
        };
        if let Stands::Template(outer) = &used.stands
            && outer.is_for_all
            && !used.written.cluster_scope
        {
            let message = format!(
                "a ClusterAnalysisTemplate cannot use the AnalysisTemplate `{}` of one namespace",
                used.written.name
            );
            return refuse(message, "say `clusterScope: true`, and write that one for all as well");
        }
        let found = match self.templates.find(used.written, self.namespace) {
            Ok(found) => found,
            Err(why) => return refuse(why.message, &why.help),
        };
        let mut chain: Vec<&str> = self.chain.iter().map(|one| one.name()).collect();
        chain.push(found.name());
        let begins = self.chain.iter().position(|one| is_same(one, &found));
        if let Some(begins) = begins {
            let circle = chain[begins..].join(" -> ");
            let message = format!("templates use each other in a circle: {circle}");
            return refuse(message, "remove one of these uses");
        }
        if chain.len() > DEPTH_MAX {
            let message = format!(
                "templates use each other more than {DEPTH_MAX} deep: {}",
                chain.join(" -> ")
            );
            return refuse(message, "use the inner ones from the rollout itself");
        }
        Ok(found)
    }

    /// Brings the checks of a template whose arguments are known, and follows what it uses.
    pub(super) fn bring(&mut self, filled: &Filled, used: Option<&Use<'_>>) {
        let template = &filled.template;
        let stands = Stands::Template(template.clone());
        let spec = &template.template.spec;
        let mut wrong = of_declarations(template);
        if spec.checks.is_empty() && spec.templates.is_empty() {
            wrong.push(Wrong {
                path: Path::of(&["spec"]),
                message: format!("the template `{}` brings no check", template.name()),
                help: "add `checks:`, such as `- {name: errors, errors: {max: \"1%\"}}`".to_owned(),
            });
        }
        self.refuse(&stands, wrong);
        for at in 0..spec.checks.len() {
            self.check(filled, at, used);
        }
        self.chain.push(template.clone());
        let list = Path::of(&["spec", "templates"]);
        for (at, written) in spec.templates.iter().enumerate() {
            self.follow(&Use {
                written,
                stands: Stands::Template(template.clone()),
                path: list.index(at),
                prefix: filled.prefix.clone(),
                outer: Some(&filled.arguments),
            });
        }
        self.chain.pop();
    }

    fn check(&mut self, filled: &Filled, at: usize, used: Option<&Use<'_>>) {
        let template = &filled.template;
        let written = &template.template.spec.checks[at];
        let path = Path::of(&["spec", "checks"]).index(at);
        let mut wrong = Vec::new();
        let kinds = written.kinds.iter().map(|(kind, settings)| {
            (
                kind.clone(),
                fill_check((kind, settings), &filled.arguments, &path.key(kind), &mut wrong),
            )
        });
        let mut check = Check { kinds: kinds.collect(), ..written.clone() };
        self.refuse(&Stands::Template(template.clone()), wrong);
        let name = format!("{}{}", filled.prefix, written.name());
        match self.named(&name, template, &path, used) {
            Ok(name) => {
                check.name = Some(name);
                self.checks.push(check);
                self.each.push(Origin { template: template.clone(), at });
            }
            Err((message, help)) => {
                // Where the prefix is to be written, or else the check itself.
                let (stands, path, help) = match used {
                    Some(Use { stands: Stands::Rollout(document), path, .. }) => {
                        (Stands::Rollout(document), path.clone(), help)
                    }
                    Some(Use { stands: Stands::Template(outer), path, .. }) => {
                        (Stands::Template(outer.clone()), path.clone(), help)
                    }
                    None => {
                        let help = "give one of the two another name".to_owned();
                        (Stands::Template(template.clone()), path, help)
                    }
                };
                self.refuse(&stands, vec![Wrong { path, message, help }]);
            }
        }
    }

    /// Takes a name for a check, once.
    fn named(
        &mut self,
        name: &str,
        template: &Template,
        path: &Path,
        used: Option<&Use<'_>>,
    ) -> Result<Name, (String, String)> {
        let place = shown(template, template.places.value(path));
        let Ok(valid) = Name::try_from(Value::from(name)) else {
            let message = format!("`{name}` is no name of a check");
            let help = "use lower case letters, digits and dashes in `prefix`, at most 63 with the \
                check's own name";
            return Err((message, help.to_owned()));
        };
        if let Some(other) = self.names.get(name) {
            let message = format!(
                "the check `{name}` of the template `{}` at {place} has the name of the one{other}",
                template.name()
            );
            let help = format!(
                "say `prefix: {}-` here, or give one of the two another name",
                template.name()
            );
            return Err((message, help));
        }
        let by = used.map_or_else(String::new, |used| format!(", used at {}", used.shown()));
        self.names.insert(name.to_owned(), format!(" at {place}{by}"));
        Ok(valid)
    }

    /// Tells what is wrong in a rollout, or in a template with who uses it.
    fn refuse(&mut self, stands: &Stands<'_>, wrong: Vec<Wrong>) {
        for Wrong { path, message, help } in wrong {
            self.lacks = true;
            let fault = match stands {
                Stands::Rollout(document) => {
                    let fault = Diagnostic::error(&path, message).help(help);
                    fault.at(document.key_at(&path))
                }
                Stands::Template(template) => {
                    let place = template.places.key(&path);
                    of_template(template, &path, message, place, self.user.as_deref()).help(help)
                }
            };
            if !self.found.contains(&fault) {
                self.found.push(fault);
            }
        }
    }
}

// === impl Use ===

impl Use<'_> {
    /// Where it stands, for people.
    fn shown(&self) -> String {
        match &self.stands {
            Stands::Rollout(document) => match document.value_at(&self.path) {
                Some(place) => format!("{}:{}", place.line, place.column),
                None => self.path.to_string(),
            },
            Stands::Template(template) => shown(template, template.places.value(&self.path)),
        }
    }
}

// === impl Origins ===

impl Origins {
    /// The origins of a template that is looked at by itself: each check stands for itself.
    pub(super) fn alone(template: &Arc<Template>) -> Self {
        let count = template.template.spec.checks.len();
        let each = (0..count).map(|at| Origin { template: template.clone(), at }).collect();
        Self { own: 0, each, user: None, lacks: false }
    }

    /// Moves a fault of a check to where its template has it; `None` where the rollout does.
    pub(crate) fn moved(&self, path: &Path, fault: &Diagnostic) -> Option<Diagnostic> {
        let list = Path::of(&["spec", "analysis", "checks"]);
        let mut each = self.each.iter().enumerate();
        let (at, origin) = each.find(|(at, _)| list.index(self.own + at).holds(path))?;
        let own = Path::of(&["spec", "checks"]).index(origin.at);
        let moved = path.rebased(&list.index(self.own + at), &own)?;
        let place = origin.template.places.value(&moved);
        let message = fault.message.clone();
        let mut told = of_template(&origin.template, &moved, message, place, self.user.as_deref());
        told.severity = fault.severity;
        told.help = fault.help.clone();
        Some(told)
    }
}

/// A fault at a place of a template.
fn of_template(
    template: &Template,
    path: &Path,
    message: String,
    place: Option<Place>,
    user: Option<&str>,
) -> Diagnostic {
    let message = match user {
        Some(user) => {
            format!("{message} (the template `{}`, used by the rollout {user})", template.name())
        }
        None => message,
    };
    Diagnostic::error(path, message).at(place).in_file(template.file.clone())
}

/// Whether two are one document, however often it was read.
fn is_same(one: &Arc<Template>, other: &Arc<Template>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.name(), one.namespace()) == (other.name(), other.namespace())
            && stands(one) == stands(other)
}
