//! The binary `haldane`: arguments and wiring.
//!
//! Exit codes: 0 it was done, 1 it failed, 11 it was refused, 64 it was asked wrongly; `haldane run`
//! and `haldane analyze` have more of their own.

mod ask;
mod book;
mod commands;
mod context;
mod faults;
mod live;
mod logs;
mod plot;
mod print;
mod templates;
mod told;

use std::process::ExitCode;

use clap::Parser;

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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    let context = cli.globals.into();
    logs::install(&context, cli.command.is_a_service());
    match run(cli.command, &context) {
        Ok(code) => code,
        Err(report) => {
            faults::show(&report);
            ExitCode::FAILURE
        }
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
