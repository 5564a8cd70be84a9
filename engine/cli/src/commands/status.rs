//! `haldane status`: the picture of one rollout, once or as it changes.

use std::{collections::VecDeque, io::IsTerminal, process::ExitCode, time::Duration};

use haldane_model::RolloutId;
use haldane_runtime::explain;

use crate::{
    ask::Target,
    book::Book,
    commands::history,
    context::{Context, Output},
    live::{Live, picture},
    print,
};

/// How long to wait for a change before asking anew.
const PATIENCE: Duration = Duration::from_secs(25);

/// A picture is not drawn more often than this.
const PACE: Duration = Duration::from_millis(200);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Go on showing what changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    if args.watch {
        let book = Book::open_live(context).await?;
        let id = args.target.resolve(&book).await?;
        let mut follow = Follow::new(&book, &id, context).await?;
        loop {
            follow.once().await?;
        }
    }
    let book = Book::open(context).await?;
    let id = args.target.resolve(&book).await?;
    let status = book.get(&id).await?;
    let table = || picture(&status, &VecDeque::new(), context.colours());
    print::value(context.output, &status, table)?;
    Ok(ExitCode::SUCCESS)
}

/// A rollout that is followed.
struct Follow<'a> {
    book: &'a Book,
    id: &'a RolloutId,
    output: Output,
    live: Option<Live>,
    /// The picture that was shown last, and the last decision that was.
    seen: Option<String>,
    told: u64,
    record: Option<u64>,
}

// === impl Follow ===

impl<'a> Follow<'a> {
    async fn new(
        book: &'a Book,
        id: &'a RolloutId,
        context: &Context,
    ) -> miette::Result<Self> {
        let on_terminal = context.output == Output::Table && std::io::stdout().is_terminal();
        let told = match on_terminal {
            true => 0,
            // Who reads a stream wants what happens, not what happened.
            false => history::all(book, id).await?.entries.last().map_or(0, |last| last.entry.id),
        };
        let live = on_terminal.then(|| Live::new(context.colours()));
        let output = context.output;
        Ok(Self { book, id, output, live, seen: None, told, record: None })
    }

    /// Waits for a change, and shows it.
    async fn once(&mut self) -> miette::Result<()> {
        let seen = self.seen.as_deref();
        let picture = self.book.wait(self.id, seen, PATIENCE).await?;
        if self.seen.as_ref() == Some(&picture.version) {
            return Ok(());
        }
        let version = picture.status.engine.version;
        if self.output == Output::Table && self.record.replace(version) != Some(version) {
            self.tell().await?;
        }
        match (&mut self.live, self.output) {
            (Some(live), _) => live.draw(&picture.status),
            (None, Output::Table) => {}
            (None, Output::Json | Output::Yaml) => {
                // One document a line, so that a program can read them as they come.
                let json = serde_json::to_string(&picture.status);
                print::line(&json.map_err(|error| miette::miette!("no JSON: {error}"))?);
            }
        }
        self.seen = Some(picture.version);
        tokio::time::sleep(PACE).await;
        Ok(())
    }

    /// Shows the decisions that are new.
    async fn tell(&mut self) -> miette::Result<()> {
        let news = history::after(self.book, self.id, self.told).await?;
        for entry in news.entries {
            self.told = entry.entry.id;
            let line = explain::line(&entry.entry);
            match &mut self.live {
                Some(live) => live.tell(line),
                None => print::line(&line),
            }
        }
        Ok(())
    }
}
