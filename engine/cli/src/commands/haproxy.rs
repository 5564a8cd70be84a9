//! `haldane haproxy`: what to paste into haproxy.cfg once, and whether a running HAProxy is ready.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use haldane_model::Plan;
use haldane_outside::Outside;
use haldane_plan::{Compiled, Options, Templates};
use haldane_providers::{Sides, haproxy};
use miette::miette;
use serde_json::{Value, json};

use crate::{
    context::{Context, Output},
    faults, print,
    templates::More,
};

/// How long a HAProxy may take to answer everything.
const PREFLIGHT_MAX: Duration = Duration::from_secs(15);

/// Arguments of `haproxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the lines that haproxy.cfg needs; nothing of them changes with a release.
    Snippet(File),
    /// Ask the running HAProxy whether it is ready, and change nothing.
    Preflight(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The rollout's file.
    file: PathBuf,
    /// Only this rollout of the file, as NAME or NAMESPACE/NAME.
    #[arg(long)]
    rollout: Option<String>,
    #[command(flatten)]
    more: More,
}

/// One traffic entry that HAProxy carries.
struct Entry {
    name: String,
    settings: Value,
    sides: Sides,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    match args.what {
        What::Snippet(file) => snippet(&file, context),
        What::Preflight(file) => preflight(&file, context).await,
    }
}

fn snippet(file: &File, context: &Context) -> miette::Result<ExitCode> {
    let mut all = Vec::new();
    for entry in entries(file)? {
        let snippet = haproxy::snippet(&entry.settings, &entry.sides).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            miette!("{}: {}", entry.name, errors.join("; "))
        })?;
        all.push((entry.name, snippet));
    }
    let value: Vec<Value> = all
        .iter()
        .map(|(name, snippet)| {
            let map = snippet.map.as_ref().map(|(path, line)| json!({"path": path, "line": line}));
            json!({
                "entry": name,
                "frontend": snippet.frontend,
                "map": map,
                "sockets": snippet.sockets,
            })
        })
        .collect();
    print::value(context.output, &value, || {
        let parts = all.iter().map(|(name, snippet)| format!("# --- {name}\n{snippet}"));
        parts.collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn preflight(file: &File, context: &Context) -> miette::Result<ExitCode> {
    let row = haldane_providers::find("haproxy").expect("HAProxy is in the registry");
    let outside = Outside::default();
    let mut results = Vec::new();
    for entry in entries(file)? {
        let asked = async {
            let provider = (row.build)(&entry.settings, &entry.sides, &outside)?;
            provider.preflight().await
        };
        let result = match tokio::time::timeout(PREFLIGHT_MAX, asked).await {
            Ok(Ok(snapshot)) => Ok(snapshot.warnings),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PREFLIGHT_MAX.as_secs())),
        };
        results.push((entry.name, result));
    }
    for (name, result) in &results {
        if context.output == Output::Table {
            show(name, result);
        }
    }
    if context.output != Output::Table {
        let value: Vec<Value> = results
            .iter()
            .map(|(name, result)| match result {
                Ok(warnings) => json!({"entry": name, "ready": true, "warnings": warnings}),
                Err(why) => json!({"entry": name, "ready": false, "error": why}),
            })
            .collect();
        print::value(context.output, &value, String::new)?;
    }
    let ready = results.iter().all(|(_, result)| result.is_ok());
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(name: &str, result: &Result<Vec<String>, String>) {
    match result {
        Ok(warnings) => {
            print::line(&format!("{name}: ready"));
            for warning in warnings {
                print::line(&format!("  warning: {warning}"));
            }
        }
        Err(why) => print::aside(&format!("{name}: not ready: {why}")),
    }
}

/// Reads the entries of a file that HAProxy carries. Sources are not asked.
fn entries(file: &File) -> miette::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for compiled in compile(&file.file, &file.more)? {
        let wanted = file.rollout.as_ref().is_none_or(|name| {
            *name == *compiled.id.name || *name == compiled.id.to_string()
        });
        if wanted {
            entries.extend(entries_of(&compiled)?);
        }
    }
    if entries.is_empty() {
        let of = file.rollout.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
        let path = file.file.display();
        return Err(miette!("{path} holds no traffic entry{of} that HAProxy carries"));
    }
    Ok(entries)
}

fn entries_of(compiled: &Compiled) -> miette::Result<Vec<Entry>> {
    let plan: &Plan = &compiled.plan;
    let [first, second] = &plan.sides;
    let carried = plan.entries.iter().filter(|entry| &*entry.kind == "haproxy");
    carried
        .map(|entry| {
            let settings = serde_json::from_str(&entry.settings);
            Ok(Entry {
                name: format!("{} {}", compiled.id, entry.name),
                settings: settings.map_err(|error| miette!("{}: {error}", entry.name))?,
                sides: Sides { first: first.name.clone(), second: second.name.clone() },
            })
        })
        .collect()
}

fn compile(path: &Path, more: &More) -> miette::Result<Vec<Compiled>> {
    let text = haldane_host::text(path).map_err(|why| miette!("{why}"))?;
    let others = more.shelf()?.beside(path);
    let registries = haldane_plan::registries();
    let all = haldane_plan::parse(&text).and_then(|documents| {
        let mut templates = Templates::default();
        templates.add(documents.templates, None);
        templates.extend(&others);
        let options = Options { templates, ..Options::default() };
        let compile = |document| haldane_plan::compile(document, &registries, &options);
        documents.rollouts.iter().map(compile).collect::<Result<Vec<_>, _>>()
    });
    all.map_err(|found| faults::of_file(path, &text, found))
}
