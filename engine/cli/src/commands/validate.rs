//! `haldane validate`: everything that is wrong with rollout files, with line and remedy.
//!
//! It reads files and nothing else: no engine, no provider and no source is asked.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use haldane_model::RolloutId;
use haldane_plan::{Diagnostic, Document, Options, Registries, Severity};
use serde_json::{Value, json};

use crate::{
    context::{Context, Output},
    faults, print,
};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files; each may hold several rollouts.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say as well which lines must move before a file can be applied there.
    #[arg(long = "for", value_enum, value_name = "WHERE")]
    target: Option<Where>,
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
    let mut files = Vec::new();
    for path in &args.files {
        files.push(Checked::new(path, &registries, args.target)?);
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
        target: Option<Where>,
    ) -> miette::Result<Self> {
        let text = haldane_standalone::text(path).map_err(|why| miette::miette!("{why}"))?;
        let mut file =
            Self { path: path.to_owned(), text, rollouts: Vec::new(), found: Vec::new() };
        match haldane_plan::parse(&file.text) {
            Ok(documents) => {
                for document in &documents {
                    file.compile(document, registries, target);
                }
            }
            Err(found) => file.found = found,
        }
        Ok(file)
    }

    fn compile(
        &mut self,
        document: &Document,
        registries: &Registries<'_>,
        target: Option<Where>,
    ) {
        if target == Some(Where::Kubernetes) {
            self.found.extend(haldane_plan::for_kubernetes(document));
        }
        match haldane_plan::compile(document, registries, &Options::default()) {
            Ok(compiled) => {
                self.found.extend(compiled.warnings);
                let unresolved = compiled.unresolved.iter();
                self.rollouts.push(Rollout {
                    id: compiled.id,
                    targets: compiled.targets,
                    looked_up: unresolved
                        .map(|open| format!("{} in {}", open.check, open.source))
                        .collect(),
                });
            }
            Err(found) => self.found.extend(found),
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
    }

    fn value(&self) -> Value {
        let ids = self.rollouts.iter().map(|rollout| rollout.id.to_string());
        json!({
            "file": self.path.display().to_string(),
            "valid": !self.is_broken(),
            "rollouts": ids.collect::<Vec<_>>(),
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
        "path": found.path,
        "message": found.message,
        "help": found.help,
        "line": found.line,
        "column": found.column,
    })
}
