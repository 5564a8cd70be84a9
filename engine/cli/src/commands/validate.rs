//! `haldane validate`: everything that is wrong with rollouts and templates, with line and remedy.
//!
//! It reads files and nothing else: no engine, no provider and no source is asked.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use haldane_model::RolloutId;
use haldane_plan::{
    Diagnostic, Document, Options, Registries, Severity, Template, Templates, validate_template,
};
use serde_json::{Value, json};

use crate::{
    context::{Context, Output},
    faults, print,
    templates::More,
};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files; each may hold several rollouts and analysis templates.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say as well which lines must move before a file can be applied there.
    #[arg(long = "for", value_enum, value_name = "WHERE")]
    target: Option<Where>,
    #[command(flatten)]
    more: More,
}

/// Where a file is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Where {
    /// In a cluster.
    Kubernetes,
}

/// What is known of one file.
struct Checked {
    path: PathBuf,
    text: String,
    rollouts: Vec<Rollout>,
    /// The names of its templates.
    templates: Vec<String>,
    found: Vec<Diagnostic>,
}

/// A rollout that can be used.
struct Rollout {
    id: RolloutId,
    targets: Vec<String>,
    /// The checks whose metrics are looked up when it starts.
    looked_up: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let registries = haldane_plan::registries();
    let shelf = args.more.shelf()?;
    let mut files = Vec::new();
    for path in &args.files {
        files.push(Checked::new(path, &registries, &shelf.beside(path), args.target)?);
    }
    let fights = fights(&files);
    let broken = !fights.is_empty() || files.iter().any(Checked::is_broken);
    match context.output {
        Output::Table => {
            files.iter().for_each(Checked::show);
            for fight in &fights {
                print::aside(&fight.to_string());
            }
        }
        Output::Json | Output::Yaml => {
            let files: Vec<Value> = files.iter().map(Checked::value).collect();
            let between: Vec<Value> = fights.iter().map(value).collect();
            let all = json!({"valid": !broken, "files": files, "betweenFiles": between});
            print::value(context.output, &all, String::new)?;
        }
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Rollouts that would fight over one route, or that are written twice.
fn fights(files: &[Checked]) -> Vec<Diagnostic> {
    let rollouts = files.iter().flat_map(|file| &file.rollouts);
    let targets: Vec<_> =
        rollouts.map(|rollout| (rollout.id.clone(), rollout.targets.clone())).collect();
    haldane_plan::collisions(&targets)
}

// === impl Checked ===

impl Checked {
    fn new(
        path: &Path,
        registries: &Registries<'_>,
        others: &Templates,
        target: Option<Where>,
    ) -> miette::Result<Self> {
        let text = haldane_host::text(path).map_err(|why| miette::miette!("{why}"))?;
        let (rollouts, templates, found) = (Vec::new(), Vec::new(), Vec::new());
        let mut file = Self { path: path.to_owned(), text, rollouts, templates, found };
        match haldane_plan::parse(&file.text) {
            Ok(documents) => {
                let mut templates = Templates::default();
                templates.add(documents.templates.iter().cloned(), None);
                templates.extend(others);
                for template in &documents.templates {
                    file.template(template, registries, &templates);
                    if target == Some(Where::Kubernetes) {
                        file.add(haldane_plan::template_for_kubernetes(template, registries));
                    }
                }
                let workloads = target == Some(Where::Kubernetes);
                let options = Options { templates, workloads, ..Options::default() };
                for document in &documents.rollouts {
                    file.compile(document, registries, &options, target);
                }
            }
            Err(found) => file.found = found,
        }
        Ok(file)
    }

    fn template(
        &mut self,
        template: &Template,
        registries: &Registries<'_>,
        templates: &Templates,
    ) {
        let name = match template.namespace() {
            Some(namespace) => format!("{namespace}/{}", template.name()),
            None => template.name().to_owned(),
        };
        self.templates.push(format!("{} {name}", template.template.kind));
        self.add(validate_template(template, registries, templates));
    }

    /// Adds what was found; what several rollouts find in one template is one fault.
    fn add(&mut self, found: Vec<Diagnostic>) {
        for fault in found {
            let place = |one: &Diagnostic| (one.file.clone(), one.line, one.column, one.severity);
            let is_template = self.found.iter().any(|other| {
                other.path == fault.path && place(other) == place(&fault) && fault.line.is_some()
            });
            if !is_template {
                self.found.push(fault);
            }
        }
    }

    fn compile(
        &mut self,
        document: &Document,
        registries: &Registries<'_>,
        options: &Options,
        target: Option<Where>,
    ) {
        if target == Some(Where::Kubernetes) {
            self.found.extend(haldane_plan::for_kubernetes(document, registries));
        }
        match haldane_plan::compile(document, registries, options) {
            Ok(compiled) => {
                self.add(compiled.warnings);
                let unresolved = compiled.unresolved.iter();
                self.rollouts.push(Rollout {
                    id: compiled.id,
                    targets: compiled.targets,
                    looked_up: unresolved
                        .map(|open| format!("{} in {}", open.check, open.source))
                        .collect(),
                });
            }
            Err(found) => self.add(found),
        }
    }

    fn is_broken(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    fn show(&self) {
        if !self.found.is_empty() {
            faults::show(&faults::of_file(&self.path, &self.text, self.found.clone()));
        }
        if self.is_broken() {
            return;
        }
        for rollout in &self.rollouts {
            let mut line = format!("{}: {} is valid", self.path.display(), rollout.id);
            if !rollout.looked_up.is_empty() {
                let list = rollout.looked_up.join(", ");
                line.push_str(&format!("; the metrics of {list} are looked up when it starts"));
            }
            print::line(&line);
        }
        for template in &self.templates {
            print::line(&format!("{}: {template} is valid", self.path.display()));
        }
    }

    fn value(&self) -> Value {
        let ids = self.rollouts.iter().map(|rollout| rollout.id.to_string());
        json!({
            "file": self.path.display().to_string(),
            "valid": !self.is_broken(),
            "rollouts": ids.collect::<Vec<_>>(),
            "templates": self.templates,
            "diagnostics": self.found.iter().map(value).collect::<Vec<_>>(),
        })
    }
}

fn value(found: &Diagnostic) -> Value {
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity,
        "file": found.file,
        "path": found.path,
        "message": found.message,
        "help": found.help,
        "line": found.line,
        "column": found.column,
    })
}
