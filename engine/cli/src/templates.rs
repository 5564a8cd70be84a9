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
    /// Reads them. A file that cannot be used is told: it may be in a directory for another reason.
    pub(crate) fn shelf(&self) -> miette::Result<Shelf> {
        let shelf = Shelf::open(self.templates.clone()).map_err(|why| miette!("{why}"))?;
        for why in shelf.unread() {
            tracing::warn!("no templates are read from {why}");
        }
        Ok(shelf)
    }
}
