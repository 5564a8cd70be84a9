//! The binary `haldane`: arguments and wiring.

mod commands;
mod context;
mod diagnostics;
mod live;
mod print;
mod told;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::context::{Context, Output};

/// Metrics-driven progressive delivery.
#[derive(Debug, Parser)]
#[command(name = "haldane", version, about)]
struct Arguments {
    /// Where the engine keeps its state.
    #[arg(long, global = true, value_name = "DIR", env = "HALDANE_STATE")]
    state: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    log(matches!(arguments.command, commands::Command::Serve(_)));
    // One TLS provider for the process, before anything can ask for another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("haldane: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let context = Context { output: arguments.output, state: arguments.state };
    match runtime.block_on(commands::run(arguments.command, &context)) {
        Ok(code) => code,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error; `HALDANE_LOG` says what.
fn log(serving: bool) {
    let default = if serving { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HALDANE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
