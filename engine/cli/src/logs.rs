//! The log: to standard error, filtered by `HALDANE_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::context::{Context, Output, are_colours_wanted};

/// Sets the log up. A service tells what it does; everything else only what is wrong.
pub(crate) fn install(context: &Context, is_a_service: bool) {
    let level = if is_a_service { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("HALDANE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && are_colours_wanted());
    // A second log would be a fault of ours; the first one goes on.
    let _ = match context.output {
        Output::Json => log.json().try_init(),
        Output::Table | Output::Yaml => log.try_init(),
    };
}
