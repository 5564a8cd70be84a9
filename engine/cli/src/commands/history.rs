//! `haldane history`: the journal, a line a decision, and from when on it is complete.

use std::process::ExitCode;

use haldane_api::{Client, JournalPage};
use haldane_model::RolloutId;
use haldane_runtime::explain;

use crate::{ask::Target, context::Context, faults, print};

/// How many entries are asked for at once, and how often at most.
const PAGE: usize = 1_000;
const PAGES_MAX: usize = 200;

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Show the last decisions only, so many.
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let client = context.client()?;
    let id = args.target.resolve(&client).await?;
    let mut journal = all(&client, &id).await?;
    if let Some(last) = args.last {
        let skip = journal.entries.len().saturating_sub(last);
        journal.entries.drain(..skip);
    }
    print::value(context.output, &journal, || table(&id, &journal))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a whole journal.
pub(crate) async fn all(client: &Client, id: &RolloutId) -> miette::Result<JournalPage> {
    after(client, id, 0).await
}

/// Reads what a journal has after an entry.
pub(crate) async fn after(
    client: &Client,
    id: &RolloutId,
    after: u64,
) -> miette::Result<JournalPage> {
    let mut whole = JournalPage { entries: Vec::new(), complete_since: None };
    let mut after = after;
    for _ in 0..PAGES_MAX {
        let page = client.journal(id, after, PAGE).await.map_err(faults::of_client)?;
        let full = page.entries.len() == PAGE;
        after = page.entries.last().map_or(after, |last| last.entry.id);
        whole.entries.extend(page.entries);
        whole.complete_since = page.complete_since;
        if !full {
            break;
        }
    }
    Ok(whole)
}

fn table(id: &RolloutId, journal: &JournalPage) -> String {
    let mut out = match journal.complete_since {
        Some(since) => {
            let since = since.strftime("%Y-%m-%d %H:%M:%S");
            format!("# {id}: complete since {since}Z; what was before is no longer kept\n")
        }
        None => format!("# {id}: complete since it began\n"),
    };
    for entry in &journal.entries {
        out.push_str(&explain::line(&entry.entry));
        out.push('\n');
    }
    out
}
