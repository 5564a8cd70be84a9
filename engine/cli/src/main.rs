//! The binary `haldane`: arguments and wiring.
//!
//! Exit codes: 0 it was done, 1 it failed, 11 it was refused, 16 a cluster has the request and no
//! engine answered it in time, 64 it was asked wrongly; `haldane run`
//! and `haldane analyze` have more of their own.

mod ask;
mod book;
mod cluster;
mod commands;
mod context;
mod faults;
mod live;
mod logs;
mod place;
mod plot;
mod print;
mod templates;
mod told;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::context::Globals;

/// The code for arguments that cannot be used.
pub(crate) const USAGE: u8 = 64;

/// Moves traffic to a new version step by step, and back when users are worse off.
#[derive(Debug, Parser)]
#[command(name = "haldane", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    // First thing: whoever opens TLS finds one provider, and always the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    faults::install_hook();
    let is_plugin = is_plugin(std::env::args_os().next());
    let parsed = command(is_plugin).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    let context = context::Context::new(cli.globals, is_plugin);
    logs::install(&context, cli.command.is_a_service());
    match run(cli.command, &context) {
        Ok(code) => code,
        Err(report) => {
            faults::show(&report);
            ExitCode::FAILURE
        }
    }
}

/// Whether kubectl called it: a plugin is a program whose name begins with `kubectl-`.
fn is_plugin(program: Option<OsString>) -> bool {
    let program = program.unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("kubectl-")
}

/// The arguments, by the name that it is called by.
pub(crate) fn command(is_plugin: bool) -> clap::Command {
    match is_plugin {
        true => Cli::command().name("kubectl-haldane").bin_name("kubectl haldane"),
        false => Cli::command(),
    }
}

fn run(command: commands::Command, context: &context::Context) -> miette::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| miette::miette!("the runtime cannot be started: {error}"))?;
    runtime.block_on(Box::pin(command.run(context)))
}
