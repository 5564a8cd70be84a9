//! The subcommands: a table, and one file each.

use std::process::ExitCode;

use crate::context::Context;

/// One row per subcommand: its name, and the module that exports `Args` and `run`.
macro_rules! commands {
    ($($(#[$meta:meta])* $name:ident in $module:ident;)*) => {
        $(pub(crate) mod $module;)*

        /// What can be asked of the binary.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Command {
            $($(#[$meta])* $name($module::Args),)*
        }

        impl Command {
            /// Runs the subcommand.
            pub(crate) async fn run(self, context: &Context) -> miette::Result<ExitCode> {
                match self {
                    $(Self::$name(args) => Box::pin($module::run(args, context)).await,)*
                }
            }
        }
    };
}

commands! {
    /// Run one rollout in the foreground, until it ends or is interrupted.
    Run in run;
    /// Serve every rollout file of a directory, with the local HTTP API.
    Serve in serve;
    /// Run the engine of a Kubernetes cluster.
    Operator in operator;
    /// List rollouts, or show one.
    Get in get;
    /// Show where a rollout is.
    Status in status;
    /// Say in sentences where a rollout is and why, and why it was rolled back.
    Explain in explain;
    /// Show what was decided.
    History in history;
    /// Make the recorded decisions again, and judge the recorded answers by another file.
    Replay in replay;
    /// End this step now, and begin the next; guards go on.
    Promote in promote;
    /// Let this step end without a Pass; its bake stays, and guards go on.
    Skip in skip;
    /// Put the traffic back, now.
    Abort in abort;
    /// Hold the rollout where it is; guards go on.
    Pause in pause;
    /// Lift a hold.
    Resume in resume;
    /// Try the revision that was rolled back once more.
    Retry in retry;
    /// Return to the previous revision after a promotion.
    Undo in undo;
    /// Judge a past interval by the checks of a rollout file; nothing is moved.
    Analyze in analyze;
    /// Tell how long each step of a rollout file will need at the traffic as it is.
    Plan in plan;
    /// Follow the checks of a rollout file on the traffic as it is; nothing is moved.
    Shadow in shadow;
    /// Check rollouts and analysis templates, and tell everything that is wrong with them.
    Validate in validate;
    /// Print the JSON schema of rollouts and analysis templates.
    Schema in schema;
    /// Print the CustomResourceDefinitions of a cluster.
    Crds in crds;
    /// Prepare HAProxy for rollouts.
    Haproxy in haproxy;
    /// Print the version.
    Version in version;
    /// Print a completion script for a shell.
    Completion in completion;
}

impl Command {
    /// Returns whether it runs on its own, so that its log is its voice.
    pub(crate) fn is_a_service(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Operator(_))
    }
}
