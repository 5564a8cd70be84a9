//! What every request shares: which rollout is meant, what the request is made for, and how its
//! outcome is told.

use std::{process::ExitCode, time::Duration};

use haldane_api::{Answer, Ask};
use haldane_model::RolloutId;
use haldane_runtime::status::Status;
use miette::miette;

use crate::{
    book::Book,
    cluster,
    context::{Context, Output},
    faults, print,
};

/// The code for a request that was refused.
pub(crate) const REFUSED: u8 = 11;

/// The code for a request that stands, and that no engine answered in time.
pub(crate) const UNANSWERED: u8 = 16;

/// A request: which rollout is meant, and what it is made for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Request {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    made: Made,
}

/// Which rollout is meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// The rollout, as NAME or NAMESPACE/NAME; may be left out where there is only one.
    pub(crate) name: Option<String>,
    /// The rollout's namespace; without it `default`, or the one of the cluster's context.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// What a request is made for. What is left out is what the rollout shows now.
#[derive(Clone, Debug, clap::Args)]
struct Made {
    /// Why, for the journal.
    #[arg(long)]
    reason: Option<String>,
    /// Refuse unless this revision is under test.
    #[arg(long)]
    revision: Option<String>,
    /// Refuse unless this is the attempt under way.
    #[arg(long)]
    attempt: Option<u32>,
    /// Refuse unless this step is under way; the first is 1.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    step: Option<u32>,
    /// In a cluster: how long to wait for the engine's answer; `0s` does not wait.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

// === impl Target ===

impl Target {
    /// Returns which rollout is meant; where no name is given, the only one.
    pub(crate) async fn resolve(&self, book: &Book) -> miette::Result<RolloutId> {
        if let Some(name) = &self.name {
            return Ok(match name.split_once('/') {
                Some((namespace, name)) => RolloutId::new(namespace, name),
                None => RolloutId::new(self.namespace(book), name),
            });
        }
        let all = book.list(Some(self.namespace(book))).await?;
        match all.as_slice() {
            [one] => Ok(id_of(one)),
            [] if matches!(book, Book::Cluster(_)) => {
                Err(miette!("namespace {} has no rollouts", self.namespace(book)))
            }
            [] => Err(miette!("this engine has no rollouts")),
            several => {
                let names: Vec<&str> = several.iter().map(|one| one.rollout.as_str()).collect();
                Err(miette!(
                    help = format!("name one of {}", names.join(", ")),
                    "there are {} rollouts",
                    several.len()
                ))
            }
        }
    }

    fn namespace<'a>(&'a self, book: &'a Book) -> &'a str {
        self.namespace.as_deref().unwrap_or_else(|| book.namespace())
    }
}

/// Returns which rollout a picture shows.
pub(crate) fn id_of(status: &Status) -> RolloutId {
    let (namespace, name) = status.rollout.split_once('/').unwrap_or(("default", &status.rollout));
    RolloutId::new(namespace, name)
}

// === impl Request ===

impl Request {
    /// Makes the request, and tells how it went.
    pub(crate) async fn send(self, context: &Context, ask: Ask) -> miette::Result<ExitCode> {
        let book = Book::open_live(context).await?;
        let id = self.target.resolve(&book).await?;
        let made = self.made;
        let ask = Ask {
            reason: made.reason,
            revision: made.revision,
            attempt: made.attempt,
            step: made.step.and_then(|step| usize::try_from(step - 1).ok()),
            requested_by: Some(crate::context::user()),
            ..ask
        };
        let client = match &book {
            Book::Engine(client) => client,
            Book::Cluster(seat) => return cluster::send(seat, context, &id, ask, made.wait).await,
            Book::Left(_) => return Err(miette!("no engine is running")),
        };
        let answer = client.request(&id, &ask).await.map_err(faults::of_client)?;
        let told = told(&id, &ask.verb, &answer);
        match (context.output, answer.is_accepted()) {
            (Output::Table, true) => print::line(&told),
            (Output::Table, false) => print::aside(&told),
            (Output::Json | Output::Yaml, _) => print::value(context.output, &answer, String::new)?,
        }
        Ok(ExitCode::from(if answer.is_accepted() { 0 } else { REFUSED }))
    }
}

/// Says how a request went.
pub(crate) fn told(id: &RolloutId, verb: &str, answer: &Answer) -> String {
    if !answer.is_accepted() {
        let why = answer.reason.as_deref().unwrap_or("no reason was given");
        return format!("{id}: {verb} refused: {why}");
    }
    let revision = answer.revision.as_ref().map(|revision| format!("revision {revision}"));
    let attempt = answer.attempt.map(|attempt| format!("attempt {attempt}"));
    let step = answer.step.map(|step| format!("step {}", step + 1));
    let of: Vec<String> = [revision, attempt, step].into_iter().flatten().collect();
    format!("{id}: {verb} accepted ({}; by {})", of.join(", "), answer.actor)
}
