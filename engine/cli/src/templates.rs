//! Where analysis templates are looked for, besides in the rollout's own file.

use std::path::PathBuf;

use haldane_standalone::Shelf;
use miette::miette;

/// Files of templates.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct More {
    /// A file of analysis templates, or a directory of them; may be said several times.
    #[arg(long, value_name = "PATH")]
    templates: Vec<PathBuf>,
}

// === impl More ===

impl More {
    /// Reads them.
    pub(crate) fn shelf(&self) -> miette::Result<Shelf> {
        Shelf::open(self.templates.clone()).map_err(|why| miette!("{why}"))
    }
}
